//! What a home's rooms cost: a million are used, one in a hundred of them all the time, in the memory that the setting
//! allows. Run by hand (docs/benchmarks.md): it takes a minute or two.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use madang_chat::{
    ask::{Ask, Claim, What},
    connection::{self, Connections},
    fan_out::FanOut,
    home::{self, HomeHandle, Memory, Sources, World},
    inbox::{self, Heard, Inbox},
    notices::Notices,
    retry::{Key, Use},
    room::facts::Facts,
    room::{Limits, Request},
    typing::Typing,
};
use madang_mesh::{
    channel::Channels,
    lease::Tenure,
    log::{Bounds, Entries, Entry, Error, Log, Position},
    registry::{Registry, memory::MemoryRegistry},
    shard::{Shard, ShardMap},
};
use madang_proto::{
    client::v1::Content,
    group::v1::RoomState,
    id::{ClientId, ConversationId, UserId},
    reason::Refusal,
};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: madang_mesh::process::Allocator = madang_mesh::process::Allocator;

const ROOMS: usize = 1_000_000;
const LIVE: usize = 10_000;
const LIMIT: usize = 256 << 20;

/// A log that keeps its newest record only.
#[derive(Default)]
struct Thin {
    last: AtomicU64,
    newest: Mutex<Bytes>,
}

#[async_trait]
impl Log for Thin {
    async fn create(&self, _: Shard) -> Result<(), Error> {
        Ok(())
    }
    async fn append(&self, _: Shard, payload: Bytes, _: Option<Position>) -> Result<Position, Error> {
        *self.newest.lock().unwrap() = payload;
        Ok(self.last.fetch_add(1, SeqCst) + 1)
    }
    async fn bounds(&self, _: Shard) -> Result<Bounds, Error> {
        let last = self.last.load(SeqCst);
        Ok(Bounds { first: last.max(1), last, bytes: 0 })
    }
    async fn read(&self, _: Shard, position: Position) -> Result<Entries, Error> {
        let payload = self.newest.lock().unwrap().clone();
        Ok(stream::iter([Ok(Entry { position, at_micros: madang_mesh::clock::now_micros(), payload })]).boxed())
    }
    async fn trim(&self, _: Shard, _: Position) -> Result<(), Error> {
        Ok(())
    }
}

struct Nowhere;

#[async_trait]
impl Inbox for Nowhere {
    async fn create(&self, _: Shard) -> Result<(), inbox::Unavailable> {
        Ok(())
    }
    async fn publish(&self, _: Shard, _: Option<UserId>, _: Bytes) -> Result<(), inbox::Unavailable> {
        Ok(())
    }
    async fn announce(&self, _: Shard, _: Bytes) -> Result<(), inbox::Unavailable> {
        Ok(())
    }
    async fn read(&self, _: Shard) -> Result<BoxStream<'static, Heard>, inbox::Unavailable> {
        Ok(stream::pending().boxed())
    }
}

/// Databases that know no room: whoever asks twice for one that was used has forgotten it.
#[derive(Default)]
struct Empty {
    asked: AtomicUsize,
}

#[async_trait]
impl Sources for Empty {
    async fn rooms(&self, ids: &[ConversationId], _: u64) -> Result<HashMap<ConversationId, RoomState>, Refusal> {
        self.asked.fetch_add(ids.len(), SeqCst);
        Ok(HashMap::new())
    }
    async fn client_ids(&self, _: ConversationId, _: i64, _: u64) -> Result<Vec<(Key, Use)>, Refusal> {
        Ok(Vec::new())
    }
    async fn message(&self, _: ConversationId, _: u64, _: u64) -> Result<Facts, Refusal> {
        unreachable!("nothing is changed")
    }
    async fn known(&self, users: &HashSet<UserId>) -> Result<HashSet<UserId>, Refusal> {
        Ok(users.clone())
    }
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// One message in each of these rooms.
async fn talk(home: &HomeHandle, rooms: &[(UserId, UserId)]) {
    for some in rooms.chunks(1000) {
        let mut answers = Vec::new();
        for (from, to) in some {
            let (answer, answered) = oneshot::channel();
            let client_id = ClientId::now();
            let content = Content { text: "hello there".into(), ..Content::default() };
            let request = Request::Send { first_to: Some(*to), client_id, hash: 1, content };
            let what = What::Request(request, client_id.at_ms().unwrap());
            let conversation = ConversationId::direct(*from, *to);
            let answer = Box::new(move |result| drop(answer.send(result)));
            home.ask(Ask { conversation, actor: Some(*from), what, claim: Claim::of(100), trace: None, answer });
            answers.push(answered);
        }
        for each in answers {
            each.await.unwrap().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: see docs/benchmarks.md"]
async fn a_million_rooms_of_which_one_in_a_hundred_is_live() {
    let (log, sources, registry) =
        (Arc::new(Thin::default()), Arc::new(Empty::default()), Arc::new(MemoryRegistry::new()));
    let (cancel, channels, inbox) = (CancellationToken::new(), Channels::new(), Arc::new(Nowhere));
    let (_, held) = watch::channel(BTreeSet::new());
    let (_, map) = watch::channel(ShardMap::default());
    let fan_out = FanOut::spawn(inbox.clone(), 1, "test".into(), cancel.clone());
    let peers = connection::Peers {
        fan_out: fan_out.clone(),
        map: watch::Receiver::clone(&map),
        process: "test".into(),
        channels: channels.clone(),
        registry: registry.clone(),
    };
    let config = connection::Config { shards: 1, devices: 16, tail_bytes: 1 << 20 };
    let connections = Connections::spawn(
        inbox,
        Arc::new(peers),
        config,
        madang_chat::presence::Board::new(1, false),
        held,
        cancel.clone(),
    );
    let memory = Memory::new(LIMIT);
    let notices = Notices::new(connections, map, "test".into(), channels);
    let world = World {
        log: log.clone(),
        registry: registry.clone(),
        fan_out,
        typing: Typing::new(notices.clone(), sources.clone()),
        notices,
        sources: sources.clone(),
        process: "test".into(),
        format: madang_proto::record::USUAL,
        limits: Limits { members: 200 },
        memory: memory.clone(),
        lag_bytes: 256 << 20,
        tenure: Tenure::endless(),
    };
    let (sender, serving) = oneshot::channel();
    let task = tokio::spawn(home::run(0, world, None, |handle| drop(sender.send(handle)), cancel.clone()));
    let home = serving.await.unwrap();
    // The databases have everything within a moment.
    let written = tokio::spawn(async move {
        loop {
            let last = log.last.load(SeqCst).to_string();
            for reader in ["store", "group"] {
                registry.put(&format!("progress.{reader}.0"), last.clone().into()).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    let before = resident();
    let pair = |_| (UserId::new(), UserId::new());
    let live: Vec<_> = (0..LIVE).map(pair).collect();
    let mut most = 0;
    for round in 0..(ROOMS - LIVE) / 10_000 {
        talk(&home, &live[(round % 10) * 1000..][..1000]).await;
        talk(&home, &(0..10_000).map(pair).collect::<Vec<_>>()).await;
        most = most.max(resident() - before);
    }
    let asked = sources.asked.load(SeqCst);
    println!(
        "{asked} rooms used; at most {} MiB resident, of which {} MiB are counted for rooms (limit {} MiB)",
        most >> 20,
        memory.used() >> 20,
        LIMIT >> 20
    );
    assert_eq!(asked, ROOMS, "each room was looked for once: a live one is never forgotten");
    assert!(most < 512 << 20);
    written.abort();
    cancel.cancel();
    task.await.unwrap().unwrap();
}
