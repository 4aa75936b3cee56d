//! An answer comes after the log has it, and not if it does not.

mod amend;
mod blocks;
mod bounds;
mod faults;
mod hand_over;
mod marks;
mod retries;
mod settings;
mod stage;

use super::*;
use crate::{
    ask::Claim,
    connection::{self, Connections},
    inbox::memory::MemoryInbox,
    room,
};
use async_trait::async_trait;
use bytes::Bytes;
use madang_mesh::{
    channel::Channels,
    lease::Tenure,
    log::{Bounds, Entries, Error},
    registry::memory::MemoryRegistry,
    shard::ShardMap,
};
use madang_proto::{
    account::v1::account_service_client::AccountServiceClient,
    client::v1::{Ack, Content},
    group::v1::group_service_client::GroupServiceClient,
    id::{ClientId, UserId},
    store::v1::store_service_client::StoreServiceClient,
};
use std::collections::BTreeSet;
use tokio::sync::{Semaphore, oneshot, watch};

/// A log that appends when it is allowed to; `asked` says that it was asked to.
struct Gate {
    asked: Semaphore,
    allowed: Semaphore,
    answer: Result<Position, Error>,
}

#[async_trait]
impl Log for Gate {
    async fn create(&self, _: Shard) -> Result<(), Error> {
        Ok(())
    }
    async fn append(&self, _: Shard, _: Bytes, _: Option<Position>) -> Result<Position, Error> {
        self.asked.add_permits(1);
        self.allowed.acquire().await.unwrap().forget();
        self.answer.clone()
    }
    async fn bounds(&self, _: Shard) -> Result<Bounds, Error> {
        Err(Error::Full)
    }
    async fn read(&self, _: Shard, _: Position) -> Result<Entries, Error> {
        Err(Error::Full)
    }
    async fn trim(&self, _: Shard, _: Position) -> Result<(), Error> {
        Ok(())
    }
}

fn home(log: Arc<Gate>, conversation: ConversationId) -> Home {
    let (cancel, channels, inbox) = (CancellationToken::new(), Channels::new(), Arc::new(MemoryInbox::new()));
    let (_, held) = watch::channel(BTreeSet::new());
    let (_, map) = watch::channel(ShardMap::default());
    let fan_out = FanOut::spawn(inbox.clone(), 1, "test".into(), cancel.clone());
    let registry = Arc::new(MemoryRegistry::new());
    let peers = connection::Peers {
        fan_out: fan_out.clone(),
        map: watch::Receiver::clone(&map),
        process: "test".into(),
        channels: channels.clone(),
        registry: registry.clone(),
    };
    let config = connection::Config { shards: 1, devices: 16, tail_bytes: 1 << 20 };
    let connections =
        Connections::spawn(inbox, Arc::new(peers), config, crate::presence::Board::new(1, false), held, cancel);
    let nowhere = channels.get("http://127.0.0.1:1").unwrap();
    let sources = Arc::new(Services {
        group: GroupServiceClient::new(nowhere.clone()),
        store: StoreServiceClient::new(nowhere.clone()),
        account: AccountServiceClient::new(nowhere),
    });
    let notices = Notices::new(connections, map, "test".into(), channels);
    let world = World {
        log,
        registry,
        fan_out,
        typing: Typing::new(notices.clone(), sources.clone()),
        notices,
        sources,
        process: "test".into(),
        format: madang_proto::record::USUAL,
        limits: Limits { members: 10 },
        memory: Memory::new(1 << 20),
        lag_bytes: 256 << 20,
        tenure: Tenure::endless(),
    };
    // Found not to be there just now, and that the peer is somebody.
    let absent = Absent { both_known: Some(true), full: (false, false), blocks: room::Blocks::None };
    Home { absent: HashMap::from([(conversation, absent)]), ..Home::new(0, world, 1, Pressure::new(1, []), 1) }
}

/// A first message; what is answered once the log has been allowed to answer so. Nothing may be before.
async fn answered(answer: Result<Position, Error>) -> Result<Ack, Refusal> {
    let (ann, bob) = (UserId::new(), UserId::new());
    let conversation = ConversationId::direct(ann, bob);
    let log = Arc::new(Gate { asked: Semaphore::new(0), allowed: Semaphore::new(0), answer });
    let mut home = home(log.clone(), conversation);
    let (asks, mut receiver) = mpsc::channel(8);
    let (answer, mut answered) = oneshot::channel();
    let content = Content { text: "hi".into(), ..Content::default() };
    let request = room::Request::Send { first_to: Some(bob), client_id: ClientId::now(), hash: 1, content };
    let answer = Box::new(move |result| drop(answer.send(result)));
    let what = What::Request(request, now_micros() / 1000);
    asks.send(Ask { conversation, actor: Some(ann), what, claim: Claim::default(), trace: None, answer })
        .await
        .ok()
        .unwrap();
    let serving = tokio::spawn(async move { home.serve(&mut receiver, CancellationToken::new()).await });
    log.asked.acquire().await.unwrap().forget();
    for _ in 0..100 {
        tokio::task::yield_now().await;
        assert!(answered.try_recv().is_err(), "answered before the log has it");
    }
    log.allowed.add_permits(1);
    let result = answered.await.unwrap();
    serving.abort();
    result
}

#[tokio::test]
async fn nobody_is_answered_before_the_log_has_it() {
    let ack = answered(Ok(2)).await.unwrap();
    assert_eq!((ack.seq, ack.duplicate), (1, false));
}

#[tokio::test]
async fn what_the_log_does_not_take_is_refused() {
    let refused = answered(Err(Error::Full)).await.unwrap_err();
    assert_eq!((refused.reason, refused.reason.retryable()), (Reason::Unavailable, true));
    let fenced = answered(Err(Error::Conflict { expected: 1 })).await.unwrap_err();
    assert_eq!((fenced.reason, fenced.reason.retryable()), (Reason::Unavailable, true));
}
