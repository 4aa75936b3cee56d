//! What all who talk share: the journal of what they sent, were answered and saw, how long they waited, and what was
//! refused. What is kept besides the journal is a pair of numbers for each noticeable wait, up to a bound.

use crate::history::Journal;
use madang_proto::client::v1::Ack;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

/// A wait that is noticed, in seconds.
const NOTICEABLE: f64 = 0.05;
/// How many waits are kept.
const WAITS: usize = 1 << 20;

/// From the first sending of a message to its ack, or from the first asking for a page to the page, in seconds since the
/// load began.
#[derive(Debug, Clone, Copy)]
pub struct Wait {
    /// When it was sent, or asked for, first.
    pub from: f64,
    /// When it was acknowledged, or there.
    pub to: f64,
}

/// A message that waits for its ack.
#[derive(Debug, Clone, Copy)]
pub struct Sending {
    from: Instant,
    number: u64,
}

/// What all who talk share.
#[derive(Debug)]
pub struct Crowd {
    began: Instant,
    journal: Mutex<Journal>,
    waits: Mutex<Vec<Wait>>,
    /// The same of newest pages of histories.
    pages: Mutex<Vec<Wait>>,
    /// What was sent and is not acknowledged: when it was sent first.
    waiting: Mutex<BTreeSet<(Instant, u64)>>,
    newest: Mutex<HashMap<String, u64>>,
    refusals: Mutex<BTreeMap<String, u64>>,
    over: watch::Sender<bool>,
    /// How many clients have all that they had missed.
    pub live: AtomicUsize,
    /// How many clients were told that something may be missing and have not read it yet.
    pub behind: AtomicUsize,
    /// Messages that were acknowledged.
    pub acked: AtomicU64,
    /// Messages that were sent.
    pub sent: AtomicU64,
    /// How often they were sent, first or again.
    pub attempts: AtomicU64,
    /// How often clients went away and came back by themselves.
    pub away: AtomicU64,
    /// How often a connection was lost.
    pub lost: AtomicU64,
    /// How often a client that came back was told to start over.
    pub snapshots: AtomicU64,
    /// How often one was told so while connected.
    pub resyncs: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Crowd {
    /// Nobody has said anything; times count from now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            journal: Mutex::default(),
            waits: Mutex::default(),
            pages: Mutex::default(),
            waiting: Mutex::default(),
            newest: Mutex::default(),
            refusals: Mutex::default(),
            over: watch::Sender::new(false),
            live: AtomicUsize::new(0),
            behind: AtomicUsize::new(0),
            acked: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            attempts: AtomicU64::new(0),
            away: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            snapshots: AtomicU64::new(0),
            resyncs: AtomicU64::new(0),
        }
    }

    /// When it began.
    #[must_use]
    pub fn began(&self) -> Instant {
        self.began
    }

    /// µs since then: the journal's time.
    #[must_use]
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The journal.
    pub fn journal(&self) -> MutexGuard<'_, Journal> {
        lock(&self.journal)
    }

    /// A message is sent for the first time; gives what to say when it no longer waits for its ack.
    pub fn sends(&self) -> Sending {
        let sending = Sending { from: Instant::now(), number: self.sent.fetch_add(1, Relaxed) };
        lock(&self.waiting).insert((sending.from, sending.number));
        sending
    }

    /// It was refused for good.
    pub fn given_up(&self, sending: Sending) {
        lock(&self.waiting).remove(&(sending.from, sending.number));
    }

    /// For how long the one that has waited longest has waited.
    #[must_use]
    pub fn longest_waiting(&self) -> Duration {
        lock(&self.waiting).first().map_or(Duration::ZERO, |(from, _)| from.elapsed())
    }

    /// A message was acknowledged.
    pub fn acked(&self, sending: Sending, ack: &Ack) {
        self.given_up(sending);
        self.waited(&self.waits, sending.from);
        self.reached(&ack.conversation, ack.revision);
        self.acked.fetch_add(1, Relaxed);
    }

    /// A newest page is there that was asked for first so long ago.
    pub fn has_read(&self, from: Instant) {
        self.waited(&self.pages, from);
    }

    fn waited(&self, waits: &Mutex<Vec<Wait>>, from: Instant) {
        let seconds = |at: Instant| at.saturating_duration_since(self.began).as_secs_f64();
        let wait = Wait { from: seconds(from), to: seconds(Instant::now()) };
        let mut waits = lock(waits);
        if wait.to - wait.from >= NOTICEABLE && waits.len() < WAITS {
            waits.push(wait);
        }
    }

    /// An answer spoke of an event of a conversation.
    pub fn reached(&self, conversation: &str, revision: u64) {
        let mut newest = lock(&self.newest);
        let known = newest.entry(conversation.to_owned()).or_default();
        *known = revision.max(*known);
    }

    /// The newest event of a conversation that an answer spoke of.
    #[must_use]
    pub fn newest(&self, conversation: &str) -> u64 {
        lock(&self.newest).get(conversation).copied().unwrap_or(0)
    }

    /// The noticeable waits so far.
    #[must_use]
    pub fn waits(&self) -> Vec<Wait> {
        lock(&self.waits).clone()
    }

    /// The noticeable waits for newest pages so far.
    #[must_use]
    pub fn pages(&self) -> Vec<Wait> {
        lock(&self.pages).clone()
    }

    /// Something was refused for good, or went on otherwise than meant.
    pub fn refused(&self, what: &str, why: &str) {
        *lock(&self.refusals).entry(format!("{what}: {why}")).or_default() += 1;
    }

    /// What was refused for good, and how often.
    #[must_use]
    pub fn refusals(&self) -> BTreeMap<String, u64> {
        lock(&self.refusals).clone()
    }

    /// Nobody begins anything from now on.
    pub fn end(&self) {
        self.over.send_replace(true);
    }

    /// Whether that has been said.
    #[must_use]
    pub fn over(&self) -> bool {
        *self.over.borrow()
    }

    /// Waits so long, or until it is over.
    pub async fn rest(&self, time: Duration) {
        let mut over = self.over.subscribe();
        let _ = timeout(time, over.wait_for(|over| *over)).await;
    }
}

impl Default for Crowd {
    fn default() -> Self {
        Self::new()
    }
}
