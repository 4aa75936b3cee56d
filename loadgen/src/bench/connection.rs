//! One connection of a load: sends, if it is a sender's, and checks all that it receives.

use super::peek::{self, Peek};
use crate::{Error, people::Person, replay::check::histogram};
use bytes::BytesMut;
use hdrhistogram::Histogram;
use madang_client::{Format, Socket, socket};
use madang_proto::{
    client::v1::{ClientFrame, Hello, Send, client_frame::Body},
    id::ClientId,
};
use prost::Message as _;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// The length of what each text begins with: sender, number and time of sending.
pub const STAMP: usize = 40;
/// How often a connection looks at the phase while nothing happens to it.
const LOOK: Duration = Duration::from_millis(50);
/// How long a refused message waits before it is sent again.
const AGAIN: Duration = Duration::from_millis(20);

/// What is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Connecting.
    Connecting,
    /// Sending, not yet measured.
    Warmup,
    /// Sending, measured.
    Measured,
    /// Not sending; what was sent still arrives.
    Settling,
    /// Over.
    Over,
}

/// What all connections share.
pub struct Shared {
    window: usize,
    size: usize,
    every: Option<Duration>,
    phase: AtomicU8,
    began: Instant,
    unsettled: AtomicUsize,
}

/// One conversation under load.
pub struct Conversation {
    acked: AtomicU64,
    sending: AtomicUsize,
}

/// Where a sender writes to.
#[derive(Debug, Clone)]
pub enum To {
    /// To a person.
    User(String),
    /// To a group.
    Conversation(String),
}

/// What a connection does.
pub struct Plan {
    /// Whose it is.
    pub person: Person,
    /// What it takes part in.
    pub conversation: Arc<Conversation>,
    /// Where it writes to, if it does.
    pub sends: Option<To>,
}

/// What came of a connection, or of all of them.
#[derive(Debug)]
pub struct Outcome {
    /// Messages acknowledged while it was measured.
    pub acked: u64,
    /// Messages received while it was measured.
    pub delivered: u64,
    /// Messages acknowledged, in all.
    pub acked_in_all: u64,
    /// Received, never; of those acknowledged.
    pub lost: u64,
    /// Received with a number above the next.
    pub gaps: u64,
    /// Received after a later one of the same sender, or twice under two numbers.
    pub misordered: u64,
    /// Refused for good.
    pub refused: u64,
    /// Sent again because the server said so.
    pub retries: u64,
    /// From (intended) sending to the ack, µs.
    pub ack: Histogram<u64>,
    /// From (intended) sending to a delivery, µs.
    pub delivery: Histogram<u64>,
}

impl Shared {
    /// Of a load.
    pub fn new(window: usize, size: usize, every: Option<Duration>) -> Self {
        let (phase, unsettled) = (AtomicU8::new(Phase::Connecting as u8), AtomicUsize::new(0));
        Self { window: window.max(1), size, every, phase, began: Instant::now(), unsettled }
    }

    /// Goes on to the next phase.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    /// Whether everybody has everything.
    pub fn settled(&self) -> bool {
        self.unsettled.load(Relaxed) == 0
    }

    fn is(&self, phase: Phase) -> bool {
        self.phase.load(Relaxed) == phase as u8
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Conversation {
    /// With so many senders.
    pub fn new(senders: usize) -> Self {
        Self { acked: AtomicU64::new(0), sending: AtomicUsize::new(senders) }
    }

    /// How many messages of it were acknowledged.
    pub fn acked(&self) -> u64 {
        self.acked.load(Relaxed)
    }
}

impl Outcome {
    /// Nothing yet.
    pub fn new() -> Result<Self, Error> {
        let (ack, delivery) = (histogram()?, histogram()?);
        let (acked, delivered, acked_in_all, lost, gaps, misordered, refused, retries) = (0, 0, 0, 0, 0, 0, 0, 0);
        Ok(Self { acked, delivered, acked_in_all, lost, gaps, misordered, refused, retries, ack, delivery })
    }

    /// Adds another.
    pub fn add(&mut self, other: &Self) -> Result<(), Error> {
        self.acked += other.acked;
        self.delivered += other.delivered;
        self.acked_in_all += other.acked_in_all;
        self.lost += other.lost;
        self.gaps += other.gaps;
        self.misordered += other.misordered;
        self.refused += other.refused;
        self.retries += other.retries;
        let failed = |error: hdrhistogram::errors::AdditionError| Error::Format(error.to_string());
        self.ack.add(&other.ack).map_err(failed)?;
        self.delivery.add(&other.delivery).map_err(failed)
    }
}

/// Connects somebody.
pub async fn open(server: &str, source: Option<IpAddr>, person: &Person) -> Result<Socket, socket::Error> {
    let mut socket = Socket::connect(server, source, Format::Protobuf).await?;
    let token = person.tokens.access_token.clone();
    let hello = Hello { token, device: Some(person.device.clone()), resume: String::new() };
    socket.hello(hello, &mut Vec::new()).await?;
    Ok(socket)
}

struct InFlight {
    client_id: String,
    number: u64,
    /// When it was sent or should have been, µs.
    at: u64,
}

struct Connection {
    plan: Plan,
    place: usize,
    shared: Arc<Shared>,
    outcome: Outcome,
    in_flight: HashMap<u32, InFlight>,
    /// Refused for now; to be sent again.
    again: Vec<u32>,
    next_id: u32,
    next_number: u64,
    next_at: u64,
    last_seq: u64,
    /// Of each sender, the last number.
    numbers: HashMap<u32, u64>,
    done_sending: bool,
    gone: bool,
}

/// Runs a connection to its end.
pub async fn run(mut socket: Socket, plan: Plan, place: usize, shared: Arc<Shared>) -> Result<Outcome, Error> {
    let done_sending = plan.sends.is_none();
    let mut connection = Connection {
        plan,
        place,
        outcome: Outcome::new()?,
        in_flight: HashMap::new(),
        again: Vec::new(),
        next_id: 2,
        next_number: 1,
        next_at: 0,
        last_seq: 0,
        numbers: HashMap::new(),
        done_sending,
        gone: false,
        shared,
    };
    connection.shared.unsettled.fetch_add(1, Relaxed);
    let mut settled = false;
    loop {
        let out = connection.send();
        if !out.is_empty() {
            socket.send_bytes(out.freeze()).await?;
        }
        if !settled && connection.settled() {
            settled = true;
            connection.shared.unsettled.fetch_sub(1, Relaxed);
        }
        if connection.shared.is(Phase::Over) {
            break;
        }
        let pause = connection.pause();
        tokio::select! {
            biased;
            bytes = socket.receive_bytes() => connection.receive(&bytes?)?,
            () = sleep(pause) => {}
        }
    }
    let expected = connection.plan.conversation.acked.load(Relaxed);
    connection.outcome.lost = expected.saturating_sub(connection.last_seq);
    socket.close().await;
    Ok(connection.outcome)
}

impl Connection {
    /// How long until there is something to send.
    fn pause(&self) -> Duration {
        if !self.again.is_empty() {
            return AGAIN;
        }
        let sending = !self.done_sending && self.in_flight.len() < self.shared.window;
        match self.shared.every {
            Some(_) if sending => Duration::from_micros(self.next_at.saturating_sub(self.shared.now())).min(LOOK),
            _ => LOOK,
        }
    }

    /// Whether nothing more is to come.
    fn settled(&self) -> bool {
        let conversation = &self.plan.conversation;
        self.done_sending
            && conversation.sending.load(Relaxed) == 0
            && self.last_seq >= conversation.acked.load(Relaxed)
    }

    /// The frames that may be sent now.
    fn send(&mut self) -> BytesMut {
        let mut out = BytesMut::new();
        for id in std::mem::take(&mut self.again) {
            self.encode(id, &mut out);
        }
        if self.done_sending {
            return out;
        }
        let sending = self.shared.is(Phase::Warmup) || self.shared.is(Phase::Measured);
        if !sending {
            if !self.shared.is(Phase::Connecting) && self.in_flight.is_empty() {
                self.done_sending = true;
                self.plan.conversation.sending.fetch_sub(1, Relaxed);
            }
            return out;
        }
        while self.in_flight.len() < self.shared.window {
            let now = self.shared.now();
            let at = match self.shared.every {
                None => now,
                Some(every) => {
                    let every = u64::try_from(every.as_micros()).unwrap_or(u64::MAX);
                    if self.next_at == 0 {
                        // Spread over the interval, so that not all send at once.
                        self.next_at = now + self.place as u64 * 7919 % every.max(1);
                    }
                    if self.next_at > now {
                        break;
                    }
                    self.next_at += every;
                    self.next_at - every
                }
            };
            let id = self.next_id;
            self.next_id = self.next_id.checked_add(1).unwrap_or(2);
            let sent = InFlight { client_id: ClientId::now().to_string(), number: self.next_number, at };
            self.next_number += 1;
            self.in_flight.insert(id, sent);
            self.encode(id, &mut out);
        }
        out
    }

    fn encode(&self, id: u32, out: &mut BytesMut) {
        let (Some(sent), Some(to)) = (self.in_flight.get(&id), &self.plan.sends) else { return };
        let mut text = format!("{:06} {:014} {:016} ", self.place, sent.number, sent.at);
        text.extend(std::iter::repeat_n('.', self.shared.size.saturating_sub(text.len())));
        let (conversation, user) = match to {
            To::User(user) => (String::new(), user.clone()),
            To::Conversation(conversation) => (conversation.clone(), String::new()),
        };
        let client_id = sent.client_id.clone();
        let send = Send { conversation, user, client_id, text, ..Default::default() };
        // A growing buffer is never too small.
        let _ = ClientFrame { id, body: Some(Body::Send(send)), ..Default::default() }.encode_length_delimited(out);
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let now = self.shared.now();
        let measured = self.shared.is(Phase::Measured);
        let understood = peek::each(bytes, |peek| match peek {
            Peek::Ack { id, .. } => {
                if let Some(sent) = self.in_flight.remove(&id) {
                    self.outcome.acked_in_all += 1;
                    self.plan.conversation.acked.fetch_add(1, Relaxed);
                    if measured {
                        self.outcome.acked += 1;
                        self.outcome.ack.saturating_record(now.saturating_sub(sent.at));
                    }
                }
            }
            Peek::Error { id, retryable: true } => {
                self.outcome.retries += 1;
                self.again.push(id);
            }
            Peek::Error { id, .. } => {
                self.in_flight.remove(&id);
                self.outcome.refused += 1;
            }
            Peek::Message { seq, text } => self.message(seq, text, now, measured),
            Peek::Interrupted => self.again = self.in_flight.keys().copied().collect(),
            Peek::GoAway => self.gone = true,
            Peek::Live | Peek::Other => {}
        });
        if !understood {
            return Err(Error::Format("the server sent what is no frame".into()));
        }
        if self.gone {
            return Err(Error::Format("the server goes away: a load needs one that stays".into()));
        }
        Ok(())
    }

    fn message(&mut self, seq: u64, text: &[u8], now: u64, measured: bool) {
        if seq <= self.last_seq {
            // At least once: what comes again is passed over.
            return;
        }
        self.outcome.gaps += u64::from(seq > self.last_seq + 1);
        self.last_seq = seq;
        let number =
            |from: std::ops::Range<usize>| -> Option<u64> { std::str::from_utf8(text.get(from)?).ok()?.parse().ok() };
        let (Some(sender), Some(n), Some(at)) = (number(0..6), number(7..21), number(22..38)) else {
            self.outcome.misordered += 1;
            return;
        };
        let last = self.numbers.entry(u32::try_from(sender).unwrap_or(u32::MAX)).or_insert(0);
        // Who was told to send again may be overtaken by oneself.
        self.outcome.misordered += u64::from(n <= *last);
        *last = n.max(*last);
        if measured {
            self.outcome.delivered += 1;
            self.outcome.delivery.saturating_record(now.saturating_sub(at));
        }
    }
}
