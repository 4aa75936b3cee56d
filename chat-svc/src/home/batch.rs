//! A batch: what is numbered together and appended in one durable write. Until the log has it, all of it lives in
//! drafts that nobody sees.

use crate::{
    ask::{Answer, Ask, What},
    home::fetch::Absent,
    retry::{self, Key, Known, Use},
    room::{
        self, Amendment, Blocks, How, Limits, Numbered, Request, Room, State, Verdict, blocks,
        facts::{self, Facts},
    },
};
use bytes::Bytes;
use madang_mesh::{log::Position, trace::Context};
use madang_proto::{
    client::v1::Ack,
    id::{ConversationId, UserId},
    log::v1::{FanOutPosition, LoggedEvent, MemberSettings, Record, logged_event::Body},
    reason::{Reason, Refusal},
};
use prost::Message as _;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// The most events of a batch; one request may make a few more.
pub const MAX_EVENTS: usize = 1000;
/// By how many bytes a user's id is longer as clients see it than as the log has it.
const NAMED: usize = 20;
/// Of how many sampled traces its append is shown, at most.
const TRACED: usize = 32;
/// The most bytes of a batch; one event may exceed it.
const MAX_BYTES: usize = 512 << 10;
/// The most bytes of the events that one request makes in a batch, where it makes many.
const PART_BYTES: usize = 128 << 10;

/// An event of the batch, its room, and the client id that it used.
pub type Event = (ConversationId, Numbered, Option<(Key, Use)>);

/// What must be known of a room before a request of it is numbered.
#[derive(Debug)]
pub enum Missing {
    /// Its client ids.
    Ids {
        /// Since when.
        since_micros: i64,
        /// Up to which event at least.
        revision: u64,
    },
    /// What there is to know of a message.
    Message {
        /// Which one.
        seq: u64,
        /// Up to which event at least.
        revision: u64,
    },
    /// Whether one of these two blocks the other.
    Blocks(UserId, UserId),
    /// What a member had set when they joined.
    Settings {
        /// Who.
        user: UserId,
        /// With which event they joined.
        revision: u64,
    },
}

/// For those who apply a batch.
pub struct Done {
    /// Rooms, as they are now.
    pub states: HashMap<ConversationId, State>,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// Messages, as they are now.
    pub facts: HashMap<(ConversationId, u64), Arc<Facts>>,
    /// Who is told what.
    pub answers: Vec<(Answer, Result<Ack, Refusal>)>,
    /// What waited for it.
    pub again: Vec<Ask>,
}

/// How many bytes an event takes with those who get it, in the log and where it is sent on: each recipient is named.
fn weight(recipients: usize) -> usize {
    120 + 16 * recipients
}

/// How many bytes an event takes, at most, in the log, and where it is sent on: there people have longer names.
fn size(numbered: &Numbered) -> usize {
    let Numbered { event, recipients, blind } = numbered;
    let named = match &event.body {
        Some(Body::Created(created)) => created.members.len(),
        Some(Body::Joined(joined)) => joined.members.len(),
        Some(Body::Left(left)) => left.users.len(),
        Some(Body::Read(read)) => read.marks.len(),
        _ => 0,
    };
    event.encoded_len() + NAMED * named + weight(recipients.len() + blind.len())
}

/// What of a request is too much to be numbered at once: its events would be sent on together, in more than NATS takes.
fn rest_of(request: &mut Request, state: Option<&State>) -> Option<Request> {
    let (Request::Erase(seqs), Some(state)) = (request, state) else { return None };
    let most = (PART_BYTES / weight(state.members.present().len())).max(1);
    (seqs.len() > most).then(|| Request::Erase(seqs.split_off(most)))
}

fn too_many(one_self: bool) -> Refusal {
    let message = if one_self {
        "you are in as many conversations as one may be in: leave one before you begin another"
    } else {
        "who you write to is in as many conversations as one may be in"
    };
    Refusal::new(Reason::TooManyConversations, message)
}

/// What is numbered together.
pub struct Batch {
    now_micros: i64,
    nonce: u64,
    bytes: usize,
    drafts: HashMap<ConversationId, State>,
    facts: HashMap<(ConversationId, u64), Arc<Facts>>,
    used: HashSet<(ConversationId, Key)>,
    events: Vec<Event>,
    answers: Vec<(Answer, Result<Ack, Refusal>)>,
    again: Vec<Ask>,
    /// Client ids of requests that changed nothing: no event has them, but the record.
    unchanged: Vec<(ConversationId, Key, Use)>,
    /// Somebody wants to know that this is the home: it is appended, even without an event.
    proves: bool,
    /// What is known of blocks in direct conversations that it begins.
    begun: HashMap<ConversationId, Blocks>,
    /// The sampled traces of its requests.
    traces: Vec<Context>,
}

impl Batch {
    /// Empty, numbered at this time.
    pub fn new(now_micros: i64) -> Self {
        Self {
            now_micros,
            nonce: rand::random(),
            bytes: 0,
            drafts: HashMap::new(),
            facts: HashMap::new(),
            used: HashSet::new(),
            events: Vec::new(),
            answers: Vec::new(),
            again: Vec::new(),
            unchanged: Vec::new(),
            proves: false,
            begun: HashMap::new(),
            traces: Vec::new(),
        }
    }

    /// The sampled traces of its requests, or of some of them.
    pub fn traces(&mut self) -> Vec<Context> {
        std::mem::take(&mut self.traces)
    }

    /// Whether no more should be added.
    pub fn is_full(&self) -> bool {
        self.events.len() >= MAX_EVENTS || self.bytes >= MAX_BYTES
    }

    /// How many events it has.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether nothing of it needs the log.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.unchanged.is_empty() && !self.proves
    }

    /// What was known of blocks in a conversation that it begins is no more good.
    pub fn forget_blocks(&mut self, conversation: &ConversationId) {
        self.begun.remove(conversation);
    }

    /// What is known of blocks in the direct conversations that it has begun.
    pub fn begun(&mut self) -> HashMap<ConversationId, Blocks> {
        std::mem::take(&mut self.begun)
    }

    /// Answered once the log has shown that this is the home.
    pub fn prove(&mut self, answer: Answer) {
        self.proves = true;
        self.answers.push((answer, Ok(Ack::default())));
    }

    /// The client ids of requests that changed nothing.
    pub fn unchanged(&mut self) -> Vec<(ConversationId, Key, Use)> {
        std::mem::take(&mut self.unchanged)
    }

    /// Looked at again once the log has this batch, which the asker has seen go before.
    pub fn after(&mut self, ask: Ask) {
        self.again.push(ask);
    }

    /// It is known now what a member had set when they joined: also in what it makes of the room.
    pub fn settle(&mut self, conversation: &ConversationId, user: &UserId, (joined, former): (u64, &MemberSettings)) {
        if let Some(draft) = self.drafts.get_mut(conversation) {
            draft.settle(user, joined, former);
        }
    }

    /// Whether it makes or changes the room.
    pub fn has(&self, conversation: &ConversationId) -> bool {
        self.drafts.contains_key(conversation)
    }

    /// Of all writes of this writer.
    pub fn nonce(&self) -> u64 {
        self.nonce
    }

    /// About how large it is in the log.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Numbers a request, or answers it. It comes back with what must be fetched first: client ids or a message from the
    /// store, or whether there is a block. `absent`: what is known of a room that is not there.
    #[allow(clippy::result_large_err)] // the ask goes back whole, to wait
    pub fn add(
        &mut self,
        ask: Ask,
        room: Option<&Room>,
        absent: Option<Absent>,
        limits: Limits,
    ) -> Result<(), (Ask, Missing)> {
        let What::Request(request, dated) = &ask.what else { return Ok(()) };
        let conversation = ask.conversation;
        let at_revision = room.map_or(0, |room| room.state.revision);
        let mut state = self.drafts.get(&conversation).cloned().or_else(|| room.map(|room| room.state.clone()));
        let mut used = None;
        // Settings have no number: what is waited for is their time.
        let whose = ask.actor.filter(|_| matches!(request, Request::Settings(..)));
        if let (Some(user), Some(state)) = (ask.actor, &state)
            && state.goes_by_settings(request)
            && let Some(revision) = state.lacks_settings(&user)
        {
            return Err((ask, Missing::Settings { user, revision }));
        }
        let identified = match request {
            Request::Send { client_id, hash, .. } | Request::Amend(Amendment { client_id, hash, .. }) => {
                Some((*client_id, *hash))
            }
            _ => None,
        };
        if let (Some((client_id, hash)), Some(actor)) = (identified, ask.actor) {
            let key = (actor, client_id);
            // A retry of what is in flight waits for it. So does what takes a text back that is: it is in a later record than
            // the text, for the log may forget all but its newest.
            if self.used.contains(&(conversation, key)) || self.tells_what_goes(conversation, request) {
                self.again.push(ask);
                return Ok(());
            }
            let member = state.as_ref().is_some_and(|state| state.members.get(&actor).is_some());
            match room.map(|room| room.seen.look_up(&key, *dated)) {
                Some(Known::Used(known)) => {
                    (ask.answer)(retried(conversation, known, hash));
                    return Ok(());
                }
                Some(Known::AskSince(since_micros)) if member => {
                    return Err((ask, Missing::Ids { since_micros, revision: at_revision }));
                }
                _ => {}
            }
            let first_to = matches!(request, Request::Send { first_to: Some(_), .. });
            if state.is_none() && first_to && absent.and_then(|absent| absent.both_known) == Some(false) {
                (ask.answer)(Err(Refusal::new(
                    Reason::UserNotFound,
                    "no such user: check the id that you write to (and the one that you write for)",
                )));
                return Ok(());
            }
            let full = absent.filter(|_| state.is_none() && first_to).map_or((false, false), |absent| absent.full);
            if full != (false, false) {
                (ask.answer)(Err(too_many(full.0)));
                return Ok(());
            }
            let begun = || self.begun.get(&conversation).copied().unwrap_or_default();
            let known = match (room, &state) {
                (Some(room), _) => room.blocks,
                (None, Some(_)) => begun(),
                (None, None) => absent.unwrap_or_default().blocks,
            };
            match blocks::check(request, actor, state.as_ref(), known) {
                blocks::Say::Go => {}
                blocks::Say::No(refusal) => {
                    (ask.answer)(Err(refusal));
                    return Ok(());
                }
                blocks::Say::Ask(peer) => return Err((ask, Missing::Blocks(actor, peer))),
            }
            if member && room.is_some_and(|room| room.seen.is_full_for(&actor)) {
                crate::refusals::ROOM_FULL.count();
                let message = "too much was said here in the last quarter of an hour: send again a little later";
                (ask.answer)(Err(Refusal::new(Reason::Overloaded, message).after(5000)));
                return Ok(());
            }
            if state.is_none() {
                self.begun.insert(conversation, known);
            }
            used = Some((key, hash));
        }
        let mut known = HashMap::new();
        let mut missing = None;
        for seq in room::needs(state.as_ref(), ask.actor, request) {
            match self.known(conversation, *seq, room) {
                Some(facts) => drop(known.insert(*seq, facts)),
                None => missing = Some(*seq),
            }
        }
        if let Some(seq) = missing {
            return Err((ask, Missing::Message { seq, revision: at_revision }));
        }
        let Ask { actor, what, claim, trace, mut answer, .. } = ask;
        let What::Request(mut request, dated) = what else { return Ok(()) };
        if let Some(rest) = rest_of(&mut request, state.as_ref()) {
            // Once the log has this part; who asks is answered behind the last.
            let (what, answer) = (What::Request(rest, dated), std::mem::replace(&mut answer, Box::new(|_| {})));
            self.again.push(Ask { conversation, actor, what, claim, trace, answer });
        }
        let changes = match &request {
            Request::Amend(Amendment { seq, .. }) => Some(*seq),
            _ => None,
        };
        match room::number(&mut state, conversation, actor, request, &known, self.now_micros, limits) {
            // What follows from a draft is so once the log has it.
            Err(refusal) if self.has(&conversation) => self.answers.push((answer, Err(refusal))),
            Err(refusal) => answer(Err(refusal)),
            Ok(Verdict::Nothing) => {
                let (revision, last_seq, at) = numbers(state.as_ref(), whose);
                let ack = Ack { conversation: conversation.to_string(), seq: last_seq, revision, at, duplicate: true };
                self.answers.push((answer, Ok(ack)));
            }
            Ok(Verdict::Unchanged(revision, at_micros)) => {
                let (seq, at) = (changes.unwrap_or(0), at_micros / 1000);
                if let Some((key, hash)) = used {
                    self.used.insert((conversation, key));
                    self.unchanged.push((conversation, key, Use { hash, seq, revision, at_micros }));
                    self.bytes += weight(0);
                }
                let ack = Ack { conversation: conversation.to_string(), seq, revision, at, duplicate: true };
                self.answers.push((answer, Ok(ack)));
            }
            Ok(Verdict::Events(events)) => {
                let (revision, last_seq, at) = numbers(state.as_ref(), whose);
                let seq = if used.is_some() { changes.unwrap_or(last_seq) } else { 0 };
                let ack = Ack { conversation: conversation.to_string(), seq, revision, at, duplicate: false };
                self.answers.push((answer, Ok(ack)));
                let newest = events.len().saturating_sub(1);
                let trace = trace.filter(Context::sampled);
                self.traces.extend(trace.filter(|_| self.traces.len() < TRACED));
                for (n, mut numbered) in events.into_iter().enumerate() {
                    numbered.event.trace = trace.map(|context| context.bytes()).unwrap_or_default();
                    self.bytes += size(&numbered);
                    self.learn(conversation, &numbered, room);
                    let used = used.filter(|_| n == newest).map(|(key, hash)| {
                        self.used.insert((conversation, key));
                        (key, Use { hash, seq, revision, at_micros: numbered.event.at_micros })
                    });
                    self.events.push((conversation, numbered, used));
                }
                if let Some(state) = state {
                    self.drafts.insert(conversation, state);
                }
            }
        }
        Ok(())
    }

    /// What is known of a message, as this batch leaves it.
    fn known(&self, conversation: ConversationId, seq: u64, room: Option<&Room>) -> Option<Arc<Facts>> {
        self.facts.get(&(conversation, seq)).or_else(|| room?.recent.get(seq)).cloned()
    }

    /// Whether this batch has a text that a request takes back.
    fn tells_what_goes(&self, conversation: ConversationId, request: &Request) -> bool {
        let Request::Amend(Amendment { seq, how: How::Delete | How::Edit(..), .. }) = request else { return false };
        let has_text = |event: &LoggedEvent| matches!(event.body, Some(Body::Message(_) | Body::Edited(_)));
        let of = |event: &LoggedEvent| facts::message_of(event) == Some(*seq) && has_text(event);
        self.events.iter().any(|(room, numbered, _)| *room == conversation && of(&numbered.event))
    }

    /// Takes note of what an event makes of a message.
    fn learn(&mut self, conversation: ConversationId, numbered: &Numbered, room: Option<&Room>) {
        if let Some(seq) = facts::message_of(&numbered.event)
            && let Some(now) = facts::after(self.known(conversation, seq, room).as_deref(), &numbered.event)
        {
            self.facts.insert((conversation, seq), Arc::new(now));
        }
    }

    /// As the log has it, in a format.
    pub fn encode(&mut self, format: u32, process: &str, epoch: Position, fan_out: Vec<FanOutPosition>) -> Bytes {
        // Events are lent to the record, not copied: they come back in the same order.
        let events = self.events.iter_mut().map(|(_, numbered, _)| std::mem::take(&mut numbered.event)).collect();
        let unchanged = self.unchanged.iter().map(|(room, key, used)| retry::unchanged(room, key, used)).collect();
        let (process, nonce) = (process.to_owned(), self.nonce);
        let record = Record { format, process, epoch, nonce, events, fan_out, unchanged };
        let payload = record.encode_to_vec();
        for (slot, event) in self.events.iter_mut().zip(record.events) {
            slot.1.event = event;
        }
        payload.into()
    }

    /// Answers those that needed no log; those that are looked at again.
    pub fn answer_all(self) -> Vec<Ask> {
        for (answer, result) in self.answers {
            answer(result);
        }
        self.again
    }

    /// Nothing was saved: says so to all.
    pub fn refuse(self, refusal: &Refusal) {
        let again = self.again.into_iter().map(|ask| ask.answer);
        for answer in self.answers.into_iter().map(|(answer, _)| answer).chain(again) {
            answer(Err(refusal.clone()));
        }
    }

    /// Those who wait have waited long enough; what becomes of the batch is not known yet.
    pub fn give_up(&mut self) {
        let message = "the log does not answer: whether this was saved is not known; send again with the same clientId";
        let refusal = Refusal::new(Reason::Unavailable, message).after(1000);
        let again = self.again.drain(..).map(|ask| ask.answer);
        for answer in self.answers.drain(..).map(|(answer, _)| answer).chain(again) {
            answer(Err(refusal.clone()));
        }
    }

    /// For those who apply it.
    pub fn into_parts(self) -> Done {
        let Self { drafts: states, events, facts, answers, again, .. } = self;
        Done { states, events, facts, answers, again }
    }
}

fn numbers(state: Option<&State>, settings_of: Option<UserId>) -> (u64, u64, i64) {
    let at = |state: &State| settings_of.map_or(state.last_at_micros / 1000, |user| state.settings_at(&user));
    state.map_or((0, 0, 0), |state| (state.revision, state.last_seq, at(state)))
}

fn retried(conversation: ConversationId, known: Use, hash: u64) -> Result<Ack, Refusal> {
    if known.hash != hash {
        let message = "this clientId stands for another request of yours here: give a new id to what was never sent";
        return Err(Refusal::new(Reason::ClientIdReused, message));
    }
    Ok(Ack {
        conversation: conversation.to_string(),
        seq: known.seq,
        revision: known.revision,
        at: known.at_micros / 1000,
        duplicate: true,
    })
}
