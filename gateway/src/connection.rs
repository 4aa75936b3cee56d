//! One client's socket, from its hello to its close, in one task: read, heed what waits, drain it, flush once.

mod hello;
mod wire;

use crate::{
    Shared,
    frame::{self, Cut, Encoding},
    outbox::{Out, Taken},
    trunk::Link,
};
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bytes::Bytes;
use futures_util::SinkExt;
use hello::first;
use madang_mesh::{
    clock::now_ms,
    metrics,
    token::{Claims, bad_token},
};
use madang_proto::{
    chat::v1::{ClosedReason, Open, upstream::Item},
    client::v1::{
        Ack, ClientFrame, Device, GoAway, Interrupted, Pong, Ready, Resume, Resync, ServerFrame, client_frame::Body,
        server_frame,
    },
    reason::{Reason, Refusal},
};
use prometheus::{IntCounter, IntGauge};
use prost::Message as _;
use std::{
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};
use wire::{cut, finished, message};

/// Close codes of the protocol.
mod code {
    pub const GOING_AWAY: u16 = 4000;
    pub const NO_HELLO: u16 = 4001;
    pub const TOO_SLOW: u16 = 4002;
    pub const HEARTBEAT: u16 = 4003;
    pub const BAD_TOKEN: u16 = 4500;
    pub const PROTOCOL: u16 = 4501;
    pub const REVOKED: u16 = 4503;
    pub const TOO_MANY: u16 = 4504;
    pub const REPLACED: u16 = 4506;
    pub const INVALID_DATA: u16 = 1007;
    pub const TOO_BIG: u16 = 1009;
}

/// How long a client may take for its hello.
const HELLO: Duration = Duration::from_secs(5);
/// How often the server pings, ± 20 %.
const PING: Duration = Duration::from_secs(25);
/// How long after a ping some frame must have come.
const PONG: Duration = Duration::from_secs(8);
/// How long a write may be stuck.
const STUCK: Duration = Duration::from_secs(10);
/// How long after a link that its home did not take the next one is tried: the map may be a moment old.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long answers in flight are waited for before a link is replaced.
const SETTLE: Duration = Duration::from_secs(1);
/// How long answers in flight are waited for before the process goes.
const GOODBYE: Duration = Duration::from_secs(3);
/// How long after its `exp` a token still holds a socket open, in seconds.
const EXPIRED: i64 = 60;
/// So many frames that can't be understood in a minute end the connection.
const INVALID: u32 = 10;
/// What a client that hears nothing waits before it pings, in ms.
const HEARTBEAT_MS: u32 = 35_000;
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
    in_flight: u32,
    cursor: String,
    /// `ready` has been sent.
    ready: bool,
    /// Asked for with this frame.
    hello_id: u32,
    /// How long to wait before the next link, if this one is closed before it was opened.
    pause: Duration,
    invalid: (Instant, u32),
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

/// Serves a socket to its end.
pub(crate) async fn serve(shared: Arc<Shared>, mut socket: WebSocket, encoding: Encoding) {
    let hello = tokio::time::timeout(HELLO, first(&mut socket, encoding, &shared)).await;
    let (frame, ending) = match hello {
        Err(_) => (None, Some((code::NO_HELLO, "no hello in time"))),
        Ok(Err((frame, end))) => (frame, end),
        Ok(Ok((hello_id, claims, device, resume))) => {
            let mut connection = Connection {
                shared,
                socket,
                encoding,
                claims,
                device,
                in_flight: 0,
                cursor: resume,
                ready: false,
                hello_id,
                pause: Duration::ZERO,
                invalid: (Instant::now(), 0),
                heard: Instant::now(),
                pinged: None,
                next_ping: next_ping(),
            };
            CONNECTIONS.inc();
            let end = connection.run().await;
            CONNECTIONS.dec();
            return close(connection.socket, end).await;
        }
    };
    if let Some(frame) = frame {
        // Who does not take it has gone.
        let _ = tokio::time::timeout(STUCK, socket.send(message(encoding, &[frame]))).await;
    }
    close(socket, ending).await;
}

async fn close(mut socket: WebSocket, end: End) {
    if let Some((code, reason)) = end {
        let frame = CloseFrame { code, reason: reason.into() };
        let goodbye = async {
            if socket.send(Message::Close(Some(frame))).await.is_ok() {
                // Until the client has answered the close, so that it is read before the socket is gone.
                while let Some(Ok(_)) = socket.recv().await {}
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(2), goodbye).await;
    }
}

impl Connection {
    async fn link(&mut self) -> Link {
        let open = Open {
            user: self.claims.user.to_string(),
            session: self.claims.session.to_string(),
            device: Some(self.device.clone()),
            resume: self.cursor.clone(),
        };
        self.shared.trunks.link(self.claims.user, Item::Open(open)).await
    }

    async fn run(&mut self) -> End {
        let mut link = tokio::select! {
            link = self.link() => link,
            () = tokio::time::sleep(STUCK) => return Some((code::GOING_AWAY, "no home in time")),
        };
        let mut tick = tokio::time::interval(TICK);
        let drain = self.shared.drain.clone();
        loop {
            tokio::select! {
                taken = link.outbox.take() => match self.write(taken).await {
                    Ok(true) => {}
                    // The home is gone, or too much was missed: open it again, from what was written.
                    Ok(false) => match self.settle(&link).await {
                        Ok(()) => {
                            tokio::time::sleep(self.pause).await;
                            link = self.link().await;
                        }
                        Err(end) => return end,
                    },
                    Err(end) => return end,
                },
                received = self.socket.recv() => {
                    self.heard = Instant::now();
                    let frames = match cut(received, self.encoding) {
                        Ok(frames) => frames,
                        Err(end) => return end,
                    };
                    for each in frames.into_iter().flatten() {
                        if let Err(end) = self.take(each, &link).await {
                            return end;
                        }
                    }
                }
                _ = tick.tick() => if let Err(end) = self.look().await { return end },
                () = drain.cancelled() => {
                    let away = encoded(0, server_frame::Body::GoAway(GoAway { reconnect_in_ms: rand::random_range(0..1000) }));
                    if self.send(&[away]).await.is_ok() {
                        // What is in flight is still answered.
                        self.answer_what_is_in_flight(&link, GOODBYE).await;
                    }
                    return Some((code::GOING_AWAY, "going away"));
                }
            }
        }
    }

    /// Answers come over the link that carried the request: before another takes its place they are waited for, and
    /// the client is told to send again what stays unanswered.
    async fn settle(&mut self, link: &Link) -> Result<(), End> {
        self.answer_what_is_in_flight(link, SETTLE).await;
        if std::mem::take(&mut self.in_flight) > 0 {
            self.send(&[encoded(0, server_frame::Body::Interrupted(Interrupted {}))]).await?;
        }
        Ok(())
    }

    async fn answer_what_is_in_flight(&mut self, link: &Link, patience: Duration) {
        let end = tokio::time::Instant::now() + patience;
        while self.in_flight > 0
            // Only the waiting is cut off: what has been taken is written.
            && let Ok(taken) = tokio::time::timeout_at(end, link.outbox.take()).await
            && matches!(self.write(taken).await, Ok(true))
        {}
    }

    /// Writes all that waits, flushed once; false: the link is of no use any more.
    async fn write(&mut self, taken: Taken) -> Result<bool, End> {
        let mut frames = Vec::with_capacity(taken.items.len());
        let mut good = true;
        for item in taken.items {
            match item {
                Out::Frame(bytes) => {
                    // An answer begins with its id (field 1); an event does not.
                    self.in_flight -= u32::from(bytes.first() == Some(&0x08) && self.in_flight > 0);
                    frames.push(bytes);
                }
                Out::Opened(cursor, resume) => frames.extend(self.opened(cursor, resume)),
                Out::Closed(ClosedReason::Replaced) => {
                    return Err(Some((code::REPLACED, "replaced by the same device")));
                }
                Out::Closed(ClosedReason::TooMany) => return Err(Some((code::TOO_MANY, "too many devices"))),
                Out::Closed(ClosedReason::Revoked) => return Err(Some((code::REVOKED, "the session has ended"))),
                Out::Closed(_) => {
                    good = false;
                    self.in_flight = 0;
                    self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                    if self.ready {
                        frames.push(encoded(0, server_frame::Body::Interrupted(Interrupted {})));
                    }
                }
            }
        }
        if !taken.cursor.is_empty() {
            self.cursor = taken.cursor;
        }
        FRAMES.inc_by(frames.len() as u64);
        BEHIND.inc_by(u64::from(taken.lagging));
        self.send(&frames).await?;
        Ok(good && !taken.lagging)
    }

    fn opened(&mut self, cursor: String, resume: Resume) -> Option<Bytes> {
        self.cursor.clone_from(&cursor);
        self.pause = Duration::ZERO;
        if std::mem::replace(&mut self.ready, true) {
            // Behind the client's back; it hears of it only if something may be missing.
            let resync = server_frame::Body::Resync(Resync { cursor });
            return (resume != Resume::Resumed).then(|| encoded(0, resync));
        }
        let ready = Ready {
            user: self.claims.user.to_string(),
            session: self.claims.session.to_string(),
            cursor,
            resume: resume.into(),
            heartbeat_ms: HEARTBEAT_MS,
            max_frame_bytes: u32::try_from(self.shared.settings.max_frame_bytes).unwrap_or(u32::MAX),
            max_in_flight: self.shared.settings.max_in_flight,
            server_time: now_ms(),
        };
        Some(encoded(self.hello_id, server_frame::Body::Ready(ready)))
    }

    async fn send(&mut self, frames: &[Bytes]) -> Result<(), End> {
        let writing = async {
            let mut buffer = Vec::new();
            for frame in frames {
                if !buffer.is_empty() && buffer.len() + frame.len() > MESSAGE {
                    self.socket.feed(finished(self.encoding, std::mem::take(&mut buffer))).await?;
                }
                frame::write(self.encoding, frame, &mut buffer);
            }
            if !buffer.is_empty() {
                self.socket.feed(finished(self.encoding, buffer)).await?;
            }
            self.socket.flush().await
        };
        match tokio::time::timeout(STUCK, writing).await {
            Ok(written) => written.map_err(|_| None),
            Err(_) => Err(Some((code::TOO_SLOW, "a write was stuck"))),
        }
    }

    async fn take(&mut self, cut: Cut, link: &Link) -> Result<(), End> {
        let ClientFrame { id, body } = match cut {
            Ok(frame) => frame,
            Err((id, refusal)) => return self.not_understood(id, &refusal).await,
        };
        match body {
            Some(Body::Ping(_)) if id == 0 => Ok(()),
            Some(Body::Ping(_)) => self.send(&[encoded(id, server_frame::Body::Pong(Pong {}))]).await,
            Some(Body::Hello(hello)) => self.again(id, &hello.token).await,
            body => {
                if let Err(refusal) = self.allow(id, body.as_ref()) {
                    return if id == 0 { Ok(()) } else { self.send(&[error(id, &refusal)]).await };
                }
                self.in_flight += u32::from(id != 0);
                // A trunk that is gone says so in the outbox; the client is told to send again.
                let _ = link.send(Item::Frame(ClientFrame { id, body }.encode_to_vec().into())).await;
                Ok(())
            }
        }
    }

    fn allow(&self, id: u32, body: Option<&Body>) -> Result<(), Refusal> {
        let most = self.shared.settings.max_in_flight;
        if id != 0 && self.in_flight >= most {
            let message = format!("{most} requests are unanswered: wait for some of the answers");
            return Err(Refusal::new(Reason::TooManyInFlight, message).after(100));
        }
        if let Some(Body::Send(_)) = body {
            self.shared.rate.take(self.claims.user, Instant::now()).map_err(|ms| {
                Refusal::new(Reason::RateLimited, "too many messages: send again after retryAfterMs").after(ms)
            })?;
        }
        Ok(())
    }

    async fn not_understood(&mut self, id: u32, refusal: &Refusal) -> Result<(), End> {
        if refusal.reason == Reason::Unimplemented {
            return if id == 0 { Ok(()) } else { self.send(&[error(id, refusal)]).await };
        }
        if self.invalid.0.elapsed() > Duration::from_secs(60) {
            self.invalid = (Instant::now(), 0);
        }
        self.invalid.1 += 1;
        self.send(&[error(id, refusal)]).await?;
        if self.invalid.1 >= INVALID {
            Err(Some((code::PROTOCOL, "too many frames that can't be understood")))
        } else {
            Ok(())
        }
    }

    /// A newer token of the same user and session.
    async fn again(&mut self, id: u32, token: &str) -> Result<(), End> {
        let claims = self.shared.verifier.verify(token).await;
        let same = |claims: &Claims| (claims.user, claims.session) == (self.claims.user, self.claims.session);
        let answer = match claims {
            Ok(claims) if same(&claims) => {
                self.claims = claims;
                encoded(id, server_frame::Body::Ack(Ack::default()))
            }
            Ok(_) => error(id, &bad_token()),
            Err(refusal) => error(id, &refusal),
        };
        self.send(&[answer]).await
    }

    /// Heartbeat, the token's end, the session's end.
    async fn look(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if let Some(pinged) = self.pinged {
            if self.heard > pinged {
                self.pinged = None;
            } else if now - pinged > PONG {
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
        if self.shared.verifier.ended(self.claims.session).await {
            return Err(Some((code::REVOKED, "the session has ended")));
        }
        Ok(())
    }
}
