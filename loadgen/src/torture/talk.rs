//! What clients do while things break: they write to people and groups, over the socket and by HTTP, until it is
//! acknowledged; they edit what they wrote, take it back and react; they read, go away and come back; some try to get at
//! what is not theirs.

use super::{
    client::{Client, To},
    crowd::Crowd,
};
use madang_proto::{
    client::v1::{Ack, Delete, Edit, React, Read, Send, client_frame::Body},
    id::ClientId,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::time::sleep;

/// How long a message that was refused for now waits at least before it is sent again.
const AGAIN: Duration = Duration::from_millis(100);
/// For how long a client goes away at most, in seconds.
const AWAY: f64 = 20.0;
/// After how many of their messages people change some message.
const CHANGES: f64 = 0.3;
/// How many of their own messages people remember, and how far back in a conversation they react.
const REMEMBERED: usize = 30;
/// What people put under messages.
const EMOJI: [&str; 4] = ["👍", "❤️", "🎉", "😂"];
/// How long a text is mostly, and how long one in twenty is, in bytes.
const LENGTHS: (usize, usize) = (120, 6000);

/// What came of a try.
enum Tried {
    Acked(Ack),
    /// To be tried again, after so many ms.
    Again(u64),
    Refused(String),
}

/// Someone who talks.
pub struct Talker {
    client: Arc<Client>,
    random: StdRng,
    /// A group in which they are not.
    foreign: String,
    said: u64,
    /// Where their last messages are.
    own: VecDeque<(String, u64)>,
}

impl Talker {
    /// One whose doings follow from a seed.
    #[must_use]
    pub fn new(client: Arc<Client>, seed: u64, foreign: String) -> Self {
        Self { client, random: StdRng::seed_from_u64(seed), foreign, said: 0, own: VecDeque::new() }
    }

    /// Does something every `gap`, on average, until it is over. What was begun then is finished; whoever is away comes
    /// back.
    pub async fn run(mut self, gap: Duration) {
        let crowd = self.client.crowd.clone();
        loop {
            let rest = gap.mul_f64(self.random.random_range(0.0..2.0));
            crowd.rest(rest).await;
            if crowd.over() {
                return;
            }
            self.act(&crowd).await;
        }
    }

    async fn act(&mut self, crowd: &Crowd) {
        let rooms = self.client.rooms();
        let Some(to) = rooms.get(self.random.random_range(0..rooms.len().max(1))).cloned() else { return };
        match self.random.random_range(0..1000) {
            0..30 => {
                crowd.away.fetch_add(1, Relaxed);
                self.client.disconnect().await;
                crowd.rest(Duration::from_secs_f64(self.random.random_range(0.0..AWAY))).await;
                self.client.connect();
            }
            30..80 => {
                let seq = self.client.seq(&to.conversation);
                let after = self.random.random_bool(0.5).then(|| self.random.random_range(0..=seq));
                // It may have left meanwhile, and what is down is read another time.
                let _ = self.client.peek(&to.conversation, after).await;
            }
            80..110 => {
                let (conversation, seq) = (to.conversation.clone(), self.client.seq(&to.conversation));
                if seq > 0 {
                    // A mark is sent again by nobody.
                    let _ = self.client.ask(Body::Read(Read { conversation, seq })).await;
                }
            }
            110..115 => {
                let _ = self.client.peek(&self.foreign.clone(), None).await;
            }
            115..120 => {
                let to = To { conversation: self.foreign.clone(), user: String::new() };
                self.say(crowd, &to, true).await;
            }
            which => {
                self.say(crowd, &to, which < 200).await;
                if self.random.random_bool(CHANGES)
                    && let Some(change) = self.change(&to)
                {
                    self.amend(crowd, change).await;
                }
            }
        }
    }

    /// What to do to some message; none: there is none.
    fn change(&mut self, to: &To) -> Option<Body> {
        let client_id = ClientId::now().to_string();
        let own = self.own.get(self.random.random_range(0..self.own.len().max(1))).cloned();
        let newest = self.client.seq(&to.conversation);
        let lately = self.random.random_range(newest.saturating_sub(REMEMBERED as u64)..=newest).max(1);
        let text = format!("{} of {}, anew", self.said, self.client.person.handle);
        Some(match self.random.random_range(0..100) {
            0..35 => {
                let (conversation, seq) = own?;
                Body::Edit(Edit { conversation, seq, client_id, text, ..Edit::default() })
            }
            35..45 => {
                let (conversation, seq) = own?;
                Body::Delete(Delete { conversation, seq, client_id })
            }
            // It is mostly not theirs.
            45..48 if newest > 0 => {
                let conversation = to.conversation.clone();
                Body::Edit(Edit { conversation, seq: lately, client_id, text, ..Edit::default() })
            }
            _ if newest > 0 => {
                let emoji = EMOJI[self.random.random_range(0..EMOJI.len())].to_owned();
                let (conversation, remove) = (to.conversation.clone(), self.random.random_bool(0.3));
                Body::React(React { conversation, seq: lately, emoji, remove, client_id })
            }
            _ => return None,
        })
    }

    /// Changes a message: asks until it is acknowledged, or refused for good.
    async fn amend(&mut self, crowd: &Crowd, change: Body) {
        loop {
            crowd.journal().amending(crowd.now(), self.client.user(), &change);
            match self.client.ask(change.clone()).await {
                Ok(ack) => {
                    crowd.journal().amended(crowd.now(), self.client.user(), &change, &ack);
                    return crowd.reached(&ack.conversation, ack.revision);
                }
                Err(refusal) if refusal.reason.retryable() => {
                    sleep(Duration::from_millis(refusal.retry_after_ms).max(AGAIN)).await;
                }
                Err(refusal) => return crowd.refused("a change of a message", refusal.reason.word()),
            }
        }
    }

    fn message(&mut self, to: &To) -> Send {
        self.said += 1;
        let length = if self.random.random_bool(0.05) { LENGTHS.1 } else { LENGTHS.0 };
        let mut text = format!("{} of {}: ", self.said, self.client.person.handle);
        let least = text.len();
        text.extend(std::iter::repeat_n("마당 ", self.random.random_range(0..=length) / "마당 ".len()));
        text.truncate(text.trim_end().len().max(least));
        let client_id = ClientId::now().to_string();
        match to.user.is_empty() {
            true => Send { conversation: to.conversation.clone(), client_id, text, ..Send::default() },
            false => Send { user: to.user.clone(), client_id, text, ..Send::default() },
        }
    }

    /// Sends a message until it is acknowledged, or refused for good.
    async fn say(&mut self, crowd: &Crowd, to: &To, by_http: bool) {
        let (send, sending) = (self.message(to), crowd.sends());
        loop {
            crowd.attempts.fetch_add(1, Relaxed);
            crowd.journal().invoked(crowd.now(), &to.conversation, self.client.user(), &send);
            match self.try_once(&send, by_http).await {
                Tried::Acked(ack) => {
                    crowd.journal().acked(crowd.now(), self.client.user(), &send.client_id, &ack);
                    self.own.push_back((ack.conversation.clone(), ack.seq));
                    if self.own.len() > REMEMBERED {
                        self.own.pop_front();
                    }
                    return crowd.acked(sending, &ack);
                }
                Tried::Again(after) => sleep(Duration::from_millis(after).max(AGAIN)).await,
                Tried::Refused(why) => {
                    crowd.given_up(sending);
                    return crowd.refused("a message", &why);
                }
            }
        }
    }

    async fn try_once(&self, send: &Send, by_http: bool) -> Tried {
        if by_http {
            return match self.client.post(send).await {
                Ok(ack) => Tried::Acked(ack),
                Err(error) if error.retryable() => Tried::Again(0),
                Err(error) => Tried::Refused(error.to_string()),
            };
        }
        match self.client.ask(Body::Send(send.clone())).await {
            Ok(ack) => Tried::Acked(ack),
            Err(refusal) if refusal.reason.retryable() => Tried::Again(refusal.retry_after_ms),
            Err(refusal) => Tried::Refused(refusal.reason.word().to_owned()),
        }
    }
}
