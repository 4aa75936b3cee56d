//! One client's socket, from its hello to its close, in one task: read, heed what waits, drain it, flush once. The
//! socket is read whatever becomes of the home behind it: what can't go on is held, and then refused.

mod delivered;
mod departure;
mod early;
mod hello;
mod incoming;
mod ready;
mod recent;
mod requests;
mod way;
mod wire;

use crate::{
    Shared,
    frame::Encoding,
    outbox::{Out, Taken},
    refusals,
};
use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use delivered::Delivered;
use departure::{Departure, Due};
use early::Early;
use hello::{Greeting, first};
use madang_mesh::{
    clock::now_ms,
    door::{Arrival, PATIENCE},
    metrics,
    rate::Bucket,
    token::Claims,
};
use madang_proto::{
    chat::v1::{ClosedReason, Open, upstream::Item},
    client::v1::{Device, GoAway, Interrupted, ServerFrame, server_frame},
    reason::{Reason, Refusal},
};
use prometheus::{IntCounter, IntGauge};
use prost::Message as _;
use recent::Recent;
use requests::Requests;
use std::{
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};
use way::{Pause, Step, Way};
use wire::{close, cut, message, received};

/// Close codes of the protocol.
mod code {
    pub const GOING_AWAY: u16 = 4000;
    pub const NO_HELLO: u16 = 4001;
    pub const TOO_SLOW: u16 = 4002;
    pub const HEARTBEAT: u16 = 4003;
    pub const RATE: u16 = 4005;
    pub const BAD_TOKEN: u16 = 4500;
    pub const PROTOCOL: u16 = 4501;
    pub const REVOKED: u16 = 4503;
    pub const TOO_MANY: u16 = 4504;
    pub const REPLACED: u16 = 4506;
    pub const NO_WEBSOCKET: u16 = 1002;
    pub const INVALID_DATA: u16 = 1007;
    pub const TOO_BIG: u16 = 1009;
}

/// How often the server pings, ± 20 %.
const PING: Duration = Duration::from_secs(25);
/// How long after a ping some frame must have come.
const PONG: Duration = Duration::from_secs(8);
/// How long a write may be stuck.
const STUCK: Duration = Duration::from_secs(10);
/// How long answers in flight are waited for before a link is replaced.
const SETTLE: Duration = Duration::from_secs(1);
/// How long a home with no room is asked again: the device whose session has ended for this one's is gone within 2 s.
const GIVES_WAY: Duration = Duration::from_secs(3);
/// How long a new connection's home may take to appear.
const FIRST_HOME: Duration = Duration::from_secs(10);
/// So many refusals in a minute, because of a rate or of too much in flight, end the connection.
const EAGER: usize = 2000;
/// When a client may try again what no home could take.
const AGAIN_MS: u64 = 1000;
/// How long after its `exp` a token still holds a socket open, in seconds.
const EXPIRED: i64 = 60;
/// So many frames that can't be understood in a minute end the connection.
const INVALID: usize = 10;
/// How often deadlines are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How much is written into one WebSocket message.
const MESSAGE: usize = 32 << 10;

/// Why a connection ends: a close code and its text; none: the client went.
type End = Option<(u16, &'static str)>;

struct Connection {
    shared: Arc<Shared>,
    socket: WebSocket,
    encoding: Encoding,
    claims: Claims,
    device: Device,
    /// When it said hello, ms since 1970.
    hello_at: i64,
    way: Way,
    /// How long to wait before the next link, if this one is closed before it was opened.
    pause: Pause,
    requests: Requests,
    frames: Bucket,
    cursor: String,
    delivered: Delivered,
    /// It watches somebody: that ends with each link.
    watching: bool,
    /// `ready` has been sent.
    ready: bool,
    /// What came before that.
    early: Early,
    /// Asked for with this frame.
    hello_id: u32,
    began: Instant,
    /// Since when its home has had no room for it.
    too_many: Option<Instant>,
    /// Frames that could not be understood, and those that were too many.
    invalid: Recent,
    eager: Recent,
    departure: Option<Departure>,
    heard: Instant,
    pinged: Option<Instant>,
    next_ping: Instant,
}

fn encoded(id: u32, body: server_frame::Body) -> Bytes {
    ServerFrame { id, body: Some(body) }.encode_to_vec().into()
}

fn error(id: u32, refusal: &Refusal) -> Bytes {
    encoded(id, server_frame::Body::Error(refusal.to_error()))
}

fn too_fast(ms: u64) -> Refusal {
    Refusal::new(Reason::RateLimited, "too many messages: send again after retryAfterMs").after(ms)
}

fn no_home() -> Refusal {
    let message = "no answer at the moment: send again with the same clientId";
    Refusal::new(Reason::Unavailable, message).after(AGAIN_MS)
}

fn open(claims: &Claims, device: &Device, cursor: &str, hello_at: i64, again: bool) -> Item {
    Item::Open(Open {
        hello_at,
        again,
        user: claims.user.to_string(),
        session: claims.session.to_string(),
        device: Some(device.clone()),
        resume: cursor.to_owned(),
    })
}

fn next_ping() -> Instant {
    Instant::now() + PING.mul_f64(rand::random_range(0.8..1.2))
}

static CONNECTIONS: LazyLock<IntGauge> =
    LazyLock::new(|| metrics::gauge("madang_gateway_connections", "How many sockets have said hello and are open."));
static FRAMES: LazyLock<IntCounter> =
    LazyLock::new(|| metrics::counter("madang_gateway_frames_total", "How many frames were written to sockets."));
static BEHIND: LazyLock<IntCounter> = LazyLock::new(|| {
    let help = "How many times a socket was too slow and caught up from its cursor.";
    metrics::counter("madang_gateway_catch_ups_total", help)
});

/// Serves a socket to its end. `arrival`: who has not said hello yet is counted.
pub(crate) async fn serve(shared: Arc<Shared>, mut socket: WebSocket, encoding: Encoding, arrival: Option<Arrival>) {
    let given_up = async {
        match &arrival {
            Some(arrival) => arrival.token().cancelled_owned().await,
            None => std::future::pending().await,
        }
    };
    let hello = tokio::select! {
        hello = tokio::time::timeout(PATIENCE, first(&mut socket, encoding, &shared)) => hello.ok(),
        () = given_up => None,
    };
    drop(arrival);
    let drain = shared.drain.clone();
    let (frame, ending) = match hello {
        None => {
            refusals::NO_HELLO.count();
            (None, Some((code::NO_HELLO, "no hello in time")))
        }
        Some(Err((frame, end))) => (frame, end),
        Some(Ok(greeting)) => {
            CONNECTIONS.inc();
            let mut connection = Connection::new(shared, socket, encoding, greeting);
            let end = connection.run().await;
            CONNECTIONS.dec();
            return close(connection.into_socket(), end, &drain).await;
        }
    };
    if let Some(frame) = frame {
        // Who does not take it has gone.
        let _ = tokio::time::timeout(STUCK, socket.send(message(encoding, &[frame]))).await;
    }
    close(socket, ending, &drain).await;
}

/// What has happened to a connection.
enum Happened {
    OnTheWay(Step),
    Received(Option<Result<Message, axum::Error>>),
    Tick,
    Drain,
    Due,
}

impl Connection {
    fn new(
        shared: Arc<Shared>,
        socket: WebSocket,
        encoding: Encoding,
        Greeting { id: hello_id, claims, device, cursor, message }: Greeting,
    ) -> Self {
        let now = Instant::now();
        let (rate, burst) = (shared.settings.send_rate, shared.settings.send_burst);
        let frames = Bucket::of_frames(rate, burst, now);
        let (pause, requests) = (Pause::default(), Requests::default());
        let hello_at = now_ms();
        let open = open(&claims, &device, &cursor, hello_at, false);
        let way = Way::look(&shared.trunks, claims.user, open, &pause);
        let (invalid, eager) = (Recent::new(INVALID), Recent::new(EAGER));
        Self {
            shared,
            socket,
            encoding,
            hello_at,
            claims,
            device,
            way,
            pause,
            requests,
            frames,
            cursor,
            delivered: Delivered::default(),
            watching: false,
            ready: false,
            early: Early::new(message),
            hello_id,
            began: now,
            too_many: None,
            invalid,
            eager,
            departure: None,
            heard: now,
            pinged: None,
            next_ping: next_ping(),
        }
    }

    /// What is left to be closed: the way to the home is given up.
    fn into_socket(self) -> WebSocket {
        self.socket
    }

    async fn run(&mut self) -> End {
        let mut tick = tokio::time::interval(TICK);
        let drain = self.shared.drain.clone();
        loop {
            let due = self.due();
            let due = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            let happened = tokio::select! {
                step = self.way.next() => Happened::OnTheWay(step),
                received = self.socket.recv() => Happened::Received(received),
                _ = tick.tick() => Happened::Tick,
                () = drain.cancelled(), if self.departure.is_none() => Happened::Drain,
                () = due => Happened::Due,
            };
            let done = match happened {
                Happened::OnTheWay(Step::Taken(taken)) => match self.write(taken).await {
                    Ok(()) => self.take_kept().await,
                    end => end,
                },
                Happened::OnTheWay(Step::Linked(link)) => {
                    self.way = Way::Open { link, opened: false, since: Instant::now() };
                    Ok(())
                }
                Happened::Received(received) => self.receive(received).await,
                Happened::Tick => self.look().await,
                Happened::Drain => {
                    let window = self.shared.settings.drain_window();
                    self.departure = Some(Departure::plan(Instant::now(), window, &mut rand::rng()));
                    Ok(())
                }
                Happened::Due => self.do_what_is_due().await,
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    /// When something is to be done though nothing happens.
    fn due(&self) -> Option<Instant> {
        let settled = match &self.way {
            Way::Leaving(_, until) => Some(*until),
            _ => None,
        };
        let departs = self.departure.as_ref().map(|departure| departure.next(self.requests.unanswered() > 0));
        settled.into_iter().chain(departs).chain(self.delivered.due()).min()
    }

    async fn do_what_is_due(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if matches!(&self.way, Way::Leaving(_, until) if now >= *until) {
            self.link_anew().await?;
        }
        self.ask_whether_delivered(now).await?;
        let in_flight = self.requests.unanswered() > 0;
        match self.departure.as_mut().map(|departure| departure.due(now, in_flight)) {
            Some(Due::Tell(reconnect_in_ms)) if self.ready => {
                refusals::GO_AWAY.inc();
                self.send(&[encoded(0, server_frame::Body::GoAway(GoAway { reconnect_in_ms }))]).await
            }
            Some(Due::Tell(_) | Due::Close) => Err(Some((code::GOING_AWAY, "going away"))),
            Some(Due::Nothing) | None => Ok(()),
        }
    }

    /// Gives the link up and looks for the next. What was on its way is lost, which the client is told.
    async fn link_anew(&mut self) -> Result<(), End> {
        let open = open(&self.claims, &self.device, &self.cursor, self.hello_at, true);
        self.way = Way::look(&self.shared.trunks, self.claims.user, open, &self.pause);
        let watching = std::mem::take(&mut self.watching);
        if self.requests.on_their_way() > 0 || watching {
            self.requests.interrupt();
            self.send(&[encoded(0, server_frame::Body::Interrupted(Interrupted {}))]).await?;
        }
        Ok(())
    }

    /// What was held may go: the home has opened the link.
    fn release(&mut self) {
        let Way::Open { link, opened, .. } = &mut self.way else { return };
        *opened = true;
        while let Some((request, frame)) = self.requests.release() {
            // Where the trunk is full it is answered when it is late.
            let _ = link.try_send(Item::Frame(frame), request.span.context());
            self.requests.sent(request);
        }
    }

    async fn receive(&mut self, message: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        self.heard = Instant::now();
        let message = received(message)?;
        match message {
            Message::Pong(text) => self.heed_pong(&text),
            Message::Ping(_) => {}
            message if !self.ready => return self.keep(message).await,
            message => {
                for each in cut(message, self.encoding)? {
                    self.take(each).await?;
                }
            }
        }
        Ok(())
    }

    /// Writes all that waits, flushed once, and goes on from what it says about the link.
    async fn write(&mut self, taken: Taken) -> Result<(), End> {
        // What traces are told of the write: they end with it.
        let (mut frames, mut spans) = (Vec::with_capacity(taken.items.len()), Vec::new());
        let (mut lost, mut opened, mut behind) = (false, false, taken.lagging);
        let mut end: End = None;
        for item in taken.items {
            match item {
                Out::Frame(bytes) => {
                    frames.extend(self.requests.heard(bytes));
                }
                Out::Written(span) => spans.push(span),
                Out::Opened(cursor, resume) => {
                    opened = true;
                    frames.extend(self.opened(cursor, resume));
                }
                Out::Closed(ClosedReason::Replaced) => end = Some((code::REPLACED, "replaced by the same device")),
                Out::Closed(ClosedReason::TooMany) => {
                    lost = self.too_many.get_or_insert_with(Instant::now).elapsed() < GIVES_WAY;
                    if !lost {
                        refusals::DEVICES.count();
                        end = Some((code::TOO_MANY, "too many devices"));
                    }
                }
                Out::Closed(ClosedReason::Revoked) => end = Some((code::REVOKED, "the session has ended")),
                Out::Closed(ClosedReason::Behind) => behind = true,
                Out::Closed(_) => lost = true,
            }
        }
        if end.is_some() {
            // What was answered before is answered.
            self.send(&frames).await?;
            return Err(end);
        }
        if !taken.cursor.is_empty() {
            self.cursor = taken.cursor;
            self.delivered.sent(self.device.kind());
        }
        FRAMES.inc_by(frames.len() as u64);
        BEHIND.inc_by(u64::from(taken.lagging));
        if opened {
            self.too_many = None;
            self.pause.end();
            self.delivered.opened();
            self.release();
        }
        if lost {
            if self.way.opened().is_some() {
                // Told whether or not something was asked: a watch ends with the home.
                self.requests.interrupt();
                self.watching = false;
                frames.push(encoded(0, server_frame::Body::Interrupted(Interrupted {})));
            }
            self.pause.grow();
            self.send(&frames).await?;
            return self.link_anew().await;
        }
        self.send(&frames).await?;
        self.delivered.written(&frames);
        self.ask_whether_delivered(Instant::now()).await?;
        self.leave_if(behind).await
    }

    /// Where too much was missed, the link is replaced once what it carries is answered, or after a moment.
    async fn leave_if(&mut self, lagging: bool) -> Result<(), End> {
        if let (true, Way::Open { .. }) = (lagging, &self.way) {
            let looking = Way::Looking(Box::pin(std::future::pending()));
            if let Way::Open { link, .. } = std::mem::replace(&mut self.way, looking) {
                self.way = Way::Leaving(link, Instant::now() + SETTLE);
            }
        }
        if matches!(self.way, Way::Leaving(..)) && self.requests.on_their_way() == 0 {
            return self.link_anew().await;
        }
        Ok(())
    }

    /// Heartbeat, the token's end, the session's end, and what is not answered in time.
    async fn look(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if !self.ready && now - self.began > FIRST_HOME {
            refusals::NO_HOME.count();
            return Err(Some((code::GOING_AWAY, "no home in time")));
        }
        if let (true, Way::Open { opened: false, since, .. }) = (self.ready, &self.way)
            && now - *since > FIRST_HOME
        {
            // Whoever has it does not answer, and nothing is heard of that: another may.
            self.link_anew().await?;
        }
        for id in self.requests.late(now) {
            refusals::LATE.count();
            self.send(&[error(id, &no_home())]).await?;
        }
        if let Some(pinged) = self.pinged {
            if self.heard > pinged {
                self.pinged = None;
            } else if now - pinged > PONG {
                refusals::HEARTBEAT.count();
                return Err(Some((code::HEARTBEAT, "nothing heard")));
            }
        }
        if now >= self.next_ping {
            self.next_ping = next_ping();
            self.pinged.get_or_insert(now);
            let ping = tokio::time::timeout(STUCK, self.socket.send(Message::Ping(Bytes::new()))).await;
            ping.map_err(|_| Some((code::TOO_SLOW, "a write was stuck")))?.map_err(|_| None)?;
        }
        if now_ms() / 1000 > self.claims.expires_at + EXPIRED {
            return Err(Some((code::BAD_TOKEN, "the token has expired")));
        }
        if self.shared.verifier.has_ended(self.claims.session) {
            return Err(Some((code::REVOKED, "the session has ended")));
        }
        Ok(())
    }
}
