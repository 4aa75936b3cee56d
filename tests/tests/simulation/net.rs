//! What lies between processes: calls that take time, get lost on either way, or arrive long after their caller has
//! given up. All processes of a schedule run on one thread, so what they share is this thread's.

use super::clock::{self, MS, between, chance};
use std::{
    cell::RefCell,
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};
use tokio::sync::oneshot;

/// Whom a process talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// The log.
    Log,
    /// The registry.
    Registry,
    /// The inboxes.
    Inbox,
    /// The databases, or the services before them.
    Database,
    /// Clients, by way of their gateways.
    Clients,
}

/// All of them.
pub const PORTS: [Port; 5] = [Port::Log, Port::Registry, Port::Inbox, Port::Database, Port::Clients];

/// No answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// What was asked was not done, and will not be.
    Refused,
    /// It may have been done, and may still be.
    Unknown,
}

/// How bad the network is, in thousandths of calls.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// Requests, and answers, that are lost.
    pub lost: u64,
    /// Requests, and answers, that take up to seconds.
    pub late: u64,
    /// Calls that are refused at once.
    pub refused: u64,
}

/// The longest that anybody waits for an answer.
const LONGEST: u64 = 5000 * MS;

struct Due {
    at: u64,
    order: u64,
    act: Box<dyn FnOnce()>,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

#[derive(Default)]
struct Net {
    weather: Weather,
    due: BinaryHeap<Reverse<Due>>,
    order: u64,
    /// Links that are cut: of a process, or of all, to a port; until when.
    cuts: BTreeMap<(Option<usize>, Port), u64>,
}

thread_local! {
    static NET: RefCell<Net> = RefCell::default();
}

/// Sets how bad the network is.
pub fn set_weather(weather: Weather) {
    NET.with_borrow_mut(|net| net.weather = weather);
}

/// Everything is well again.
pub fn heal() {
    NET.with_borrow_mut(|net| {
        net.weather = Weather::default();
        net.cuts.clear();
    });
}

/// Cuts a process (none: all) off from a port for a while.
pub fn cut(process: Option<usize>, port: Port, nanos: u64) {
    NET.with_borrow_mut(|net| net.cuts.insert((process, port), clock::now() + nanos));
}

/// Whether a process is cut off from a port now.
pub fn is_cut(process: usize, port: Port) -> bool {
    NET.with_borrow(|net| {
        let until = |whom| net.cuts.get(&(whom, port)).is_some_and(|until| *until > clock::now());
        until(Some(process)) || until(None)
    })
}

/// Does something after a while, whoever is still there by then.
pub fn after(nanos: u64, act: impl FnOnce() + 'static) {
    NET.with_borrow_mut(|net| {
        net.order += 1;
        net.due.push(Reverse(Due { at: clock::now() + nanos, order: net.order, act: Box::new(act) }));
    });
}

/// Does all that is due up to a time, which it comes to be.
pub fn run_until(time: u64) {
    loop {
        let next = NET.with_borrow_mut(|net| {
            let due = net.due.peek().is_some_and(|Reverse(next)| next.at <= time);
            if due { net.due.pop() } else { None }
        });
        let Some(Reverse(next)) = next else { break };
        clock::advance_to(next.at);
        (next.act)();
    }
    clock::advance_to(time);
}

/// How long one way takes, in nanoseconds; none: it is lost.
pub fn way(process: usize, port: Port) -> Option<u64> {
    let weather = NET.with_borrow(|net| net.weather);
    if is_cut(process, port) || chance(weather.lost) {
        return None;
    }
    let late = chance(weather.late);
    Some(if late { between(10 * MS, 4000 * MS) } else { between(MS / 5, 4 * MS) })
}

/// How long a process waits for an answer before it gives up.
fn patience() -> u64 {
    if chance(500) { 2000 * MS } else { between(300 * MS, LONGEST) }
}

/// Asks another for something: `act` is done there when the request arrives.
pub async fn call<T: Send + 'static>(
    process: usize,
    port: Port,
    act: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Lost> {
    let refused = NET.with_borrow(|net| net.weather.refused);
    if chance(refused) || (is_cut(process, port) && chance(300)) {
        pause(between(MS, 5 * MS)).await;
        return Err(Lost::Refused);
    }
    let (sender, receiver) = oneshot::channel();
    let (there, back) = (way(process, port), way(process, port));
    // What is lost looks like what is late: the sender lives on until the caller has given up.
    match there {
        Some(there) => after(there, move || {
            let done = act();
            // A link that was cut meanwhile takes no answer.
            let back = back.filter(|_| !is_cut(process, port));
            match back {
                Some(back) => after(back, move || drop(sender.send(done))),
                None => after(LONGEST, move || drop(sender)),
            }
        }),
        None => after(LONGEST, move || drop(sender)),
    }
    let answer = tokio::time::timeout(Duration::from_nanos(patience()), receiver).await;
    match answer {
        Ok(Ok(done)) => Ok(done),
        _ => Err(Lost::Unknown),
    }
}

/// Lets time pass for whoever asks.
pub async fn pause(nanos: u64) {
    tokio::time::sleep(Duration::from_nanos(nanos)).await;
}
