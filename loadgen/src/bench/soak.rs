//! A soak: the same load again and again by the same people, who connect, talk, join and leave groups, reconnect from
//! where they were, and go. After each cycle, with nobody there, the memory of each server process is read: what still
//! grows after several equal cycles is a leak. Memory does not go back to where it began (allocators keep it), so only
//! the same phase of different cycles is compared.

use super::{Common, process::Usage, report as printed, seconds};
use crate::{
    Error,
    people::{self, Person},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::ProgressBar;
use madang_client::{Format, Http, Session, Update, http, session::Options};
use madang_proto::{
    client::v1::{History, Send, client_frame::Body},
    id::ClientId,
    reason::Reason,
};
use serde::Serialize;
use std::{
    fmt::Write as _,
    fs,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{task::JoinSet, time::sleep};

/// How many are in a group.
const GROUP: usize = 20;
/// How many calls are made at once.
const AT_ONCE: usize = 16;
/// How often is looked whether all are there.
const LOOK: Duration = Duration::from_millis(50);
/// How long all may take to connect, or to go, in seconds.
const PATIENCE: u64 = 120;
/// How long nobody is there before memory is read.
const REST: u64 = 10;
/// How many cycles are not looked at: caches fill in them.
const WARMING: usize = 2;
/// By how much memory may be more at the end: allocators are not exact.
const SLACK: f64 = 1.15;
/// And by how many MiB, which is much of a small process.
const SLACK_MIB: f64 = 4.0;

/// How to soak.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// How many people.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u16).range(4..))]
    people: u16,
    /// How often the same is done; the first two times do not count.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(5..))]
    cycles: u16,
    /// How long they talk in a cycle, in seconds.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// How many messages they send a second, all together.
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    #[command(flatten)]
    common: Common,
}

/// What one process used, cycle by cycle.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    name: String,
    mib: Vec<f64>,
    grows: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    cycles: u16,
    sent: u64,
    received: u64,
    processes: Vec<Process>,
}

/// Somebody: their log-in, as far as it was refreshed, and where they were.
struct Somebody {
    person: Person,
    tokens: Mutex<http::Tokens>,
    cursor: Mutex<String>,
    group: String,
}

#[derive(Default)]
struct Counts {
    live: AtomicUsize,
    sent: AtomicU64,
    received: AtomicU64,
}

/// Everybody.
struct Soak {
    http: Http,
    everybody: Vec<Arc<Somebody>>,
    counts: Arc<Counts>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Soaks, and says whether memory still grows.
pub async fn run(args: &Args) -> Result<bool, Error> {
    if args.common.pid.is_empty() {
        return Err(Error::Usage("whose memory? name the servers' processes with --pid (madang dev status)".into()));
    }
    let soak = Soak::set(args).await?;
    let mut processes: Vec<_> = args.common.pid.iter().map(|pid| (*pid, name(*pid), Vec::new())).collect();
    let progress = args.common.bar("cycles");
    progress.set_length(args.cycles.into());
    for cycle in 0..args.cycles {
        soak.cycle(args, cycle.into()).await?;
        for (pid, _, mib) in &mut processes {
            let used = Usage::of(&[*pid]).memory;
            if used == 0 {
                return Err(Error::Usage(format!("process {pid} is gone")));
            }
            mib.push(used as f64 / f64::from(1 << 20));
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    let of = |(_, name, mib): (u32, String, Vec<f64>)| Process { name, grows: grows(&mib), mib };
    let (sent, received) = (soak.counts.sent.load(Relaxed), soak.counts.received.load(Relaxed));
    let processes = processes.into_iter().map(of).collect();
    let report = Report { cycles: args.cycles, sent, received, processes };
    if args.common.json {
        printed::print_json(&report)?;
    } else {
        printed::print_text(&report.text())?;
    }
    Ok(!report.processes.iter().any(|process| process.grows))
}

/// What a process is called.
fn name(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).map_or_else(|_| pid.to_string(), |name| name.trim().to_owned())
}

/// Whether memory is still more in the last cycles than in the first that count.
fn grows(mib: &[f64]) -> bool {
    let counted = mib.get(WARMING..).unwrap_or_default();
    let (first, last) = counted.split_at(counted.len() / 2);
    let least = |part: &[f64]| part.iter().copied().fold(f64::INFINITY, f64::min);
    let (first, last) = (least(first), least(last));
    last > first * SLACK && last > first + SLACK_MIB
}

impl Report {
    fn text(&self) -> String {
        let Self { cycles, sent, received, processes } = self;
        let mut text = format!("{cycles} cycles, {sent} messages acked, {received} events received; MiB after each:\n");
        for Process { name, mib, grows } in processes {
            let all: Vec<_> = mib.iter().map(|mib| format!("{mib:.1}")).collect();
            let grows = if *grows { "  GROWS" } else { "" };
            let _ = writeln!(text, "{name:<16} {}{grows}", all.join(" "));
        }
        text
    }
}

impl Soak {
    /// Signs everybody up, and makes their groups.
    async fn set(args: &Args) -> Result<Self, Error> {
        let https = args.common.http()?;
        let http = https.into_iter().next().ok_or_else(|| Error::Usage("name a --server".into()))?;
        let people = args.common.people(&http, args.people.into()).await?;
        let made = stream::iter(people.chunks(GROUP)).map(async |part| {
            let users: Vec<_> = part[1..].iter().map(|person| person.tokens.user.clone()).collect();
            let (token, key) = (&part[0].tokens.access_token, uuid::Uuid::new_v4().to_string());
            let made = people::persist(|| http.create_group(token, "soak", &users, History::All, &key)).await?;
            Ok::<_, Error>(made.conversation.conversation)
        });
        let groups: Vec<String> = made.buffered(AT_ONCE).try_collect().await?;
        let somebody = |(place, person): (usize, Person)| {
            let tokens = Mutex::new(person.tokens.clone());
            Arc::new(Somebody { person, tokens, cursor: Mutex::default(), group: groups[place / GROUP].clone() })
        };
        let everybody = people.into_iter().enumerate().map(somebody).collect();
        Ok(Self { http, everybody, counts: Arc::default() })
    }

    fn connect(&self, args: &Args, place: usize) -> Session {
        let somebody = self.everybody[place].clone();
        let options = Options {
            http: self.http.clone(),
            gateways: vec![args.common.gateway(place).to_owned()],
            tokens: lock(&somebody.tokens).clone(),
            device: somebody.person.device.clone(),
            source: args.common.source(place),
            format: if place.is_multiple_of(2) { Format::Json } else { Format::Protobuf },
            cursor: lock(&somebody.cursor).clone(),
        };
        let (counts, mut here) = (self.counts.clone(), Here(self.counts.clone(), false));
        Session::start(options, move |update| match update {
            Update::Live => here.set(true),
            Update::Lost(_) | Update::Ended(_) => here.set(false),
            Update::Event(event) => {
                counts.received.fetch_add(1, Relaxed);
                if !event.cursor.is_empty() {
                    *lock(&somebody.cursor) = event.cursor;
                }
            }
            Update::Tokens(tokens) => *lock(&somebody.tokens) = tokens,
            _ => {}
        })
    }

    async fn until_live(&self, wanted: usize) -> Result<(), Error> {
        let live = async {
            while self.counts.live.load(Relaxed) != wanted {
                sleep(LOOK).await;
            }
        };
        let live = tokio::time::timeout(Duration::from_secs(PATIENCE), live).await;
        let is = || self.counts.live.load(Relaxed);
        live.map_err(|_| Error::Format(format!("{} of {wanted} are live after {PATIENCE} s", is())))
    }

    /// Everybody comes, talks, goes from their group and is taken in again, reconnects, and goes.
    async fn cycle(&self, args: &Args, cycle: usize) -> Result<(), Error> {
        let all = self.everybody.len();
        let mut sessions: Vec<_> = (0..all).map(|place| self.connect(args, place)).collect();
        self.until_live(all).await?;
        self.talk(args, &sessions).await;
        self.move_about(cycle).await?;
        // Every other one is away for a moment.
        let away: Vec<_> = (0..all).step_by(2).collect();
        let stay = sessions.into_iter().enumerate().filter(|(place, _)| place % 2 == 1);
        sessions = stay.map(|(_, session)| session).collect();
        self.until_live(all - away.len()).await?;
        sessions.extend(away.into_iter().map(|place| self.connect(args, place)));
        self.until_live(all).await?;
        drop(sessions);
        self.until_live(0).await?;
        seconds(REST, &ProgressBar::hidden()).await;
        Ok(())
    }

    async fn talk(&self, args: &Args, sessions: &[Session]) {
        let gap = Duration::from_secs_f64(sessions.len() as f64 / args.rate.max(0.01));
        let end = tokio::time::Instant::now() + Duration::from_secs(args.seconds);
        let mut talking = JoinSet::new();
        for (place, session) in sessions.iter().enumerate() {
            let (session, counts, group) = (session.clone(), self.counts.clone(), self.everybody[place].group.clone());
            let peer = self.everybody[place ^ 1 | usize::from(place + 1 == sessions.len())].clone();
            talking.spawn(async move {
                sleep(gap.mul_f64(rand::random_range(0.0..1.0))).await;
                for n in 0u64.. {
                    if tokio::time::Instant::now() >= end {
                        return;
                    }
                    let client_id = ClientId::now().to_string();
                    let mut send = Send { client_id, text: format!("the {n}th"), ..Send::default() };
                    match n % 2 {
                        0 => send.conversation.clone_from(&group),
                        _ => send.user.clone_from(&peer.person.tokens.user),
                    }
                    let sent = session.ask(Body::Send(send)).await.is_ok();
                    counts.sent.fetch_add(u64::from(sent), Relaxed);
                    sleep(gap).await;
                }
            });
        }
        talking.join_all().await;
    }

    /// One of each group goes, and is brought in again.
    async fn move_about(&self, cycle: usize) -> Result<(), Error> {
        let groups = stream::iter(self.everybody.chunks(GROUP).filter(|part| part.len() > 1));
        let moved = groups.map(async |part| {
            let (owner, guest) = (&part[0], &part[1 + cycle % (part.len() - 1)]);
            let user = guest.person.tokens.user.clone();
            let path = format!("/v1/groups/{}/members/{user}", owner.group);
            let token = || lock(&owner.tokens).access_token.clone();
            let gone = people::persist(|| async {
                self.http.call::<serde_json::Value>("DELETE", &path, Some(&token()), None, None).await
            });
            match gone.await {
                // By an earlier try, whose answer was lost.
                Err(error) if error.reason() != Reason::UserNotFound.word() => return Err(Error::from(error)),
                _ => {}
            }
            let users = [user];
            people::persist(|| async { self.http.add_members(&token(), &owner.group, &users).await }).await?;
            Ok(())
        });
        moved.buffer_unordered(AT_ONCE).try_collect().await
    }
}

/// Whether a session is live, as it counts.
struct Here(Arc<Counts>, bool);

impl Here {
    fn set(&mut self, live: bool) {
        if std::mem::replace(&mut self.1, live) != live {
            match live {
                true => self.0.live.fetch_add(1, Relaxed),
                false => self.0.live.fetch_sub(1, Relaxed),
            };
        }
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_after_it_has_warmed_up_is_a_leak() {
        assert!(!grows(&[50.0, 80.0, 101.0, 100.0, 102.0, 104.0, 99.0, 110.0]), "it has settled");
        assert!(grows(&[50.0, 80.0, 100.0, 110.0, 120.0, 130.0, 140.0, 150.0]));
        assert!(!grows(&[5.0, 5.0, 5.0, 6.0, 7.0, 8.0]), "a small process varies");
    }
}
