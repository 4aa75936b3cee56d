//! The way to a room's home: in this process, or over one stream to the process that is home. Each operation is
//! answered exactly once, also when the other side is lost; what one connection sends to one room keeps its order.

use crate::{
    ask::{self, Answer, Ask, Claim},
    home::moving,
    homes::Homes,
};
use bytes::Bytes;
use futures_util::StreamExt;
use madang_mesh::{
    channel::Channels,
    metrics,
    shard::{ShardMap, shard_of},
    status::from_status,
    trace::{self, Kind, Span},
};
use madang_proto::{
    chat::v1::{OperateRequest, Operation, home_service_client::HomeServiceClient, outcome},
    id::{ConversationId, UserId},
    reason::{Reason, Refusal},
};
use prost::Message as _;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicUsize},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;

/// How many operations are on their way to one other process at most.
const IN_FLIGHT: usize = 8192;
/// How many bytes of them wait to be sent at most: a process that hangs takes none.
const BYTES: usize = 32 << 20;
/// How many are handed to its stream ahead.
const AHEAD: usize = 64;
/// How long a stream that ended at once is left alone: what comes meanwhile is refused, as it asks to be sent again after
/// the same time. Otherwise a process that is gone would be called anew by every operation, until its shards have moved.
const REOPEN: Duration = Duration::from_millis(200);

/// An operation, the trace that it belongs to, what it takes, and where its answer goes.
type Sent = (Operation, Bytes, Claim, Answer);

/// The way to one other process.
#[derive(Clone)]
struct Remote {
    operations: mpsc::Sender<Sent>,
    /// How many bytes wait.
    waiting: Arc<AtomicUsize>,
}

/// The way to every room's home.
#[derive(Clone)]
pub struct Router {
    homes: Homes,
    map: watch::Receiver<ShardMap>,
    process: String,
    channels: Channels,
    remotes: Arc<Mutex<HashMap<String, Remote>>>,
    max_text: usize,
}

fn not_home() -> Refusal {
    Refusal::new(Reason::NotHome, "another process is the home of this conversation: refresh the shard map")
}

impl Router {
    /// A router of this process.
    #[must_use]
    pub fn new(
        homes: Homes,
        map: watch::Receiver<ShardMap>,
        process: String,
        channels: Channels,
        max_text: usize,
    ) -> Self {
        Self { homes, map, process, channels, remotes: Arc::default(), max_text }
    }

    /// Takes an operation to its room's home, for the trace that is being worked for.
    pub fn submit(&self, operation: Operation, answer: Answer) {
        let shard = match self.shard(&operation) {
            Ok(shard) => shard,
            Err(refusal) => return answer(Err(refusal)),
        };
        if let Some(home) = self.homes.get(shard) {
            return self.ask(&home, operation, answer);
        }
        let remote = self.map.borrow().homes.get(&shard).filter(|home| home.process != self.process).cloned();
        match remote {
            Some(home) => self.send(&home.address, operation, answer),
            None => answer(Err(moving())),
        }
    }

    /// Takes an operation that another process sent here to its home, which must be here.
    pub fn submit_here(&self, operation: Operation, answer: Answer) {
        match self.shard(&operation).map(|shard| self.homes.get(shard)) {
            Ok(Some(home)) => self.ask(&home, operation, answer),
            Ok(None) => answer(Err(not_home())),
            Err(refusal) => answer(Err(refusal)),
        }
    }

    /// The shard of what the operation names; a first message names a person.
    fn shard(&self, operation: &Operation) -> Result<u32, Refusal> {
        let count = self.map.borrow().count;
        let conversation = match &operation.body {
            Some(madang_proto::chat::v1::operation::Body::Send(send)) if send.conversation.is_empty() => {
                let invalid = |_| {
                    Refusal::new(Reason::InvalidField, "user must be a user's id, or conversation be named").of("user")
                };
                let actor: UserId = operation.actor.parse().map_err(invalid)?;
                ConversationId::direct(actor, send.user.parse().map_err(invalid)?)
            }
            _ => ask::conversation_of(&operation.conversation)?,
        };
        Ok(shard_of(conversation.bytes(), count))
    }

    fn ask(&self, home: &crate::home::HomeHandle, operation: Operation, answer: Answer) {
        match ask::parse(operation, self.max_text) {
            Ok((conversation, actor, what, bytes)) => {
                let span = Span::within(trace::current(), "chat", "number", Kind::Server);
                let trace = span.context();
                let (claim, answer) = (Claim::of(bytes), ending(span, answer));
                home.ask(Ask { conversation, actor, what, claim, trace, answer });
            }
            Err(refusal) => answer(Err(refusal)),
        }
    }

    fn send(&self, address: &str, operation: Operation, answer: Answer) {
        let remote = {
            let mut remotes = self.remotes.lock().unwrap_or_else(PoisonError::into_inner);
            remotes.retain(|_, remote| !remote.operations.is_closed());
            match remotes.get(address) {
                Some(remote) => remote.clone(),
                None => {
                    let (operations, receiver) = mpsc::channel(IN_FLIGHT);
                    metrics::queue("router", "operations on the way to another chat-svc", &operations);
                    let new = Remote { operations, waiting: Arc::default() };
                    remotes.insert(address.to_owned(), new.clone());
                    tokio::spawn(carry_on(self.channels.clone(), address.to_owned(), receiver));
                    new
                }
            }
        };
        let trace = trace::current().map(|context| context.bytes()).unwrap_or_default();
        let mut claim = Claim::of(operation.encoded_len());
        let refused = match claim.take(&remote.waiting, BYTES) {
            true => match remote.operations.try_send((operation, trace, claim, answer)) {
                Ok(()) => return,
                Err(error) => error.into_inner().3,
            },
            false => answer,
        };
        crate::refusals::ROUTER.count();
        refused(Err(moving()));
    }
}

/// An answer with which a span ends.
fn ending(mut span: Span, answer: Answer) -> Answer {
    if span.context().is_none() {
        return answer;
    }
    Box::new(move |result| {
        result.iter().for_each(|ack| span.number("madang.seq", ack.seq));
        result.as_ref().err().into_iter().for_each(|refusal| span.refused(refusal));
        drop(span);
        answer(result);
    })
}

/// Carries operations to one process until the stream ends; then everything unanswered may be sent again.
async fn carry_on(channels: Channels, address: String, mut operations: mpsc::Receiver<Sent>) {
    let mut waiting: HashMap<u64, Answer> = HashMap::new();
    let reopen = Instant::now() + REOPEN;
    let why = carry(&channels, &address, &mut operations, &mut waiting).await;
    tracing::info!(%address, unanswered = waiting.len(), ?why, "the stream to another home ended");
    waiting.into_values().for_each(|answer| answer(Err(moving())));
    while Instant::now() < reopen
        && let Ok(Some((.., answer))) = timeout_at(reopen, operations.recv()).await
    {
        answer(Err(moving()));
    }
    operations.close();
    while let Ok((.., answer)) = operations.try_recv() {
        answer(Err(moving()));
    }
}

async fn carry(
    channels: &Channels,
    address: &str,
    operations: &mut mpsc::Receiver<Sent>,
    waiting: &mut HashMap<u64, Answer>,
) -> Result<(), Refusal> {
    let channel = channels.get(address).map_err(|error| Refusal::new(Reason::Unavailable, error.to_string()))?;
    let (sender, receiver) = mpsc::channel(AHEAD);
    let mut client = HomeServiceClient::new(channel);
    let opened = tokio::time::timeout(Duration::from_secs(3), client.operate(ReceiverStream::new(receiver))).await;
    let mut outcomes = opened.map_err(|_| moving())?.map_err(|status| from_status(&status))?.into_inner();
    let mut number = 0;
    loop {
        tokio::select! {
            Some((operation, trace, claim, answer)) = operations.recv(), if waiting.len() < IN_FLIGHT => {
                number += 1;
                waiting.insert(number, answer);
                sender.send(OperateRequest { number, operation: Some(operation), trace }).await.map_err(|_| moving())?;
                drop(claim);
            }
            outcome = outcomes.next() => {
                let Some(response) = outcome else { return Ok(()) };
                let response = response.map_err(|status| from_status(&status))?;
                if let Some(answer) = waiting.remove(&response.number) {
                    answer(match response.outcome.and_then(|outcome| outcome.result) {
                        Some(outcome::Result::Ack(ack)) => Ok(ack),
                        Some(outcome::Result::Error(error)) => Err(Refusal::from_error(&error)),
                        None => Err(moving()),
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use madang_proto::{chat::v1::operation::Body, client::v1::Send};
    use std::sync::atomic::Ordering;
    use tokio::{net::TcpListener, sync::oneshot};

    /// A process that hangs up on whoever calls it, and how often it was called.
    async fn hangs_up() -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        (address, calls)
    }

    /// How many operations a home refuses that is gone, until another stream to it may be opened.
    async fn refused_by_who_is_gone() -> u32 {
        let (address, calls) = hangs_up().await;
        let (sender, operations) = mpsc::channel(IN_FLIGHT);
        let began = Instant::now();
        let way = tokio::spawn(carry_on(Channels::new(), address, operations));
        let mut refused = 0;
        loop {
            let (answer, answered) = oneshot::channel();
            let answer: Answer = Box::new(move |result| drop(answer.send(result)));
            let sent = (Operation::default(), Bytes::new(), Claim::default(), answer);
            if sender.send(sent).await.is_err() {
                break;
            }
            let refusal = answered.await.expect("each operation is answered").unwrap_err();
            assert!(refusal.retry_after_ms > 0, "it may be sent again: {refusal:?}");
            refused += 1;
        }
        way.await.unwrap();
        assert!(began.elapsed() >= REOPEN, "another may be opened after {:?}", began.elapsed());
        assert!(calls.load(Ordering::Relaxed) <= 8, "{calls:?} calls: only those of the channel's own retries");
        refused
    }

    #[tokio::test]
    async fn what_waits_for_a_process_that_hangs_is_bounded_in_bytes() {
        let (_, map) = watch::channel(ShardMap::default());
        let router = Router::new(Homes::default(), map, "here".into(), Channels::new(), 1 << 20);
        let refused = Arc::new(AtomicUsize::new(0));
        let send = Send { text: "x".repeat(64 << 10), ..Send::default() };
        let operation = Operation { body: Some(Body::Send(send)), ..Operation::default() };
        // Nothing is taken from the queue, as long as this test gives nobody time to do it.
        for _ in 0..600 {
            let refused = refused.clone();
            let answer: Answer = Box::new(move |result| {
                let refusal = result.unwrap_err();
                assert!(refusal.reason.retryable() && refusal.retry_after_ms > 0, "{refusal:?}");
                refused.fetch_add(1, Ordering::Relaxed);
            });
            router.send("http://127.0.0.1:9", operation.clone(), answer);
        }
        let most = BYTES / operation.encoded_len();
        assert_eq!(refused.load(Ordering::Relaxed), 600 - most);
        let remote = router.remotes.lock().unwrap()["http://127.0.0.1:9"].clone();
        assert_eq!(
            remote.waiting.load(Ordering::Relaxed),
            most * operation.encoded_len(),
            "what was refused takes none"
        );
    }

    #[tokio::test]
    async fn a_home_that_is_gone_is_not_called_anew_by_every_operation() {
        for _ in 0..5 {
            // A machine that is busy with other things may hold up the second until that time is over.
            if refused_by_who_is_gone().await > 1 {
                return;
            }
        }
        panic!("operations are refused meanwhile");
    }
}
