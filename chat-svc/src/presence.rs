//! Who is there: connections watch users, and are told when these come and go. The home of a watched user has it on its
//! board; each process that has watchers asks the homes once a second for what has changed, so that a home keeps
//! nothing for those who ask. All of it may be late or left out, and is the first thing to be: it never keeps an event
//! waiting. Nobody is told of anybody with whom they share no conversation.

mod board;
mod watches;

pub use board::{Board, Presence, Present};

use crate::home::Sources;
use board::Answer;
use bytes::Bytes;
use madang_mesh::{
    channel::Channels,
    clock::now_ms,
    shard::{ShardMap, shard_of},
};
use madang_proto::{
    chat::v1::{LookUpPresenceRequest, home_service_client::HomeServiceClient},
    client::v1::{self as client, ServerFrame, server_frame},
    id::UserId,
    reason::{Reason, Refusal},
};
use prost::{
    Message as _,
    encoding::{DecodeContext, decode_key, skip_field},
};
use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    task::{Id, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use watches::{Check, Key, Question, Watches};

/// How many users one connection watches, or one call asks about, at most.
pub const WATCHED: usize = 200;
/// How often homes are asked: changes are gathered meanwhile.
const ROUND: Duration = Duration::from_secs(1);
/// How long what begins to be watched is gathered.
const GATHER: Duration = Duration::from_millis(50);
/// How long another home may take to answer.
const DEADLINE: Duration = Duration::from_secs(1);
/// How many checks of who may see whom are under way at most.
const CHECKS: usize = 16;
/// How many wait; others are found in the next round.
const QUEUED: usize = 4096;

/// Takes an encoded frame for a connection; whether there was room.
pub type Tell = Box<dyn Fn(Bytes) -> bool + Send>;

/// What it needs of the process.
pub struct Ways {
    /// Who is home of whom.
    pub map: watch::Receiver<ShardMap>,
    /// This process's name.
    pub process: String,
    /// To other processes.
    pub channels: Channels,
    /// Who shares a conversation with whom.
    pub sources: Arc<dyn Sources>,
    /// How many shards there are.
    pub shards: u32,
    /// No other process has sockets.
    pub alone: bool,
}

/// A handle to what this process knows of who is there.
#[derive(Clone)]
pub struct Presences {
    ways: Arc<Ways>,
    board: Board,
    watches: Arc<Mutex<Watches<Tell>>>,
    begun: Arc<Notify>,
}

/// A connection's watch; ends when it is dropped.
pub struct Watching {
    watches: Arc<Mutex<Watches<Tell>>>,
    key: Key,
}

fn lock(watches: &Mutex<Watches<Tell>>) -> MutexGuard<'_, Watches<Tell>> {
    watches.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watching {
    /// Whom the watcher may see may have changed.
    pub fn doubt(&self) {
        lock(&self.watches).doubt(self.key, Instant::now());
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        lock(&self.watches).end(self.key);
    }
}

/// Whether an encoded event may change who shares a conversation with whom: `joined`, `left`, `account`.
#[must_use]
pub fn moves_people(mut event: &[u8]) -> bool {
    while !event.is_empty() {
        let Ok((tag, wire)) = decode_key(&mut event) else { return true };
        if matches!(tag, 11 | 12 | 16) {
            return true;
        }
        if skip_field(wire, tag, &mut event, DecodeContext::default()).is_err() {
            return true;
        }
    }
    false
}

/// Ids of at most [`WATCHED`] users.
pub fn users<T: FromIterator<UserId>>(users: &[String]) -> Result<T, Refusal> {
    if users.len() > WATCHED {
        return Err(Refusal::new(Reason::TooLarge, format!("at most {WATCHED} users at once: name fewer")).of("users"));
    }
    let invalid = |_| {
        Refusal::new(Reason::InvalidField, "users must be users' ids: UUIDs in lower-case canonical text").of("users")
    };
    users.iter().map(|user| user.parse::<UserId>().map_err(invalid)).collect()
}

impl Presence {
    /// As clients see it.
    #[must_use]
    pub fn of(self, user: UserId) -> client::Presence {
        let last_seen = if self.online { now_ms() } else { self.last_seen };
        client::Presence { user: user.to_string(), online: self.online, last_seen }
    }
}

fn tell(to: &Tell, user: UserId, presence: Presence) -> bool {
    let body = Some(server_frame::Body::Presence(presence.of(user)));
    to(ServerFrame { id: 0, body }.encode_to_vec().into())
}

impl Presences {
    /// Of this process; nothing is asked until it runs.
    #[must_use]
    pub fn new(ways: Ways) -> Self {
        let (board, watches) = (Board::new(ways.shards, ways.alone), Mutex::new(Watches::new(ways.shards)));
        Self { ways: Arc::new(ways), board, watches: Arc::new(watches), begun: Arc::default() }
    }

    /// Who is connected here.
    #[must_use]
    pub fn board(&self) -> Board {
        self.board.clone()
    }

    /// Begins a watch, which goes on until what this gives is dropped; none: of nobody. RESOURCE_EXHAUSTED: too much is
    /// watched here.
    pub fn watch(&self, user: UserId, to: Tell, users: &BTreeSet<UserId>) -> Result<Option<Watching>, Refusal> {
        if users.is_empty() {
            return Ok(None);
        }
        let Some(key) = lock(&self.watches).begin(user, to, users, Instant::now()) else {
            crate::refusals::WATCHES.count();
            let message = "too many users are watched here: watch again later, or fewer";
            return Err(Refusal::new(Reason::Overloaded, message).after(10_000));
        };
        self.begun.notify_one();
        Ok(Some(Watching { watches: self.watches.clone(), key }))
    }

    /// Whose presence a user may see: those with whom they share a conversation and have no block, and themselves. This
    /// is the one place that decides it, for watches and calls. What happened before `since` is heeded, also if it has
    /// been told before the databases have it; what was acknowledged they have in any case.
    pub async fn visible(
        &self,
        user: UserId,
        users: &[UserId],
        since: Option<Instant>,
    ) -> Result<HashSet<UserId>, Refusal> {
        let within = since.map(|since| since.elapsed());
        let mut visible = self.ways.sources.acquainted(user, users, within).await?;
        let pairs: Vec<_> = visible.iter().map(|other| (user, *other)).collect();
        for (_, other) in self.ways.sources.blocked(&pairs).await? {
            visible.remove(&other);
        }
        if users.contains(&user) {
            visible.insert(user);
        }
        Ok(visible)
    }

    /// The presence of users, wherever their homes are; UNAVAILABLE if one does not answer. Who has no home now is
    /// taken for absent.
    pub async fn look_up(&self, users: &[UserId]) -> Result<HashMap<UserId, Presence>, Refusal> {
        let mut questions: HashMap<String, Question> = HashMap::new();
        {
            let map = self.ways.map.borrow();
            for user in users {
                let Some(home) = map.homes.get(&shard_of(user.bytes(), map.count)) else { continue };
                let question = questions.entry(home.process.clone()).or_insert_with(|| Question {
                    process: home.process.clone(),
                    address: home.address.clone(),
                    users: Vec::new(),
                    since: (0, 0),
                });
                question.users.push(*user);
            }
        }
        let mut found = HashMap::new();
        for answer in self.ask(questions.into_values().collect()).await {
            let unavailable = || Refusal::new(Reason::Unavailable, "a home of these users does not answer: ask again");
            found.extend(answer.1.ok_or_else(unavailable)?.presences);
        }
        Ok(found)
    }

    /// Asks homes; each answer with its process.
    async fn ask(&self, questions: Vec<Question>) -> Vec<(String, Option<Answer>)> {
        let mut asked = JoinSet::new();
        let mut answers = Vec::with_capacity(questions.len());
        for Question { process, address, users, since: (epoch, since) } in questions {
            if process == self.ways.process {
                answers.push((process, Some(self.board.answer(users.into_iter(), epoch, since))));
                continue;
            }
            let Ok(channel) = self.ways.channels.get(&address) else { continue };
            let users = users.iter().flat_map(|user| *user.bytes()).collect::<Vec<u8>>().into();
            let request = LookUpPresenceRequest { users, epoch, since };
            asked.spawn(async move {
                let mut client = HomeServiceClient::new(channel).max_decoding_message_size(crate::MAX_GRPC);
                let answer = tokio::time::timeout(DEADLINE, client.look_up_presence(request)).await;
                (process, answer.ok().and_then(Result::ok).map(|answer| read(answer.into_inner())))
            });
        }
        while let Some(answer) = asked.join_next().await {
            answers.extend(answer.ok());
        }
        answers
    }

    /// Asks, checks and tells, until `cancel`.
    pub async fn run(self, cancel: CancellationToken) {
        let mut round = tokio::time::interval(ROUND);
        round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut waiting: VecDeque<Check> = VecDeque::new();
        let mut checks = JoinSet::new();
        // Of one user one at a time: who watches again and again is in nobody else's way.
        let mut busy: HashMap<Id, UserId> = HashMap::new();
        loop {
            let idle = lock(&self.watches).is_empty();
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.begun.notified() => {
                    tokio::time::sleep(GATHER).await;
                    self.round(&mut waiting).await;
                }
                _ = round.tick(), if !idle => self.round(&mut waiting).await,
                Some(checked) = checks.join_next_with_id() => {
                    busy.remove(&match &checked { Ok((id, _)) => *id, Err(failed) => failed.id() });
                    if let Ok((_, (key, visible))) = checked {
                        let mut watches = lock(&self.watches);
                        watches.checked(key, Option::as_ref(&visible), Instant::now());
                        watches.tell_one(key, Instant::now(), tell);
                    }
                }
            }
            for _ in 0..waiting.len() {
                if checks.len() >= CHECKS {
                    break;
                }
                let Some(check) = waiting.pop_front() else { break };
                // What was replaced meanwhile is of no use to anybody.
                if !lock(&self.watches).has(check.key) {
                    continue;
                }
                if busy.values().any(|user| *user == check.user) {
                    waiting.push_back(check);
                    continue;
                }
                let (presences, Check { key, user, users, since }) = (self.clone(), check);
                let check = async move { (key, presences.visible(user, &users, since).await.ok()) };
                busy.insert(checks.spawn(check).id(), user);
            }
        }
    }

    async fn round(&self, waiting: &mut VecDeque<Check>) {
        let questions = {
            let map = self.ways.map.borrow();
            lock(&self.watches).questions(&map)
        };
        for (process, answer) in self.ask(questions).await {
            if let Some(answer) = answer {
                lock(&self.watches).learn(&process, answer);
            }
        }
        let (mut watches, now) = (lock(&self.watches), Instant::now());
        waiting.extend(watches.checks(now, QUEUED.saturating_sub(waiting.len())));
        watches.tell(now, tell);
    }
}

fn read(answer: madang_proto::chat::v1::LookUpPresenceResponse) -> Answer {
    let presences = answer.presences.iter().filter_map(|each| {
        let presence = Presence { online: each.online, last_seen: each.last_seen };
        Some((UserId::from_slice(&each.user).ok()?, presence))
    });
    Answer { epoch: answer.epoch, version: answer.version, lost: answer.lost, presences: presences.collect() }
}
