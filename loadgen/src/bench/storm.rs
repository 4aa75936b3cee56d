//! A reconnect storm: thousands of clients listen through one gateway, which is killed under them, while others talk
//! through the rest. All of them have to be live again, from where they were, and the others must hardly notice. What
//! everybody sent and saw is judged by the history checker.

mod crowd;
mod reads;
mod report;
mod talk;

use super::{Common, report as printed, seconds};
use crate::{
    Error, archive,
    history::{Verdict, judge},
    people::{self, Person},
};
use clap::Args as Arguments;
use crowd::{Crowd, Phase};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::ProgressBar;
use madang_client::{Http, Session};
use madang_proto::{
    client::v1::History,
    id::{ConversationId, InvalidId, UserId},
};
use reads::Reads;
use report::Report;
use std::{process::Stdio, sync::Arc, time::Duration};
use talk::{Talk, To};
use tokio::{
    process::Command,
    runtime::{Builder, Handle, Runtime},
    time::sleep,
};

/// How many clients connect for the first time at once.
const AT_ONCE: usize = 200;
/// How long Postgres may keep back what it has counted, in seconds.
const COUNTED: u64 = 11;
/// How often is looked whether all are there.
const LOOK: Duration = Duration::from_millis(20);
/// How long to wait for what was sent last.
const SETTLE: Duration = Duration::from_secs(30);

/// How hard the storm is.
#[derive(Debug, Clone, Arguments)]
pub struct Args {
    /// How many clients are cut off.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// How many of them are in one group, to which somebody speaks.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    group: u16,
    /// How long between two messages to a group, in seconds.
    #[arg(long, default_value_t = 5)]
    every: u64,
    /// How many pairs talk through the gateways that stay.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    pairs: u16,
    /// Messages a second, of all pairs together; 0: nobody says anything, to groups neither, so that nothing is read for
    /// what is written. A user may send 10 a second unless the servers are told otherwise.
    #[arg(long, default_value_t = 500.0)]
    rate: f64,
    /// How long it is calm before, in seconds.
    #[arg(long, default_value_t = 30)]
    calm: u64,
    /// How long to wait until all are back, in seconds.
    #[arg(long, default_value_t = 90)]
    patience: u64,
    /// The process of the first of the gateways: the one that is killed.
    #[arg(long)]
    kill: u32,
    /// A command that prints what the databases have read so far: lines of a name and a number, as `madang dev reads`.
    #[arg(long)]
    reads: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// A conversation: which talker reads its history at the end, and who is in it.
struct Room {
    conversation: String,
    reader: usize,
    members: u64,
}

/// Everybody, connected.
struct Scene {
    http: Http,
    crowd: Arc<Crowd>,
    talkers: Vec<Person>,
    talking: Vec<Session>,
    listening: Vec<Session>,
    rooms: Vec<Room>,
    talk: Talk,
    _apart: Apart,
}

/// A thread for those who talk: in the storm they must not wait for the clients that come back, who are other people's.
struct Apart {
    handle: Handle,
    /// There until this is dropped.
    runtime: Option<Runtime>,
}

impl Apart {
    fn new() -> Result<Self, Error> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("talkers").enable_all().build();
        let runtime = runtime.map_err(|error| Error::File("a thread".into(), error))?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // Nobody may wait here: this is dropped within the other runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Raises the storm, and prints what came of it; true: all came back in time, from where they were, and nothing was lost.
pub async fn run(args: &Args) -> Result<bool, Error> {
    let [first, others @ ..] = &args.common.gateways[..] else {
        return Err(Error::Usage("--gateways names the gateway that is killed, and then those that stay".into()));
    };
    if others.is_empty() {
        return Err(Error::Usage("a storm needs two --gateways: one is killed, one stays".into()));
    }
    let mut scene = Scene::set(args, first, others).await?;
    let (mut reads, crowd) = (Reads::new(args.reads.clone()), scene.crowd.clone());
    let progress = args.common.bar("calm");
    progress.set_length(COUNTED + args.calm);
    // What went before is counted by then.
    seconds(COUNTED, &progress).await;
    reads.mark().await?;
    crowd.enter(Phase::Calm);
    seconds(args.calm, &progress).await;
    progress.finish_and_clear();
    reads.mark().await?;
    crowd.enter(Phase::Storm);
    kill(args.kill).await?;
    let progress = args.common.bar("coming back");
    progress.set_length(scene.listening.len() as u64);
    let back = crowd.wait_back(scene.listening.len(), Duration::from_secs(args.patience), &progress).await;
    progress.finish_and_clear();
    crowd.enter(Phase::After);
    seconds(COUNTED, &ProgressBar::hidden()).await;
    reads.mark().await?;
    scene.talk.end().await?;
    let verdict = scene.judge().await?;
    let report = Report::new(scene.listening.len(), back, &crowd, &reads, verdict);
    if args.common.json {
        printed::print_json(&report)?;
    } else {
        printed::print_text(&report.text())?;
    }
    Ok(report.good())
}

impl Scene {
    /// Signs everybody up, connects them, and lets the talkers talk.
    async fn set(args: &Args, first: &String, others: &[String]) -> Result<Self, Error> {
        let (common, pairs) = (&args.common, usize::from(args.pairs));
        let http = Http::new(&common.server[0])?;
        let mut talkers = common.people(&http, 2 * pairs + args.connections).await?;
        let listeners = talkers.split_off(2 * pairs);
        let crowd = Arc::new(Crowd::new()?);
        let staying = |place: usize| vec![others[place % others.len()].clone()];
        let apart = Apart::new()?;
        let talking: Vec<_> = {
            let _entered = apart.handle.enter();
            let talkers = talkers.iter().enumerate();
            talkers.map(|(place, person)| crowd.join(&http, person, staying(place), None, false)).collect()
        };
        let progress = common.bar("connecting");
        progress.set_length(listeners.len() as u64);
        let mut listening = Vec::with_capacity(listeners.len());
        for (place, person) in listeners.iter().enumerate() {
            let doors = std::iter::once(first).chain(others).cloned().collect();
            listening.push(crowd.join(&http, person, doors, common.source(place), true));
            let wanted = (talking.len() + listening.len()).saturating_sub(AT_ONCE);
            all_live(&crowd, wanted, args.patience).await?;
            progress.inc(1);
        }
        all_live(&crowd, talking.len() + listening.len(), args.patience).await?;
        progress.finish_and_clear();
        let talk = Talk::new(crowd.clone(), apart.handle.clone());
        let mut scene = Self { http, crowd, talkers, talking, listening, rooms: Vec::new(), talk, _apart: apart };
        if args.rate > 0.0 {
            scene.pairs(pairs, args.rate)?;
        }
        scene.groups(&listeners, args).await?;
        Ok(scene)
    }

    /// Of each two talkers, the first writes to the second.
    fn pairs(&mut self, pairs: usize, rate: f64) -> Result<(), Error> {
        let gap = Duration::from_secs_f64(pairs as f64 / rate.max(1e-3));
        for reader in (0..2 * pairs).step_by(2) {
            let user = |place: usize| self.talkers[place].tokens.user.parse::<UserId>().map_err(wrong);
            let (one, other) = (user(reader)?, user(reader + 1)?);
            let conversation = ConversationId::direct(one, other).to_string();
            self.rooms.push(Room { conversation: conversation.clone(), reader, members: 2 });
            self.talk.start(&self.talking[reader], &one, To::User(other.to_string(), conversation), gap);
        }
        Ok(())
    }

    /// To each group of listeners one of the talkers speaks.
    async fn groups(&mut self, listeners: &[Person], args: &Args) -> Result<(), Error> {
        let progress = args.common.bar("making groups");
        let parts: Vec<_> = listeners.chunks(usize::from(args.group)).enumerate().collect();
        progress.set_length(parts.len() as u64);
        for (place, part) in parts {
            let reader = 2 * (place % usize::from(args.pairs));
            let owner = &self.talkers[reader].tokens;
            let users: Vec<_> = part.iter().map(|person| person.tokens.user.clone()).collect();
            let (token, key) = (&owner.access_token, uuid::Uuid::new_v4().to_string());
            let made = people::persist(|| self.http.create_group(token, "storm", &users, History::All, &key)).await?;
            if !made.refused.is_empty() {
                return Err(Error::Usage(format!("{} members were not taken in", made.refused.len())));
            }
            let conversation = made.conversation.conversation;
            self.rooms.push(Room { conversation: conversation.clone(), reader, members: users.len() as u64 + 1 });
            let owner = owner.user.parse().map_err(wrong)?;
            let every = Duration::from_secs(args.every.max(1));
            if args.rate > 0.0 {
                self.talk.start(&self.talking[reader], &owner, To::Group(conversation), every);
            }
            progress.inc(1);
        }
        progress.finish_and_clear();
        Ok(())
    }

    /// Waits for what was sent last, reads all histories, and judges.
    async fn judge(&self) -> Result<Verdict, Error> {
        let acked = self.talk.acked();
        let due: u64 = self.rooms.iter().map(|room| acked.get(&room.conversation).unwrap_or(&0) * room.members).sum();
        // What does not come in time is missed, and judged so.
        let _ = tokio::time::timeout(SETTLE, self.crowd.wait_delivered(due)).await;
        let rooms = stream::iter(&self.rooms).map(async |room| {
            let token = || self.talkers[room.reader].tokens.access_token.clone();
            archive::read(&self.http, token, &room.conversation, true).await
        });
        let rooms: Vec<_> = rooms.buffer_unordered(8).try_collect().await?;
        Ok(judge(&self.crowd.journal(), &rooms))
    }
}

/// Waits until so many are live.
async fn all_live(crowd: &Crowd, wanted: usize, seconds: u64) -> Result<(), Error> {
    let live = async {
        while crowd.live() < wanted {
            sleep(LOOK).await;
        }
    };
    let late = |_| Error::Format(format!("{} of {wanted} are live after {seconds} s", crowd.live()));
    tokio::time::timeout(Duration::from_secs(seconds), live).await.map_err(late)
}

fn wrong(_: InvalidId) -> Error {
    Error::Format("the server gave a user's id that is none".into())
}

/// Ends a process between any two of its steps.
async fn kill(pid: u32) -> Result<(), Error> {
    let failed = |error| Error::File("kill".into(), error);
    let status = Command::new("kill").args(["-KILL", &pid.to_string()]).stdin(Stdio::null()).status().await;
    match status.map_err(failed)?.success() {
        true => Ok(()),
        false => Err(Error::Usage(format!("process {pid} can't be killed: is it the gateway's (madang dev status)?"))),
    }
}
