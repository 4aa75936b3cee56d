//! The cluster that is tortured: its processes, the links between them, and what is done to both. Whatever is done is
//! mended again, and counts as over when everything says that it is ready.

use super::{
    crowd::Crowd,
    link::{Link, Mode, Way},
    schedule::{Action, Fault},
    server::{Kind, Server},
};
use crate::Error;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

/// How long everything may take to be ready when it is started, and after a fault.
const WELL: Duration = Duration::from_secs(120);
/// How long a message may wait for its ack when all is well.
const SERVED: Duration = Duration::from_secs(1);
/// How much of a log is shown of a process that does not become ready.
const TAIL: usize = 1000;
/// How often it is looked whether it is.
const LOOK: Duration = Duration::from_millis(100);

/// Who calls by a link that leads to one process alone, by the address that it tells others.
pub const ANYBODY: &str = "anybody";

/// A cluster.
#[derive(Debug)]
pub struct Cluster {
    /// Its processes, in the order in which they are started.
    pub servers: Vec<Arc<Server>>,
    /// What is between them.
    pub links: Vec<Link>,
    /// What all links to a process do, by its name, where several lead to it and to others.
    pub ways: BTreeMap<String, Way>,
    /// Where clients reach an api.
    pub api: String,
    /// Where clients reach a gateway.
    pub gateway: String,
}

/// How processes have ended by themselves, or came back in vain, by their names.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ends {
    /// With which status, each time: with a panic, a signal, or after it had served. None should.
    pub exits: BTreeMap<String, Vec<String>>,
    /// How often they could not start, since what they need was away.
    pub failed_starts: BTreeMap<String, u64>,
    /// Those that were not ready at the end, long after all was mended: they hang, or start in vain. None should.
    pub not_ready: Vec<String>,
}

/// What was done.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    /// To what kind.
    pub kind: Kind,
    /// What.
    pub action: Action,
    /// To what.
    pub victim: String,
    /// When it began, in seconds since the load did.
    pub from: f64,
    /// When it was mended.
    pub mended: f64,
    /// When everything was ready and everybody served again.
    pub well: f64,
    /// What went wrong with doing it, such as a process that did not end when it was asked to.
    pub note: String,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { action, victim, from, mended, well, note, .. } = self;
        let (lasted, after) = (mended - from, well - mended);
        write!(f, "{from:>7.1} s  {:<8} {victim:<20} {lasted:>5.1} s, well {after:.1} s after  {note}", action.word())
    }
}

impl Cluster {
    /// Starts everything, the backends first, and looks after it from then on.
    pub async fn start(&self, tending: &mut JoinSet<()>) -> Result<(), Error> {
        for server in &self.servers {
            let server = server.clone();
            tending.spawn(async move { server.tend().await });
        }
        let backend =
            |server: &&Arc<Server>| matches!(server.program.kind, Kind::Nats | Kind::Postgres | Kind::Cassandra);
        for server in self.servers.iter().filter(backend) {
            server.start().await?;
        }
        self.well(|server| backend(&server)).await?;
        for server in &self.servers {
            server.start().await?;
        }
        self.well(|_| true).await?;
        for server in &self.servers {
            server.failed_starts.store(0, Relaxed);
        }
        Ok(())
    }

    /// Waits until these are ready.
    async fn well(&self, which: impl Fn(&Arc<Server>) -> bool) -> Result<(), Error> {
        let end = Instant::now() + WELL;
        loop {
            let not = self.servers.iter().find(|server| which(server) && !server.ready.load(Relaxed));
            let Some(not) = not else { return Ok(()) };
            if Instant::now() > end {
                let (name, log) = (&not.program.name, &not.program.log);
                let text = std::fs::read(log).unwrap_or_default();
                let tail = String::from_utf8_lossy(&text[text.len().saturating_sub(TAIL)..]).into_owned();
                let log = log.display();
                return Err(Error::Format(format!("{name} did not become ready in {WELL:?}; log {log}: {tail}")));
            }
            sleep(LOOK).await;
        }
    }

    /// Stops everything: the doors first, the backends last.
    pub async fn stop(&self) {
        for part in self.parts() {
            part.set(Mode::Pass);
        }
        for server in self.servers.iter().rev() {
            server.resume().await;
        }
        for kinds in [
            &[Kind::Gateway, Kind::Api][..],
            &[Kind::Chat],
            &[Kind::Notify],
            &[Kind::Store, Kind::Group, Kind::Account],
            &[Kind::Cassandra, Kind::Postgres, Kind::Nats],
        ] {
            let mut stopping = JoinSet::new();
            for server in self.servers.iter().filter(|server| kinds.contains(&server.program.kind)) {
                let server = server.clone();
                stopping.spawn(async move { server.stop().await });
            }
            stopping.join_all().await;
        }
    }

    fn of_kind(&self, kind: Kind) -> Vec<&Arc<Server>> {
        self.servers.iter().filter(|server| server.program.kind == kind).collect()
    }

    /// Does it, mends it, and waits until all is well: every process is ready, and no message waits long for its ack.
    pub async fn inflict(&self, fault: Fault, crowd: &Crowd) -> Done {
        let begun = crowd.began();
        let from = begun.elapsed().as_secs_f64();
        let mut notes = Vec::new();
        let victim = if fault.kind == Kind::Link {
            self.inflict_on_links(fault).await
        } else {
            self.inflict_on_server(fault, &mut notes).await
        };
        let mended = begun.elapsed().as_secs_f64();
        if let Err(error) = self.well(|_| true).await {
            notes.push(error.to_string());
        }
        let well = served(crowd, &mut notes).await.saturating_duration_since(begun).as_secs_f64();
        let note = notes.join("; ");
        Done { kind: fault.kind, action: fault.action, victim, from, mended, well, note }
    }

    async fn inflict_on_server(&self, fault: Fault, notes: &mut Vec<String>) -> String {
        let all = self.of_kind(fault.kind);
        let Some(server) = all.get(fault.victim % all.len().max(1)) else { return String::from("none") };
        match fault.action {
            Action::Kill => {
                server.kill().await;
                sleep(fault.lasts).await;
                start(server, notes).await;
            }
            Action::Pause => {
                server.pause().await;
                sleep(fault.lasts).await;
                server.resume().await;
            }
            Action::Rolling => {
                for server in all {
                    restart(server, notes).await;
                    // The next one only when this one serves: the log needs two of three.
                    if let Err(error) = self.well(|other| Arc::ptr_eq(other, server)).await {
                        notes.push(error.to_string());
                    }
                }
                return format!("every {}", fault.kind.word());
            }
            Action::Restart | Action::Cut | Action::Delay | Action::Stall => restart(server, notes).await,
        }
        server.program.name.clone()
    }

    async fn inflict_on_links(&self, fault: Fault) -> String {
        let parts = self.parts();
        let Some(part) = parts.get(fault.victim % parts.len().max(1)) else { return String::from("none") };
        part.set(match fault.action {
            Action::Delay => Mode::Delay(fault.delay),
            Action::Stall => Mode::Stall,
            _ => Mode::Cut,
        });
        sleep(fault.lasts).await;
        part.set(Mode::Pass);
        part.name.clone()
    }

    /// What of the network can break: one process from all others, and each process from each kind that it calls.
    fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = Vec::new();
        for server in &self.servers {
            let name = &server.program.name;
            let links = self.links.iter().filter(|link| link.from == *name || link.to == *name).collect();
            parts.push(Part { name: format!("{name} alone"), links, way: self.ways.get(name) });
        }
        let several = self.links.iter().filter(|link| link.from != ANYBODY);
        let pairs: BTreeSet<_> = several.map(|link| (&link.from, kind_of(&link.to))).collect();
        for (from, to) in pairs {
            let links = self.links.iter().filter(|link| link.from == *from && kind_of(&link.to) == to).collect();
            parts.push(Part { name: format!("{from} to {to}"), links, way: None });
        }
        parts
    }

    /// How processes have ended by themselves, and which are not ready now.
    #[must_use]
    pub fn ends(&self) -> Ends {
        let mut ends = Ends::default();
        for server in &self.servers {
            let (name, failed) = (&server.program.name, server.failed_starts.load(Relaxed));
            ends.failed_starts.extend((failed > 0).then(|| (name.clone(), failed)));
            ends.not_ready.extend((!server.ready.load(Relaxed)).then(|| name.clone()));
            let statuses = server.exits();
            ends.exits.extend((!statuses.is_empty()).then(|| (name.clone(), statuses)));
        }
        ends
    }
}

/// A part of the network.
struct Part<'a> {
    name: String,
    links: Vec<&'a Link>,
    way: Option<&'a Way>,
}

impl Part<'_> {
    fn set(&self, mode: Mode) {
        for link in &self.links {
            link.set(mode);
        }
        if let Some(way) = self.way {
            way.send_replace(mode);
        }
    }
}

/// Waits until no message waits long for its ack; gives since when that is so.
async fn served(crowd: &Crowd, notes: &mut Vec<String>) -> Instant {
    let (began, mut since) = (Instant::now(), Instant::now());
    // What was just sent would show only then.
    sleep(SERVED + SERVED / 2).await;
    while crowd.longest_waiting() > SERVED {
        if began.elapsed() > WELL {
            notes.push(format!("messages wait for their acks for {:?}", crowd.longest_waiting()));
            break;
        }
        sleep(LOOK).await;
        since = Instant::now();
    }
    since
}

/// `chat-2` is a `chat`.
fn kind_of(name: &str) -> &str {
    name.split_once('-').map_or(name, |(kind, _)| kind)
}

async fn start(server: &Server, notes: &mut Vec<String>) {
    if let Err(error) = server.start().await {
        notes.push(error.to_string());
    }
}

async fn restart(server: &Server, notes: &mut Vec<String>) {
    let began = Instant::now();
    if !server.stop().await {
        notes.push(format!("{} did not end and was killed after {:?}", server.program.name, began.elapsed()));
    }
    start(server, notes).await;
}
