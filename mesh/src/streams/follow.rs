//! Reading a stream, for as long as the server that serves the reader is there.

use crate::registry::Unavailable;
use async_nats::jetstream::{
    Message,
    consumer::{
        AckPolicy, Consumer, DeliverPolicy,
        pull::{self, MessagesErrorKind},
    },
    stream::Stream,
};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use std::time::Duration;

/// After a reader was not heard of for so long, the server forgets it.
const INACTIVE: Duration = Duration::from_secs(30);
/// How long one request for messages stands.
const EXPIRES: Duration = Duration::from_secs(10);
/// How many messages one request is for; about as many wait here for who reads them.
const BATCH: usize = 500;
/// How often the server says that it is still there; after two that did not come the reading ends. async-nats' own (15 s,
/// and an ordered consumer is left at the second time) let a reader be silent for a minute after its server died.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How often a reader that was just made may be unknown to the server that is asked, and how soon it is asked again.
const UNKNOWN: u32 = 20;
/// See there.
const SOON: Duration = Duration::from_millis(50);

/// After so long without a message the server is asked whether it has sent one that did not come: it was on its way to a server
/// that died, or on a connection that ended. With the next message that would show; but what waits for this one may be all
/// there is.
const QUIET: Duration = Duration::from_secs(4);

/// One message of a stream that is read.
pub struct Followed {
    /// Its place in the stream.
    pub sequence: u64,
    /// When the stream took it, in microseconds since 1970.
    pub at_micros: i64,
    /// What it carries.
    pub payload: bytes::Bytes,
    /// How many there are behind it.
    pub pending: u64,
}

/// Reads a stream for as long as the server that serves the reader is there: how many there are now, then each in its turn.
/// It ends with an error where one of them was lost on the way, and at most four seconds after the server died. No ordered
/// consumer of async-nats: that goes on by itself, past what a stream that began anew has had meanwhile.
pub async fn follow(
    of: &Stream<impl Send + Sync>,
    from: DeliverPolicy,
) -> Result<(u64, BoxStream<'static, Result<Followed, Unavailable>>), Unavailable> {
    let config = pull::Config {
        deliver_policy: from,
        ack_policy: AckPolicy::None,
        inactive_threshold: INACTIVE,
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    };
    let consumer = of.create_consumer(config).await.map_err(unavailable)?;
    let (now, messages) = (consumer.cached_info().num_pending, ask(&consumer).await?);
    let following = Following { consumer, messages, read: 0, unknown: 0, behind: 0 };
    let followed = stream::unfold(following, async |mut following| {
        let next = following.next().await?;
        Some((next, following))
    });
    Ok((now, followed.boxed()))
}

async fn ask(consumer: &Consumer<pull::Config>) -> Result<pull::Stream, Unavailable> {
    let request = consumer.stream().max_messages_per_batch(BATCH).expires(EXPIRES).heartbeat(HEARTBEAT);
    request.messages().await.map_err(unavailable)
}

/// A stream that is read.
struct Following {
    consumer: Consumer<pull::Config>,
    messages: pull::Stream,
    /// How many there were.
    read: u64,
    /// How often nobody knew the reader.
    unknown: u32,
    /// How many the server said that it had sent, when it was asked last.
    behind: u64,
}

impl Following {
    /// Whether the server has sent more than came. Where it does not say, its heartbeats tell whether it is there.
    async fn is_lost(&mut self) -> bool {
        let Ok(Ok(info)) = tokio::time::timeout(HEARTBEAT, self.consumer.get_info()).await else { return false };
        // What was sent just now is still on its way.
        info.delivered.consumer_sequence > self.read
            && std::mem::replace(&mut self.behind, info.delivered.consumer_sequence) > self.read
    }

    async fn next(&mut self) -> Option<Result<Followed, Unavailable>> {
        loop {
            let Ok(next) = tokio::time::timeout(QUIET, self.messages.next()).await else {
                match self.is_lost().await {
                    true => return Some(Err(lost(self.read + 1))),
                    false => continue,
                }
            };
            match next? {
                Ok(message) => {
                    self.read += 1;
                    return Some(followed(message, self.read));
                }
                // Servers of a cluster hear of a new reader one after the other.
                Err(error)
                    if error.kind() == MessagesErrorKind::NoResponders && self.read == 0 && self.unknown < UNKNOWN =>
                {
                    self.unknown += 1;
                    tokio::time::sleep(SOON).await;
                    match ask(&self.consumer).await {
                        Ok(messages) => self.messages = messages,
                        Err(error) => return Some(Err(error)),
                    }
                }
                Err(error) => return Some(Err(unavailable(error))),
            }
        }
    }
}

fn lost(number: u64) -> Unavailable {
    Unavailable(format!("message {number} of a reader was lost on the way"))
}

/// What is in a message, which is to be the one of this number that its reader was given.
fn followed(message: Message, number: u64) -> Result<Followed, Unavailable> {
    let info = message.info().map_err(unavailable)?;
    if info.consumer_sequence != number {
        return Err(lost(number));
    }
    let at_micros = i64::try_from(info.published.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX);
    let (sequence, pending) = (info.stream_sequence, info.pending);
    Ok(Followed { sequence, at_micros, pending, payload: message.message.payload })
}

fn unavailable(error: impl std::fmt::Display) -> Unavailable {
    Unavailable(error.to_string())
}
