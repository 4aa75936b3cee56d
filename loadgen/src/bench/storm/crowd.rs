//! Everybody in a storm: their sessions, what they note in the journal, and how many of them are live.

use crate::{Error, history::Journal, people::Person, replay::check::histogram};
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use madang_client::{Format, Http, Session, Update, session::Options};
use madang_proto::client::v1::{Resume, event::Body};
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// How often is looked whether all are there.
const LOOK: Duration = Duration::from_millis(20);

/// A tenth of a second, in µs.
const TENTH: u64 = 100_000;

/// What is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nobody measures.
    Before,
    /// All are connected, and some talk.
    Calm,
    /// A gateway has been killed, and not all are back.
    Storm,
    /// All are back, or are not waited for any more.
    After,
}

/// What talkers met with in one phase.
pub struct Times {
    /// From when a message should have been sent to its ack, µs.
    pub ack: Histogram<u64>,
    /// The same, to its arrival at the other one.
    pub delivery: Histogram<u64>,
    /// The longest wait for an ack of what should have been sent in each tenth of a second since the phase began, µs.
    pub longest: BTreeMap<u64, u64>,
}

impl Times {
    /// A message that should have been sent then, since the phase began, had its ack after a while; µs.
    pub fn acked(&mut self, at: u64, took: u64) {
        self.ack.saturating_record(took);
        let longest = self.longest.entry(at / TENTH).or_default();
        *longest = took.max(*longest);
    }
}

/// How clients came back after they had been cut off.
#[derive(Debug, Default)]
pub struct Back {
    /// With all they had missed.
    pub resumed: AtomicU64,
    /// Told to ask for everything anew.
    pub snapshots: AtomicU64,
    /// Tried again, for the gateway did not take them.
    pub tries: AtomicU64,
    /// Told later that something may be missing.
    pub resyncs: AtomicU64,
    /// Tokens refreshed: each is a read and a write of account-svc's.
    pub refreshed: AtomicU64,
    /// Sessions that ended.
    pub ended: AtomicU64,
}

/// Everybody in a storm.
pub struct Crowd {
    began: Instant,
    journal: Mutex<Journal>,
    phase: AtomicU8,
    cut_at: AtomicU64,
    live: AtomicUsize,
    back_live: AtomicUsize,
    /// From the cut until a client was live again, µs.
    took: Mutex<Histogram<u64>>,
    times: [Mutex<Times>; 2],
    /// What happened to those who were cut off.
    pub back: Back,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Crowd {
    /// Nobody yet.
    pub fn new() -> Result<Self, Error> {
        let times = || {
            Ok::<_, Error>(Mutex::new(Times { ack: histogram()?, delivery: histogram()?, longest: BTreeMap::new() }))
        };
        Ok(Self {
            began: Instant::now(),
            journal: Mutex::default(),
            phase: AtomicU8::new(Phase::Before as u8),
            cut_at: AtomicU64::new(0),
            live: AtomicUsize::new(0),
            back_live: AtomicUsize::new(0),
            took: Mutex::new(histogram()?),
            times: [times()?, times()?],
            back: Back::default(),
        })
    }

    /// µs since the beginning.
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Goes on to the next phase.
    pub fn enter(&self, phase: Phase) {
        if phase == Phase::Storm {
            self.cut_at.store(self.now(), Relaxed);
        }
        self.phase.store(phase as u8, Relaxed);
    }

    /// The journal.
    pub fn journal(&self) -> MutexGuard<'_, Journal> {
        lock(&self.journal)
    }

    /// How many are live.
    pub fn live(&self) -> usize {
        self.live.load(Relaxed)
    }

    /// How long those who came back took, µs.
    pub fn took(&self) -> MutexGuard<'_, Histogram<u64>> {
        lock(&self.took)
    }

    /// What talkers met with: while it was calm, or in the storm.
    pub fn times(&self, phase: Phase) -> Option<MutexGuard<'_, Times>> {
        match phase {
            Phase::Calm => Some(lock(&self.times[0])),
            Phase::Storm => Some(lock(&self.times[1])),
            Phase::Before | Phase::After => None,
        }
    }

    /// The same, of now.
    pub fn times_now(&self) -> Option<MutexGuard<'_, Times>> {
        let now = self.phase.load(Relaxed);
        [Phase::Calm, Phase::Storm].into_iter().find(|phase| *phase as u8 == now).and_then(|phase| self.times(phase))
    }

    /// A message that should have been sent then had its ack; µs since the beginning.
    pub fn acked(&self, at: u64, now: u64) {
        if let Some(mut times) = self.times_now() {
            times.acked(at.saturating_sub(self.cut_at.load(Relaxed)), now.saturating_sub(at));
        }
    }

    /// Connects somebody; `cut`: through the gateway that will be killed.
    pub fn join(
        self: &Arc<Self>,
        http: &Http,
        person: &Person,
        gateways: Vec<String>,
        source: Option<IpAddr>,
        cut: bool,
    ) -> Session {
        let options = Options {
            http: http.clone(),
            gateways,
            tokens: person.tokens.clone(),
            device: person.device.clone(),
            source,
            format: Format::Protobuf,
            cursor: String::new(),
        };
        let device = self.journal().device(&person.tokens.user);
        let (crowd, user) = (self.clone(), person.tokens.user.clone());
        let (mut live, mut back) = (false, !cut);
        Session::start(options, move |update| {
            let now = crowd.now();
            let after = crowd.cut_at.load(Relaxed) > 0;
            let count = |counter: &AtomicU64| counter.fetch_add(u64::from(after), Relaxed);
            match update {
                Update::Ready(ready) => {
                    match ready.resume() {
                        Resume::Resumed => count(&crowd.back.resumed),
                        _ => count(&crowd.back.snapshots),
                    };
                    if ready.resume() != Resume::Resumed {
                        crowd.journal().resynced(device);
                    }
                }
                Update::Live => {
                    if !std::mem::replace(&mut live, true) {
                        crowd.live.fetch_add(1, Relaxed);
                    }
                    if after && !std::mem::replace(&mut back, true) {
                        crowd.took().saturating_record(now.saturating_sub(crowd.cut_at.load(Relaxed)));
                        crowd.back_live.fetch_add(1, Relaxed);
                    }
                }
                Update::Resync => {
                    count(&crowd.back.resyncs);
                    crowd.journal().resynced(device);
                }
                Update::Event(event) => {
                    crowd.journal().saw(now, device, &event);
                    // In a pair, the text is when it should have been sent.
                    if let Some(Body::Message(message)) = &event.body
                        && message.sender != user
                        && let Some(mut times) = crowd.times_now()
                        && let Ok(at) = message.text.parse::<u64>()
                    {
                        times.delivery.saturating_record(now.saturating_sub(at));
                    }
                }
                Update::Lost(_) => {
                    if std::mem::replace(&mut live, false) {
                        crowd.live.fetch_sub(1, Relaxed);
                    }
                    count(&crowd.back.tries);
                }
                Update::Tokens(_) => {
                    count(&crowd.back.refreshed);
                }
                Update::Ended(_) => {
                    crowd.back.ended.fetch_add(1, Relaxed);
                }
                Update::Typing(_) => {}
            }
        })
    }

    /// Waits until all who were cut off have been live again, and are; gives when the last was, if they all came.
    pub async fn wait_back(&self, all: usize, patience: Duration, progress: &ProgressBar) -> bool {
        let end = Instant::now() + patience;
        loop {
            let back = self.back_live.load(Relaxed);
            progress.set_position(back as u64);
            if back >= all {
                return true;
            }
            if Instant::now() > end {
                return false;
            }
            sleep(LOOK).await;
        }
    }

    /// Waits until so many messages were delivered.
    pub async fn wait_delivered(&self, due: u64) {
        while self.journal().so_far().1.delivered < due {
            sleep(LOOK).await;
        }
    }
}
