//! A consumer of all conversations' events, which checks that it misses nothing: of each conversation every event comes, by
//! its revision and without a gap, and every message by its number.

use crate::{PATIENCE, until};
use futures_util::StreamExt;
use madang_mesh::{
    channel::{Channel, Channels},
    status::from_status,
};
use madang_proto::{
    client::v1::{Event, event::Body},
    reason::Reason,
    store::v1::{StreamEventsRequest, StreamEventsResponse, store_service_client::StoreServiceClient},
};
use std::{collections::HashMap, time::Duration};
use tonic::{
    Code, Request, Status, Streaming,
    service::{Interceptor, interceptor::InterceptedService},
};

/// A service's token, where one is asked for.
#[derive(Clone)]
pub struct Signed(Option<String>);

impl Interceptor for Signed {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        Ok(request)
    }
}

/// A store-svc, as a consumer calls it.
pub type Store = StoreServiceClient<InterceptedService<Channel, Signed>>;

/// The store-svc at an address.
#[must_use]
pub fn store(address: &str, token: Option<String>) -> Store {
    StoreServiceClient::with_interceptor(Channels::new().get(address).unwrap(), Signed(token))
}

/// What it has, and from where it goes on.
#[derive(Default)]
pub struct Consumer {
    /// Of the last answer.
    pub cursor: String,
    /// Of each conversation the newest revision and message.
    pub newest: HashMap<String, (u64, u64)>,
    /// All events, in the order in which they came.
    pub events: Vec<Event>,
    /// How often it had to begin anew from its cursor.
    pub again: usize,
}

impl Consumer {
    fn take(&mut self, event: Event) {
        let (revision, seq) = self.newest.entry(event.conversation.clone()).or_default();
        assert_eq!(event.revision, *revision + 1, "the next event of {}", event.conversation);
        *revision += 1;
        if let Some(Body::Message(message)) = &event.body {
            assert_eq!(message.seq, *seq + 1, "the next message of {}", event.conversation);
            *seq += 1;
        }
        assert_eq!(event.last_seq, *seq);
        self.events.push(event);
    }

    /// Begins to read, from its cursor.
    pub async fn open(&self, store: &Store) -> Result<Streaming<StreamEventsResponse>, Status> {
        let request = StreamEventsRequest { cursor: self.cursor.clone(), latest: false };
        Ok(store.clone().stream_events(request).await?.into_inner())
    }

    /// Reads until it is enough, or the stream ends: with what it ended.
    pub async fn read(&mut self, store: &Store, enough: impl Fn(&Self) -> bool) -> Result<(), Status> {
        let mut answers = self.open(store).await?;
        self.go_on(&mut answers, enough).await
    }

    /// Reads on what it has begun to read.
    pub async fn go_on(
        &mut self,
        answers: &mut Streaming<StreamEventsResponse>,
        enough: impl Fn(&Self) -> bool,
    ) -> Result<(), Status> {
        loop {
            let waited = tokio::time::timeout(PATIENCE, answers.next()).await;
            let answer = waited.unwrap_or_else(|_| panic!("nothing comes after {} events", self.events.len()));
            let answer = answer.ok_or_else(|| Status::unavailable("it ended"))??;
            self.cursor = answer.cursor;
            if let Some(event) = answer.event {
                self.take(event);
            }
            if enough(self) {
                return Ok(());
            }
        }
    }

    /// The same, beginning anew from the cursor whenever the stream ends.
    pub async fn follow(&mut self, stores: &[Store], enough: impl Fn(&Self) -> bool) {
        for store in stores.iter().cycle() {
            match self.read(store, &enough).await {
                Ok(()) => return,
                Err(ended) => {
                    assert!(may_again(&ended), "{ended:?}");
                    self.again += 1;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Whether a stream that ended so goes on from its cursor: its store has gone, or this machine held it up.
fn may_again(ended: &Status) -> bool {
    matches!(ended.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded)
}

/// A long text, so that few messages are more than what stands between a store and a consumer.
#[must_use]
pub fn long(number: usize) -> String {
    format!("{number} {}", "x".repeat(60_000))
}

/// How many of them [`check_slow`] is to be told of.
pub const MANY: usize = 400;

/// Checks what becomes of a consumer that takes nothing while all is said: `say` says [`MANY`] long texts in a conversation
/// (its messages 1 to [`MANY`]), and `take_back` then takes back the one of a number.
///
/// What was taken back before it was its turn does not reach the slow one any more: so it did not wait anywhere for it,
/// though 18 MB stood before it. A consumer beside it has all of it meanwhile.
pub async fn check_slow(store: &Store, say: impl Future<Output = ()>, take_back: impl AsyncFnOnce(u64)) {
    let mut slow = Consumer::default();
    let stores = std::slice::from_ref(store);
    let mut waiting = slow.open(store).await.unwrap();
    slow.go_on(&mut waiting, |slow| !slow.cursor.is_empty()).await.unwrap();
    say.await;
    let messages = |consumer: &Consumer| consumer.newest.values().map(|(_, seq)| seq).sum::<u64>();
    let mut quick = Consumer::default();
    quick.follow(stores, |quick| messages(quick) == MANY as u64).await;
    let taken = MANY as u64 * 3 / 4;
    take_back(taken).await;
    quick
        .follow(stores, |quick| {
            matches!(quick.events.last().and_then(|last| last.body.as_ref()), Some(Body::Deleted(_)))
        })
        .await;

    let all = |slow: &Consumer| slow.newest == quick.newest;
    if let Err(ended) = slow.go_on(&mut waiting, all).await {
        // On a machine that is busy with other things it may have been over 30 s: it goes on from its cursor.
        assert!(ended.code() == Code::ResourceExhausted || may_again(&ended), "{ended:?}");
        slow.follow(stores, all).await;
    }
    let said = |consumer: &Consumer, number: u64| {
        let message = consumer.events.iter().find_map(|event| match &event.body {
            Some(Body::Message(message)) if message.seq == number => Some(message),
            _ => None,
        });
        let message = message.unwrap();
        (message.deleted, message.text.is_empty())
    };
    assert_eq!((said(&quick, taken), said(&slow, taken)), ((false, false), (true, true)), "of message {taken}");
    assert_eq!(said(&slow, MANY as u64), (false, false));
    assert_eq!(slow.events.len(), quick.events.len());
}

/// Checks a consumer whose place is let go of: `age` makes the store forget what is old enough. It is told so, and whoever
/// begins without a cursor gets what is left, as does who has a cursor in it.
pub async fn check_aged(store: &Store, age: impl Future<Output = ()>) {
    let mut all = Consumer::default();
    let mut waiting = all.open(store).await.unwrap();
    all.go_on(&mut waiting, |all| all.events.len() == 1).await.unwrap();
    let old = all.cursor.clone();
    drop(waiting);
    let begin = async |cursor: &str, latest: bool| {
        until("a stream begins", async || {
            let request = StreamEventsRequest { cursor: cursor.into(), latest };
            let first = match store.clone().stream_events(request).await {
                Ok(answers) => answers.into_inner().message().await,
                Err(refused) => Err(refused),
            };
            first.map_or_else(|ended| (!may_again(&ended)).then_some(Err(ended)), |first| Some(Ok(first)))
        })
        .await
    };
    let newest = begin("", true).await.unwrap().unwrap().cursor;
    age.await;
    let refused = begin(&old, false).await.unwrap_err();
    assert_eq!(from_status(&refused).reason, Reason::TooOld, "{refused:?}");
    begin(&newest, false).await.unwrap();
    begin("", false).await.unwrap();
}
