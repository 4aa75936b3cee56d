//! A block holds once it is answered, whoever is home.

use super::{super::*, stage::*};
use madang_proto::{
    client::v1::Ack,
    id::{ClientId, UserId},
};
use std::sync::atomic::Ordering::SeqCst;

struct Two {
    stage: Stage,
    ann: UserId,
    bob: UserId,
    conversation: ConversationId,
}

impl Two {
    fn new() -> Self {
        let (ann, bob) = (UserId::new(), UserId::new());
        Self { stage: Stage::new(), ann, bob, conversation: ConversationId::direct(ann, bob) }
    }

    /// As account-svc does: it is kept, then the home is told.
    async fn set(&self, home: &Running, blocked: bool) -> Result<Ack, Refusal> {
        {
            let mut blocks = self.stage.databases.blocks.lock().unwrap();
            if blocked {
                blocks.insert((self.bob, self.ann))
            } else {
                blocks.remove(&(self.bob, self.ann))
            };
        }
        home.ask(self.conversation, self.bob, What::BlocksChanged(None)).await.unwrap()
    }

    /// Whether both can say something, or neither.
    async fn can_talk(&self, home: &Running) -> bool {
        let mut could = Vec::new();
        for (from, to) in [(self.ann, self.bob), (self.bob, self.ann)] {
            could.push(match home.send(from, to, ClientId::now()).await {
                Ok(_) => true,
                Err(refusal) => {
                    assert_eq!(refusal.reason, Reason::Blocked, "{}", refusal.message);
                    false
                }
            });
        }
        assert_eq!(could[0], could[1]);
        could[0]
    }

    fn asked(&self) -> usize {
        self.stage.databases.blocks_asked.load(SeqCst)
    }
}

#[tokio::test]
async fn a_block_holds_from_the_first_message_on_and_until_it_ends() {
    let two = Two::new();
    let home = two.stage.home(None).await;
    two.set(&home, true).await.unwrap();
    assert!(!two.can_talk(&home).await);
    assert!(
        two.stage.log.records().iter().all(|record| record.events.is_empty()),
        "nothing was said, no room was made"
    );
    two.set(&home, false).await.unwrap();
    assert!(two.can_talk(&home).await);
    let asked = two.asked();
    assert!(two.can_talk(&home).await);
    assert_eq!(two.asked(), asked, "what is known is not asked again");

    let id = ClientId::now();
    let said = home.send(two.ann, two.bob, id).await.unwrap();
    two.set(&home, true).await.unwrap();
    assert!(!two.can_talk(&home).await);
    let again = home.send(two.ann, two.bob, id).await.unwrap();
    assert_eq!((again.seq, again.duplicate), (said.seq, true), "what was said stays said");
    let read = home.ask(two.conversation, two.bob, What::Read(said.seq, None)).await.unwrap().unwrap();
    assert_eq!((read.seq, read.duplicate), (said.seq, false), "reading goes on");
    two.set(&home, false).await.unwrap();
    assert!(two.can_talk(&home).await);
}

#[tokio::test]
async fn an_answer_that_was_under_way_when_a_block_began_is_not_believed() {
    let two = Two::new();
    let home = two.stage.home(None).await;
    assert!(two.can_talk(&home).await);
    two.set(&home, false).await.unwrap();
    let asked = two.asked();
    let slow = two.stage.databases.blocks_slow.lock().await;
    // It is read that there is no block, and that stays on its way.
    let before = home.ask(two.conversation, two.ann, what(two.bob, ClientId::now()));
    while two.asked() == asked {
        tokio::task::yield_now().await;
    }
    two.stage.databases.blocks.lock().unwrap().insert((two.bob, two.ann));
    let told = home.ask(two.conversation, two.bob, What::BlocksChanged(None));
    let after = home.ask(two.conversation, two.ann, what(two.bob, ClientId::now()));
    drop(slow);
    before.await.unwrap().unwrap();
    told.await.unwrap().unwrap();
    assert_eq!(after.await.unwrap().unwrap_err().reason, Reason::Blocked);
    assert!(!two.can_talk(&home).await);
}

#[tokio::test]
async fn the_next_home_knows_of_a_block() {
    for graceful in [true, false] {
        let two = Two::new();
        let one = two.stage.home(None).await;
        assert!(two.can_talk(&one).await);
        two.set(&one, true).await.unwrap();
        assert!(!two.can_talk(&one).await);
        let asked = two.asked();
        let left = one.stop().await.unwrap();
        let next = two.stage.home(graceful.then(|| handed(left))).await;
        assert!(!two.can_talk(&next).await, "graceful: {graceful}");
        assert_eq!(two.asked() == asked, graceful, "it is handed over, or asked anew");
    }
}

#[tokio::test]
async fn who_is_not_the_home_any_more_answers_no_change_of_a_block() {
    let two = Two::new();
    let zombie = two.stage.home(None).await;
    assert!(two.can_talk(&zombie).await);
    let home = two.stage.home(None).await;
    // It knows that there is no block.
    assert!(two.can_talk(&home).await);
    let refusal = two.set(&zombie, true).await.unwrap_err();
    assert!(refusal.reason.retryable(), "{refusal:?}");
    two.set(&home, true).await.unwrap();
    assert!(!two.can_talk(&home).await);
}

#[tokio::test]
async fn who_can_not_ask_lets_nothing_pass() {
    let two = Two::new();
    let home = two.stage.home(None).await;
    assert!(two.can_talk(&home).await);
    two.set(&home, true).await.unwrap();
    two.stage.databases.down.store(true, SeqCst);
    let refusal = home.send(two.ann, two.bob, ClientId::now()).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::Unavailable);
    two.stage.databases.down.store(false, SeqCst);
    assert!(!two.can_talk(&home).await);
}
