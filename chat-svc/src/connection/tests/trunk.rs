//! What many have missed at once goes over the trunk that they share, which has room for some of it.

use super::*;

/// More than half of what may wait for a gateway, which reads nothing for a while, is what 33 of them have missed.
const PEOPLE: usize = 70;
const MISSED: u64 = 1000;

#[tokio::test]
async fn what_many_have_missed_does_not_end_the_trunk_that_they_share() {
    let rig = rig();
    let users: Vec<_> = (0..PEOPLE).map(|_| somebody()).collect();
    let (_trunk, mut items_of_one) = open(&rig, users[0], "live", "").await;
    let (_, start) = opened(&mut items_of_one).await;
    assert_eq!(next(&mut items_of_one).await, None);
    for position in 1..=MISSED {
        commit(&rig, position, &users).await;
        assert_eq!(next(&mut items_of_one).await.unwrap().0, position);
    }
    let (trunk, responses) = rig.connections.trunk();
    let ask = async |number: usize| {
        let device = Some(Device { id: "a".into(), ..Device::default() });
        let (user, resume) = (users[number].to_string(), start.clone());
        trunk.open(number as u64, Open { user, device, resume, ..Open::default() }).await;
    };
    for number in 0..PEOPLE {
        ask(number).await;
    }
    // Who comes after them is answered after them.
    drop(open(&rig, users[0], "last", &start).await);

    let mut items = items(responses);
    let (mut had, mut live, mut refused) = (vec![0; PEOPLE], 0, 0);
    while live < PEOPLE {
        let item = items.next().await.expect("the trunk does not end");
        let number = usize::try_from(item.connections[0]).unwrap();
        if let Some(reason) = closed(&item) {
            assert_eq!((reason, had[number]), (ClosedReason::Unavailable, 0));
            refused += 1;
            ask(number).await;
            continue;
        }
        let Some(Item::Frame(frame)) = item.item else { continue };
        match ServerFrame::decode(frame).unwrap().body.unwrap() {
            server_frame::Body::Event(event) => {
                had[number] += 1;
                assert_eq!(event.revision, had[number]);
            }
            server_frame::Body::Live(_) => {
                assert_eq!(had[number], MISSED);
                live += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(refused >= PEOPLE - 34, "{refused} were told to come again");
}
