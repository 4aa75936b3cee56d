//! How fast users may ask over sockets: over all of theirs together, whichever gateways these are at, since all of them
//! lead to the user's home. Gateways have limits of their own, of a socket and of what they see of a user: those keep
//! what is far too much off the trunks, these are what holds.
//!
//! Internal services that speak for a user by themselves are not asked to wait: they are known, and granted what they do.

use crate::refusals;
use madang_mesh::rate::Rate;
use madang_proto::{
    client::v1::client_frame::Body,
    id::UserId,
    reason::{Reason, Refusal},
};
use std::time::Instant;

/// The rates of the users whose home this process is.
pub struct Rates {
    sends: Rate<UserId>,
    /// Edits, deletions and reactions: each is an event as well, for as many people.
    changes: Rate<UserId>,
    frames: Rate<UserId>,
}

impl Rates {
    /// So many messages a second, so many at once; as many changes of them; ten times that of anything. 0: no limit.
    #[must_use]
    pub fn new(rate: u32, burst: u32) -> Self {
        let [sends, changes] = [Rate::new(rate, burst), Rate::new(rate, burst)];
        Self { sends, changes, frames: Rate::of_frames(rate, burst) }
    }

    /// Takes a frame of a user's, or says when to send it again.
    pub fn take(&self, user: UserId, body: Option<&Body>, now: Instant) -> Result<(), Refusal> {
        let taken = self.frames.take(user, now).and_then(|()| match body {
            Some(Body::Send(_)) => self.sends.take(user, now),
            Some(Body::Edit(_) | Body::Delete(_) | Body::React(_)) => self.changes.take(user, now),
            _ => Ok(()),
        });
        taken.map_err(|ms| {
            refusals::USER_RATE.count();
            let message = "too much from all of your devices together: send again after retryAfterMs";
            Refusal::new(Reason::RateLimited, message).after(ms)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use madang_proto::client::v1::{Delete, Edit, React, Read, Send};

    #[test]
    fn messages_changes_and_everything_have_a_rate_each() {
        let (rates, user, now) = (Rates::new(10, 40), UserId::new(), Instant::now());
        let taken = |body: Body| rates.take(user, Some(&body), now).is_ok();
        assert_eq!((0..100).filter(|_| taken(Body::Send(Send::default()))).count(), 40);
        let changes = [Body::Edit(Edit::default()), Body::Delete(Delete::default()), Body::React(React::default())];
        assert_eq!(changes.iter().cycle().take(90).filter(|body| taken((*body).clone())).count(), 40);
        assert_eq!((0..300).filter(|_| taken(Body::Read(Read::default()))).count(), 400 - 100 - 90, "of any kind: 400");
        let refusal = rates.take(user, None, now).unwrap_err();
        assert_eq!((refusal.reason, refusal.retry_after_ms), (Reason::RateLimited, 10));
        assert!(rates.take(UserId::new(), None, now).is_ok(), "others are not concerned");
    }

    #[test]
    fn no_rate_is_no_limit() {
        let (rates, user, now) = (Rates::new(0, 0), UserId::new(), Instant::now());
        assert!((0..10_000).all(|_| rates.take(user, Some(&Body::Send(Send::default())), now).is_ok()));
    }
}
