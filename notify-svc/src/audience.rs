//! Who is to be told of a message: its conversation's members at its revision who are so still, but the sender, who has
//! read it, who does not want to hear of it or of them, and devices that have shown to have it. A browser is told in any case: that it
//! is connected says nothing of whether anybody looks at it.

mod look;
mod names;

use crate::{
    backoff::Backoff,
    sender::{Push, TOO_OLD},
    store::{self, Settled, Subscription, Subscriptions},
    ticket::Ticket,
    words::Shown,
};
use futures_util::future::join_all;
pub use look::Look;
use look::{Known, shows};
use madang_mesh::{
    channel::{Channel, Channels},
    clock::now_ms,
    homes::Homes,
    log::Position,
    rooms,
    shard::Shard,
    trace::Span,
};
use madang_proto::{
    account::v1::{FindBlocksRequest, account_service_client::AccountServiceClient},
    chat::v1::{DeliveredQuestion, ListDeliveredRequest, home_service_client::HomeServiceClient},
    client::v1::{ConversationKind, DeviceKind, Notify, PushType},
    group::v1::{ListBadgesRequest, LoadRoomsRequest, RoomMember, RoomState, group_service_client::GroupServiceClient},
    id::{ConversationId, DeviceId, UserId},
};
use names::Names;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;
use tonic::Status;

/// How long homes may take to say what was delivered; who does not answer has delivered nothing.
const HOMES: Duration = Duration::from_secs(1);
/// How long until what could not be found out is asked again, at first and at last: so long a new message may wait once it
/// can be said again whom it concerns.
const AGAIN: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);
/// How many badges or questions are asked after at once.
const AT_ONCE: usize = 1000;
/// How many bytes of rooms are asked for at once.
const ENOUGH_BYTES: u64 = 8 << 20;
/// After how many pairs' blocks.
const PAIRS: usize = 10_000;

/// Something in the log that devices may have to be told of.
pub struct Job {
    /// Where it is in its shard's log.
    pub position: Position,
    /// Where.
    pub conversation: ConversationId,
    /// When, ms since 1970.
    pub at_ms: i64,
    /// When it is looked at who is to be told.
    pub due: Instant,
    /// What.
    pub what: What,
    /// Ends when it is said who is to be told.
    pub span: Span,
    /// Done when all are told.
    pub ticket: Ticket,
}

/// What has happened.
#[derive(Debug, Clone)]
pub enum What {
    /// A message.
    Message(Message),
    /// Somebody has read up to a message.
    Read {
        /// Who.
        user: UserId,
        /// On which device, if it is known.
        device: Option<DeviceId>,
        /// By writing there, not by a mark: no `read` tells their devices of it.
        wrote: bool,
        /// Up to which one.
        seq: u64,
        /// The event.
        revision: u64,
    },
}

/// A message.
#[derive(Debug, Clone)]
pub struct Message {
    /// The event.
    pub revision: u64,
    /// Its number.
    pub seq: u64,
    /// Who wrote it.
    pub sender: UserId,
    /// It names everybody.
    pub names_all: bool,
    /// Whom it names.
    pub names: HashSet<UserId>,
    /// What it has to show.
    pub shown: Shown,
}

/// Why it can't be said now who is to be told.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// A service does not answer.
    #[error("{}", .0.message())]
    Service(#[from] Status),
    /// The database does not.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// group-svc has not come so far.
    #[error("group-svc is behind")]
    Behind,
}

/// Finds out who is to be told.
pub struct Audience {
    store: Arc<dyn Subscriptions>,
    group: GroupServiceClient<Channel>,
    account: AccountServiceClient<Channel>,
    homes: Homes,
    channels: Channels,
    names: Names,
    /// When it was asked last whether pushes are still to be sent, nobody could say.
    doubt: watch::Sender<bool>,
}

type Rooms = HashMap<ConversationId, RoomState>;
type Have = HashSet<(Position, UserId, DeviceId)>;

/// Whether a member wants to hear of a message, as things are now. The one place where settings count.
fn wants(room: &RoomState, user: UserId, (revision, seq): (u64, u64), mention: bool, now: i64) -> bool {
    let member = room.members.iter().find(|member| member.user[..] == user.bytes()[..]);
    member.is_some_and(|member| is_told(member, (revision, seq), mention, now))
}

fn is_told(member: &RoomMember, (revision, seq): (u64, u64), mention: bool, now: i64) -> bool {
    if member.left_revision != 0 || member.joined_revision > revision || member.read_seq >= seq {
        return false;
    }
    let Some(settings) = &member.settings else { return true };
    let heard = match settings.notify() {
        Notify::None => false,
        Notify::Mentions => mention,
        Notify::All | Notify::Unspecified => true,
    };
    heard && settings.muted_until_ms <= now && settings.cleared_seq < seq
}

impl Audience {
    /// Asks these.
    #[must_use]
    pub fn new(
        store: Arc<dyn Subscriptions>,
        group: GroupServiceClient<Channel>,
        account: AccountServiceClient<Channel>,
        homes: Homes,
        channels: Channels,
    ) -> Self {
        let (names, doubt) = (Names::new(account.clone()), watch::Sender::new(false));
        Self { store, group, homes, channels, names, account, doubt }
    }

    /// Whether nobody could say, when it was asked last, if pushes are still to be sent.
    #[must_use]
    pub fn doubt(&self) -> watch::Receiver<bool> {
        self.doubt.subscribe()
    }

    /// The pushes that the next part of a shard's log asks for; waits until that can be said, or it is too old. How many
    /// messages were.
    pub async fn pushes(&self, shard: Shard, look: &mut Look) -> (Vec<(Push, Ticket)>, u64) {
        let (mut too_old, mut backoff) = (0, Backoff::between(AGAIN, LONGEST));
        loop {
            let now = now_ms();
            // Whatever clocks say, the log's order is that of its times but for moments.
            let old = look.jobs.iter().take_while(|job| now - job.at_ms > TOO_OLD).count();
            too_old += look.done(old);
            match self.find(shard, look).await {
                Ok((pushes, part)) => {
                    let pushes = pushes.into_iter().map(|(at, push)| (push, look.jobs[at].ticket.another())).collect();
                    look.done(part);
                    return (pushes, too_old);
                }
                Err(why) => {
                    tracing::debug!(shard, %why, "it can't be said yet who is to be notified");
                    look.known = None;
                    tokio::time::sleep(backoff.next()).await;
                }
            }
        }
    }

    /// Looks once more, just before they are sent: whether each is still to be told; its badge is as of now then.
    pub async fn again(&self, pushes: &mut [&mut Push]) -> Result<Vec<bool>, Unknown> {
        if pushes.is_empty() {
            return Ok(Vec::new());
        }
        // That something was read asks not everybody: that it can be told of takes no doubt away.
        let asks_all = pushes.iter().any(|push| push.kind == PushType::Message && push.sender.is_some());
        let still = self.still(pushes).await;
        if asks_all || still.is_err() {
            self.doubt.send_if_modified(|doubt| std::mem::replace(doubt, still.is_err()) != still.is_err());
        }
        still
    }

    async fn still(&self, pushes: &mut [&mut Push]) -> Result<Vec<bool>, Unknown> {
        let messages = || pushes.iter().filter(|push| push.kind == PushType::Message);
        let conversations = messages().map(|push| push.conversation).collect();
        let pairs = messages().filter_map(|push| Some((push.sender?, push.to.user))).collect();
        let users: HashSet<UserId> = pushes.iter().map(|push| push.to.user).collect();
        let rooms = self.rooms(&conversations, HashMap::new());
        let places = async { Ok(self.store.of_users(users.iter().copied().collect()).await?) };
        let badges = self.badges(users.clone());
        let (rooms, blocks, badges, places) = tokio::try_join!(rooms, self.blocks(pairs), badges, places)?;
        // A device that has logged out since, or is somebody else's now, shows nothing of it; one that was registered anew does,
        // there.
        let places: HashMap<_, _> =
            places.into_iter().map(|place| ((place.user, place.device), Arc::new(place))).collect();
        let (now, checked) = (now_ms(), Instant::now());
        let still = |push: &mut &mut Push| {
            let user = push.to.user;
            let Some(place) = places.get(&(user, push.to.device)) else { return false };
            if place.id != push.to.id {
                push.to = place.clone();
            }
            (push.badge, push.checked) = (badges.get(&user).copied().unwrap_or_default(), checked);
            if push.kind != PushType::Message {
                return true;
            }
            let room = rooms.get(&push.conversation);
            let wanted = |seq, mention| room.is_some_and(|room| wants(room, user, (push.revision, seq), mention, now));
            let blocked = push.sender.is_some_and(|sender| blocks.contains(&(sender, user)));
            let (seq, mentioned) = (push.seq, push.mentioned);
            let told = !blocked && wanted(seq, mentioned == seq);
            // Of those that it stands for the user may want to hear all the same, since one of them names them.
            let others = || wanted(seq, false) || mentioned > 0 && wanted(mentioned, true);
            // Where nobody but one writes who is blocked, there are no others.
            let alone = blocked && room.is_some_and(|room| room.kind() != ConversationKind::Group);
            let others = !told && !alone && push.stands_for_others() && others();
            if others {
                push.hide();
            }
            told || others
        };
        Ok(pushes.iter_mut().map(still).collect())
    }

    /// What must be known of a look's jobs before it can be said whom they concern.
    async fn know(&self, jobs: &VecDeque<Job>) -> Result<Known, Unknown> {
        let read = jobs.iter().filter_map(|job| match job.what {
            What::Read { user, seq, .. } => Some((user, job.conversation, seq)),
            What::Message(_) => None,
        });
        let showing: HashSet<_> = self
            .store
            .showing(read.collect())
            .await?
            .into_iter()
            .map(|((user, device, at), seq)| (user, device, at, seq))
            .collect();
        // As of the event: the badge is without what was read by it.
        let mut wanted: HashMap<ConversationId, u64> = HashMap::new();
        for job in jobs {
            let revision = match &job.what {
                What::Message(message) => message.revision,
                What::Read { user, revision, .. } if shows(&showing, *user, job.conversation) => *revision,
                What::Read { .. } => continue,
            };
            let least = wanted.entry(job.conversation).or_default();
            *least = revision.max(*least);
        }
        let conversations: HashSet<_> = wanted.keys().copied().collect();
        Ok(Known { rooms: self.rooms(&conversations, wanted).await?, showing })
    }

    /// The pushes of a look's next part, each with the place of its job; and how many jobs that part has.
    async fn find(&self, shard: Shard, look: &mut Look) -> Result<(Vec<(usize, Push)>, usize), Unknown> {
        let jobs = &look.jobs;
        let known = match look.known.take() {
            Some(known) => known,
            None => self.know(jobs).await?,
        };
        let Known { rooms, showing } = look.known.insert(known);
        let (mut concerned, part) = look::part(jobs, rooms, showing, now_ms());
        let places = self.places(concerned.iter().map(|(_, user, _)| *user).collect()).await?;
        concerned.retain(|(_, user, _)| places.contains_key(user));
        let sender = |at: usize| match &jobs[at].what {
            What::Message(message) => Some(message.sender),
            What::Read { .. } => None,
        };
        let have = self.have(shard, jobs, &concerned, &places).await;
        let senders = concerned.iter().filter_map(|(at, ..)| sender(*at));
        let names = self.names.of(senders.collect()).await;
        let (mut pushes, mut settled) = (Vec::new(), Settled::default());
        for (at, user, mention) in concerned {
            let job = &jobs[at];
            for to in places.get(&user).into_iter().flatten() {
                let mut knows = to.kind != DeviceKind::Web && have.contains(&(job.position, user, to.device));
                if let What::Read { seq, device, wrote, .. } = job.what {
                    if !showing.contains(&(user, to.device, job.conversation, seq)) {
                        continue;
                    }
                    knows |= device == Some(to.device);
                    if knows && !wrote {
                        // It clears that by itself, and has nothing to be told of it later.
                        settled.cleared.insert((user, to.device, job.conversation), seq);
                    }
                }
                if knows {
                    continue;
                }
                pushes.push((at, push(shard, job, to.clone(), mention, rooms.get(&job.conversation), &names)));
            }
        }
        let mut still = self.again(&mut pushes.iter_mut().map(|(_, push)| push).collect::<Vec<_>>()).await?.into_iter();
        pushes.retain(|_| still.next() == Some(true));
        if !settled.cleared.is_empty() {
            self.store.settle(settled, now_ms()).await?;
        }
        Ok((pushes, part))
    }

    /// Rooms as of these revisions or later.
    async fn rooms(
        &self,
        conversations: &HashSet<ConversationId>,
        at_least: HashMap<ConversationId, u64>,
    ) -> Result<Rooms, Unknown> {
        let how = LoadRoomsRequest { brief: true, enough_bytes: ENOUGH_BYTES, ..LoadRoomsRequest::default() };
        let ask = |request| async { Ok(self.group.clone().load_rooms(request).await?.into_inner()) };
        let found = rooms::load::<Unknown, _>(conversations, &how, ask).await?;
        let behind =
            |(id, revision): (&ConversationId, &u64)| found.get(id).is_none_or(|room| room.revision < *revision);
        if at_least.iter().any(behind) { Err(Unknown::Behind) } else { Ok(found) }
    }

    /// Where users' devices are notified.
    async fn places(&self, users: HashSet<UserId>) -> Result<HashMap<UserId, Vec<Arc<Subscription>>>, Unknown> {
        let mut places: HashMap<UserId, Vec<Arc<Subscription>>> = HashMap::new();
        if users.is_empty() {
            return Ok(places);
        }
        for each in self.store.of_users(users.into_iter().collect()).await? {
            places.entry(each.user).or_default().push(Arc::new(each));
        }
        Ok(places)
    }

    /// Those of the pairs, each a sender and somebody else, between whom there is a block.
    async fn blocks(&self, pairs: HashSet<(UserId, UserId)>) -> Result<HashSet<(UserId, UserId)>, Unknown> {
        let pairs: Vec<_> = pairs.into_iter().collect();
        let mut found = HashSet::new();
        for some in pairs.chunks(PAIRS) {
            let bytes: Vec<u8> = some.iter().flat_map(|(one, other)| [*one.bytes(), *other.bytes()].concat()).collect();
            let request = FindBlocksRequest { pairs: bytes };
            let blocked = self.account.clone().find_blocks(request).await?.into_inner().blocked;
            found.extend(blocked.into_iter().filter_map(|at| some.get(at as usize)));
        }
        Ok(found)
    }

    async fn badges(&self, users: HashSet<UserId>) -> Result<HashMap<UserId, u64>, Unknown> {
        let users: Vec<UserId> = users.into_iter().collect();
        let mut badges = HashMap::new();
        for some in users.chunks(AT_ONCE) {
            let request = ListBadgesRequest { users: some.iter().map(UserId::to_string).collect() };
            let answer = self.group.clone().list_badges(request).await?.into_inner();
            badges.extend(some.iter().copied().zip(answer.badges));
        }
        Ok(badges)
    }

    /// What devices have shown to have, as their homes know.
    async fn have(
        &self,
        shard: Shard,
        jobs: &VecDeque<Job>,
        concerned: &[(usize, UserId, bool)],
        places: &HashMap<UserId, Vec<Arc<Subscription>>>,
    ) -> Have {
        let mut by_home: HashMap<String, HashMap<Position, Vec<UserId>>> = HashMap::new();
        for (at, user, _) in concerned {
            let asked = |each: &Arc<Subscription>| each.kind != DeviceKind::Web;
            if !places.get(user).is_some_and(|places| places.iter().any(asked)) {
                continue;
            }
            if let Some(home) = self.homes.of(user.bytes()) {
                by_home.entry(home.address).or_default().entry(jobs[*at].position).or_default().push(*user);
            }
        }
        let asked = by_home.into_iter().flat_map(|(home, questions)| {
            let questions: Vec<_> = questions.into_iter().collect();
            let parts: Vec<_> =
                questions.chunks(AT_ONCE).map(|some| self.ask(home.clone(), shard, some.to_vec())).collect();
            parts
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    async fn ask(
        &self,
        home: String,
        shard: Shard,
        asked: Vec<(Position, Vec<UserId>)>,
    ) -> Vec<(Position, UserId, DeviceId)> {
        let Ok(channel) = self.channels.get(&home) else { return Vec::new() };
        let questions = asked.iter().map(|(position, users)| {
            let users: Vec<u8> = users.iter().flat_map(|user| *user.bytes()).collect();
            DeliveredQuestion { shard, position: *position, users: users.into() }
        });
        let request = ListDeliveredRequest { questions: questions.collect() };
        let mut client = HomeServiceClient::new(channel).max_decoding_message_size(crate::MAX_GRPC);
        let answer = tokio::time::timeout(HOMES, client.list_delivered(request)).await;
        let Ok(Ok(answer)) = answer else { return Vec::new() };
        let answers = asked.iter().zip(answer.into_inner().answers);
        let devices =
            answers.flat_map(|((position, _), answer)| answer.devices.into_iter().map(|each| (*position, each)));
        devices
            .filter_map(|(position, each)| {
                Some((position, UserId::from_slice(&each.user).ok()?, each.device.parse().ok()?))
            })
            .collect()
    }
}

fn push(
    shard: Shard,
    job: &Job,
    to: Arc<Subscription>,
    mention: bool,
    room: Option<&RoomState>,
    names: &HashMap<UserId, String>,
) -> Push {
    let group = room.filter(|room| room.kind() == ConversationKind::Group).map(|room| room.name.clone());
    let mut push = Push {
        to,
        kind: PushType::Read,
        conversation: job.conversation,
        shard,
        seq: 0,
        revision: 0,
        sender: None,
        mentioned: 0,
        messages: 0,
        read: 0,
        at_ms: job.at_ms,
        group: group.unwrap_or_default(),
        name: String::new(),
        shown: Shown::Nothing,
        badge: 0,
        tries: 0,
        checked: Instant::now(),
        trace: job.span.context(),
    };
    match &job.what {
        What::Read { seq, .. } => push.seq = *seq,
        What::Message(message) => {
            (push.kind, push.seq, push.revision) = (PushType::Message, message.seq, message.revision);
            push.messages = 1;
            push.mentioned = if mention { message.seq } else { 0 };
            push.sender = Some(message.sender);
            push.name = names.get(&message.sender).cloned().unwrap_or_default();
            push.shown = message.shown.clone();
        }
    }
    push
}

#[cfg(test)]
mod tests;
