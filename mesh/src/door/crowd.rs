//! Who is at the door: how many from each address, and how many of them have not yet said who they are. What counts
//! somebody is dropped with them.

use super::address::Address;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio_util::sync::CancellationToken;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many there are from each address.
#[derive(Debug, Clone)]
pub(super) struct Crowd {
    most: usize,
    counts: Arc<Mutex<HashMap<Address, usize>>>,
}

/// A place in a crowd; free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    address: Address,
    crowd: Crowd,
}

impl Crowd {
    /// At most so many from each address; 0: as many as come.
    pub fn new(most: usize) -> Self {
        Self { most, counts: Arc::default() }
    }

    /// A place for one more; none: it is full.
    pub fn enter(&self, address: Address) -> Option<Place> {
        let mut counts = lock(&self.counts);
        let count = counts.entry(address).or_default();
        if self.most > 0 && *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place { address, crowd: self.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = lock(&self.crowd.counts);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// Those who have come and not yet shown what they want: of one address at most so many, of which a further one is
/// refused; of all at most so many, of which the one that has waited longest has to go for a further one. So silence
/// never keeps out who speaks.
#[derive(Debug, Clone)]
pub(crate) struct Arrivals {
    most: usize,
    of_address: Crowd,
    waiting: Arc<Mutex<(u64, BTreeMap<u64, CancellationToken>)>>,
}

/// Somebody who has come and not yet shown what they want; drop it once they have.
#[derive(Debug)]
pub struct Arrival {
    number: u64,
    given_up: CancellationToken,
    arrivals: Arrivals,
    _place: Option<Place>,
}

impl Arrivals {
    pub fn new(most: usize, of_address: usize) -> Self {
        Self { most, of_address: Crowd::new(of_address), waiting: Arc::default() }
    }

    /// One more; none: too many of this address wait already. True: somebody else had to go for it.
    pub fn come(&self, address: Option<Address>) -> Option<(Arrival, bool)> {
        let place = match address {
            Some(address) => Some(self.of_address.enter(address)?),
            None => None,
        };
        let given_up = CancellationToken::new();
        let mut waiting = lock(&self.waiting);
        let (next, all) = &mut *waiting;
        *next += 1;
        let (number, mut full) = (*next, false);
        if all.len() >= self.most
            && let Some((_, first)) = all.pop_first()
        {
            first.cancel();
            full = true;
        }
        all.insert(number, given_up.clone());
        drop(waiting);
        Some((Arrival { number, given_up, arrivals: self.clone(), _place: place }, full))
    }
}

impl Arrival {
    /// Cancelled when this one has to go, because too many have come since.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.given_up.clone()
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        lock(&self.arrivals.waiting).1.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Address {
        Address::of(std::net::Ipv4Addr::new(192, 0, 2, last).into()).unwrap()
    }

    #[test]
    fn places_are_counted_and_given_back() {
        let crowd = Crowd::new(2);
        let one = crowd.enter(address(1)).unwrap();
        let two = crowd.enter(address(1)).unwrap();
        assert!(crowd.enter(address(1)).is_none());
        let other = crowd.enter(address(2)).unwrap();
        drop(one);
        assert!(crowd.enter(address(1)).is_some());
        drop((two, other));
        assert!(lock(&crowd.counts).is_empty(), "nothing is kept of who has gone");
    }

    #[test]
    fn who_waits_longest_goes_for_who_comes() {
        let arrivals = Arrivals::new(2, 2);
        let (first, _) = arrivals.come(Some(address(1))).unwrap();
        let (second, full) = arrivals.come(Some(address(1))).unwrap();
        assert!(!full && arrivals.come(Some(address(1))).is_none(), "too many of one address");
        let (third, full) = arrivals.come(None).unwrap();
        assert!(full && first.given_up.is_cancelled() && !second.given_up.is_cancelled());
        drop(first);
        drop((second, third));
        assert!(lock(&arrivals.waiting).1.is_empty());
    }
}
