//! What is safe on disk, and what must be written again. Cassandra acknowledges a write that its disk has only seconds
//! later (`commitlog_sync_period`), so a node that dies takes its last seconds with it: when one returns, the log is read
//! again from a minute before the node was last heard of. That a node has returned is seen from a connection to it that
//! had to be made anew; and while one is away, the mark from which a new process would begin does not move on.

use super::guard::CONNECTIONS;
use madang_mesh::{log::Position, shard::Shard};
use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// An acknowledged write may be lost with a node for so long: `commitlog_sync_period` is 10 s by default.
const UNSYNCED: Duration = Duration::from_secs(60);
/// How often a position is marked.
const MARK: Duration = Duration::from_secs(5);
/// How long marks are kept, and silent nodes are remembered: the log is kept no longer behind its readers.
const KEEP: Duration = Duration::from_secs(3600);
/// How long the other connections to a node that has returned may take: they are one return.
const TOGETHER: Duration = Duration::from_secs(1);

/// When a node answered last. Cheap to tell: every answer does.
#[derive(Clone)]
pub(super) struct Heard {
    base: Instant,
    millis: Arc<AtomicU64>,
}

impl Heard {
    fn new(base: Instant) -> Self {
        let new = Self { base, millis: Arc::default() };
        new.now();
        new
    }

    /// It answers now.
    pub(super) fn now(&self) {
        let millis = u64::try_from(self.base.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.millis.fetch_max(millis, Ordering::Relaxed);
    }

    fn at(&self) -> Instant {
        self.base + Duration::from_millis(self.millis.load(Ordering::Relaxed))
    }
}

struct Node {
    /// Connections that its pool has had.
    pooled: usize,
    heard: Heard,
}

/// Of a shard: which positions were written when, and from where it must be read again.
#[derive(Default)]
struct Marks {
    written: VecDeque<(Instant, Position)>,
    again: Option<Position>,
}

impl Marks {
    /// The newest position that was written before a time.
    fn before(&self, time: Option<Instant>) -> Option<Position> {
        let time = time?;
        self.written.iter().rev().find(|(at, _)| *at <= time).map(|(_, position)| *position)
    }
}

#[derive(Default)]
struct Inner {
    nodes: HashMap<SocketAddr, Node>,
    shards: HashMap<Shard, Marks>,
}

/// What is safe, of all shards that this process writes.
pub(super) struct Safe {
    base: Instant,
    inner: Mutex<Inner>,
    /// Changes when a node has returned.
    returned: watch::Sender<u64>,
}

impl Safe {
    pub(super) fn new() -> Self {
        Self { base: Instant::now(), inner: Mutex::default(), returned: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection to a node was made: one of its pool, or the driver's own. One more than a pool has means that the
    /// node was away.
    pub(super) fn connected(&self, address: SocketAddr, pooled: bool) -> Heard {
        let mut inner = self.lock();
        let Inner { nodes, shards } = &mut *inner;
        nodes.retain(|_, node| node.heard.at().elapsed() < KEEP);
        let node = nodes.entry(address).or_insert_with(|| Node { pooled: 0, heard: Heard::new(self.base) });
        node.pooled += usize::from(pooled);
        let has_returned = pooled && node.pooled > CONNECTIONS;
        if has_returned {
            let safe_until = node.heard.at().checked_sub(UNSYNCED);
            for marks in shards.values_mut() {
                let from = marks.before(safe_until).unwrap_or(0);
                marks.again = Some(marks.again.map_or(from, |again| again.min(from)));
            }
            tracing::warn!(%address, "a Cassandra node has returned: its last minute is written again");
        }
        node.heard.now();
        let heard = node.heard.clone();
        // Whoever waits looks at what is locked here while they hold what is sent: told within the lock, both would wait for
        // each other, for ever.
        drop(inner);
        if has_returned {
            self.returned.send_modify(|count| *count += 1);
        }
        heard
    }

    /// Waits until a shard must be read again.
    pub(super) async fn lost(&self, shard: Shard) {
        let mut returned = self.returned.subscribe();
        let lost = |_: &u64| self.lock().shards.get(&shard).is_some_and(|marks| marks.again.is_some());
        // It ends with this, whose sender it is.
        if returned.wait_for(lost).await.is_ok() {
            tokio::time::sleep(TOGETHER).await;
        }
    }

    /// A shard is read, or read again, and the database has this as its safe position: from where on to read.
    pub(super) fn read_from(&self, shard: Shard, safe: Position) -> Position {
        let mut inner = self.lock();
        let marks = inner.shards.entry(shard).or_default();
        let from = marks.again.take().map_or(safe, |again| again.min(safe));
        marks.written.clear();
        if let Some(at) = Instant::now().checked_sub(UNSYNCED) {
            marks.written.push_back((at, from));
        }
        from
    }

    /// Everything up to a position was acknowledged; the newest position that is on all disks for certain, if there is
    /// one to save.
    pub(super) fn written(&self, shard: Shard, position: Position) -> Option<Position> {
        let mut inner = self.lock();
        let Inner { nodes, shards } = &mut *inner;
        let marks = shards.entry(shard).or_default();
        let now = Instant::now();
        if marks.written.back().is_none_or(|(at, _)| now - *at >= MARK) {
            marks.written.push_back((now, position));
        }
        while marks.written.front().is_some_and(|(at, _)| now - *at > KEEP + UNSYNCED) {
            marks.written.pop_front();
        }
        if marks.again.is_some() {
            return None;
        }
        let silent = nodes.values().map(|node| node.heard.at()).min().unwrap_or(now);
        marks.before(silent.checked_sub(UNSYNCED))
    }

    /// Another process writes the shard.
    pub(super) fn released(&self, shard: Shard) {
        self.lock().shards.remove(&shard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn node(last: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], 9042))
    }

    /// Marks as if they had been made at other times, since a test does not wait for minutes.
    fn mark(safe: &Safe, shard: Shard, ago: Duration, position: Position) {
        let mut inner = safe.lock();
        let at = Instant::now().checked_sub(ago).unwrap();
        inner.shards.entry(shard).or_default().written.push_back((at, position));
    }

    fn lost(safe: &Safe, shard: Shard) -> bool {
        safe.lock().shards.get(&shard).is_some_and(|marks| marks.again.is_some())
    }

    #[test]
    fn a_node_that_returns_has_its_last_minute_written_again() {
        let safe = Safe::new();
        assert_eq!(safe.read_from(0, 3), 3);
        for _ in 0..CONNECTIONS {
            safe.connected(node(1), true);
            safe.connected(node(1), false);
        }
        safe.lock().shards.clear();
        mark(&safe, 0, Duration::from_secs(300), 50);
        mark(&safe, 0, Duration::from_secs(61), 90);
        mark(&safe, 0, Duration::from_secs(30), 120);
        assert!(!lost(&safe, 0), "a pool's first connections are no return");
        assert_eq!(safe.written(0, 130), Some(90), "what is a minute old is safe");
        safe.connected(node(1), true);
        assert!(lost(&safe, 0));
        assert!(!lost(&safe, 1), "a shard that is not written here");
        assert_eq!(safe.written(0, 140), None, "nothing is safe before it was read again");
        assert_eq!(safe.read_from(0, 100), 90);
        assert!(!lost(&safe, 0));
        assert!(safe.written(0, 91).is_none_or(|safe| safe == 90), "not what is only just written again");
    }

    #[test]
    fn nothing_is_known_of_before_the_first_mark() {
        let safe = Safe::new();
        mark(&safe, 0, Duration::from_secs(30), 120);
        for _ in 0..=CONNECTIONS {
            safe.connected(node(1), true);
        }
        assert_eq!(safe.read_from(0, 100), 0);
    }

    #[test]
    fn a_node_that_is_away_holds_the_safe_position_back() {
        let safe = Safe::new();
        safe.connected(node(1), true);
        let away = safe.connected(node(2), true);
        mark(&safe, 0, Duration::from_secs(300), 50);
        mark(&safe, 0, Duration::from_secs(100), 90);
        assert_eq!(safe.written(0, 130), Some(90));
        // As if it had been heard of three minutes ago.
        let silent = Instant::now().checked_sub(Duration::from_secs(180)).unwrap();
        let heard = Heard { base: silent, millis: Arc::default() };
        safe.lock().nodes.insert(node(2), Node { pooled: CONNECTIONS, heard });
        assert_eq!(safe.written(0, 130), Some(50));
        safe.connected(node(2), true);
        assert_eq!(safe.read_from(0, 90), 50);
        drop(away);
    }

    #[test]
    fn nodes_that_return_and_those_who_wait_for_it_never_wait_for_each_other() {
        let safe = Arc::new(Safe::new());
        safe.read_from(0, 3);
        let (done, waits) = std::sync::mpsc::channel();
        let (returning, said) = (safe.clone(), done.clone());
        std::thread::spawn(move || {
            (0..20_000).for_each(|_| drop(returning.connected(node(1), true)));
            said.send(()).unwrap();
        });
        std::thread::spawn(move || {
            for _ in 0..20_000 {
                // It looks, and is not waited for.
                let _ = std::pin::pin!(safe.lost(1)).now_or_never();
            }
            done.send(()).unwrap();
        });
        for _ in 0..2 {
            waits.recv_timeout(Duration::from_secs(60)).expect("they wait for each other");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_hears_of_it() {
        let safe = Safe::new();
        safe.read_from(0, 3);
        let waiting = safe.lost(0);
        tokio::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        for _ in 0..=CONNECTIONS {
            safe.connected(node(1), true);
        }
        waiting.await;
        safe.released(0);
        assert!(futures_util::poll!(std::pin::pin!(safe.lost(0))).is_pending());
    }
}
