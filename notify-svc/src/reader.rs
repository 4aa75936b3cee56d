//! Reads the log: what devices may have to be told of waits a moment, in case they hear of it by their sockets, and then
//! goes to the sender. The cursor follows what is done, not what is read.

mod late;

use crate::{
    amended::Changes,
    audience::{Audience, Job, Look, Message, What},
    reports::Reports,
    sender::{Kept, Origin, Sender, TOO_OLD},
    store::Subscriptions,
    ticket::Progress,
    words::Shown,
};
use async_trait::async_trait;
use futures_util::StreamExt as _;
use madang_mesh::{
    clock::now_ms,
    log::{Entry, Log, Position},
    metrics,
    shard::Shard,
    subscription::{HandleError, Handler},
    trace::{Kind, Span},
    vital::vital,
};
use madang_proto::{
    id::{ConversationId, DeviceId, UserId},
    log::v1::{LoggedEvent, MessageDeleted, MessageEdited, MovedMark, logged_event::Body},
    record,
};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How old what is read may be, in ms, before it is looked at what became of it further on.
const BEHIND_MS: i64 = 5_000;
/// How often it is looked while the log waits.
const AHEAD: Duration = Duration::from_secs(1);
/// How many jobs of a shard wait at most; then the log waits.
const JOBS: usize = 4096;
/// How many are looked at together.
const TOGETHER: usize = 500;
/// How long after one look at who is to be told the next one follows at the earliest: what has become due meanwhile is
/// looked at together, since a look asks group-svc and the database, for one message as for hundreds.
const APART: Duration = Duration::from_millis(100);
/// How often the cursor is saved while it moves, and the database is asked for what is due; and how soon that is tried again
/// where nobody can say who is still to be told.
const OFTEN: Duration = Duration::from_secs(1);
/// How often it is looked whether what is on its way has arrived, when a shard goes to another process; and how soon the
/// database is asked again for what is due, where more may be.
const LOOK: Duration = Duration::from_millis(50);
/// How long what is on its way is waited for when a shard goes to another process.
const LEAVE: Duration = Duration::from_secs(3);

/// A shard that is read here.
#[derive(Clone)]
struct Running {
    progress: Progress,
    jobs: mpsc::Sender<Job>,
    /// Up to where it is known what messages have become.
    ahead: Arc<AtomicU64>,
    /// Nothing more of it is taken up.
    leaving: CancellationToken,
    cancel: CancellationToken,
}

/// Reads the log.
pub struct Reader {
    /// Where cursors and late pushes are.
    pub store: Arc<dyn Subscriptions>,
    /// The log.
    pub log: Arc<dyn Log>,
    /// Who is told.
    pub audience: Arc<Audience>,
    /// Who tells them.
    pub sender: Arc<Sender>,
    /// What is counted.
    pub reports: Arc<Reports>,
    /// How long devices have to show that they have an event.
    pub wait: Duration,
    shards: Mutex<HashMap<Shard, Running>>,
}

fn retry(error: impl std::fmt::Display) -> HandleError {
    HandleError::Retry(error.to_string())
}

impl Reader {
    /// Reads nothing yet.
    #[must_use]
    pub fn new(
        store: Arc<dyn Subscriptions>,
        log: Arc<dyn Log>,
        audience: Arc<Audience>,
        sender: Arc<Sender>,
        reports: Arc<Reports>,
        wait: Duration,
    ) -> Self {
        Self { store, log, audience, sender, reports, wait, shards: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Shard, Running>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins with a shard, from a cursor on.
    fn begin(&self, shard: Shard, cursor: Position) {
        let (jobs, receiver) = mpsc::channel(JOBS);
        metrics::queue("push_jobs", "messages and marks that devices may have to be told of, of a shard", &jobs);
        let (progress, cancel) = (Progress::from(cursor), CancellationToken::new());
        let work = Work {
            shard,
            store: self.store.clone(),
            audience: self.audience.clone(),
            sender: self.sender.clone(),
            reports: self.reports.clone(),
        };
        let work = Arc::new(work);
        tokio::spawn(vital("a shard of pushes", work.clone().jobs(receiver, cancel.clone())));
        tokio::spawn(vital("a cursor of pushes", work.clone().save(progress.clone(), cancel.clone())));
        tokio::spawn(vital("late pushes", work.late(cancel.clone())));
        let (ahead, leaving) = (Arc::default(), CancellationToken::new());
        self.lock().insert(shard, Running { progress, jobs, ahead, leaving, cancel });
    }

    /// Takes note of what messages have become: for what is on its way, and in what is kept for later.
    async fn amend(&self, shard: Shard, events: impl Iterator<Item = &LoggedEvent>) -> Result<(), HandleError> {
        let mut changes = Changes::new();
        for event in events {
            let (seq, shown) = match &event.body {
                Some(Body::Edited(MessageEdited { seq, content: Some(content) })) => (*seq, Some(Shown::of(content))),
                Some(Body::Deleted(MessageDeleted { seq })) => (*seq, None),
                _ => continue,
            };
            let Ok(conversation) = ConversationId::from_slice(&event.conversation) else { continue };
            self.sender.amended.note(conversation, seq, shown.clone());
            changes.insert((conversation, seq), shown);
        }
        if changes.is_empty() {
            return Ok(());
        }
        Kept::change(&*self.store, shard, &changes).await.map_err(retry)
    }

    /// Takes note of what messages have become further on in the log than what is told of now: where much waits, what is said
    /// there was acknowledged long ago.
    async fn look_ahead(&self, shard: Shard, ahead: &AtomicU64, behind: Position) -> Result<(), HandleError> {
        let begin = ahead.load(Ordering::Relaxed).max(behind) + 1;
        let last = self.log.bounds(shard).await.map_err(retry)?.last;
        if begin > last {
            return Ok(());
        }
        let count = usize::try_from(last + 1 - begin).unwrap_or(usize::MAX);
        let mut entries = self.log.read(shard, begin).await.map_err(retry)?.take(count).chunks(TOGETHER);
        while let Some(some) = entries.next().await {
            let mut records = Vec::with_capacity(some.len());
            let mut come = 0;
            for entry in some {
                let entry = entry.map_err(retry)?;
                come = entry.position;
                records.push(record::read(entry.payload).map_err(retry)?);
            }
            self.amend(shard, records.iter().flat_map(|record| &record.events)).await?;
            ahead.fetch_max(come, Ordering::Relaxed);
        }
        Ok(())
    }

    /// A place for a job of a shard, once there is one: meanwhile it is looked what becomes of what waits. None: the shard goes
    /// elsewhere.
    async fn place<'a>(&self, shard: Shard, of: &'a Running, read: Position) -> Option<mpsc::Permit<'a, Job>> {
        loop {
            tokio::select! {
                place = of.jobs.reserve() => return place.ok(),
                () = of.leaving.cancelled() => return None,
                () = tokio::time::sleep(AHEAD) => {
                    if let Err(error) = self.look_ahead(shard, &of.ahead, read).await {
                        tracing::warn!(shard, %error, "it can't be seen what messages have become; trying again");
                    }
                }
            }
        }
    }

    /// When it is looked at whom to tell of what happened then: never later than after the wait, whatever clocks say.
    fn due(&self, at_ms: i64) -> Instant {
        let wait = i64::try_from(self.wait.as_millis()).unwrap_or(0);
        let left = (at_ms + wait - now_ms()).clamp(0, wait);
        Instant::now() + Duration::from_millis(left.unsigned_abs())
    }

    /// What an event may ask to tell.
    fn what(&self, event: LoggedEvent, now: i64) -> Vec<What> {
        let (at_ms, revision) = (event.at_micros / 1000, event.revision);
        match event.body {
            Some(Body::Message(content)) => {
                self.reports.seen();
                if now - at_ms > TOO_OLD {
                    self.reports.too_old(1);
                    return Vec::new();
                }
                // What the system says is in nobody's name, and rings nowhere.
                let Ok(sender) = UserId::from_slice(&event.actor) else { return Vec::new() };
                let named = content.mentions.iter().map(|mention| mention.user.as_str());
                let message = Message {
                    revision,
                    seq: event.last_seq,
                    sender,
                    names_all: named.clone().any(str::is_empty),
                    names: named.filter_map(|user| user.parse().ok()).collect(),
                    shown: Shown::of(&content),
                };
                // Who writes has read: their other devices show nothing of it any more.
                vec![
                    What::Message(message),
                    What::Read { user: sender, device: None, wrote: true, seq: event.last_seq, revision },
                ]
            }
            Some(Body::Read(moved)) if now - at_ms <= TOO_OLD => {
                let marks = moved.marks.into_iter();
                let of = |MovedMark { user, seq, device }| {
                    let device = DeviceId::from_slice(&device).ok();
                    Some(What::Read { user: UserId::from_slice(&user).ok()?, device, wrote: false, seq, revision })
                };
                marks.filter_map(of).collect()
            }
            _ => Vec::new(),
        }
    }
}

#[async_trait]
impl Handler for Reader {
    async fn cursor(&self, shard: Shard) -> Result<Position, HandleError> {
        let trimmed = self.log.bounds(shard).await.map_err(retry)?.first.saturating_sub(1);
        let running = self.lock().get(&shard).map(|running| running.progress.clone());
        // What was read is still here.
        let come = match &running {
            Some(progress) => progress.read(),
            None => self.store.cursor(shard).await.map_err(retry)?,
        };
        // What the log has trimmed is over an hour old, or a log that was filling up could not keep it.
        let cursor = come.max(trimmed);
        if cursor > come && (come > 0 || running.is_some()) {
            tracing::warn!(shard, records = cursor - come, "the log has trimmed what nobody was notified of");
            self.reports.too_old(cursor - come);
        }
        match running {
            Some(progress) => progress.pass(cursor),
            None => self.begin(shard, cursor),
        }
        Ok(cursor)
    }

    fn may_miss(&self) -> bool {
        // The log waits for those who keep what is said: what nobody was told of for so long is no news any more.
        true
    }

    async fn saved(&self, shard: Shard) -> Result<Position, HandleError> {
        // Reading begins with being asked for the cursor.
        self.store.cursor(shard).await.map_err(retry)
    }

    async fn handle(&self, shard: Shard, entries: &[Entry]) -> Result<(), HandleError> {
        let running = self.lock().get(&shard).cloned();
        let Some(running) = running else { return Err(retry("the shard is not read here")) };
        let progress = &running.progress;
        let mut records = Vec::with_capacity(entries.len());
        for entry in entries {
            let stop = |why: String| HandleError::Stop(format!("position {}: {why}", entry.position));
            let record = record::read(entry.payload.clone()).map_err(|error| stop(error.to_string()))?;
            records.push((entry.position, record));
        }
        let now = now_ms();
        records.retain(|(position, _)| *position > progress.read());
        self.amend(shard, records.iter().flat_map(|(_, record)| &record.events)).await?;
        let last = entries.last().map_or(0, |entry| entry.position);
        if entries.first().is_some_and(|entry| now - entry.at_micros / 1000 > BEHIND_MS) {
            self.look_ahead(shard, &running.ahead, last).await?;
        }
        for (position, record) in records {
            let mut found = Vec::new();
            for event in record.events {
                let trace = event.trace.clone();
                let Ok(conversation) = ConversationId::from_slice(&event.conversation) else { continue };
                let at_ms = event.at_micros / 1000;
                found.extend(self.what(event, now).into_iter().map(|what| (conversation, at_ms, what, trace.clone())));
            }
            if found.is_empty() {
                progress.pass(position);
                continue;
            }
            let ticket = progress.take(position);
            for (conversation, at_ms, what, trace) in found {
                let span = match &what {
                    What::Message(_) => Span::of(&trace, "notify", "decide", Kind::Consumer),
                    What::Read { .. } => Span::none(),
                };
                let due = self.due(at_ms);
                let job = Job { position, conversation, at_ms, due, what, span, ticket: ticket.another() };
                let place = self.place(shard, &running, last).await;
                let Some(place) = place else { return Err(retry("the shard goes elsewhere")) };
                place.send(job);
            }
            ticket.done();
        }
        Ok(())
    }

    fn leaving(&self, shard: Shard) {
        if let Some(running) = self.lock().get(&shard) {
            running.leaving.cancel();
        }
    }

    async fn released(&self, shard: Shard) {
        let Some(running) = self.lock().remove(&shard) else { return };
        drop(running.jobs);
        let progress = running.progress;
        let done = async {
            while progress.done() < progress.read() {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(LEAVE, done).await.is_err() {
            tracing::info!(
                shard,
                "not all pushes of a shard that goes elsewhere were answered: they are sent again there"
            );
        }
        running.cancel.cancel();
        self.sender.give_away(shard);
        if let Err(error) = self.store.save_cursor(shard, progress.done()).await {
            tracing::warn!(shard, %error, "the cursor could not be saved: some pushes are sent again");
        }
    }
}

/// What goes on for a shard.
struct Work {
    shard: Shard,
    store: Arc<dyn Subscriptions>,
    audience: Arc<Audience>,
    sender: Arc<Sender>,
    reports: Arc<Reports>,
}

impl Work {
    /// Finds out who is to be told, in the order of the log.
    async fn jobs(self: Arc<Self>, mut jobs: mpsc::Receiver<Job>, cancel: CancellationToken) {
        let mut next = None;
        let mut earliest = Instant::now();
        loop {
            let first = match next.take() {
                Some(job) => job,
                None => match jobs.recv().await {
                    Some(job) => job,
                    None => return,
                },
            };
            tokio::select! {
                () = tokio::time::sleep_until(first.due.max(earliest).into()) => {}
                () = cancel.cancelled() => return,
            }
            let mut together = vec![first];
            while together.len() < TOGETHER
                && let Ok(job) = jobs.try_recv()
            {
                if job.due > Instant::now() {
                    next = Some(job);
                    break;
                }
                together.push(job);
            }
            let pause = if together.len() < TOGETHER { APART } else { Duration::ZERO };
            earliest = Instant::now() + pause;
            // Before it is asked what is shown: what is on its way now is cleared when it has arrived.
            for job in &together {
                if let What::Read { user, seq, .. } = job.what {
                    self.sender.marks.note(user, job.conversation, seq);
                }
            }
            let mut look = Look::at(together);
            while !look.is_over() {
                let found = tokio::select! {
                    found = self.audience.pushes(self.shard, &mut look) => found,
                    () = cancel.cancelled() => return,
                };
                let (pushes, too_old) = found;
                self.reports.too_old(too_old);
                for (push, ticket) in pushes {
                    self.sender.send(push, Origin::Log(ticket)).await;
                }
            }
        }
    }

    async fn save(self: Arc<Self>, progress: Progress, cancel: CancellationToken) {
        let mut saved = progress.done();
        loop {
            tokio::select! {
                () = tokio::time::sleep(OFTEN) => {}
                () = cancel.cancelled() => return,
            }
            let done = progress.done();
            if done > saved {
                match self.store.save_cursor(self.shard, done).await {
                    Ok(()) => saved = done,
                    Err(error) => {
                        tracing::warn!(shard = self.shard, %error, "the cursor could not be saved; trying again")
                    }
                }
            }
        }
    }
}
