//! A client: a device that stays connected, comes back from where it was, and reads what it is told that it may have
//! missed. What it is sent and reads goes into the journal.

use super::crowd::Crowd;
use crate::{
    history::{Device, Fetched},
    people::{self, Person},
};
use madang_client::{
    Format, Http, Session, Update,
    http::{self, Page, Tokens},
    session::Options,
};
use madang_proto::{
    client::v1::{Ack, Resume, Send, client_frame::Body},
    reason::{Reason, Refusal},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::{
    sync::{Notify, oneshot},
    time::{sleep, timeout},
};

/// Messages in a page.
const PAGE: u32 = 200;
/// How long is waited before a call that failed is made again.
const AGAIN: Duration = Duration::from_millis(250);
/// How long a session may take to close.
const CLOSE: Duration = Duration::from_secs(100);

/// Where a client's messages go.
#[derive(Debug, Clone)]
pub struct To {
    /// The conversation.
    pub conversation: String,
    /// To whom, if it is a direct one.
    pub user: String,
}

/// What a client knows, as an app keeps it.
#[derive(Debug, Default)]
struct Known {
    cursor: String,
    /// The newest message of each conversation.
    seqs: HashMap<String, u64>,
    /// The newest event of each.
    revisions: HashMap<String, u64>,
    /// The newest events, when it was told that something may be missing; none: it has not been, or it has read that.
    floor: Option<HashMap<String, u64>>,
    /// How often it has been told so.
    told: u64,
    live: bool,
    ended: bool,
}

/// A client.
pub struct Client {
    /// What it shares with all others.
    pub crowd: Arc<Crowd>,
    /// Who it is.
    pub person: Person,
    http: Http,
    gateway: String,
    device: Device,
    /// Its user's reading of history: owed nothing, and judged all the same.
    reader: Device,
    tokens: Mutex<Tokens>,
    known: Mutex<Known>,
    session: Mutex<Option<(Session, oneshot::Receiver<()>)>>,
    /// Conversations that it may send to.
    rooms: Mutex<Vec<To>>,
    behind: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Client {
    /// One that has not connected yet.
    #[must_use]
    pub fn new(crowd: &Arc<Crowd>, http: &Http, gateway: &str, person: Person) -> Arc<Self> {
        let mut journal = crowd.journal();
        let (device, reader) = (journal.device(&person.tokens.user), journal.device(&person.tokens.user));
        journal.retired(reader);
        drop(journal);
        Arc::new(Self {
            crowd: crowd.clone(),
            http: http.clone(),
            gateway: gateway.into(),
            device,
            reader,
            tokens: Mutex::new(person.tokens.clone()),
            known: Mutex::default(),
            session: Mutex::default(),
            rooms: Mutex::default(),
            behind: Notify::new(),
            person,
        })
    }

    /// Its user.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.person.tokens.user
    }

    /// A token that holds for now.
    #[must_use]
    pub fn token(&self) -> String {
        lock(&self.tokens).access_token.clone()
    }

    /// The server's HTTP door.
    #[must_use]
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// Where it may send to.
    #[must_use]
    pub fn rooms(&self) -> Vec<To> {
        lock(&self.rooms).clone()
    }

    /// It may send there.
    pub fn enters(&self, to: To) {
        lock(&self.rooms).push(to);
    }

    /// It sends there no more.
    pub fn leaves(&self, conversation: &str) {
        lock(&self.rooms).retain(|to| to.conversation != conversation);
    }

    /// The newest message that it knows of a conversation.
    #[must_use]
    pub fn seq(&self, conversation: &str) -> u64 {
        lock(&self.known).seqs.get(conversation).copied().unwrap_or(0)
    }

    /// Connects, from where it was.
    pub fn connect(self: &Arc<Self>) {
        let options = Options {
            http: self.http.clone(),
            gateways: vec![self.gateway.clone()],
            tokens: lock(&self.tokens).clone(),
            device: self.person.device.clone(),
            source: None,
            format: if self.user().as_bytes().last().is_some_and(|last| last % 2 == 0) {
                Format::Json
            } else {
                Format::Protobuf
            },
            cursor: lock(&self.known).cursor.clone(),
        };
        let (me, (open, closed)) = (self.clone(), oneshot::channel());
        let session = Session::start(options, move |update| {
            // It goes with the session.
            let _ = &open;
            me.take(update);
        });
        *lock(&self.session) = Some((session, closed));
    }

    /// Disconnects; what it has seen it keeps.
    pub async fn disconnect(&self) {
        let session = lock(&self.session).take();
        if let Some((session, closed)) = session {
            drop(session);
            let _ = timeout(CLOSE, closed).await;
        }
        self.alive(false);
    }

    /// Whether it is live, or not.
    fn alive(&self, live: bool) {
        if std::mem::replace(&mut lock(&self.known).live, live) != live {
            match live {
                true => self.crowd.live.fetch_add(1, Relaxed),
                false => self.crowd.live.fetch_sub(1, Relaxed),
            };
        }
    }

    fn take(&self, update: Update) {
        match update {
            Update::Ready(ready) if ready.resume() != Resume::Resumed => {
                if ready.resume() == Resume::Snapshot {
                    self.crowd.snapshots.fetch_add(1, Relaxed);
                }
                self.may_lack();
            }
            Update::Resync => {
                self.crowd.resyncs.fetch_add(1, Relaxed);
                self.may_lack();
            }
            Update::Event(event) => {
                self.crowd.journal().saw(self.crowd.now(), self.device, &event);
                let mut known = lock(&self.known);
                let event = *event;
                if event.revision > 0 {
                    let revision = known.revisions.entry(event.conversation.clone()).or_default();
                    *revision = event.revision.max(*revision);
                    let seq = known.seqs.entry(event.conversation).or_default();
                    *seq = event.last_seq.max(*seq);
                }
                if !event.cursor.is_empty() {
                    known.cursor = event.cursor;
                }
            }
            Update::Live => self.alive(true),
            Update::Lost(_) => {
                self.crowd.lost.fetch_add(1, Relaxed);
                self.alive(false);
            }
            Update::Tokens(tokens) => *lock(&self.tokens) = tokens,
            Update::Ended(why) => {
                self.crowd.refused("a session", &why);
                lock(&self.known).ended = true;
                self.alive(false);
            }
            Update::Ready(_) | Update::Typing(_) => {}
        }
    }

    /// It was told that something may be missing.
    fn may_lack(&self) {
        self.crowd.journal().resynced(self.device);
        let mut known = lock(&self.known);
        known.told += 1;
        if known.floor.is_none() {
            known.floor = Some(known.revisions.clone());
            self.crowd.behind.fetch_add(1, Relaxed);
        }
        drop(known);
        self.behind.notify_one();
    }

    /// Reads what may be missing whenever that is said; runs until it is dropped.
    pub async fn recover(&self) {
        loop {
            self.behind.notified().await;
            while !self.caught_up().await {
                sleep(AGAIN).await;
            }
        }
    }

    /// Reads what may be missing, if anything may; false: it has to be done again.
    async fn caught_up(&self) -> bool {
        let (floor, told) = {
            let known = lock(&self.known);
            (known.floor.clone(), known.told)
        };
        let Some(floor) = floor else { return true };
        let read = self.read_above(&floor).await.is_ok();
        let mut known = lock(&self.known);
        // Told again meanwhile: what was read before that may not be all.
        let done = read && known.told == told;
        if done {
            known.floor = None;
            self.crowd.behind.fetch_sub(1, Relaxed);
        }
        done
    }

    async fn read_above(&self, floor: &HashMap<String, u64>) -> Result<(), http::Error> {
        for conversation in self.http.conversations(&self.token()).await? {
            let id = &conversation.conversation;
            self.read_since(id, floor.get(id).copied().unwrap_or(0)).await?;
        }
        Ok(())
    }

    /// Reads what was sent or changed in a conversation since an event, part by part; all of it, if that is too long ago.
    async fn read_since(&self, conversation: &str, mut since: u64) -> Result<(), http::Error> {
        loop {
            let asked = self.crowd.now();
            let ask = || async { self.http.changes(&self.token(), conversation, since, PAGE).await };
            let changes = match people::persist(ask).await {
                Ok(changes) => changes,
                Err(error) if error.reason() == Reason::ConversationNotFound.word() => return Ok(()),
                Err(error) if error.reason() == Reason::TooOld.word() => {
                    return self.read_from(self.device, conversation, 0).await;
                }
                Err(error) => return Err(error),
            };
            let (messages, notices, revision) = (&changes.messages, &changes.notices, changes.revision);
            self.crowd.journal().fetched(
                self.device,
                Fetched {
                    asked,
                    conversation,
                    messages,
                    notices,
                    revision,
                    has_before: false,
                    has_after: changes.more,
                    since: Some(since),
                },
            );
            if !changes.more {
                return Ok(());
            }
            since = revision;
        }
    }

    /// Reads a conversation above a message, page by page; one that it is not in any more is passed over.
    async fn read_from(&self, device: Device, conversation: &str, mut after: u64) -> Result<(), http::Error> {
        loop {
            let asked = self.crowd.now();
            let page =
                match people::persist(|| async { self.http.after(&self.token(), conversation, after, PAGE).await })
                    .await
                {
                    Ok(page) => page,
                    Err(error) if error.reason() == Reason::ConversationNotFound.word() => return Ok(()),
                    Err(error) => return Err(error),
                };
            self.note(device, asked, conversation, &page);
            match page.messages.last() {
                Some(last) if page.has_after => after = last.seq,
                _ => return Ok(()),
            }
        }
    }

    fn note(&self, device: Device, asked: u64, conversation: &str, page: &Page) {
        self.crowd.journal().fetched(
            device,
            Fetched {
                asked,
                conversation,
                messages: &page.messages,
                notices: &page.notices,
                revision: page.revision,
                has_before: page.has_before,
                has_after: page.has_after,
                since: None,
            },
        );
    }

    /// Reads all of a conversation, as a reader who wants to know.
    pub async fn read_all(&self, conversation: &str) -> Result<(), http::Error> {
        self.read_from(self.reader, conversation, 0).await
    }

    /// Reads a page somewhere in a conversation; whether it may is for the server to say.
    pub async fn peek(&self, conversation: &str, after: Option<u64>) -> Result<(), http::Error> {
        let (asked, token) = (self.crowd.now(), self.token());
        let page = match after {
            Some(after) => self.http.after(&token, conversation, after, PAGE).await?,
            None => self.http.newest(&token, conversation, PAGE).await?,
        };
        self.note(self.reader, asked, conversation, &page);
        Ok(())
    }

    /// Asks something over its session; refused as unavailable while it has none.
    pub async fn ask(self: &Arc<Self>, body: Body) -> Result<Ack, Refusal> {
        if lock(&self.known).ended {
            self.log_in().await;
        }
        let session = lock(&self.session).as_ref().map(|(session, _)| session.clone());
        match session {
            Some(session) => session.ask(body).await,
            None => Err(Refusal::new(Reason::Unavailable, "not connected")),
        }
    }

    /// Sends a message by an HTTP call.
    pub async fn post(&self, send: &Send) -> Result<Ack, http::Error> {
        let body = serde_json::to_value(send)?;
        self.http.call("POST", "/v1/messages", Some(&self.token()), Some(body), None).await
    }

    /// A session that has ended was a failure, which is reported; whoever it was comes back all the same.
    async fn log_in(self: &Arc<Self>) {
        let (handle, device) = (&self.person.handle, &self.person.device);
        let password = people::password(handle);
        if let Ok(tokens) = people::persist(|| self.http.log_in(handle, &password, device)).await {
            *lock(&self.tokens) = tokens;
            self.disconnect().await;
            lock(&self.known).ended = false;
            self.connect();
        }
    }
}
