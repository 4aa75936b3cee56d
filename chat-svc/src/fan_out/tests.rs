//! What a destination is sent again, and when it is not.

use super::*;
use crate::inbox::{Heard, memory::MemoryInbox};
use futures_util::{StreamExt, stream::BoxStream};
use madang_proto::log::v1::{InboxBatch, InboxBeacon};
use prost::Message as _;

struct Rig {
    fan_out: FanOut,
    heard: BoxStream<'static, Heard>,
}

async fn rig() -> Rig {
    let inbox = Arc::new(MemoryInbox::new());
    let heard = inbox.read(0).await.unwrap();
    let fan_out = FanOut::spawn(inbox, 1, "test".into(), CancellationToken::new());
    fan_out.resume(0, &[], 1);
    Rig { fan_out, heard }
}

impl Rig {
    async fn commit(&self, position: Position, bytes: usize) {
        let deliveries = vec![Outgoing {
            event: vec![0; bytes].into(),
            recipients: Arc::new([UserId::new()]),
            trace: bytes::Bytes::new(),
        }];
        self.fan_out.committed(Committed { shard: 0, position, deliveries }).await;
    }

    /// What comes up to a position: (previous, position, how many deliveries).
    async fn until(&mut self, last: Position) -> Vec<(Position, Position, u32)> {
        let mut came = Vec::new();
        loop {
            if let Heard::Entry(entry) = self.heard.next().await.unwrap() {
                let bytes = entry.payload.len();
                let batch = InboxBatch::decode(entry.payload).unwrap();
                assert!(bytes < (512 << 10) + 4096 || batch.sources.len() == 1, "{bytes} bytes go at once");
                let counted: u32 = batch.sources.iter().map(|source| source.deliveries).sum();
                assert_eq!(counted as usize, batch.deliveries.len());
                came.extend(batch.sources.iter().map(|each| (each.previous, each.position, each.deliveries)));
                if came.last().is_some_and(|(_, position, _)| *position == last) {
                    return came;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_comes_again_in_order_and_before_what_is_newer() {
    let mut rig = rig().await;
    for position in [2, 4, 5, 9] {
        rig.commit(position, 10).await;
    }
    assert_eq!(rig.until(9).await, [(0, 2, 1), (2, 4, 1), (4, 5, 1), (5, 9, 1)]);
    assert_eq!(rig.fan_out.rewind(0, 0, Some(4)), Some(Rewound { sent: 9, again: true }));
    rig.commit(12, 10).await;
    assert_eq!(rig.until(12).await, [(4, 5, 1), (5, 9, 1), (9, 12, 1)]);
    // Who has all is told so: nothing is between the two.
    assert_eq!(rig.fan_out.rewind(0, 0, None), Some(Rewound { sent: 12, again: true }));
    assert_eq!(rig.until(12).await, [(12, 12, 0)]);
}

#[tokio::test(start_paused = true)]
async fn what_goes_at_once_has_a_bound_the_first_time_and_again() {
    let mut rig = rig().await;
    for position in 2..9 {
        rig.commit(position, 200 << 10).await;
    }
    assert_eq!(rig.until(8).await.len(), 7);
    assert_eq!(rig.fan_out.rewind(0, 0, Some(2)), Some(Rewound { sent: 8, again: true }));
    assert_eq!(rig.until(8).await.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_kept_is_not_promised() {
    let mut rig = rig().await;
    rig.commit(2, 10).await;
    rig.until(2).await;
    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    rig.commit(3, 10).await;
    rig.until(3).await;
    assert_eq!(rig.fan_out.rewind(0, 0, Some(2)), Some(Rewound { sent: 3, again: true }));
    assert_eq!(rig.fan_out.rewind(0, 0, Some(1)), Some(Rewound { sent: 3, again: false }));
    // Another home has sent 4, this one goes on from there.
    let reached = FanOutPosition { shard: 0, position: 4, sent: 4 };
    rig.fan_out.resume(0, &[reached], 5);
    rig.commit(6, 10).await;
    rig.until(6).await;
    assert_eq!(rig.fan_out.rewind(0, 0, Some(3)), Some(Rewound { sent: 6, again: false }));
    rig.fan_out.ended(0);
    assert_eq!(rig.fan_out.rewind(0, 0, Some(6)), None);
    // Too much to be kept.
    for position in 7..12 {
        rig.commit(position, 40 << 20).await;
        rig.until(position).await;
    }
    rig.fan_out.resume(0, &[], 12);
    assert_eq!(rig.fan_out.rewind(0, 0, Some(6)), Some(Rewound { sent: 11, again: false }));
    assert_eq!(rig.fan_out.rewind(0, 0, Some(9)), Some(Rewound { sent: 11, again: true }));
}

#[tokio::test(start_paused = true)]
async fn beacons_say_what_was_sent_while_it_moves() {
    let mut rig = rig().await;
    rig.commit(2, 10).await;
    rig.until(2).await;
    let mut said = 0;
    // Up to the mark that comes when all is quiet.
    loop {
        match rig.heard.next().await.unwrap() {
            Heard::Beacon(payload) => {
                let sources = InboxBeacon::decode(payload).unwrap().sources;
                assert_eq!((sources[0].shard, sources[0].position), (0, 2));
                said += 1;
            }
            Heard::Entry(_) => break,
            Heard::End => {}
        }
    }
    assert!((2..=5).contains(&said), "{said} beacons");
}
