//! The health of hosts that pushes go to: how many are on their way to each, and whether it is worth trying. A dead one
//! holds up nobody else's. How many a host is trusted with follows its answers, as TCP's congestion window does (RFC 5681):
//! few at first, one more for each answer, half of them when it fails.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// How many pushes are on their way to a host at once.
const AT_ONCE: usize = 256;
/// How many to one that is not known, or fails.
const AT_FIRST: usize = 8;
/// A host that is trusted with so many has shown that it answers.
const PROVEN: usize = 2 * AT_FIRST;
/// After so many failures one after the other it is left alone.
const FAILURES: u32 = 8;
/// For how long at first; it doubles.
const FIRST: Duration = Duration::from_secs(2);
/// The longest that it is left alone before it is tried again.
const LONGEST: Duration = Duration::from_secs(300);
/// How many hosts are remembered; then of those that nothing is on its way to, an eighth is forgotten: the one not called
/// for longest goes first, whether it was well or not. Users name hosts, and who names many dead ones is in nobody's way.
const HOSTS: usize = 10_000;

#[derive(Debug)]
struct Host {
    slots: Arc<Semaphore>,
    /// How many may be on their way.
    trust: usize,
    failures: u32,
    /// How often it has wanted less, one after the other.
    less: u32,
    /// Until then it is left alone; then one push tries it.
    closed: Option<Instant>,
    /// One tries it.
    is_tried: bool,
    /// When it was last to be called.
    used: Instant,
}

impl Host {
    fn new(now: Instant) -> Self {
        let slots = Arc::new(Semaphore::new(AT_FIRST));
        Self { slots, trust: AT_FIRST, failures: 0, less: 0, closed: None, is_tried: false, used: now }
    }

    fn is_idle(&self) -> bool {
        // Whoever is on the way, or waits for that, holds them too.
        Arc::strong_count(&self.slots) == 1
    }

    fn trust_more(&mut self) {
        if self.trust < AT_ONCE {
            self.trust += 1;
            self.slots.add_permits(1);
        }
    }

    fn trust_less(&mut self) {
        if self.trust > AT_FIRST {
            self.trust = AT_FIRST.max(self.trust / 2);
            // Those on their way end by themselves.
            self.slots = Arc::new(Semaphore::new(self.trust));
        }
    }

    /// Whether it may be called now. Where it is left alone no more, one tries, and the others wait for what comes of it.
    fn open(&mut self, now: Instant) -> Result<(), NotNow> {
        match self.closed {
            Some(until) if now < until => return Err(NotNow::Closed(until - now)),
            Some(_) => (self.closed, self.is_tried) = (Some(now + FIRST), true),
            None => {}
        }
        Ok(())
    }

    fn note(&mut self, heard: Heard, now: Instant) {
        match heard {
            Heard::Well => {
                (self.failures, self.less, self.closed, self.is_tried) = (0, 0, None, false);
                self.trust_more();
            }
            Heard::Less(after) => {
                (self.failures, self.is_tried, self.less) = (0, false, self.less.saturating_add(1));
                self.trust_less();
                // One of them may be meant for a device, which is left alone itself; so many are meant for all.
                match after.filter(|_| self.less >= FAILURES) {
                    Some(wait) => self.close(now + wait.min(LONGEST)),
                    None if self.less < FAILURES => self.closed = None,
                    None => {}
                }
            }
            Heard::Not(after) => {
                self.less = 0;
                self.trust_less();
                let mut wait = after;
                // Those that were on their way when it was closed say nothing new.
                if self.closed.is_none() || self.is_tried {
                    self.failures = self.failures.saturating_add(1);
                    self.is_tried = false;
                    let rounds = self.failures.checked_sub(FAILURES);
                    wait = rounds.map(|rounds| FIRST.saturating_mul(1 << rounds.min(8))).max(after);
                }
                if let Some(wait) = wait {
                    self.close(now + wait.min(LONGEST));
                }
            }
        }
    }

    fn close(&mut self, until: Instant) {
        self.closed = self.closed.max(Some(until));
    }
}

/// The health of all hosts.
#[derive(Debug, Default)]
pub struct Health(Mutex<HashMap<String, Host>>);

/// A place on the way to a host.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
    /// The host has answered well of late.
    pub is_proven: bool,
}

/// What a host has answered.
#[derive(Debug, Clone, Copy)]
pub enum Heard {
    /// It does what it is for.
    Well,
    /// It wants less, or so does a device; and for how long it wants to be left alone, if it said so.
    Less(Option<Duration>),
    /// Nothing, or that it can't; and for how long it wants to be left alone, if it said so.
    Not(Option<Duration>),
}

/// Why a host is not to be called now.
#[derive(Debug, PartialEq, Eq)]
pub enum NotNow {
    /// It has failed again and again: for so long it is left alone.
    Closed(Duration),
    /// As many as may be are on their way already.
    Busy,
}

impl Health {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Host>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place on the way to a host; waits so long at most until there is one.
    pub async fn place(&self, name: &str, wait: Duration) -> Result<Place, NotNow> {
        let slots = match self.enter(name, Instant::now()) {
            Err(NotNow::Busy) => self.lock().get(name).map(|host| host.slots.clone()),
            entered => return entered,
        };
        let Some(slots) = slots else { return Err(NotNow::Busy) };
        let Ok(Ok(permit)) = timeout(wait, slots.acquire_owned()).await else { return Err(NotNow::Busy) };
        let mut hosts = self.lock();
        let host = hosts.entry(name.to_owned()).or_insert_with(|| Host::new(Instant::now()));
        // Those before it may have failed.
        host.open(Instant::now())?;
        Ok(Place { _permit: permit, is_proven: host.trust >= PROVEN })
    }

    /// Takes a place on the way to a host, if there is one.
    fn enter(&self, name: &str, now: Instant) -> Result<Place, NotNow> {
        let mut hosts = self.lock();
        if hosts.len() >= HOSTS && !hosts.contains_key(name) {
            let mut idle: Vec<_> = hosts.values().filter(|host| host.is_idle()).map(|host| host.used).collect();
            idle.sort_unstable();
            let Some(oldest) = idle.get((HOSTS / 8).min(idle.len().saturating_sub(1))).copied() else {
                return Err(NotNow::Busy);
            };
            hosts.retain(|_, host| host.used > oldest || !host.is_idle());
        }
        let host = hosts.entry(name.to_owned()).or_insert_with(|| Host::new(now));
        host.used = now;
        host.open(now)?;
        let permit = host.slots.clone().try_acquire_owned().map_err(|_| NotNow::Busy)?;
        Ok(Place { _permit: permit, is_proven: host.trust >= PROVEN })
    }

    /// A host has answered, or not. One that asks to be left alone is, but not longer than others that fail.
    pub fn note(&self, name: &str, heard: Heard, now: Instant) {
        let mut hosts = self.lock();
        let Some(host) = hosts.get_mut(name) else { return };
        host.note(heard, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_host_is_left_alone_and_others_go_on() {
        let (health, start) = (Health::default(), Instant::now());
        for _ in 0..FAILURES {
            drop(health.enter("dead", start).unwrap());
            health.note("dead", Heard::Not(None), start);
        }
        assert_eq!(health.enter("dead", start).unwrap_err(), NotNow::Closed(FIRST));
        assert!(health.enter("well", start).is_ok());
        let later = start + FIRST;
        let probe = health.enter("dead", later).unwrap();
        assert!(matches!(health.enter("dead", later), Err(NotNow::Closed(_))), "one tries, not all");
        health.note("dead", Heard::Not(None), later);
        drop(probe);
        assert!(matches!(health.enter("dead", later + FIRST), Err(NotNow::Closed(_))), "longer");
        drop(health.enter("dead", later + 2 * FIRST).unwrap());
        health.note("dead", Heard::Well, later + 2 * FIRST);
        assert!(health.enter("dead", later + 2 * FIRST).is_ok());
    }

    #[test]
    fn a_host_is_trusted_with_as_many_as_it_answers() {
        let (health, now) = (Health::default(), Instant::now());
        let places = || {
            let all: Vec<_> = std::iter::from_fn(|| health.enter("host", now).ok()).collect();
            assert!(all.iter().all(|place| place.is_proven == (all.len() >= PROVEN)));
            all.len()
        };
        let note = |heard, times| (0..times).for_each(|_| health.note("host", heard, now));
        assert_eq!(places(), AT_FIRST);
        note(Heard::Well, 1);
        assert_eq!(places(), AT_FIRST + 1);
        note(Heard::Well, 1000);
        assert_eq!(places(), AT_ONCE);
        note(Heard::Less(None), 1);
        assert_eq!(places(), AT_ONCE / 2);
        note(Heard::Not(None), 1);
        assert_eq!(places(), AT_ONCE / 4);
        note(Heard::Less(None), 10);
        assert_eq!(places(), AT_FIRST);
        assert_eq!(health.enter("host", now).map(|place| place.is_proven), Ok(false));
        note(Heard::Well, AT_FIRST);
        assert_eq!(health.enter("host", now).map(|place| place.is_proven), Ok(true));
    }

    #[test]
    fn a_host_is_left_alone_for_as_long_as_it_asks_for() {
        let (health, now) = (Health::default(), Instant::now());
        let minute = Duration::from_secs(60);
        drop(health.enter("host", now).unwrap());
        health.note("host", Heard::Not(Some(minute)), now);
        health.note("host", Heard::Not(None), now);
        assert_eq!(health.enter("host", now).unwrap_err(), NotNow::Closed(minute));
        assert!(health.enter("host", now + minute).is_ok());
        health.note("host", Heard::Not(Some(100 * LONGEST)), now);
        assert_eq!(health.enter("host", now).unwrap_err(), NotNow::Closed(LONGEST));
    }

    #[test]
    fn one_that_wants_less_of_many_devices_one_after_the_other_is_left_alone() {
        let (health, now) = (Health::default(), Instant::now());
        let minute = Duration::from_secs(60);
        let less = |times: u32| (0..times).for_each(|_| health.note("host", Heard::Less(Some(minute)), now));
        drop(health.enter("host", now).unwrap());
        less(FAILURES - 1);
        assert!(health.enter("host", now).is_ok(), "it may have meant those devices");
        health.note("host", Heard::Well, now);
        less(FAILURES - 1);
        assert!(health.enter("host", now).is_ok());
        less(1);
        assert_eq!(health.enter("host", now).unwrap_err(), NotNow::Closed(minute));
        let later = now + minute;
        assert!(health.enter("host", later).is_ok());
        assert_eq!(health.enter("host", later).unwrap_err(), NotNow::Closed(FIRST), "one tries, not all");
        health.note("host", Heard::Less(Some(100 * LONGEST)), later);
        assert_eq!(health.enter("host", later).unwrap_err(), NotNow::Closed(LONGEST));
        health.note("host", Heard::Well, later);
        assert!(health.enter("host", later).is_ok());
    }

    #[test]
    fn what_fails_together_counts_as_once() {
        let (health, start) = (Health::default(), Instant::now());
        drop(health.enter("dead", start).unwrap());
        (0..AT_ONCE).for_each(|_| health.note("dead", Heard::Not(None), start));
        assert_eq!(health.enter("dead", start).unwrap_err(), NotNow::Closed(FIRST));
        drop(health.enter("dead", start + FIRST).unwrap());
        (0..AT_ONCE).for_each(|_| health.note("dead", Heard::Not(None), start + FIRST));
        assert_eq!(health.enter("dead", start + FIRST).unwrap_err(), NotNow::Closed(2 * FIRST));
    }

    #[tokio::test]
    async fn who_finds_all_places_taken_waits_for_one_but_not_for_a_host_that_has_failed_meanwhile() {
        let (health, long) = (Arc::new(Health::default()), Duration::from_secs(60));
        let mut all: Vec<_> = (0..AT_FIRST).map(|_| health.enter("busy", Instant::now()).unwrap()).collect();
        assert_eq!(health.place("busy", Duration::ZERO).await.unwrap_err(), NotNow::Busy);
        assert!(health.place("well", Duration::ZERO).await.is_ok(), "others go on");
        let waits = || {
            let health = health.clone();
            tokio::spawn(async move { health.place("busy", long).await.map(drop) })
        };
        let waiting = waits();
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        all.pop();
        assert_eq!(waiting.await.unwrap(), Ok(()));
        all.push(health.enter("busy", Instant::now()).unwrap());
        let waiting = waits();
        tokio::task::yield_now().await;
        (0..FAILURES).for_each(|_| health.note("busy", Heard::Not(None), Instant::now()));
        all.pop();
        assert!(matches!(waiting.await.unwrap(), Err(NotNow::Closed(_))));
    }

    #[test]
    fn memory_is_bounded() {
        let (health, start) = (Health::default(), Instant::now());
        let at = |n: usize| start + Duration::from_millis(n as u64);
        let busy = health.enter("busy", start).unwrap();
        for n in 0..HOSTS {
            let name = n.to_string();
            drop(health.enter(&name, at(n)).unwrap());
            health.note(&name, Heard::Not(None), at(n));
        }
        drop(health.enter("well", at(HOSTS)).unwrap());
        let hosts = health.lock();
        assert!(hosts.len() < HOSTS && hosts.len() > HOSTS / 2);
        let known = ["busy", "well", &(HOSTS - 1).to_string(), "0"].map(|name| hosts.contains_key(name));
        assert_eq!(known, [true, true, true, false], "of those that are idle the one not called for longest goes");
        drop((hosts, busy));
    }
}
