//! All conversations' events, for who reads everything: moderation, billing, search. They are read from the records that the
//! store keeps, whichever replica reads the log; a consumer goes on from its cursor at any of them. One record after another
//! of each shard in turn, so that no shard waits for another's backlog.

use super::{
    History,
    place::{Place, too_old},
};
use crate::messages::{Messages, feed::Kept};
use futures_util::{StreamExt, stream, stream::BoxStream};
use madang_mesh::{log::Position, shard::Shard, status::to_status};
use madang_proto::{
    client::v1::{self as client, Message, event::Body},
    event::to_client,
    id::ConversationId,
    log::v1::{LoggedEvent, logged_event},
    reason::{Reason, Refusal},
    store::v1::{StreamEventsRequest, StreamEventsResponse},
};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// How many consumers one process serves, at most.
pub(crate) const CONSUMERS: usize = 16;
/// How many records are read at once: at most 512 KiB each.
const RECORDS: usize = 16;
/// How many events' texts are read at once.
const EVENTS: usize = 100;
/// How many answers wait for a consumer.
const WAITING: usize = 16;
/// How long they may wait.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is said how far one is while nothing happens.
const QUIET: Duration = Duration::from_secs(30);

type Answers = BoxStream<'static, Result<StreamEventsResponse, Status>>;

fn slow() -> Refusal {
    let message = "the events were not taken for 30 s: go on from the last cursor, and take them as they come";
    Refusal::new(Reason::Overloaded, message)
}

fn leaving() -> Refusal {
    Refusal::new(Reason::Unavailable, "this replica is stopping: go on from the last cursor").after(100)
}

fn unreadable(error: impl std::fmt::Display) -> Refusal {
    tracing::error!(%error, "the events of all conversations can't be read");
    Refusal::new(
        Reason::Unavailable,
        "the events can't be read at the moment: go on from the last cursor a little later",
    )
    .after(1000)
}

impl History {
    pub(super) async fn stream(&self, request: StreamEventsRequest) -> Result<Answers, Status> {
        let permit = self.consumers.clone().try_acquire_owned().map_err(|_| {
            let message = format!("this replica serves {CONSUMERS} consumers already: end one, or ask another replica");
            to_status(&Refusal::new(Reason::Overloaded, message).after(5000))
        })?;
        let place = self.begin(request).await.map_err(|refusal| to_status(&refusal))?;
        let (answers, receiver) = mpsc::channel(WAITING);
        let (say_why, why) = oneshot::channel();
        let (store, shards, ending) = (self.store.clone(), self.settings.shards, self.ending.clone());
        let consumer = Consumer { store, shards, place, answers };
        let projection = self.projection.clone();
        tokio::spawn(async move {
            let refusal = consumer.run(&projection, permit, ending).await;
            drop(say_why.send(Err(to_status(&refusal))));
        });
        let answers = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
        let end = stream::once(why).filter_map(async |why| why.ok());
        Ok(answers.map(Ok).chain(end).boxed())
    }

    /// Where a consumer begins.
    async fn begin(&self, request: StreamEventsRequest) -> Result<Place, Refusal> {
        let StreamEventsRequest { cursor, latest } = request;
        let shards = self.settings.shards;
        let reached = self.store.cursors(shards).await.map_err(unreadable)?;
        if cursor.is_empty() && latest {
            return Ok(Place::new(reached));
        }
        let mut oldest = Vec::with_capacity(reached.len());
        for shard in 0..shards {
            oldest.push(self.store.oldest(shard).await.map_err(unreadable)?);
        }
        if cursor.is_empty() {
            return Ok(Place::new(oldest.into_iter().map(|position| position.saturating_sub(1)).collect()));
        }
        let place = Place::read(&cursor, shards)?;
        for (shard, (oldest, reached)) in (0..shards).zip(oldest.into_iter().zip(reached)) {
            let at = place.at(shard);
            // Further than the log: it was begun anew since.
            let beyond = at > reached && at > self.log.bounds(shard).await.map_err(unreadable)?.last;
            if at + 1 < oldest || beyond {
                return Err(too_old());
            }
        }
        Ok(place)
    }
}

/// Who reads everything.
struct Consumer {
    store: Arc<dyn Messages>,
    shards: u32,
    place: Place,
    answers: mpsc::Sender<StreamEventsResponse>,
}

impl Consumer {
    /// Goes on until something ends it; what that was.
    async fn run(
        mut self,
        projection: &crate::projection::Projection,
        _permit: OwnedSemaphorePermit,
        ending: CancellationToken,
    ) -> Refusal {
        let mut looks = projection.looks();
        let forever = async {
            // So that it has a cursor before anything happens.
            self.answer(None).await?;
            let mut said = Instant::now();
            loop {
                if self.round().await? {
                    (looks, said) = (projection.looks(), Instant::now());
                    continue;
                }
                if said.elapsed() >= QUIET {
                    self.answer(None).await?;
                    said = Instant::now();
                }
                drop(timeout_at(said + QUIET, looks.again()).await);
                if self.answers.is_closed() {
                    return Err(leaving());
                }
            }
        };
        let ended: Result<(), Refusal> = tokio::select! {
            ended = forever => ended,
            () = ending.cancelled() => Err(leaving()),
        };
        ended.err().unwrap_or_else(leaving)
    }

    /// Gives what there is, some of each shard; whether there was an event.
    async fn round(&mut self) -> Result<bool, Refusal> {
        let reached = self.store.cursors(self.shards).await.map_err(unreadable)?;
        let mut any = false;
        // A record that was begun goes first: a cursor can name one only.
        let begun = self.place.begun();
        for shard in begun.into_iter().chain((0..self.shards).filter(|shard| Some(*shard) != begun)) {
            let (after, upto) = (self.place.at(shard), reached.get(shard as usize).copied().unwrap_or_default());
            if after < upto {
                any |= self.records(shard, after, upto).await?;
            }
        }
        Ok(any)
    }

    async fn records(&mut self, shard: Shard, after: Position, upto: Position) -> Result<bool, Refusal> {
        let records = self.store.records(shard, after, upto, RECORDS).await.map_err(unreadable)?;
        let gap = (after + 1..).zip(&records).find(|(position, record)| record.position != *position);
        if let Some(position) = gap.map(|(position, _)| position).or(records.is_empty().then_some(after + 1)) {
            // Never skipped, whatever the reason.
            if position < self.store.oldest(shard).await.map_err(unreadable)? {
                return Err(too_old());
            }
            return Err(unreadable(format!("record {position} of shard {shard} is not there")));
        }
        let mut any = false;
        for record in records {
            any |= self.record(shard, &record).await?;
            self.place.passed(shard, record.position);
        }
        Ok(any)
    }

    async fn record(&mut self, shard: Shard, record: &Kept) -> Result<bool, Refusal> {
        let events = record.read().map_err(unreadable)?;
        let begin = self.place.within(shard).min(events.len());
        let last = events.len();
        let mut handled = begin;
        for some in events[begin..].chunks(EVENTS) {
            let shown = self.shown(some).await?;
            for event in shown {
                handled += 1;
                if handled == last {
                    self.place.passed(shard, record.position);
                } else {
                    self.place.handled(shard, handled);
                }
                self.answer(Some(event)).await?;
            }
        }
        Ok(begin < last)
    }

    /// As clients see them, with the texts of now.
    async fn shown(&self, events: &[LoggedEvent]) -> Result<Vec<client::Event>, Refusal> {
        let wanted: Vec<(ConversationId, u64)> = events.iter().filter_map(message_of).collect();
        let found = self.store.messages(wanted).await.map_err(unreadable)?;
        let now: HashMap<(ConversationId, u64), Message> =
            found.into_iter().map(|(id, message)| ((id, message.seq), message)).collect();
        let shown = events.iter().map(|event| {
            let mut shown = to_client(event);
            if let Some((id, seq)) = message_of(event) {
                let now = now.get(&(id, seq)).cloned();
                let now = now.ok_or_else(|| unreadable(format!("message {seq} of {id} is not there")))?;
                shown.body = Some(match shown.body {
                    Some(Body::Edited(_)) => {
                        let Message { text, reply_to, mentions, attachments, r#type, data, .. } = now;
                        Body::Edited(client::Edited { seq, text, reply_to, mentions, attachments, r#type, data })
                    }
                    _ => Body::Message(now),
                });
            }
            Ok(shown)
        });
        shown.collect()
    }

    async fn answer(&self, event: Option<client::Event>) -> Result<(), Refusal> {
        let answer = StreamEventsResponse { cursor: self.place.text(), event };
        match timeout(PATIENCE, self.answers.send(answer)).await {
            Ok(Ok(())) => Ok(()),
            // Nobody is there to be told.
            Ok(Err(_)) => Err(leaving()),
            Err(_) => Err(slow()),
        }
    }
}

/// The message whose text an event shows.
fn message_of(event: &LoggedEvent) -> Option<(ConversationId, u64)> {
    let seq = match event.body.as_ref()? {
        logged_event::Body::Message(_) => event.last_seq,
        logged_event::Body::Edited(edited) => edited.seq,
        _ => return None,
    };
    Some((ConversationId::from_slice(&event.conversation).ok()?, seq))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::sqlite::SqliteMessages;

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_for_long_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteMessages::open(folder.path()).unwrap());
        let (answers, mut taken) = mpsc::channel(WAITING);
        let consumer = Consumer { store, shards: 1, place: Place::new(vec![0]), answers };
        for _ in 0..WAITING {
            consumer.answer(None).await.unwrap();
        }
        let begin = Instant::now();
        assert_eq!(consumer.answer(None).await.unwrap_err().reason, Reason::Overloaded);
        assert!(begin.elapsed() >= PATIENCE);
        taken.recv().await.unwrap();
        consumer.answer(None).await.unwrap();
        drop(taken);
        assert_eq!(consumer.answer(None).await.unwrap_err().reason, Reason::Unavailable, "nobody is there");
    }
}
