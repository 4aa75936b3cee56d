//! Where what waits for a device goes when that registers anew, or another process has its shard.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)] // a test: a panic is its failure

#[path = "shared/alone.rs"]
mod alone;
#[path = "shared/stage.rs"]
mod stage;

use alone::{SHARD, until};
use madang_notify::{
    provider::Verdict,
    sender::Push,
    store::{Subscription, Target},
};
use madang_proto::{id::ConversationId, notify::v1::Outcome};
use stage::{Stage, push};
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_device_that_was_registered_anew_goes_there() {
    let stage = Stage::set();
    let gone = stage.device("slow").await;
    for seq in 1..=4 {
        stage.send(push(&gone, ConversationId::new(), seq)).await;
    }
    // It has been registered anew, elsewhere, since the last one was decided on.
    let anew = Subscription { id: Uuid::new_v4(), ..gone.clone() };
    let anew = Subscription { target: Target { address: "https://well/".into(), ..gone.target.clone() }, ..anew };
    stage.store.put(anew.clone()).await.unwrap();
    stage.send(push(&anew, ConversationId::new(), 5)).await;
    until(async || stage.sent(&gone) == [1]).await;
    stage.answer.send_replace(Some(Verdict::Gone));
    stage.all_written().await;
    assert_eq!(stage.sent(&gone), [1, 5], "what is of the new registration is sent there");
    use Outcome::{Later, Sent};
    assert_eq!(stage.outcomes(&gone), [Later, Later, Later, Later, Sent]);
    let mut kept = stage.kept(&gone).await;
    kept.sort_unstable();
    assert_eq!(kept, [1, 2, 3, 4], "for the new registration");
    assert_eq!(stage.store.of_users(vec![gone.user]).await.unwrap(), [anew]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_device_that_is_gone_is_not_sent() {
    let stage = Stage::set();
    let gone = stage.device("slow").await;
    for seq in 1..=4 {
        stage.send(push(&gone, ConversationId::new(), seq)).await;
    }
    until(async || stage.sent(&gone) == [1]).await;
    stage.answer.send_replace(Some(Verdict::Gone));
    stage.all_written().await;
    use Outcome::{Gone, Moot};
    assert_eq!((stage.sent(&gone), stage.outcomes(&gone)), (vec![1], vec![Moot, Moot, Moot, Gone]));
    assert_eq!(stage.kept(&gone).await, [0; 0]);
    assert_eq!(stage.store.of_users(vec![gone.user]).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_of_a_shard_that_another_process_has_is_left_to_that() {
    let stage = Stage::set();
    let to = stage.device("slow").await;
    for seq in 1..=3 {
        stage.send(push(&to, ConversationId::new(), seq)).await;
    }
    let other = Push { shard: SHARD + 1, ..push(&to, ConversationId::new(), 4) };
    stage.send(other).await;
    until(async || stage.sent(&to) == [1]).await;
    stage.sender.give_away(SHARD);
    stage.answer.send_replace(Some(Verdict::Sent));
    until(async || stage.sent(&to) == [1, 4] && stage.log.done() >= 1).await;
    assert_eq!(stage.log.done(), 1, "who has it now reads on behind the first");
}
