//! A connection that stays up: it reconnects with its cursor, sends again what was not answered, with the same client
//! ids, and keeps its tokens fresh. This is what an app does, so that the server may be replaced under it unnoticed.

use crate::{
    Format, Http, Socket,
    http::{self, Tokens},
    socket,
};
use madang_proto::{
    client::v1::{self as client, client_frame::Body, server_frame},
    reason::{Reason, Refusal},
};
use rand::Rng as _;
use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{interval, sleep, timeout},
};

/// How long connecting may take, up to `ready`.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the tokens' age and the silence are looked at.
const TICK: Duration = Duration::from_secs(4);
/// How long a `pong` may take.
const PONG: Duration = Duration::from_secs(8);

/// What happens to a session.
#[derive(Debug)]
pub enum Update {
    /// Connected.
    Ready(client::Ready),
    /// Something happened; in order within a conversation, now and then twice.
    Event(Box<client::Event>),
    /// All missed has been given.
    Live,
    /// Something may be missing: ask for the lists anew.
    Resync,
    /// Somebody writes.
    Typing(client::TypingNotice),
    /// New tokens, to be saved in place of the old ones.
    Tokens(Tokens),
    /// The connection is gone; it is being made anew.
    Lost(String),
    /// The session is over, for good.
    Ended(String),
}

/// How to connect.
pub struct Options {
    /// The server's HTTP door.
    pub http: Http,
    /// Its WebSocket doors, where those are others: `http://HOST:PORT` each. The first is used while it can be, then the
    /// next, and so on around.
    pub gateways: Vec<String>,
    /// Of a log-in.
    pub tokens: Tokens,
    /// The device that logged in.
    pub device: client::Device,
    /// The local address to connect from.
    pub source: Option<IpAddr>,
    /// Which subprotocol.
    pub format: Format,
    /// Where to go on from, or empty.
    pub cursor: String,
}

struct Command {
    body: Body,
    answer: oneshot::Sender<Result<client::Ack, Refusal>>,
}

/// A handle; when the last one is dropped, the connection is closed.
#[derive(Clone)]
pub struct Session {
    commands: mpsc::Sender<Command>,
}

impl Session {
    /// Starts one; `on` is told what happens, in order, and must not block.
    pub fn start(options: Options, on: impl FnMut(Update) + Send + 'static) -> Self {
        let (commands, queue) = mpsc::channel(256);
        let session = Running {
            cursor: options.cursor.clone(),
            options,
            queue,
            on: Box::new(on),
            unanswered: BTreeMap::new(),
            next_id: 2,
            in_flight: 1,
            door: 0,
        };
        tokio::spawn(session.run());
        Self { commands }
    }

    /// Sends a frame and waits until it is answered, over as many connections as that takes.
    pub async fn ask(&self, body: Body) -> Result<client::Ack, Refusal> {
        let over = || Refusal::new(Reason::Unavailable, "the session has ended");
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command { body, answer }).await.map_err(|_| over())?;
        answered.await.map_err(|_| over())?
    }

    /// Sends a message.
    pub async fn send(&self, send: client::Send) -> Result<client::Ack, Refusal> {
        self.ask(Body::Send(send)).await
    }
}

/// How a connection ended.
enum End {
    /// Nobody holds the session any more.
    Dropped,
    /// By the network, or for a reason that passes.
    Lost(String),
    /// The server is going; reconnect at once.
    Moved,
    /// With tokens that are no good.
    BadToken(String),
    /// For good.
    Final(String),
}

struct Running {
    options: Options,
    queue: mpsc::Receiver<Command>,
    on: Box<dyn FnMut(Update) + Send>,
    cursor: String,
    unanswered: BTreeMap<u32, Command>,
    next_id: u32,
    in_flight: usize,
    /// Which of the gateways is used: counts up, around.
    door: usize,
}

impl Running {
    async fn run(mut self) {
        let mut failures = 0u32;
        let mut bad_tokens = 0u32;
        loop {
            let began = Instant::now();
            let end = self.connection().await;
            if began.elapsed() > Duration::from_secs(30) {
                (failures, bad_tokens) = (0, 0);
            }
            let why = match end {
                End::Dropped => return,
                End::Final(why) => return (self.on)(Update::Ended(why)),
                End::Moved => continue,
                End::Lost(why) => why,
                End::BadToken(why) => {
                    bad_tokens += 1;
                    if bad_tokens > 3 {
                        return (self.on)(Update::Ended(why));
                    }
                    match self.refresh().await {
                        Ok(()) => continue,
                        Err(error) if error.retryable() => error.to_string(),
                        Err(error) => return (self.on)(Update::Ended(error.to_string())),
                    }
                }
            };
            (self.on)(Update::Lost(why));
            let longest = 2u64.saturating_pow(failures).min(60) * 1000;
            failures += 1;
            let wait = rand::rng().random_range(0..=longest);
            sleep(Duration::from_millis(wait)).await;
            if self.queue.is_closed() && self.unanswered.is_empty() && self.queue.is_empty() {
                return;
            }
        }
    }

    async fn refresh(&mut self) -> Result<(), http::Error> {
        self.options.tokens = self.options.http.refresh(&self.options.tokens.refresh_token).await?;
        (self.on)(Update::Tokens(self.options.tokens.clone()));
        Ok(())
    }

    /// One connection, from the first byte to the last.
    async fn connection(&mut self) -> End {
        if self.options.tokens.ageing() {
            match self.refresh().await {
                Ok(()) => {}
                // What it has is still good: the next time will do.
                Err(error) if error.retryable() && !self.options.tokens.expired() => {}
                Err(error) if error.retryable() => return End::Lost(error.to_string()),
                Err(error) => return End::Final(error.to_string()),
            }
        }
        let mut frames = Vec::new();
        let (mut socket, ready) = match self.open(&mut frames).await {
            Ok(opened) => opened,
            Err(end) => return end,
        };
        self.in_flight = usize::try_from(ready.max_in_flight).unwrap_or(1).max(1);
        let silence = Duration::from_millis(u64::from(ready.heartbeat_ms.max(1000)));
        (self.on)(Update::Ready(ready));
        if let Err(error) = self.send_unanswered(&mut socket).await {
            return end(error);
        }
        let mut heard = Instant::now();
        let mut pinged: Option<Instant> = None;
        let mut leaving: Option<Instant> = None;
        let mut dropped = false;
        let mut tick = interval(TICK);
        loop {
            let mut again = false;
            for frame in frames.drain(..) {
                match self.take(frame) {
                    Taken::Done => {}
                    Taken::Again => again = true,
                    Taken::Leave(after) => {
                        leaving = Some(Instant::now() + after);
                        self.door += 1;
                    }
                }
            }
            if again
                && leaving.is_none()
                && let Err(error) = self.send_unanswered(&mut socket).await
            {
                return end(error);
            }
            if dropped && self.unanswered.is_empty() {
                socket.close().await;
                return End::Dropped;
            }
            let may_send = !dropped && leaving.is_none() && self.unanswered.len() < self.in_flight;
            tokio::select! {
                received = socket.receive(&mut frames) => match received {
                    Ok(()) => (heard, pinged) = (Instant::now(), None),
                    Err(_) if leaving.is_some() => return End::Moved,
                    Err(error) => return end(error),
                },
                command = self.queue.recv(), if may_send => match command {
                    Some(command) => if let Err(error) = self.send_ready(&mut socket, command).await {
                        return end(error);
                    },
                    None => dropped = true,
                },
                () = sleep(leaving.map_or(PATIENCE, |at| at.saturating_duration_since(Instant::now()))),
                    if leaving.is_some() => return End::Moved,
                _ = tick.tick() => {
                    if pinged.is_some_and(|at| at.elapsed() > PONG) {
                        return End::Lost("the server has fallen silent".into());
                    }
                    let mut out = Vec::new();
                    if pinged.is_none() && heard.elapsed() > silence {
                        pinged = Some(Instant::now());
                        out.push(client::ClientFrame { id: 1, body: Some(Body::Ping(client::Ping {})), ..Default::default() });
                    }
                    // Failures to refresh show when the server closes with 4500.
                    if self.options.tokens.ageing() && self.refresh().await.is_ok() {
                        let token = self.options.tokens.access_token.clone();
                        let hello = client::Hello { token, ..Default::default() };
                        out.push(client::ClientFrame { id: 1, body: Some(Body::Hello(hello)), ..Default::default() });
                    }
                    if !out.is_empty() && let Err(error) = socket.send(&out).await {
                        return end(error);
                    }
                }
            }
        }
    }

    /// Connects and says hello. A gateway that can't be reached is passed over for the next at once; one that can, but
    /// does not serve, for the next time.
    async fn open(&mut self, rest: &mut Vec<client::ServerFrame>) -> Result<(Socket, client::Ready), End> {
        let Options { http, gateways, tokens, device, source, format, .. } = &self.options;
        let hello = client::Hello {
            token: tokens.access_token.clone(),
            device: Some(device.clone()),
            resume: self.cursor.clone(),
        };
        let mut tried = 0;
        loop {
            let door = gateways.get(self.door % gateways.len().max(1)).map_or(http.base(), String::as_str);
            let open = async {
                let mut socket = Socket::connect(door, *source, *format).await?;
                let ready = socket.hello(hello.clone(), rest).await?;
                Ok((socket, ready))
            };
            let opened = timeout(PATIENCE, open).await;
            if let Ok(Ok(opened)) = opened {
                return Ok(opened);
            }
            self.door += 1;
            tried += 1;
            match opened {
                Ok(Err(socket::Error::Connect(_))) if tried < gateways.len() => {}
                Ok(Err(error)) => return Err(end(error)),
                _ => return Err(End::Lost("the server does not answer".into())),
            }
        }
    }

    /// Sends a command and all others that are ready, as one message.
    async fn send_ready(&mut self, socket: &mut Socket, first: Command) -> Result<(), socket::Error> {
        let mut out = Vec::new();
        let mut next = Some(first);
        while let Some(command) = next {
            let id = self.next_id;
            // 0 wants no answer, and 1 is for `hello` and `ping`.
            self.next_id = self.next_id.checked_add(1).unwrap_or(2);
            out.push(client::ClientFrame { id, body: Some(command.body.clone()), ..Default::default() });
            self.unanswered.insert(id, command);
            next = if self.unanswered.len() < self.in_flight && out.len() < 64 {
                self.queue.try_recv().ok()
            } else {
                None
            };
        }
        socket.send(&out).await
    }

    async fn send_unanswered(&mut self, socket: &mut Socket) -> Result<(), socket::Error> {
        let all = self.unanswered.iter();
        let frames: Vec<_> = all
            .map(|(id, command)| client::ClientFrame {
                id: *id,
                body: Some(command.body.clone()),
                ..Default::default()
            })
            .collect();
        // One by one, since together they could be longer than the server takes.
        for frame in frames {
            socket.send(&[frame]).await?;
        }
        Ok(())
    }

    fn take(&mut self, frame: client::ServerFrame) -> Taken {
        use server_frame::Body as Server;
        match frame.body {
            Some(Server::Ack(ack)) => self.answer(frame.id, Ok(ack)),
            Some(Server::Error(error)) => self.answer(frame.id, Err(Refusal::from_error(&error))),
            Some(Server::Event(event)) => {
                let cursor = event.cursor.clone();
                (self.on)(Update::Event(Box::new(event)));
                if !cursor.is_empty() {
                    self.cursor = cursor;
                }
            }
            Some(Server::Live(live)) => {
                self.cursor = live.cursor;
                (self.on)(Update::Live);
            }
            Some(Server::Resync(resync)) => {
                self.cursor = resync.cursor;
                (self.on)(Update::Resync);
            }
            Some(Server::Interrupted(_)) => return Taken::Again,
            Some(Server::GoAway(away)) => return Taken::Leave(Duration::from_millis(away.reconnect_in_ms.into())),
            Some(Server::Typing(typing)) => (self.on)(Update::Typing(typing)),
            Some(Server::Ready(_) | Server::Presence(_) | Server::Pong(_)) | None => {}
        }
        Taken::Done
    }

    fn answer(&mut self, id: u32, answer: Result<client::Ack, Refusal>) {
        if let Some(command) = self.unanswered.remove(&id) {
            // Who asked may have gone; the answer holds all the same.
            let _ = command.answer.send(answer);
        }
    }
}

/// What a frame asks for.
enum Taken {
    Done,
    Again,
    Leave(Duration),
}

/// What to do after an error, by the contract's close codes.
fn end(error: socket::Error) -> End {
    let why = error.to_string();
    match error {
        socket::Error::Closed { code: 4500, .. } => End::BadToken(why),
        socket::Error::Closed { code: 4501 | 4503 | 4504 | 4506, .. } => End::Final(why),
        _ => End::Lost(why),
    }
}
