//! The home of a shard: the one process that numbers its rooms. It checks and numbers what has gathered into a batch,
//! appends it to the log, and only on the log's acknowledgement applies it and answers.
//!
//! One batch is in flight; what comes in meanwhile waits in a bounded queue, not yet numbered.

mod append;
mod batch;
mod fetch;
mod forget;
mod pressure;
mod replay;

use crate::{
    ask::{Ask, What},
    event,
    fan_out::{Committed, FanOut, Outgoing},
    notices::Notices,
    room::{Limits, Request, Room},
};
use append::{Appended, append};
use batch::Batch;
use bytes::Bytes;
use fetch::Fetched;
pub use fetch::{Services, Sources};
use futures_util::{FutureExt, future::BoxFuture};
use madang_mesh::{
    clock::now_micros,
    log::{Log, Position},
    metrics,
    registry::Registry,
    shard::Shard,
};
use madang_proto::{
    client::v1::{Ack, ServerFrame, TypingNotice, server_frame},
    id::ConversationId,
    reason::{Reason, Refusal},
};
use pressure::Pressure;
use prometheus::{Histogram, IntGaugeVec};
use prost::Message as _;
use std::{
    collections::{HashMap, HashSet, VecDeque, hash_map::Entry},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, task::JoinSet};
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
    /// The databases.
    pub sources: Arc<dyn Sources>,
    /// This process.
    pub process: String,
    /// Limits that are settings.
    pub limits: Limits,
}

/// A way to a home.
#[derive(Clone)]
pub struct HomeHandle {
    asks: mpsc::Sender<Ask>,
    waiting: Arc<AtomicUsize>,
}

impl HomeHandle {
    /// Asks; answers at once if the queue is full or the home is gone.
    pub fn ask(&self, ask: Ask) {
        let bytes = ask.bytes;
        if self.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes > QUEUE_BYTES {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            return (ask.answer)(Err(overloaded()));
        }
        if let Err(error) = self.asks.try_send(ask) {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            match error {
                mpsc::error::TrySendError::Full(ask) => (ask.answer)(Err(overloaded())),
                mpsc::error::TrySendError::Closed(ask) => (ask.answer)(Err(moving())),
            }
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
    /// Of rooms that are being fetched, in order.
    waiting: HashMap<ConversationId, VecDeque<Ask>>,
    waiting_count: usize,
    ready: VecDeque<Ask>,
    /// Rooms that were just found not to be there, and whether the peer of a first message is.
    absent: HashMap<ConversationId, bool>,
    to_fetch: Vec<fetch::Wanted>,
    fetches: JoinSet<Vec<Fetched>>,
    /// Rooms with read marks to gather.
    unread_marks: HashSet<ConversationId>,
    pressure: Pressure,
    ticks: u64,
    /// When rooms were last forgotten.
    forgot: Option<Instant>,
}

struct InFlight {
    batch: Batch,
    since: Instant,
    append: BoxFuture<'static, Appended>,
}

/// Becomes the shard's home, tells `serving` once it is, and serves until `cancel` or until another home is found.
pub async fn run(
    shard: Shard,
    world: World,
    serving: impl FnOnce(HomeHandle),
    cancel: CancellationToken,
) -> Result<(), String> {
    let mut home = tokio::select! {
        home = replay::take_over(shard, world) => home?,
        () = cancel.cancelled() => return Ok(()),
    };
    let (asks, receiver) = mpsc::channel(QUEUE);
    let waiting = Arc::new(AtomicUsize::new(0));
    serving(HomeHandle { asks, waiting: waiting.clone() });
    home.serve(receiver, waiting, cancel).await
}

impl Home {
    /// One that begins after its marker, with no room yet; the readers of the log have passed a position.
    fn new(shard: Shard, world: World, epoch: Position, passed: Position, horizon_ms: i64) -> Self {
        Self {
            shard,
            world,
            epoch,
            last: epoch,
            rooms: HashMap::new(),
            horizon_ms,
            waiting: HashMap::new(),
            waiting_count: 0,
            ready: VecDeque::new(),
            absent: HashMap::new(),
            to_fetch: Vec::new(),
            fetches: JoinSet::new(),
            unread_marks: HashSet::new(),
            pressure: Pressure::new(passed),
            ticks: 0,
            forgot: None,
        }
    }

    async fn serve(
        &mut self,
        mut asks: mpsc::Receiver<Ask>,
        waiting: Arc<AtomicUsize>,
        cancel: CancellationToken,
    ) -> Result<(), String> {
        let mut in_flight: Option<InFlight> = None;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            if in_flight.is_none() && !self.ready.is_empty() {
                in_flight = self.begin();
            }
            let idle = in_flight.is_none();
            if idle {
                self.forget_rooms();
            }
            let room = self.ready.len() < batch::MAX_EVENTS;
            tokio::select! {
                biased;
                appended = async { match in_flight.as_mut() { Some(f) => (&mut f.append).await, None => std::future::pending().await } } => {
                    if let Some(done) = in_flight.take() {
                        self.finish(done.batch, done.since, appended).await?;
                    }
                }
                // A graceful stop finishes the batch in flight, and takes no more.
                () = cancel.cancelled(), if idle => return Ok(()),
                Some(fetched) = self.fetches.join_next() => {
                    for each in fetched.unwrap_or_default() {
                        self.fetched(each);
                    }
                }
                Some(ask) = asks.recv(), if idle && room => {
                    self.take(ask, &waiting);
                    while self.ready.len() < batch::MAX_EVENTS {
                        let Ok(ask) = asks.try_recv() else { break };
                        self.take(ask, &waiting);
                    }
                }
                _ = tick.tick() => {
                    let stuck = in_flight.as_mut().filter(|flight| flight.since.elapsed() > PATIENCE);
                    if let Some(flight) = stuck {
                        flight.batch.give_up();
                        while let Ok(ask) = asks.try_recv() {
                            waiting.fetch_sub(ask.bytes, Ordering::Relaxed);
                            (ask.answer)(Err(unsaved()));
                        }
                    }
                    self.tick().await;
                }
            }
        }
    }

    fn take(&mut self, ask: Ask, waiting: &AtomicUsize) {
        waiting.fetch_sub(ask.bytes, Ordering::Relaxed);
        self.ready.push_back(ask);
    }

    /// Numbers what is ready; none if nothing of it needs the log.
    fn begin(&mut self) -> Option<InFlight> {
        let mut batch = Batch::new(now_micros());
        while !batch.is_full() {
            let Some(ask) = self.ready.pop_front() else { break };
            self.consider(ask, &mut batch);
        }
        if self.ready.is_empty() {
            self.absent.clear();
        }
        self.fetch();
        if batch.is_empty() {
            batch.answer_all();
            return None;
        }
        let payload = batch.encode(&self.world.process, self.epoch, self.world.fan_out.positions(self.shard));
        let append = append(self.world.log.clone(), self.shard, payload, self.last, batch.nonce()).boxed();
        Some(InFlight { batch, since: Instant::now(), append })
    }

    /// Number it into the batch, answer it, or let it wait for what must be fetched first.
    fn consider(&mut self, ask: Ask, batch: &mut Batch) {
        let conversation = ask.conversation;
        if let Some(queue) = self.waiting.get_mut(&conversation) {
            if self.waiting_count >= QUEUE {
                return (ask.answer)(Err(overloaded()));
            }
            self.waiting_count += 1;
            return queue.push_back(ask);
        }
        let known_absent = self.absent.get(&conversation).copied();
        if !self.rooms.contains_key(&conversation) && !batch.has(&conversation) && known_absent.is_none() {
            let peer = match &ask.what {
                What::Request(Request::Send { first_to, .. }, _) => *first_to,
                _ => None,
            };
            return self.wait(ask, fetch::Wanted::Room { conversation, peer });
        }
        let mut room = self.rooms.get_mut(&conversation);
        if let Some(room) = &mut room {
            room.touched = self.ticks;
        }
        match &ask.what {
            What::Read(seq) => {
                let answer = match (room, ask.actor) {
                    (Some(room), Some(actor)) => room.read(actor, *seq).map(|(seq, new)| {
                        if new {
                            self.unread_marks.insert(conversation);
                        }
                        Ack {
                            conversation: conversation.to_string(),
                            seq,
                            revision: room.state.revision,
                            at: room.state.last_at_micros / 1000,
                            duplicate: !new,
                        }
                    }),
                    _ => Err(crate::room::not_found()),
                };
                (ask.answer)(answer);
            }
            What::Typing => {
                if let (Some(room), Some(actor)) = (room, ask.actor)
                    && room.state.members.get(&actor).is_some()
                {
                    self.world.notices.send(&room.state.members.present(), actor, &typing(conversation, actor));
                }
                (ask.answer)(Ok(Ack::default()));
            }
            What::Request(..) => {
                if self.pressure.lagging() && ask.actor.is_some() {
                    return (ask.answer)(Err(pressure::refusal()));
                }
                let peer_known = known_absent.unwrap_or(true);
                if let Err((ask, since)) = batch.add(ask, room.as_deref(), peer_known, self.world.limits) {
                    let revision = room.map_or(0, |room| room.state.revision);
                    self.wait(ask, fetch::Wanted::Ids { conversation, since_micros: since, revision });
                }
            }
        }
    }

    fn wait(&mut self, ask: Ask, wanted: fetch::Wanted) {
        self.to_fetch.push(wanted);
        self.waiting_count += 1;
        self.waiting.entry(ask.conversation).or_default().push_back(ask);
    }

    fn fetch(&mut self) {
        if !self.to_fetch.is_empty() {
            let wanted = std::mem::take(&mut self.to_fetch);
            self.fetches.spawn(fetch::fetch(self.world.sources.clone(), wanted));
        }
    }

    fn fetched(&mut self, fetched: Fetched) {
        let (conversation, refusal) = match fetched {
            Fetched::Room(conversation, row) => {
                let horizon = self.horizon_ms;
                self.rooms.entry(conversation).or_insert_with(|| Room::loaded(&row, horizon));
                (conversation, None)
            }
            Fetched::Absent(conversation, peer_known) => {
                self.absent.insert(conversation, peer_known);
                (conversation, None)
            }
            Fetched::Ids { conversation, since_micros, uses } => {
                if let Some(room) = self.rooms.get_mut(&conversation) {
                    room.seen.extend_back(since_micros, uses);
                }
                (conversation, None)
            }
            Fetched::Failed(conversation, refusal) => (conversation, Some(refusal)),
        };
        let queue = self.waiting.remove(&conversation).unwrap_or_default();
        self.waiting_count -= queue.len();
        for ask in queue.into_iter().rev() {
            match &refusal {
                Some(refusal) => (ask.answer)(Err(refusal.clone())),
                None => self.ready.push_front(ask),
            }
        }
    }

    /// The log has the batch, or not: apply and answer, or only answer.
    async fn finish(&mut self, batch: Batch, since: Instant, appended: Appended) -> Result<(), String> {
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
        self.last = position;
        self.pressure.appended(position, batch.bytes());
        let (states, events, answers, again) = batch.into_parts();
        for (conversation, state) in states {
            let room = match self.rooms.entry(conversation) {
                Entry::Occupied(known) => {
                    let room = known.into_mut();
                    room.state = state;
                    room
                }
                Entry::Vacant(place) => place.insert(Room { touched: self.ticks, ..Room::begun(state) }),
            };
            room.last_position = position;
        }
        let mut deliveries = Vec::with_capacity(events.len());
        for (conversation, numbered, used) in events {
            if let Some(room) = self.rooms.get_mut(&conversation) {
                room.apply_marks(&numbered.event);
                if let Some((key, used)) = used {
                    room.seen.note(key, used);
                }
                let Room { marks, pending_marks, .. } = room;
                pending_marks.retain(|user, seq| *seq > marks.get(user).copied().unwrap_or(0));
            }
            deliveries.push(Outgoing { event: event::encode(&numbered.event), recipients: numbered.recipients });
        }
        for (answer, ack) in answers {
            answer(Ok(ack));
        }
        for ask in again.into_iter().rev() {
            self.ready.push_front(ask);
        }
        self.world.fan_out.committed(Committed { shard: self.shard, position, deliveries }).await;
        Ok(())
    }

    async fn tick(&mut self) {
        self.ticks += 1;
        if !self.ticks.is_multiple_of(4) {
            return;
        }
        let large_too = self.ticks.is_multiple_of(20);
        let Self { rooms, unread_marks, ready, .. } = self;
        unread_marks.retain(|conversation| {
            let Some(room) = rooms.get(conversation) else { return false };
            let large = room.state.members.present().len() > LARGE_ROOM;
            if !room.pending_marks.is_empty() && (!large || large_too) {
                let marks = room.pending_marks.iter().map(|(user, seq)| (*user, *seq)).collect();
                let what = What::Request(Request::Marks(marks), 0);
                ready.push_back(Ask {
                    conversation: *conversation,
                    actor: None,
                    what,
                    bytes: 0,
                    answer: Box::new(|_| ()),
                });
            }
            !room.pending_marks.is_empty()
        });
        let rooms = i64::try_from(self.rooms.len()).unwrap_or(i64::MAX);
        ROOMS.with_label_values(&[&self.shard.to_string()]).set(rooms);
        let fanned_out = self.world.fan_out.lowest(self.shard);
        let trim = self.pressure.look(&*self.world.registry, self.shard, self.last, fanned_out).await;
        if let Some(before) = trim
            && let Err(error) = self.world.log.trim(self.shard, before).await
        {
            tracing::warn!(shard = self.shard, %error, "the log could not be trimmed; trying again later");
        }
        let keep_ms = now_micros() / 1000 - crate::retry::KEEP_MS;
        if self.ticks.is_multiple_of(240) {
            let stored_ms = self.pressure.stored_until_ms().min(keep_ms);
            self.rooms.values_mut().for_each(|room| room.seen.forget_before(stored_ms));
        }
    }
}

fn unsaved() -> Refusal {
    let message = "the log does not answer, so nothing can be saved: send again with the same clientId";
    Refusal::new(Reason::Unavailable, message).after(1000)
}

fn typing(conversation: ConversationId, user: madang_proto::id::UserId) -> Bytes {
    let notice = TypingNotice { conversation: conversation.to_string(), user: user.to_string() };
    ServerFrame { id: 0, body: Some(server_frame::Body::Typing(notice)) }.encode_to_vec().into()
}

#[cfg(test)]
mod tests;
