//! Who is there: people in pairs, in groups that stay as they are, and in groups whose members come and go. Set up
//! while nothing breaks, let loose, and at the end brought to rest and judged.

use super::{
    client::{Client, To},
    crowd::Crowd,
    guests::Guests,
    talk::Talker,
};
use crate::{
    Error, archive,
    history::{Faults, Judge, Kind, Room, Verdict},
    people,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::ProgressBar;
use madang_client::Http;
use madang_proto::{
    client::v1::History,
    id::{ConversationId, UserId},
};
use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

/// How many are in a group.
const GROUP: usize = 20;
/// Of how many groups one is a group whose members come and go.
const EVERY: usize = 4;
/// Of those, how often somebody comes or goes.
const COMES: Duration = Duration::from_secs(3);
/// How often is looked whether all is at rest.
const LOOK: Duration = Duration::from_millis(100);
/// Of how many groups somebody looks at the newest page again and again, and how often.
const LOOKED_AT: usize = 16;
/// See there.
const LOOKS: Duration = Duration::from_secs(1);
/// How soon somebody looks again who was refused.
const LOOKS_AGAIN: Duration = Duration::from_millis(200);
/// How many calls are made at once, to set up and to read.
const AT_ONCE: usize = 16;

/// A conversation: who reads it, and who must be able to.
struct Place {
    conversation: String,
    all_visible: bool,
    /// Who was there from the beginning.
    reader: Arc<Client>,
    members: Vec<Arc<Client>>,
}

/// Everybody.
pub struct Scene {
    /// What they share.
    pub crowd: Arc<Crowd>,
    clients: Vec<Arc<Client>>,
    places: Vec<Place>,
    guests: Vec<Guests>,
    talking: JoinSet<()>,
    changing: JoinSet<Guests>,
    /// Ends with the scene.
    _recovering: JoinSet<()>,
    seed: u64,
}

/// What did not come to rest in time: each is a failure of its own, besides what is judged.
#[derive(Debug, Clone, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unsettled {
    /// Clients whose last message was never acknowledged.
    pub unanswered: usize,
    /// Groups whose last change was never answered.
    pub unchanged: usize,
    /// Clients that did not become live again.
    pub away: usize,
    /// Clients that could not read what they were told to.
    pub behind: usize,
    /// Conversations whose history could not be read, and why.
    pub unreadable: Vec<String>,
}

impl Unsettled {
    /// Whether everything came to rest.
    #[must_use]
    pub fn none(&self) -> bool {
        let Self { unanswered, unchanged, away, behind, unreadable } = self;
        unanswered + unchanged + away + behind == 0 && unreadable.is_empty()
    }
}

impl Scene {
    /// Signs so many up, connects them and makes their groups.
    pub async fn set(api: &str, gateway: &str, count: usize, seed: u64) -> Result<Self, Error> {
        let http = Http::new(api)?;
        let crowd = Arc::new(Crowd::new());
        let people =
            people::sign_up(&http, &format!("t{:x}", seed & 0xffff_ffff), count, AT_ONCE, &ProgressBar::hidden())
                .await?;
        let clients: Vec<_> = people.into_iter().map(|person| Client::new(&crowd, &http, gateway, person)).collect();
        let mut recovering = JoinSet::new();
        for client in &clients {
            client.connect();
            let client = client.clone();
            recovering.spawn(async move { client.recover().await });
        }
        let (talking, changing) = (JoinSet::new(), JoinSet::new());
        let mut scene = Self {
            crowd,
            clients,
            places: Vec::new(),
            guests: Vec::new(),
            talking,
            changing,
            _recovering: recovering,
            seed,
        };
        let all = scene.clients.len();
        if !scene.until(Duration::from_secs(60), |crowd| crowd.live.load(Relaxed) >= all).await {
            return Err(Error::Format("not everybody could connect, though nothing was broken".into()));
        }
        scene.pair()?;
        scene.group(&http).await?;
        Ok(scene)
    }

    /// Each one writes to the next, and is written to.
    fn pair(&mut self) -> Result<(), Error> {
        let user = |client: &Client| client.user().parse::<UserId>();
        for pair in self.clients.chunks_exact(2) {
            let wrong = |_| Error::Format("the server gave a user's id that is none".into());
            let conversation = ConversationId::direct(user(&pair[0]).map_err(wrong)?, user(&pair[1]).map_err(wrong)?);
            let conversation = conversation.to_string();
            for (from, to) in [(0, 1), (1, 0)] {
                pair[from].enters(To { conversation: conversation.clone(), user: pair[to].user().into() });
            }
            let members = pair.to_vec();
            self.places.push(Place { conversation, all_visible: true, reader: pair[0].clone(), members });
        }
        Ok(())
    }

    async fn group(&mut self, http: &Http) -> Result<(), Error> {
        // Who is beside whom in a pair is not in a group with them.
        let step = self.clients.len().div_ceil(GROUP).max(1);
        let parts: Vec<Vec<_>> =
            (0..step).map(|first| self.clients.iter().skip(first).step_by(step).cloned().collect()).collect();
        let made =
            stream::iter(parts.into_iter().enumerate()).map(async |(number, part): (usize, Vec<Arc<Client>>)| {
                let history = if number % 2 == 0 { History::All } else { History::SinceJoined };
                let users: Vec<_> = part.iter().skip(1).map(|client| client.user().to_owned()).collect();
                let key = uuid::Uuid::new_v4().to_string();
                let token = part[0].token();
                let made = people::persist(|| http.create_group(&token, "torture", &users, history, &key)).await?;
                match made.refused.is_empty() {
                    true => Ok((number, made.conversation.conversation, history, part)),
                    false => Err(Error::Format(format!("{} members were not taken in", made.refused.len()))),
                }
            });
        let made: Vec<_> = made.buffered(AT_ONCE).try_collect().await?;
        for (number, conversation, history, part) in made {
            for client in &part {
                client.enters(To { conversation: conversation.clone(), user: String::new() });
            }
            let (all_visible, reader) = (history == History::All, part[0].clone());
            if number % EVERY == EVERY - 1 || number % EVERY == EVERY - 2 && number % 8 == 2 {
                let guests = part[1..].to_vec();
                let seed = self.seed ^ (number as u64) << 32;
                self.guests.push(Guests::new(conversation.clone(), reader.clone(), guests, seed));
                self.places.push(Place { conversation, all_visible, reader, members: Vec::new() });
            } else {
                self.places.push(Place { conversation, all_visible, reader, members: part });
            }
        }
        Ok(())
    }

    /// Lets all of them talk: so many messages a second, together.
    pub fn begin(&mut self, rate: f64) {
        let gap = Duration::from_secs_f64(self.clients.len() as f64 / rate.max(0.01));
        for (number, client) in self.clients.iter().enumerate() {
            let foreign = self.places.iter().rev().find(|place| {
                place.all_visible
                    && !place.members.is_empty()
                    && !place.members.iter().any(|member| Arc::ptr_eq(member, client))
            });
            let foreign = foreign.map_or_else(|| uuid::Uuid::nil().to_string(), |place| place.conversation.clone());
            let talker = Talker::new(client.clone(), self.seed.wrapping_add(number as u64), foreign);
            self.talking.spawn(talker.run(gap));
        }
        let groups = self.places.iter().filter(|place| place.members.len() > 2);
        for place in groups.take(LOOKED_AT) {
            self.talking.spawn(look(self.crowd.clone(), place.reader.clone(), place.conversation.clone()));
        }
        for guests in self.guests.drain(..) {
            self.changing.spawn(guests.run(COMES));
        }
    }

    /// Waits for something; false: it did not come in time.
    async fn until(&self, patience: Duration, what: impl Fn(&Crowd) -> bool) -> bool {
        let waiting = async {
            while !what(&self.crowd) {
                sleep(LOOK).await;
            }
        };
        timeout(patience, waiting).await.is_ok()
    }

    /// Ends it, once all is mended: waits for what is unanswered, until all are live and have what they were told to
    /// read, reads all histories as every member, and judges. Each step has `patience`.
    pub async fn judge(mut self, patience: Duration) -> (Verdict, Unsettled) {
        self.crowd.end();
        let mut unsettled = Unsettled::default();
        let _ = timeout(patience, async { while self.talking.join_next().await.is_some() {} }).await;
        unsettled.unanswered = self.talking.len();
        self.talking.abort_all();
        let changes = async {
            let mut done = Vec::new();
            while let Some(guests) = self.changing.join_next().await {
                done.extend(guests.ok());
            }
            done
        };
        let started = self.places.iter().filter(|place| place.members.is_empty()).count();
        let ended = timeout(patience, changes).await.unwrap_or_default();
        unsettled.unchanged = started - ended.len().min(started);
        let all = self.clients.len();
        self.until(patience, |crowd| crowd.live.load(Relaxed) >= all).await;
        unsettled.away = all - self.crowd.live.load(Relaxed).min(all);
        self.until(patience, |crowd| crowd.behind.load(Relaxed) == 0).await;
        unsettled.behind = self.crowd.behind.load(Relaxed);
        for guests in &ended {
            let place = self.places.iter_mut().find(|place| place.conversation == guests.conversation);
            if let Some(place) = place {
                place.members = guests.members().cloned().collect();
            }
            for guest in guests.outside() {
                // It is refused, or that is found in the journal.
                let _ = guest.peek(&guests.conversation, None).await;
            }
        }
        let (rooms, unread) = self.rooms(patience, &mut unsettled).await;
        (self.settle(&rooms, &unread, patience).await, unsettled)
    }

    /// All histories, each also read by every member; and the conversations that could not be read.
    async fn rooms(&self, patience: Duration, unsettled: &mut Unsettled) -> (Vec<Room>, Vec<String>) {
        let read = stream::iter(&self.places).map(async |place| {
            let (id, mut failures) = (&place.conversation, Vec::new());
            let room = self.room(place, patience).await;
            for member in place.members.iter().filter(|_| room.is_ok()) {
                if let Err(error) = member.read_all(id).await {
                    failures.push(format!("{id} as {}: {error}", member.person.handle));
                }
            }
            (id.clone(), room, failures)
        });
        let (mut rooms, mut unread) = (Vec::new(), Vec::new());
        for (id, room, failures) in read.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await {
            unsettled.unreadable.extend(failures);
            match room {
                Ok(room) => rooms.extend(room),
                Err(why) => {
                    unsettled.unreadable.push(format!("{id}: {why}"));
                    unread.push(id);
                }
            }
        }
        (rooms, unread)
    }

    /// A history that has all that was acknowledged; none: nobody has said anything there.
    async fn room(&self, place: &Place, patience: Duration) -> Result<Option<Room>, String> {
        let (end, newest) = (Instant::now() + patience, self.crowd.newest(&place.conversation));
        let silent = newest == 0 && place.members.len() == 2;
        loop {
            let http = place.reader.http();
            let room = archive::read(http, || place.reader.token(), &place.conversation, place.all_visible).await;
            match room {
                Ok(room) if room.revision >= newest => return Ok(Some(room)),
                Err(_) if silent => return Ok(None),
                // Judged as it is: what was acknowledged and is not there is lost.
                Ok(room) if Instant::now() > end => return Ok(Some(room)),
                Err(error) if Instant::now() > end => return Err(error.to_string()),
                _ => sleep(LOOK).await,
            }
        }
    }

    /// Judges until nothing more is on its way.
    async fn settle(self, rooms: &[Room], unread: &[String], patience: Duration) -> Verdict {
        let end = Instant::now() + patience;
        loop {
            let verdict = {
                let journal = self.crowd.journal();
                let mut judge = Judge::new(&journal);
                unread.iter().for_each(|conversation| judge.unread(conversation));
                rooms.iter().for_each(|room| judge.room(room));
                judge.finish()
            };
            let others = Faults { missed: 0, ..verdict.faults };
            if verdict.faults.of(Kind::Missed) == 0 || !others.none() || Instant::now() > end {
                return verdict;
            }
            sleep(10 * LOOK).await;
        }
    }
}

/// Looks at a conversation's newest page, again and again until it is over, and notes how long it takes to have it.
async fn look(crowd: Arc<Crowd>, client: Arc<Client>, conversation: String) {
    while !crowd.over() {
        let from = Instant::now();
        while !crowd.over() && client.peek(&conversation, None).await.is_err() {
            crowd.rest(LOOKS_AGAIN).await;
        }
        crowd.has_read(from);
        crowd.rest(LOOKS).await;
    }
}
