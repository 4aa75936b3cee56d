//! How large batches are, of what goes to many: whoever carries it on names each recipient, and each who has read.

use super::{super::*, stage::*};
use madang_proto::id::{ClientId, UserId};
use prost::Message as _;

/// How many are in a group.
const MEMBERS: usize = 200;
/// What a batch may come to: what NATS takes at once is twice that.
const MOST: usize = 520 << 10;

/// A home, and the members of its groups.
async fn home(stage: &mut Stage) -> (Running, Vec<UserId>) {
    stage.memory = 256 << 20;
    let home = stage.home(None).await;
    stage.write(1).await;
    (home, (0..MEMBERS).map(|_| UserId::new()).collect())
}

/// How large each record after some is where it is sent on: with a recipient's id for each member and event.
fn sizes(stage: &Stage, after: usize) -> Vec<usize> {
    let size = |record: &madang_proto::log::v1::Record| record.encoded_len() + 16 * MEMBERS * record.events.len();
    stage.log.records().iter().skip(after).map(size).collect()
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_bounded_by_the_recipients_of_its_events() {
    let mut stage = Stage::new();
    let (home, people) = home(&mut stage).await;
    let group = home.group(&people).await;
    let before = stage.log.records().len();
    // All of them wait when the home looks.
    let said: Vec<_> = (0..400).map(|_| home.ask(group, people[0], saying(None, ClientId::now()))).collect();
    for each in said {
        each.await.unwrap().unwrap();
    }
    let sizes = sizes(&stage, before);
    assert!((3..=6).contains(&sizes.len()), "{sizes:?}");
    assert!(sizes.iter().all(|size| *size <= MOST), "{sizes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_bounded_by_the_read_marks_of_its_events() {
    let mut stage = Stage::new();
    let (home, people) = home(&mut stage).await;
    let mut groups = Vec::new();
    for _ in 0..120 {
        let group = home.group(&people).await;
        home.ask(group, people[0], saying(None, ClientId::now())).await.unwrap().unwrap();
        groups.push(group);
    }
    let before = stage.log.records().len();
    for group in groups {
        let reads: Vec<_> = people.iter().map(|user| home.ask(group, *user, What::Read(1))).collect();
        for each in reads {
            each.await.unwrap().unwrap();
        }
    }
    assert_eq!(stage.log.records().len(), before, "they are gathered");
    home.stop().await;
    let sizes = sizes(&stage, before);
    let marks = 120 * (MEMBERS - 1);
    let all = sizes.iter().sum::<usize>();
    assert!(all > 20 * marks, "all are there: {sizes:?}");
    assert!(sizes.iter().all(|size| *size <= MOST), "{sizes:?}");
}
