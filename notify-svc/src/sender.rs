//! Sends pushes: as many at once as a host takes, those of one device one after the other, the newest of a conversation in
//! the place of what still waits. What a provider does not take now is kept in the database, and is tried again from
//! there: so nothing that waits holds up the cursor, and nothing is lost with the process.

mod check;
mod health;
mod held;
mod kept;
mod lane;
mod push;
mod slots;
mod taken;

pub use kept::Kept;
pub use push::Push;
pub use taken::{Taken, TakenUp};

use crate::{
    amended::{Amended, Changes, Place},
    audience::Audience,
    marks::Marks,
    provider::{Provider, Providers, Told, Verdict, label},
    reports::Reports,
    store::{Late, Settled, Subscriptions},
    ticket::{Ticket, Tickets},
    words::Shown,
};
use check::Check;
use health::{Health, Heard, NotNow};
use held::Held;
use lane::{Device, Lanes, Put, device};
use madang_mesh::{
    clock::now_ms,
    metrics,
    shard::Shard,
    trace::{Kind, Span},
    vital::vital,
};
use madang_proto::{
    client::v1::PushType,
    id::{DeviceId, UserId},
    notify::v1::Outcome,
};
use slots::AllSlots;
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// What is older is not sent any more, in ms: an hour.
pub const TOO_OLD: i64 = 3_600_000;
/// How many pushes are under way at most, the ones that wait for their device or provider among them.
const UNDER_WAY: usize = 20_000;
/// How soon the first further try is; it doubles.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause between tries.
const LONGEST: Duration = Duration::from_secs(300);
/// How long a place on the way to a host or by a provider is waited for, and then how soon it is tried again.
const BUSY: Duration = Duration::from_secs(1);
/// How long who is to be told counts as known.
const FRESH: Duration = Duration::from_secs(1);
/// How many results wait to be written at most.
const RESULTS: usize = 8192;
/// How many are written together.
const TOGETHER: usize = 1024;
/// How long until a write that failed is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// Where a push comes from.
#[derive(Debug)]
pub enum Origin {
    /// The log: what it is a part of.
    Log(Ticket),
    /// The database.
    Kept(Taken),
}

impl Origin {
    /// It is written what has become of the push.
    fn done(self) {
        match self {
            Self::Log(ticket) => ticket.done(),
            Self::Kept(taken) => drop(taken),
        }
    }
}

/// A push under way.
struct Item {
    push: Push,
    origin: Origin,
    /// What it has taken the place of.
    stands_for: Tickets,
    /// Its place among all that are under way.
    _room: OwnedSemaphorePermit,
}

/// What is to be written of a push, and the item that is done with it.
struct Done {
    item: Item,
    write: Write,
}

impl Done {
    /// Adds it to what is written.
    fn settle(&self, settled: &mut Settled) {
        let Item { push, origin, .. } = &self.item;
        let whom = push.whom();
        let row = if let Origin::Kept(taken) = origin { taken.seq } else { push.seq };
        match &self.write {
            Write::Sent => {
                let told = if push.kind == PushType::Message { &mut settled.shown } else { &mut settled.cleared };
                let up_to = told.entry(whom).or_default();
                *up_to = push.seq.max(*up_to);
                settled.done(whom, push.seq.max(row));
            }
            Write::Keep(late) => settled.keep(Late { seq: late.seq.max(row), ..late.clone() }),
            Write::Forget => {
                settled.drop_one(whom, row);
                push.instead(now_ms()).into_iter().for_each(|late| settled.keep(late));
            }
        }
    }

    /// What its message has become since it was said that it is kept, if it shows that.
    fn changed(&self, amended: &Amended) -> Option<(Shard, Place, Option<Shown>)> {
        let Item { push, .. } = &self.item;
        if !matches!(self.write, Write::Keep(_)) || push.kind != PushType::Message || is_hidden(push) {
            return None;
        }
        let now = amended.shown(push.conversation, push.seq, push.shown.clone());
        (now.as_ref() != Some(&push.shown)).then_some((push.shard, (push.conversation, push.seq), now))
    }

    /// What clears it, where its message was read while it was on its way: that found nothing shown yet.
    fn clear(&self, marks: &Marks) -> Option<Late> {
        let Item { push, .. } = &self.item;
        let told = matches!(self.write, Write::Sent) && push.kind == PushType::Message;
        let seq = marks.up_to(push.to.user, push.conversation);
        if !told || seq < push.seq {
            return None;
        }
        let now = now_ms();
        Some(Kept::late(&push.clears(seq, now), now))
    }
}

/// What is to be written of a push.
enum Write {
    /// It was sent: what is kept of its conversation is done with as well, if it is not newer.
    Sent,
    /// It is sent later.
    Keep(Late),
    /// It is not sent, and nothing is said of others of its conversation: this one may have been taken back.
    Forget,
}

/// Sends.
pub struct Sender {
    store: Arc<dyn Subscriptions>,
    providers: Providers,
    check: Check,
    reports: Arc<Reports>,
    health: Health,
    held: Held,
    /// What became of messages meanwhile.
    pub amended: Arc<Amended>,
    /// What was read meanwhile.
    pub marks: Arc<Marks>,
    slots: AllSlots,
    /// What waits for each device that something is on its way to.
    lanes: Arc<Lanes>,
    results: mpsc::Sender<Done>,
    room: Arc<Semaphore>,
}

impl Sender {
    /// Sends by these; writes results for as long as it lives.
    #[must_use]
    pub fn spawn(
        store: Arc<dyn Subscriptions>,
        providers: Providers,
        audience: Arc<Audience>,
        reports: Arc<Reports>,
    ) -> Arc<Self> {
        let (results, written) = mpsc::channel(RESULTS);
        metrics::queue("push_results", "what became of pushes, to be written", &results);
        let (marks, amended) = (Arc::<Marks>::default(), Arc::<Amended>::default());
        let lanes = Arc::<Lanes>::default();
        let known = (marks.clone(), amended.clone());
        tokio::spawn(vital("what became of pushes", write(store.clone(), known, lanes.clone(), written)));
        let (health, slots, room) = (Health::default(), AllSlots::default(), Arc::new(Semaphore::new(UNDER_WAY)));
        let check = Check::spawn(audience);
        let held = Held::default();
        Arc::new(Self { store, providers, check, reports, health, held, amended, marks, slots, lanes, results, room })
    }

    /// How many are being sent.
    #[must_use]
    pub fn sending(&self) -> u64 {
        (UNDER_WAY - self.room.available_permits()) as u64
    }

    /// The devices that are to be sent nothing more now.
    #[must_use]
    pub fn full(&self) -> Vec<(UserId, DeviceId)> {
        self.lanes.full()
    }

    /// Another process has a shard now: it sends what waits here, from the log or the database, and hears what becomes of it, which is
    /// not heard here any more.
    pub fn give_away(&self, shard: Shard) {
        self.lanes.give_away(shard);
    }

    /// Sends, after what is on its way to the same device; waits while as many are under way as may be. False: it stays in
    /// the database, since as many wait for its device as may.
    pub async fn send(self: &Arc<Self>, push: Push, origin: Origin) -> bool {
        // The semaphore is never closed.
        let Ok(_room) = self.room.clone().acquire_owned().await else { return false };
        match self.lanes.put(Item { push, origin, stands_for: Tickets::default(), _room }) {
            Put::Go(item) => drop(tokio::spawn(self.clone().run(item))),
            Put::Full(Item { origin: Origin::Kept(_), .. }) => return false,
            Put::Full(mut item) => {
                let write = self.later(&mut item.push, BUSY, 0);
                self.result(item, write).await;
            }
            // What takes its place is written of in its stead.
            Put::There(Some(moot)) => self.reports.add(&moot, Outcome::Moot, 0),
            Put::There(None) => {}
        }
        true
    }

    /// Sends one, and what has come for its device meanwhile.
    async fn run(self: Arc<Self>, item: Item) {
        let device = device(&item.push);
        let mut next = Some(item);
        while let Some(mut item) = next {
            let write = self.attempt(&mut item.push).await;
            self.result(item, write).await;
            next = self.lanes.next(device);
        }
    }

    async fn result(&self, item: Item, write: Write) {
        // Who writes them ends with the process alone.
        let _ = self.results.send(Done { item, write }).await;
    }

    /// Tries once; what is to be written of it.
    async fn attempt(&self, push: &mut Push) -> Write {
        if now_ms() - push.at_ms > TOO_OLD {
            return self.end(push, Outcome::Dropped, 0);
        }
        let Some(provider) = self.providers.get(push.to.target.provider) else {
            return self.end(push, Outcome::Refused, 0);
        };
        if let Some(wait) = self.held.left(push.to.id, Instant::now()) {
            return self.later(push, wait, 0);
        }
        let host = provider.host(&push.to);
        let place = match self.health.place(&host, BUSY).await {
            Ok(place) => place,
            Err(NotNow::Busy) => return self.later(push, BUSY, 0),
            Err(NotNow::Closed(wait)) => return self.later(push, wait, 0),
        };
        let slot = self.slots.take(push.to.target.provider, place.is_proven, BUSY).await;
        let Some(_slot) = slot else { return self.later(push, BUSY, 0) };
        let told = match provider.ready().await {
            Ok(()) => {
                // It may have waited for all that, and be as it was no more.
                let to = push.to.id;
                if let Err(write) = self.still(push).await {
                    return write;
                }
                if push.to.id != to {
                    // The device was registered anew: it goes another way.
                    return self.later(push, Duration::ZERO, 0);
                }
                self.tell(&**provider, push).await
            }
            Err(told) => told,
        };
        let Told { verdict, status } = told;
        let heard = match verdict {
            // It answers, but not to so many; or not of this device, which is in no other's way.
            Verdict::Less(after) => Heard::Less(after),
            Verdict::Later(after) => Heard::Not(after),
            // Of the device alone: users name devices, and whose is another app's is in no other's way.
            Verdict::Sent | Verdict::Mismatch | Verdict::Gone | Verdict::Refused => Heard::Well,
        };
        self.health.note(&host, heard, Instant::now());
        match verdict {
            Verdict::Sent => {
                self.reports.add(push, Outcome::Sent, status);
                Write::Sent
            }
            Verdict::Later(_) | Verdict::Less(_) | Verdict::Mismatch => {
                let after = if let Verdict::Later(after) | Verdict::Less(after) = verdict { after } else { None };
                let backoff = FIRST.saturating_mul(1 << push.tries.min(10)).min(LONGEST);
                push.tries += 1;
                let wait = after.unwrap_or(backoff).max(backoff);
                if let Verdict::Less(_) = verdict {
                    self.held.hold(push.to.id, wait, Instant::now());
                }
                self.later(push, wait, status)
            }
            Verdict::Gone => {
                if let Err(error) = self.store.drop_one(push.to.id).await {
                    tracing::warn!(%error, "a subscription that is gone could not be dropped; the next push will");
                }
                let anew = self.is_registered(device(push)).await;
                for mut item in self.lanes.take(device(push), push.to.id) {
                    let write =
                        if anew { self.later(&mut item.push, BUSY, 0) } else { self.end(&item.push, Outcome::Moot, 0) };
                    self.result(item, write).await;
                }
                if anew { self.later(push, BUSY, status) } else { self.end(push, Outcome::Gone, status) }
            }
            Verdict::Refused => self.end(push, Outcome::Refused, status),
        }
    }

    /// Whether a device is told of anything, by whatever registration; also where that can't be said: it is looked at again.
    async fn is_registered(&self, (user, device): Device) -> bool {
        self.store.of_users(vec![user]).await.map_or(true, |all| all.iter().any(|each| each.device == device))
    }

    /// Looks once more whether it is to be sent, and what it shows; what is to be written of it where it is not.
    async fn still(&self, push: &mut Push) -> Result<(), Write> {
        let mut fresh = push.checked.elapsed() <= FRESH;
        loop {
            let known = if fresh { Some(true) } else { self.check.again(push).await };
            // Not known: it is asked again.
            let Some(known) = known else { return Err(self.later(push, BUSY, 0)) };
            if known && self.amend(push) {
                return Ok(());
            }
            // That it is not to be told of itself was said just now: whether it is of others is another question.
            fresh = known;
            // There is what has come behind it, if it is told of that now.
            if !self.lanes.close(push) {
                return Err(self.end(push, Outcome::Moot, 0));
            }
        }
    }

    /// Has a provider carry it.
    async fn tell(&self, provider: &dyn Provider, push: &Push) -> Told {
        let mut span = Span::within(push.trace, "notify", "push", Kind::Client);
        let mut notice = push.notice();
        let mut told = provider.send(&push.to, &notice).await;
        // It takes less: once more with nothing to show.
        if told.status == 413 && notice.preview.take().is_some() {
            told = provider.send(&push.to, &notice).await;
        }
        span.word("madang.provider", label(push.to.target.provider));
        span.number("http.response.status_code", told.status);
        if let Verdict::Later(_) | Verdict::Less(_) | Verdict::Mismatch = told.verdict {
            span.fail("not taken");
        }
        told
    }

    /// It shows the message as it is now; false: that was taken back.
    fn amend(&self, push: &mut Push) -> bool {
        // What is hidden shows nothing of it, whatever it is now.
        if push.kind != PushType::Message || is_hidden(push) {
            return true;
        }
        let shown = std::mem::replace(&mut push.shown, Shown::Nothing);
        match self.amended.shown(push.conversation, push.seq, shown) {
            Some(shown) => push.shown = shown,
            None if push.stands_for_others() => push.hide(),
            None => return false,
        }
        true
    }

    fn end(&self, push: &Push, outcome: Outcome, status: u16) -> Write {
        self.reports.add(push, outcome, status);
        Write::Forget
    }

    fn later(&self, push: &mut Push, wait: Duration, status: u16) -> Write {
        self.reports.add(push, Outcome::Later, status);
        // A little apart, so that a provider that comes back is not met by all at once.
        let wait = wait.mul_f64(1.0 + f64::from(push.to.id.as_bytes()[0]) / 1024.0);
        self.lanes.close(push);
        // It may have been changed while it was being sent.
        if !self.amend(push) {
            return Write::Forget;
        }
        Write::Keep(Kept::late(push, now_ms() + i64::try_from(wait.as_millis()).unwrap_or(i64::MAX / 2)))
    }
}

/// It tells of others that it has taken the place of, and shows nothing of its own message.
fn is_hidden(push: &Push) -> bool {
    push.sender.is_none() && push.stands_for_others()
}

/// Writes results, many together; what they are of is done then, and not before.
async fn write(
    store: Arc<dyn Subscriptions>,
    (marks, amended): (Arc<Marks>, Arc<Amended>),
    lanes: Arc<Lanes>,
    mut results: mpsc::Receiver<Done>,
) {
    let mut some: Vec<Done> = Vec::new();
    while results.recv_many(&mut some, TOGETHER).await > 0 {
        let mut settled = Settled::default();
        some.iter().for_each(|done| done.settle(&mut settled));
        settle(&*store, &settled).await;
        // After that: a change that comes now finds what is kept.
        let mut changes: HashMap<Shard, Changes> = HashMap::new();
        for (shard, place, now) in some.iter().filter_map(|done| done.changed(&amended)) {
            changes.entry(shard).or_default().insert(place, now);
        }
        for (shard, changes) in changes {
            while let Err(error) = Kept::change(&*store, shard, &changes).await {
                tracing::warn!(%error, "late pushes could not be changed as their messages were; trying again");
                tokio::time::sleep(AGAIN).await;
            }
        }
        // After that as well: a mark that comes now finds what is shown. What is newer has taken its place on the device already.
        let mut clear = Settled::default();
        let newest = |late: &Late| settled.shown.get(&late.whom).is_none_or(|shown| *shown <= late.seq);
        some.iter().filter_map(|done| done.clear(&marks)).filter(newest).for_each(|late| clear.keep(late));
        if !clear.late.is_empty() {
            settle(&*store, &clear).await;
        }
        for Done { item: Item { push, origin, stands_for, .. }, .. } in some.drain(..) {
            lanes.written(&push);
            origin.done();
            stands_for.done();
        }
    }
}

async fn settle(store: &dyn Subscriptions, settled: &Settled) {
    while let Err(error) = store.settle(settled.clone(), now_ms()).await {
        tracing::warn!(%error, "what became of pushes could not be written; trying again");
        tokio::time::sleep(AGAIN).await;
    }
}
