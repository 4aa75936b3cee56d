//! What was read is told to the devices that show it, but not to the one that has read, nor to one that has shown to know: they
//! clear it by themselves, and it is remembered no more that they showed it.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

#[path = "shared/alone.rs"]
mod alone;
#[path = "shared/others.rs"]
mod others;

use alone::{Alone, SHARD, only, until};
use async_trait::async_trait;
use madang_mesh::{channel::Channels, clock::now_ms, log::Entry, subscription::Handler as _};
use madang_notify::{
    notice::Notice,
    provider::{Provider, Told, Verdict},
    store::{Settled, Subscription},
};
use madang_proto::{
    client::v1::DeviceKind,
    id::{ConversationId, DeviceId, UserId},
    log::v1::{LoggedEvent, MarksMoved, MemberSettings, MovedMark, Record, logged_event::Body},
    notify::v1::Provider as Name,
};
use others::{OTHERS, Others};
use prost::Message as _;
use std::sync::{Arc, Mutex};
use uuid::Uuid;

/// Takes everything.
#[derive(Clone, Default)]
struct Stub(Arc<Mutex<Vec<(DeviceId, u64)>>>);

#[async_trait]
impl Provider for Stub {
    fn host(&self, _: &Subscription) -> String {
        "stub".into()
    }

    async fn send(&self, to: &Subscription, notice: &Notice) -> Told {
        assert!(!notice.is_message());
        self.0.lock().unwrap().push((to.device, notice.seq));
        Told { verdict: Verdict::Sent, status: 200 }
    }
}

/// A mark of somebody's.
fn read(position: u64, conversation: ConversationId, user: UserId, seq: u64, on: Option<DeviceId>) -> Entry {
    let device = on.map(|device| device.bytes().to_vec()).unwrap_or_default().into();
    let mark = MovedMark { user: user.bytes().to_vec().into(), seq, device };
    let event = LoggedEvent {
        conversation: conversation.bytes().to_vec().into(),
        revision: 20 + position,
        last_seq: 9,
        at_micros: now_ms() * 1000,
        body: Some(Body::Read(MarksMoved { marks: vec![mark] })),
        ..LoggedEvent::default()
    };
    let record = Record { format: 1, events: vec![event], ..Record::default() };
    Entry { position, at_micros: 0, payload: record.encode_to_vec().into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_read_and_who_knows_of_it_are_not_told() {
    let (stub, others, channels) = (Stub::default(), Others::default(), Channels::new());
    others.serve(&channels);
    let alone = Alone::among(only(Name::Webhook, stub.clone()), channels, OTHERS);
    let (user, here) = (UserId::new(), ConversationId::new());
    others.sets(user, MemberSettings::default());
    let mut devices = Vec::new();
    for kind in [DeviceKind::Web, DeviceKind::Web, DeviceKind::Mobile, DeviceKind::Mobile] {
        let address = format!("https://stub/{}", Uuid::new_v4());
        let device = Subscription { user, kind, ..alone.device(address).await };
        alone.store.put(device.clone()).await.unwrap();
        devices.push(device.device);
    }
    let [browser, other, phone, connected] = devices[..] else { panic!() };
    others.has(user, connected);
    // A browser is told all the same: that it is connected says nothing.
    others.has(user, other);
    let shown = devices.iter().map(|device| ((user, *device, here), 5));
    let settled = Settled { shown: shown.collect(), ..Settled::default() };
    let gone = async || until(async || alone.store.showing(vec![(user, here, 9)]).await.unwrap().is_empty()).await;
    let told = async |expected: &[(DeviceId, u64)]| {
        gone().await;
        let mut told = std::mem::take(&mut *stub.0.lock().unwrap());
        told.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(told, expected);
    };
    assert_eq!(alone.reader.cursor(SHARD).await.unwrap(), 0);
    // Until it is known who is home.
    let mut position = 0;
    loop {
        position += 1;
        let shown = [((user, connected, here), 5)].into();
        alone.store.settle(Settled { shown, ..Settled::default() }, now_ms()).await.unwrap();
        alone.reader.handle(SHARD, &[read(position, here, user, 5, None)]).await.unwrap();
        gone().await;
        if std::mem::take(&mut *stub.0.lock().unwrap()).is_empty() {
            break;
        }
    }
    alone.store.settle(settled.clone(), now_ms()).await.unwrap();
    alone.reader.handle(SHARD, &[read(position + 1, here, user, 6, Some(browser))]).await.unwrap();
    told(&[(other, 6), (phone, 6)]).await;

    // It is not known where: an earlier version wrote it, or it came over HTTP.
    alone.store.settle(settled, now_ms()).await.unwrap();
    alone.reader.handle(SHARD, &[read(position + 2, here, user, 7, None)]).await.unwrap();
    told(&[(browser, 7), (other, 7), (phone, 7)]).await;
}
