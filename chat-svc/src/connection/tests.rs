//! Connections over an inbox in memory: new, resumed, too far behind.

use super::*;
use crate::{
    fan_out::{Committed, FanOut, Outgoing},
    inbox::memory::MemoryInbox,
};
use futures_util::StreamExt;
use madang_proto::{
    chat::v1::{Downstream, downstream::Item},
    client::v1::{Device, Event, Resume, ServerFrame, server_frame},
};
use prost::Message as _;

struct Rig {
    fan_out: FanOut,
    connections: Connections,
    _held: watch::Sender<BTreeSet<Shard>>,
}

fn rig() -> Rig {
    let inbox: Arc<dyn Inbox> = Arc::new(MemoryInbox::new());
    let cancel = CancellationToken::new();
    let held = watch::Sender::new(BTreeSet::from([0]));
    let connections = Connections::spawn(inbox.clone(), 1, 16, held.subscribe(), cancel.clone());
    Rig { fan_out: FanOut::spawn(inbox, 1, "test".into(), cancel), connections, _held: held }
}

type Items = BoxStream<'static, Downstream>;

fn items(responses: BoxStream<'static, Result<ConnectResponse, Status>>) -> Items {
    responses.flat_map(|response| futures_util::stream::iter(response.unwrap().items)).boxed()
}

async fn open(rig: &Rig, user: UserId, device: &str, resume: &str) -> (TrunkHandle, Items) {
    // The shard's task registers itself in the background.
    while rig.connections.shard(&user).is_none() {
        tokio::task::yield_now().await;
    }
    let (trunk, responses) = rig.connections.trunk();
    let device = Some(Device { id: device.into(), ..Device::default() });
    trunk.open(1, Open { user: user.to_string(), session: String::new(), device, resume: resume.into() }).await;
    (trunk, items(responses))
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

async fn commit(rig: &Rig, position: u64, users: &[UserId]) {
    let event = Event { revision: position, ..Event::default() }.encode_to_vec().into();
    let deliveries = vec![Outgoing { event, recipients: users.into() }];
    rig.fan_out.committed(Committed { shard: 0, position, deliveries }).await;
}

#[tokio::test]
async fn events_come_in_order_and_only_to_recipients() {
    let rig = rig();
    let (one, other) = (UserId::new(), UserId::new());
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
    let user = UserId::new();
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
    let user = UserId::new();
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
