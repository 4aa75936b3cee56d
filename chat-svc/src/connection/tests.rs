//! Connections over an inbox in memory: new, resumed, too far behind.

use super::*;
use crate::{
    fan_out::{Committed, FanOut, Outgoing, Rewound},
    inbox::memory::MemoryInbox,
};
use async_trait::async_trait;
use futures_util::StreamExt;
use madang_mesh::log::Position;
use madang_proto::{
    chat::v1::{ClosedReason, Downstream, downstream::Item},
    client::v1::{Device, Event, Resume, ServerFrame, server_frame},
};
use prost::Message as _;
use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering::SeqCst},
};

mod broken;
mod faulty;
mod frozen;
mod trunk;

/// The homes of all sources: one fan-out, which may be replaced; and what the databases have.
struct Homes {
    fan_out: Mutex<FanOut>,
    stored: AtomicU64,
}

#[async_trait]
impl Origins for Homes {
    async fn rewind(&self, source: Shard, destination: Shard, after: Option<Position>) -> Option<Rewound> {
        self.fan_out.lock().unwrap().rewind(source, destination, after)
    }

    async fn stored(&self, _: Shard) -> Option<Position> {
        Some(self.stored.load(SeqCst))
    }
}

struct Rig {
    inbox: Arc<dyn Inbox>,
    homes: Arc<Homes>,
    connections: Connections,
    held: watch::Sender<BTreeSet<Shard>>,
}

/// Two sources; the users of shard 0 are served.
fn rig_on(inbox: Arc<dyn Inbox>, tail_bytes: usize) -> Rig {
    let fan_out = FanOut::spawn(inbox.clone(), 2, "test".into(), CancellationToken::new());
    fan_out.resume(0, &[], 1);
    fan_out.resume(1, &[], 1);
    let homes = Arc::new(Homes { fan_out: Mutex::new(fan_out), stored: AtomicU64::new(0) });
    let held = watch::Sender::new(BTreeSet::from([0]));
    let connections = serve(&inbox, &homes, &held, tail_bytes);
    Rig { inbox, homes, connections, held }
}

fn serve(
    inbox: &Arc<dyn Inbox>,
    homes: &Arc<Homes>,
    held: &watch::Sender<BTreeSet<Shard>>,
    tail_bytes: usize,
) -> Connections {
    let config = Config { shards: 2, devices: 16, tail_bytes };
    Connections::spawn(
        inbox.clone(),
        homes.clone(),
        config,
        Board::new(2, false),
        held.subscribe(),
        CancellationToken::new(),
    )
}

fn rig() -> Rig {
    rig_on(Arc::new(MemoryInbox::new()), 64 << 20)
}

/// Somebody of shard 0.
fn somebody() -> UserId {
    loop {
        let user = UserId::new();
        if shard_of(user.bytes(), 2) == 0 {
            return user;
        }
    }
}

type Items = BoxStream<'static, Downstream>;

fn items(responses: BoxStream<'static, Result<ConnectResponse, Status>>) -> Items {
    responses.flat_map(|response| futures_util::stream::iter(response.unwrap().items)).boxed()
}

/// One try to open a connection: what came of it.
async fn ask(rig: &Rig, user: UserId, device: &str, resume: &str) -> (TrunkHandle, Items, Downstream) {
    // The shard's task registers itself in the background.
    while rig.connections.shard(&user).is_none() {
        tokio::task::yield_now().await;
    }
    let (trunk, responses) = rig.connections.trunk();
    let device = Some(Device { id: device.into(), ..Device::default() });
    trunk.open(1, Open { user: user.to_string(), device, resume: resume.into(), ..Open::default() }).await;
    let mut items = items(responses);
    let first = items.next().await.unwrap();
    (trunk, items, first)
}

fn closed(item: &Downstream) -> Option<ClosedReason> {
    match &item.item {
        Some(Item::Closed(closed)) => Some(closed.reason()),
        _ => None,
    }
}

/// Opens a connection as gateways do: again while it can't be yet.
async fn open(rig: &Rig, user: UserId, device: &str, resume: &str) -> (TrunkHandle, Items) {
    loop {
        let (trunk, items, first) = ask(rig, user, device, resume).await;
        if closed(&first) == Some(ClosedReason::Unavailable) {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        }
        return (trunk, futures_util::stream::iter([first]).chain(items).boxed());
    }
}

async fn opened(items: &mut Items) -> (Resume, String) {
    match items.next().await.unwrap().item {
        Some(Item::Opened(opened)) => (opened.resume(), opened.cursor),
        other => panic!("{other:?}"),
    }
}

/// The next event's revision and cursor; none: `live`.
async fn next(items: &mut Items) -> Option<(u64, String)> {
    let Some(Item::Frame(frame)) = items.next().await.unwrap().item else { panic!("no frame") };
    match ServerFrame::decode(frame).unwrap().body.unwrap() {
        server_frame::Body::Event(event) => Some((event.revision, event.cursor)),
        server_frame::Body::Live(_) => None,
        other => panic!("{other:?}"),
    }
}

async fn commit_of(rig: &Rig, shard: Shard, position: u64, users: &[UserId]) {
    let event = Event { revision: position, ..Event::default() }.encode_to_vec().into();
    let deliveries = vec![Outgoing { event, recipients: users.into(), trace: Bytes::new() }];
    let fan_out = rig.homes.fan_out.lock().unwrap().clone();
    fan_out.committed(Committed { shard, position, deliveries }).await;
}

async fn commit(rig: &Rig, position: u64, users: &[UserId]) {
    commit_of(rig, 0, position, users).await;
}

#[tokio::test]
async fn events_come_in_order_and_only_to_recipients() {
    let rig = rig();
    let (one, other) = (somebody(), somebody());
    let (_a, mut at_one) = open(&rig, one, "a", "").await;
    assert_eq!(opened(&mut at_one).await.0, Resume::New);
    assert_eq!(next(&mut at_one).await, None);
    for position in 1..=20 {
        let recipients = if position % 2 == 0 { vec![one, other] } else { vec![other] };
        commit(&rig, position, &recipients).await;
    }
    for position in (2..=20).step_by(2) {
        assert_eq!(next(&mut at_one).await.unwrap().0, position);
    }
}

#[tokio::test]
async fn a_cursor_resumes_exactly_after_its_event() {
    let rig = rig();
    let user = somebody();
    let (trunk, mut items) = open(&rig, user, "a", "").await;
    let (_, start) = opened(&mut items).await;
    assert_eq!(next(&mut items).await, None);
    for position in 1..=10 {
        commit(&rig, position, &[user]).await;
    }
    let mut cursors = vec![start];
    for _ in 1..=10 {
        cursors.push(next(&mut items).await.unwrap().1);
    }
    trunk.end().await;
    for (had, cursor) in cursors.iter().enumerate() {
        let (trunk, mut items) = open(&rig, user, "a", cursor).await;
        assert_eq!(opened(&mut items).await.0, Resume::Resumed);
        for position in had as u64 + 1..=10 {
            assert_eq!(next(&mut items).await.unwrap().0, position, "after {had}");
        }
        assert_eq!(next(&mut items).await, None);
        trunk.end().await;
    }
    let unknown = crate::cursor::Cursor { sequence: 3, at_micros: 1, index: 0 }.to_string();
    let (_trunk, mut items) = open(&rig, user, "a", &unknown).await;
    assert_eq!(opened(&mut items).await.0, Resume::Snapshot);
    assert_eq!(next(&mut items).await.unwrap().0, 1, "all of the last 30 s");
}

#[tokio::test]
async fn the_same_device_replaces_and_a_seventeenth_is_refused() {
    let rig = rig();
    let user = somebody();
    let mut kept = Vec::new();
    for n in 0..16 {
        kept.push(open(&rig, user, &n.to_string(), "").await);
        opened(&mut kept.last_mut().unwrap().1).await;
    }
    let (_t, mut items) = open(&rig, user, "16", "").await;
    let reason = |item: Downstream| match item.item {
        Some(Item::Closed(closed)) => closed.reason(),
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(items.next().await.unwrap()), madang_proto::chat::v1::ClosedReason::TooMany);
    let (_again, mut again) = open(&rig, user, "0", "").await;
    opened(&mut again).await;
    assert_eq!(next(&mut kept[0].1).await, None);
    assert_eq!(reason(kept[0].1.next().await.unwrap()), madang_proto::chat::v1::ClosedReason::Replaced);
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_is_opened_again_does_not_replace_one_that_came_later() {
    let rig = rig();
    let user = somebody();
    drop(open(&rig, user, "other", "").await);
    let attempt = async |hello_at: i64, again: bool| {
        let (trunk, responses) = rig.connections.trunk();
        let device = Some(Device { id: "phone".into(), ..Device::default() });
        trunk.open(1, Open { user: user.to_string(), device, hello_at, again, ..Open::default() }).await;
        let mut items = items(responses);
        let first = items.next().await.unwrap();
        (trunk, items, closed(&first))
    };
    let (_later, mut items, first) = attempt(20, false).await;
    assert_eq!(first, None);
    let (_trunk, _, left) = attempt(10, true).await;
    assert_eq!(left, Some(ClosedReason::Replaced), "what a gateway held while no home was there");
    let (_same, _, again) = attempt(20, true).await;
    assert_eq!(again, None, "the very socket");
    let mut reason = None;
    while reason.is_none() {
        reason = closed(&items.next().await.unwrap());
    }
    assert_eq!(reason, Some(ClosedReason::Replaced));
    // Clocks of gateways differ.
    let (_trunk, _, new) = attempt(5, false).await;
    assert_eq!(new, None, "whoever says hello is there");
}
