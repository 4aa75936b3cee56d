//! Both adapters of the inbox give what was put in, in order, with one time and one place each.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)] // a test: a panic is its failure

use futures_util::StreamExt;
use madang_chat::inbox::{Inbox, jetstream::JetStreamInbox, memory::MemoryInbox};
use madang_proto::id::UserId;

async fn check(inbox: &dyn Inbox) {
    inbox.create(0).await.unwrap();
    inbox.create(0).await.unwrap();
    let mut entries = inbox.read(0).await.unwrap();
    for n in 1..=50_u8 {
        inbox.publish(0, (n % 2 == 0).then(UserId::new), vec![n].into()).await.unwrap();
    }
    let (mut sequence, mut at) = (0, 0);
    for n in 1..=50_u8 {
        let entry = entries.next().await.unwrap();
        assert_eq!((entry.sequence, &entry.payload[..]), (sequence + 1, &[n][..]));
        assert!(entry.at_micros >= at);
        (sequence, at) = (entry.sequence, entry.at_micros);
    }
}

#[tokio::test]
async fn memory_inbox_conforms() {
    check(&MemoryInbox::new()).await;
}

#[tokio::test]
async fn jetstream_inbox_conforms() {
    let url = std::env::var("MADANG_TEST_NATS").expect("no nats-server: run make test");
    check(&JetStreamInbox::new(async_nats::connect(url).await.unwrap(), 1)).await;
}
