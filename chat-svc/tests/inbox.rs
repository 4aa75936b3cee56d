//! Both adapters of the inbox give what was put in, in order, with one time and one place each; say when that was all;
//! and pass beacons on to who reads.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test: a panic is its failure

use async_nats::jetstream;
use futures_util::{StreamExt, stream::BoxStream};
use madang_chat::inbox::{Heard, Inbox, InboxEntry, jetstream::JetStreamInbox, memory::MemoryInbox};
use madang_mesh::clock::now_micros;
use madang_proto::id::UserId;

/// The next entry, and whether an end was said before it.
async fn entry(heard: &mut BoxStream<'static, Heard>) -> (InboxEntry, bool) {
    let mut end = false;
    loop {
        match heard.next().await.expect("the inbox was lost") {
            Heard::Entry(entry) => return (entry, end),
            Heard::End => end = true,
            Heard::Beacon(_) => panic!("a beacon that nobody sent"),
        }
    }
}

async fn check(inbox: &dyn Inbox, shard: u32, began: i64) {
    inbox.create(shard).await.unwrap();
    inbox.create(shard).await.unwrap();
    let mut heard = inbox.read(shard).await.unwrap();
    assert_eq!(heard.next().await, Some(Heard::End), "there is nothing yet");
    let young = async || {
        let since = inbox.since(shard).await.unwrap();
        (began..=now_micros()).contains(&since)
    };
    assert!(young().await);
    for n in 1..=50_u8 {
        inbox.publish(shard, (n % 2 == 0).then(UserId::new), vec![n].into()).await.unwrap();
    }
    let (mut sequence, mut at) = (0, 0);
    for n in 1..=50_u8 {
        let (entry, _) = entry(&mut heard).await;
        assert_eq!((entry.sequence, &entry.payload[..]), (sequence + 1, &[n][..]));
        assert!(entry.at_micros >= at);
        (sequence, at) = (entry.sequence, entry.at_micros);
    }
    assert_eq!(heard.next().await, Some(Heard::End), "that was all");
    inbox.announce(shard, "how far".into()).await.unwrap();
    // Another's are not heard.
    inbox.announce(shard + 1, "not this".into()).await.unwrap();
    inbox.announce(shard, "how much further".into()).await.unwrap();
    assert_eq!(heard.next().await, Some(Heard::Beacon("how far".into())));
    assert_eq!(heard.next().await, Some(Heard::Beacon("how much further".into())));
    inbox.publish(shard, None, vec![51].into()).await.unwrap();
    assert_eq!(entry(&mut heard).await.0.sequence, 51);
    assert!(young().await);
}

#[tokio::test]
async fn memory_inbox_conforms() {
    let began = now_micros();
    check(&MemoryInbox::new(), 0, began).await;
}

#[tokio::test]
async fn what_a_memory_inbox_is_given_before_it_is_read_is_read_first() {
    let inbox = MemoryInbox::new();
    for n in 1..=20_u8 {
        inbox.publish(0, None, vec![n].into()).await.unwrap();
    }
    let mut heard = inbox.read(0).await.unwrap();
    for n in 1..=20 {
        assert_eq!(entry(&mut heard).await.0.sequence, n);
    }
    assert_eq!(heard.next().await, Some(Heard::End));
    drop(heard);
    inbox.publish(0, None, vec![21].into()).await.unwrap();
    assert_eq!(inbox.read(0).await.unwrap().next().await, Some(Heard::End), "nobody has read it");
}

/// Tests on one server don't meet: each has a shard that no layout has.
async fn jetstream(shard: u32) -> (JetStreamInbox, jetstream::Context) {
    let url = std::env::var("MADANG_TEST_NATS").expect("no nats-server: run make test");
    let client = async_nats::connect(url).await.unwrap();
    let context = jetstream::new(client.clone());
    // What an earlier run left.
    let _ = context.delete_stream(format!("INBOX_1_{shard}")).await;
    (JetStreamInbox::new(client, 1, 256 << 20), context)
}

#[tokio::test]
async fn jetstream_inbox_conforms() {
    let began = now_micros();
    let (inbox, context) = jetstream(900).await;
    check(&inbox, 900, began).await;
    context.get_stream("INBOX_1_900").await.unwrap().purge().sequence(3).await.unwrap();
    assert_eq!(inbox.since(900).await.unwrap(), 0, "it has been there for longer than it keeps entries");
}

#[tokio::test]
async fn what_a_jetstream_inbox_keeps_is_read_first() {
    let (inbox, _) = jetstream(902).await;
    inbox.create(902).await.unwrap();
    for n in 1..=20_u8 {
        inbox.publish(902, None, vec![n].into()).await.unwrap();
    }
    let mut heard = inbox.read(902).await.unwrap();
    for n in 1..=20 {
        let (entry, end) = entry(&mut heard).await;
        assert_eq!((entry.sequence, end), (n, false));
    }
    assert_eq!(heard.next().await, Some(Heard::End));
}

#[tokio::test]
async fn reading_a_jetstream_inbox_ends_when_it_is_lost_and_the_next_begins_at_1() {
    let (inbox, context) = jetstream(903).await;
    inbox.create(903).await.unwrap();
    let mut heard = inbox.read(903).await.unwrap();
    for n in 1..=5_u8 {
        inbox.publish(903, None, vec![n].into()).await.unwrap();
        entry(&mut heard).await;
    }
    context.delete_stream("INBOX_1_903").await.unwrap();
    // At once another, which soon has more than the one before.
    inbox.create(903).await.unwrap();
    for n in 11..=20_u8 {
        inbox.publish(903, None, vec![n].into()).await.unwrap();
    }
    while let Some(heard) = heard.next().await {
        assert_eq!(heard, Heard::End, "nothing of the next is given as if it were the same");
    }
    let mut heard = inbox.read(903).await.unwrap();
    for n in 1..=10 {
        let (entry, _) = entry(&mut heard).await;
        assert_eq!((entry.sequence, u64::from(entry.payload[0])), (n, n + 10));
    }
}
