//! A connection's way to its home: there, given up because too much was missed, or looked for. Looking never stops the
//! socket from being read.

use crate::{
    outbox::Taken,
    trunk::{Link, Trunks},
};
use madang_proto::{chat::v1::upstream::Item, id::UserId};
use std::{
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

/// How long after a link that its home did not take the next one is tried: the map may be a moment old.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The way to a home.
pub(super) enum Way {
    /// A link; frames go over it once the home has opened it.
    Open {
        /// It.
        link: Link,
        /// The home has taken it.
        opened: bool,
        /// When it was made.
        since: Instant,
    },
    /// A link on which too much was missed: kept until what it carries is answered, or until then.
    Leaving(Link, Instant),
    /// The next link is being looked for.
    Looking(Pin<Box<dyn Future<Output = Link> + Send>>),
}

/// What has happened on the way.
pub(super) enum Step {
    /// Something came from the home.
    Taken(Taken),
    /// There is a link.
    Linked(Link),
}

/// How long to wait before the next link, if the last one was closed before it was opened.
#[derive(Debug, Default)]
pub(super) struct Pause(Duration);

impl Pause {
    /// One more was not taken.
    pub fn grow(&mut self) {
        self.0 = (self.0 * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
    }

    /// One was taken.
    pub fn end(&mut self) {
        self.0 = Duration::ZERO;
    }
}

impl Way {
    /// Looks for the user's home; the first thing on the link is `open`.
    pub fn look(trunks: &Trunks, user: UserId, open: Item, pause: &Pause) -> Self {
        let (trunks, pause) = (trunks.clone(), pause.0);
        Self::Looking(Box::pin(async move {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            trunks.link(user, open).await
        }))
    }

    /// What happens next. May be dropped without losing anything.
    pub async fn next(&mut self) -> Step {
        match self {
            Self::Open { link, .. } | Self::Leaving(link, _) => Step::Taken(link.outbox.take().await),
            Self::Looking(link) => Step::Linked(link.await),
        }
    }

    /// The link on which frames may go.
    pub fn opened(&self) -> Option<&Link> {
        match self {
            Self::Open { link, opened: true, .. } => Some(link),
            _ => None,
        }
    }
}
