//! The health of hosts that pushes go to: how many are on their way to each, and whether it is worth trying. A dead one
//! holds up nobody else's.

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
    failures: u32,
    /// Until then it is left alone; then one push tries it.
    closed: Option<Instant>,
    /// When it was last to be called.
    used: Instant,
}

impl Host {
    /// Whether it may be called now. Where it is left alone no more, one tries, and the others wait for what comes of it.
    fn open(&mut self, now: Instant) -> Result<(), NotNow> {
        match self.closed {
            Some(until) if now < until => return Err(NotNow::Closed(until - now)),
            Some(_) => self.closed = Some(now + FIRST),
            None => {}
        }
        Ok(())
    }
}

/// The health of all hosts.
#[derive(Debug, Default)]
pub struct Health(Mutex<HashMap<String, Host>>);

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
    pub async fn place(&self, name: &str, wait: Duration) -> Result<OwnedSemaphorePermit, NotNow> {
        let slots = match self.enter(name, Instant::now()) {
            Err(NotNow::Busy) => self.lock().get(name).map(|host| host.slots.clone()),
            entered => return entered,
        };
        let Some(slots) = slots else { return Err(NotNow::Busy) };
        let Ok(Ok(place)) = timeout(wait, slots.acquire_owned()).await else { return Err(NotNow::Busy) };
        // Those before it may have failed.
        self.lock().get_mut(name).map_or(Ok(()), |host| host.open(Instant::now()))?;
        Ok(place)
    }

    /// Takes a place on the way to a host, if there is one.
    fn enter(&self, name: &str, now: Instant) -> Result<OwnedSemaphorePermit, NotNow> {
        let mut hosts = self.lock();
        if hosts.len() >= HOSTS && !hosts.contains_key(name) {
            let is_idle = |host: &Host| host.slots.available_permits() == AT_ONCE;
            let mut idle: Vec<_> = hosts.values().filter(|host| is_idle(host)).map(|host| host.used).collect();
            idle.sort_unstable();
            let Some(oldest) = idle.get((HOSTS / 8).min(idle.len().saturating_sub(1))).copied() else {
                return Err(NotNow::Busy);
            };
            hosts.retain(|_, host| host.used > oldest || !is_idle(host));
        }
        let host = hosts.entry(name.to_owned()).or_insert_with(|| Host {
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            failures: 0,
            closed: None,
            used: now,
        });
        host.used = now;
        host.open(now)?;
        host.slots.clone().try_acquire_owned().map_err(|_| NotNow::Busy)
    }

    /// A host has answered, or not.
    pub fn note(&self, name: &str, well: bool, now: Instant) {
        let mut hosts = self.lock();
        let Some(host) = hosts.get_mut(name) else { return };
        if well {
            (host.failures, host.closed) = (0, None);
            return;
        }
        host.failures = host.failures.saturating_add(1);
        if host.failures >= FAILURES {
            let rounds = (host.failures - FAILURES).min(16);
            host.closed = Some(now + FIRST.saturating_mul(1 << rounds.min(8)).min(LONGEST));
        }
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
            health.note("dead", false, start);
        }
        assert_eq!(health.enter("dead", start).unwrap_err(), NotNow::Closed(FIRST));
        assert!(health.enter("well", start).is_ok());
        let later = start + FIRST;
        let probe = health.enter("dead", later).unwrap();
        assert!(matches!(health.enter("dead", later), Err(NotNow::Closed(_))), "one tries, not all");
        health.note("dead", false, later);
        drop(probe);
        assert!(matches!(health.enter("dead", later + FIRST), Err(NotNow::Closed(_))), "longer");
        drop(health.enter("dead", later + 2 * FIRST).unwrap());
        health.note("dead", true, later + 2 * FIRST);
        let all: Vec<_> = (0..AT_ONCE).map(|_| health.enter("dead", later + 2 * FIRST).unwrap()).collect();
        assert_eq!(health.enter("dead", later + 2 * FIRST).unwrap_err(), NotNow::Busy);
        drop(all);
        assert!(health.enter("dead", later + 2 * FIRST).is_ok());
    }

    #[tokio::test]
    async fn who_finds_all_places_taken_waits_for_one_but_not_for_a_host_that_has_failed_meanwhile() {
        let (health, long) = (Arc::new(Health::default()), Duration::from_secs(60));
        let mut all: Vec<_> = (0..AT_ONCE).map(|_| health.enter("busy", Instant::now()).unwrap()).collect();
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
        (0..FAILURES).for_each(|_| health.note("busy", false, Instant::now()));
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
            health.note(&name, false, at(n));
        }
        drop(health.enter("well", at(HOSTS)).unwrap());
        let hosts = health.lock();
        assert!(hosts.len() < HOSTS && hosts.len() > HOSTS / 2);
        let known = ["busy", "well", &(HOSTS - 1).to_string(), "0"].map(|name| hosts.contains_key(name));
        assert_eq!(known, [true, true, true, false], "of those that are idle the one not called for longest goes");
        drop((hosts, busy));
    }
}
