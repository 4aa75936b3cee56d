//! The home of a shard: the one process that numbers its rooms. It checks and numbers what has gathered into a batch,
//! appends it to the log, and only on the log's acknowledgement applies it and answers.
//!
//! One batch is in flight; what comes in meanwhile waits in a bounded queue, not yet numbered.

mod append;
mod batch;
mod fetch;
mod former;
mod hand_over;
mod light;
mod lost;
mod memory;
mod pressure;
mod recall;
mod replay;
mod unchanged;
mod upkeep;
mod waiting;

use crate::{
    ask::{Ask, What},
    event,
    fan_out::{Committed, FanOut},
    notices::Notices,
    room::{Limits, Request, Room},
    shelf,
    typing::Typing,
};
use append::{Appended, append};
use batch::{Batch, Done, Missing};
use fetch::{Absent, Fetched};
pub use fetch::{Pair, Services, Sources};
use futures_util::{FutureExt, future::BoxFuture};
pub use hand_over::Left;
use madang_mesh::{
    clock::now_micros,
    lease::Tenure,
    log::{Log, Position},
    metrics,
    registry::Registry,
    shard::Shard,
    trace::{Context, Kind, Span},
};
use madang_proto::{
    id::ConversationId,
    reason::{Reason, Refusal},
};
pub use memory::{Memory, cost};
use pressure::Pressure;
use prometheus::{Histogram, IntGaugeVec};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, LazyLock, atomic::AtomicUsize},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// How many requests wait for a home at most.
const QUEUE: usize = 4096;
/// How many bytes of requests wait for a home at most.
const QUEUE_BYTES: usize = 8 << 20;
/// After so long without the log's acknowledgement those who wait are told to try again.
const PATIENCE: Duration = Duration::from_secs(4);
/// How often read marks are gathered, and pressure is looked at.
const TICK: Duration = Duration::from_millis(250);
/// Above so many members read marks are gathered every 5 s instead of every second.
const LARGE_ROOM: usize = 50;

/// What homes need of the world.
#[derive(Clone)]
pub struct World {
    /// The log.
    pub log: Arc<dyn Log>,
    /// How far the readers have come.
    pub registry: Arc<dyn Registry>,
    /// Where committed events go.
    pub fan_out: FanOut,
    /// Where notices go that are never stored.
    pub notices: Notices,
    /// Where it goes that somebody is writing.
    pub typing: Typing,
    /// The databases.
    pub sources: Arc<dyn Sources>,
    /// This process.
    pub process: String,
    /// The format of the records that it writes.
    pub format: u32,
    /// Limits that are settings.
    pub limits: Limits,
    /// What the rooms of all homes of this process may cost.
    pub memory: Memory,
    /// How many bytes of the log its readers may be behind.
    pub lag_bytes: u64,
    /// Whether this process is still home.
    pub tenure: Tenure,
}

/// A way to a home.
#[derive(Clone)]
pub struct HomeHandle {
    asks: mpsc::Sender<Ask>,
    waiting: Arc<AtomicUsize>,
}

impl HomeHandle {
    /// Asks; answers at once if the queue is full or the home is gone.
    pub fn ask(&self, mut ask: Ask) {
        if !ask.claim.take(&self.waiting, QUEUE_BYTES) {
            return (ask.answer)(Err(overloaded()));
        }
        match self.asks.try_send(ask) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(ask)) => (ask.answer)(Err(overloaded())),
            Err(mpsc::error::TrySendError::Closed(ask)) => (ask.answer)(Err(moving())),
        }
    }
}

fn overloaded() -> Refusal {
    crate::refusals::OVERLOADED.count();
    Refusal::new(Reason::Overloaded, "this part of the server has as much to do as it takes: send again a little later")
        .after(200)
}

/// The home is being moved, or just starts.
#[must_use]
pub fn moving() -> Refusal {
    Refusal::new(Reason::Unavailable, "the conversation's home is being moved: send again with the same clientId")
        .after(200)
}

static APPEND: LazyLock<Histogram> = LazyLock::new(|| {
    let help = "How long an append to the log took until it was acknowledged.";
    metrics::histogram("madang_chat_append_seconds", help, metrics::SECONDS)
});
static BATCH: LazyLock<Histogram> =
    LazyLock::new(|| metrics::histogram("madang_chat_batch_events", "How many events a batch had.", metrics::COUNTS));
static ROOMS: LazyLock<IntGaugeVec> =
    LazyLock::new(|| metrics::gauges("madang_chat_rooms", "How many rooms a home holds.", &["shard"]));

/// A shard's home at work.
struct Home {
    shard: Shard,
    world: World,
    epoch: Position,
    last: Position,
    rooms: HashMap<ConversationId, Room>,
    /// Everything since is in memory, for rooms that are; ms since 1970.
    horizon_ms: i64,
    /// What waits for something that is being fetched.
    waits: waiting::Waits,
    /// Client ids that no event has.
    unchanged: unchanged::Unchanged,
    /// What the log's newest records have of before this home.
    recall: recall::Recall,
    ready: VecDeque<Ask>,
    /// Rooms that were just found not to be there.
    absent: HashMap<ConversationId, Absent>,
    to_fetch: Vec<fetch::Wanted>,
    fetches: JoinSet<Vec<Fetched>>,
    /// Rooms with read marks to gather.
    unread_marks: HashSet<ConversationId>,
    pressure: Pressure,
    ticks: u64,
    /// What its rooms cost.
    share: memory::Share,
    line: memory::Line,
    /// Where the readers of the log stand is being asked; never waited for, for what is asked may hang.
    looking: Option<JoinHandle<pressure::Heard>>,
    /// What was committed last is being given to the fan-out, which makes homes wait that are faster than it.
    delivering: Option<BoxFuture<'static, ()>>,
}

struct InFlight {
    batch: Batch,
    since: Instant,
    append: BoxFuture<'static, Appended>,
}

/// Becomes the shard's home, with what the one `before` has left if it can, tells `serving` once it is, and serves until
/// `cancel` or until another home is found. What it leaves is for the next one.
pub async fn run(
    shard: Shard,
    world: World,
    before: Option<shelf::Ask>,
    serving: impl FnOnce(HomeHandle),
    cancel: CancellationToken,
) -> Result<Option<Left>, String> {
    let mut home = tokio::select! {
        home = replay::take_over(shard, world, before) => home?,
        () = cancel.cancelled() => return Ok(None),
    };
    let (asks, mut receiver) = mpsc::channel(QUEUE);
    metrics::queue("home_queue", "requests that wait for a shard's home", &asks);
    serving(HomeHandle { asks, waiting: Arc::default() });
    let served = home.serve(&mut receiver, cancel).await;
    home.turn_away(receiver);
    served?;
    if !home.flush_marks().await? {
        return Ok(None);
    }
    Ok(home.leave().await)
}

impl Home {
    /// One that begins after its marker, with no room yet.
    fn new(shard: Shard, world: World, epoch: Position, pressure: Pressure, horizon_ms: i64) -> Self {
        let share = memory::Share::new(world.memory.clone());
        Self {
            shard,
            world,
            epoch,
            last: epoch,
            rooms: HashMap::new(),
            horizon_ms,
            waits: waiting::Waits::new(),
            unchanged: unchanged::Unchanged::default(),
            recall: recall::Recall::default(),
            ready: VecDeque::new(),
            absent: HashMap::new(),
            to_fetch: Vec::new(),
            fetches: JoinSet::new(),
            unread_marks: HashSet::new(),
            pressure,
            ticks: 0,
            share,
            line: memory::Line::default(),
            looking: None,
            delivering: None,
        }
    }

    async fn serve(&mut self, asks: &mut mpsc::Receiver<Ask>, cancel: CancellationToken) -> Result<(), String> {
        self.recall();
        let mut in_flight: Option<InFlight> = None;
        let mut busy_since = Instant::now();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            if in_flight.is_none() && self.delivering.is_none() && !self.ready.is_empty() && !cancel.is_cancelled() {
                in_flight = self.begin();
            }
            let idle = in_flight.is_none() && self.delivering.is_none();
            if idle {
                self.forget_rooms();
            }
            let room = self.ready.len() < batch::MAX_EVENTS;
            tokio::select! {
                biased;
                appended = async { match in_flight.as_mut() { Some(f) => (&mut f.append).await, None => std::future::pending().await } } => {
                    if let Some(done) = in_flight.take() {
                        busy_since = Instant::now();
                        self.finish(done.batch, done.since, appended)?;
                    }
                }
                () = async { match self.delivering.as_mut() { Some(giving) => giving.await, None => std::future::pending().await } } => {
                    self.delivering = None;
                }
                // A graceful stop finishes the batch in flight, and takes no more.
                () = cancel.cancelled(), if idle => return Ok(()),
                Some(fetched) = self.fetches.join_next() => {
                    // It is never cut off, and a panic of it brings something all the same.
                    for each in fetched.unwrap_or_default() {
                        self.fetched(each);
                    }
                }
                Some(ask) = asks.recv(), if idle && room => {
                    self.ready.push_back(ask);
                    while self.ready.len() < batch::MAX_EVENTS {
                        let Ok(ask) = asks.try_recv() else { break };
                        self.ready.push_back(ask);
                    }
                }
                _ = tick.tick() => {
                    let since = in_flight.as_ref().map_or(busy_since, |flight| flight.since);
                    if !idle && since.elapsed() > PATIENCE {
                        in_flight.iter_mut().for_each(|flight| flight.batch.give_up());
                        if cancel.is_cancelled() {
                            return Err("it was to stop while the log did not answer".into());
                        }
                        self.ready.drain(..).for_each(|ask| (ask.answer)(Err(unsaved())));
                        while let Ok(ask) = asks.try_recv() {
                            (ask.answer)(Err(unsaved()));
                        }
                    }
                    self.tick()?;
                }
            }
        }
    }

    /// Numbers what is ready; none if nothing of it needs the log.
    fn begin(&mut self) -> Option<InFlight> {
        if !self.world.tenure.holds(self.shard) {
            // What needs no log would be answered from what may be old: another home may have gone on. Marks that were
            // taken still go to the log, which knows.
            for ask in std::mem::take(&mut self.ready) {
                match ask.what {
                    What::Request(Request::Marks(_), _) => self.ready.push_back(ask),
                    _ => (ask.answer)(Err(moving())),
                }
            }
        }
        let mut batch = Batch::new(now_micros());
        while !batch.is_full() {
            let Some(ask) = self.ready.pop_front() else { break };
            self.consider(ask, &mut batch);
        }
        if self.ready.is_empty() || self.absent.len() > QUEUE {
            self.absent.clear();
        }
        self.fetch();
        if batch.is_empty() {
            self.ready.extend(batch.answer_all());
            return if self.ready.is_empty() { None } else { self.begin() };
        }
        let payload =
            batch.encode(self.world.format, &self.world.process, self.epoch, self.world.fan_out.positions(self.shard));
        let append = append(self.world.log.clone(), self.shard, payload, self.last, batch.nonce()).boxed();
        Some(InFlight { batch, since: Instant::now(), append })
    }

    /// Number it into the batch, answer it, or let it wait for what must be fetched first.
    fn consider(&mut self, ask: Ask, batch: &mut Batch) {
        let conversation = ask.conversation;
        let Some(mut ask) = self.wait_behind(ask) else { return };
        match &mut ask.what {
            What::BlocksChanged(other) => {
                let other = *other;
                return self.forget_blocks(ask, other, batch);
            }
            What::Settled(..) => return self.settle(ask, batch),
            // Whoever writes has read what is there: then the log is to have that first.
            What::Request(Request::Marks(_), _) if batch.has(&conversation) => return batch.after(ask),
            What::Request(Request::Marks(marks), _) => *marks = self.marks_of(&conversation),
            _ => {}
        }
        let first = match (&ask.what, ask.actor) {
            (What::Request(Request::Send { first_to, .. }, _), Some(actor)) => first_to.map(|peer| (actor, peer)),
            _ => None,
        };
        let absent = self.absent.get(&conversation).copied();
        let is_known = absent.is_some_and(|absent| absent.both_known.is_some() || first.is_none());
        if !self.rooms.contains_key(&conversation) && !batch.has(&conversation) && !is_known {
            return self.wait(ask, Some(fetch::Wanted::Room { conversation, first }));
        }
        if let Some(room) = self.rooms.get_mut(&conversation) {
            room.touched = self.ticks;
        }
        match &ask.what {
            // What was sent just before may be read already.
            What::Read(..) if batch.has(&conversation) => batch.after(ask),
            What::Read(..) => self.read(ask),
            What::Typing => self.typing(ask),
            What::BlocksChanged(_) | What::Settled(..) => {}
            What::Request(..) => {
                if self.pressure.lagging() && ask.actor.is_some() {
                    return (ask.answer)(Err(pressure::refusal()));
                }
                let room = self.rooms.get(&conversation);
                match batch.add(ask, room, absent, self.world.limits) {
                    Ok(()) => {}
                    Err((ask, Missing::Message { seq, revision })) => self.wait_for_message(ask, seq, revision),
                    Err((ask, Missing::Ids { since_micros, revision })) => self.find_ids(ask, (since_micros, revision)),
                    Err((ask, Missing::Blocks(actor, peer))) => {
                        self.wait(ask, Some(fetch::Wanted::Blocks(conversation, (actor, peer))));
                    }
                    Err((ask, Missing::Settings { user, revision })) => {
                        let wanted = fetch::Wanted::Settings { conversation, user, revision };
                        self.wait_for_settings(ask, user, Some(wanted));
                    }
                }
            }
        }
    }

    /// The log has the batch, or not: apply and answer, or only answer.
    fn finish(&mut self, mut batch: Batch, since: Instant, appended: Appended) -> Result<(), String> {
        let position = match appended {
            Appended::At(position) => position,
            Appended::Refused(why) => {
                tracing::warn!(shard = self.shard, %why, "the log took nothing: sends are refused until it does");
                batch.refuse(&unsaved());
                return Ok(());
            }
            Appended::Lost => {
                batch.refuse(&moving());
                return Err("another home has written to the log of this shard".into());
            }
        };
        APPEND.observe(since.elapsed().as_secs_f64());
        BATCH.observe(batch.len() as f64);
        show_append(&mut batch, since, self.shard);
        self.last = position;
        self.pressure.appended(position, batch.bytes());
        let mut begun = batch.begun();
        self.note_unchanged(&mut batch);
        let Done { states, events, facts, answers, again } = batch.into_parts();
        let changed: Vec<_> = states.keys().copied().collect();
        for (conversation, state) in states {
            match self.rooms.get_mut(&conversation) {
                Some(room) => (room.state, room.last_position) = (state, position),
                None => {
                    let blocks = begun.remove(&conversation).unwrap_or_default();
                    self.keep(conversation, Room { last_position: position, blocks, ..Room::begun(state) });
                }
            }
        }
        let mut deliveries = Vec::with_capacity(events.len());
        for (conversation, numbered, used) in events {
            if let Some(room) = self.rooms.get_mut(&conversation) {
                room.apply_marks(&numbered.event);
                if let Some((key, used)) = used {
                    room.seen.note(key, used);
                }
                if room.drop_known_marks() {
                    self.unread_marks.insert(conversation);
                }
            }
            self.ask_for_settings(conversation, &numbered.event);
            deliveries.extend(event::outgoing(&numbered.event, numbered.recipients, numbered.blind));
        }
        for ((conversation, seq), facts) in facts {
            if let Some(room) = self.rooms.get_mut(&conversation) {
                let at_ms = facts.at_micros / 1000;
                room.recent.note(seq, facts, at_ms);
            }
        }
        self.fetch();
        let stored = self.pressure.stored_until_ms();
        let forget = stored.min(now_micros() / 1000 - crate::retry::KEEP_MS);
        for conversation in changed {
            if let Some(room) = self.rooms.get_mut(&conversation) {
                room.seen.forget_before(forget);
                room.recent.forget(forget, stored);
            }
            self.weigh(&conversation);
        }
        for (answer, result) in answers {
            answer(result);
        }
        for ask in again.into_iter().rev() {
            self.ready.push_front(ask);
        }
        let (fan_out, committed) = (self.world.fan_out.clone(), Committed { shard: self.shard, position, deliveries });
        let mut giving = async move { fan_out.committed(committed).await }.boxed();
        // Mostly there is room for it at once.
        if (&mut giving).now_or_never().is_none() {
            self.delivering = Some(giving);
        }
        Ok(())
    }
}

/// What traces show of the append that a batch had.
fn show_append(batch: &mut Batch, since: Instant, shard: Shard) {
    let traces = batch.traces();
    let span = |within: Option<Context>| match within {
        Some(_) => Span::within(within, "chat", "append", Kind::Producer),
        // Kept if it was slow.
        None => Span::root("chat", "append", Kind::Producer, None),
    };
    let first = span(traces.first().copied());
    let batch_of = first.context();
    let rest: Vec<_> = traces.into_iter().skip(1).map(|within| span(Some(within))).collect();
    for (n, span) in std::iter::once(first).chain(rest).enumerate() {
        let mut span = span.since(since.into_std());
        span.number("madang.shard", shard);
        span.number("madang.batch.events", batch.len());
        // They were written as one.
        span.link(batch_of.filter(|_| n > 0));
    }
}

fn unsaved() -> Refusal {
    let message = "the log does not answer, so nothing can be saved: send again with the same clientId";
    Refusal::new(Reason::Unavailable, message).after(1000)
}

#[cfg(test)]
mod tests;
