//! `madang bench`: the load generator. It goes through the public doors, checks what it receives (every message, once,
//! in order), and says what a delivery cost the servers and itself. In a closed loop each sender keeps a window of
//! messages unanswered; in an open one (`--rate`) messages have intended times, and latency counts from those, so that
//! a server that stalls is not spared what would have been sent meanwhile.

mod behind;
mod connection;
mod idle;
mod logins;
mod peek;
mod process;
mod push;
mod refreshes;
mod report;
mod soak;
mod storm;
mod talk;

use crate::{
    Error,
    people::{self, Person},
};
use behind::Behind;
use clap::{Args as Arguments, Subcommand};
use connection::{Conversation, Outcome, Phase, Plan, Shared};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use madang_client::Http;
use madang_proto::client::v1::History;
use process::Usage;
use report::Report;
use std::{net::IpAddr, sync::Arc, time::Duration};
use tokio::time::sleep;

/// How to load a server.
#[derive(Debug, Clone, Arguments)]
pub struct Args {
    #[command(subcommand)]
    shape: Shape,
}

/// What to load it with.
#[derive(Debug, Clone, Subcommand)]
enum Shape {
    /// Pairs of people, of whom one writes to the other.
    Pairs {
        /// How many pairs.
        #[arg(long, default_value_t = 100)]
        pairs: usize,
        #[command(flatten)]
        load: Load,
    },
    /// One group, all online.
    Group {
        /// How many members.
        #[arg(long, default_value_t = 100)]
        members: usize,
        /// How many of them write.
        #[arg(long, default_value_t = 4)]
        senders: usize,
        #[command(flatten)]
        load: Load,
    },
    /// Connections on which nothing happens; what they cost in memory.
    Idle {
        /// How many connections.
        #[arg(long, default_value_t = 10_000)]
        connections: usize,
        /// How long they stay, in seconds.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        #[command(flatten)]
        common: Common,
    },
    /// A storm of log-ins.
    Logins {
        /// How many log in at once.
        #[arg(long, default_value_t = 64)]
        concurrency: usize,
        /// For how long, in seconds.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        #[command(flatten)]
        common: Common,
    },
    /// A storm of refreshes: everybody's at once.
    Refreshes {
        /// How many people.
        #[arg(long, default_value_t = 16_000)]
        people: usize,
        #[command(flatten)]
        common: Common,
    },
    /// A reconnect storm: a gateway is killed under its clients.
    Storm(Box<storm::Args>),
    /// People who talk as people do while somebody else changes the servers: every promise is judged, and how long anybody
    /// waited.
    Talk(Box<talk::Args>),
    /// The same load again and again: whether the servers' memory still grows.
    Soak(Box<soak::Args>),
    /// Groups of people who are away are written to at once: how soon a push service is told of all of them.
    Push(Box<push::Args>),
}

/// What all shapes need.
#[derive(Debug, Clone, Arguments)]
struct Common {
    /// The servers' HTTP doors, and WebSocket doors too where there are no `--gateways`; taken in turn.
    #[arg(long, value_delimiter = ',', default_value = "http://127.0.0.1:8080")]
    server: Vec<String>,
    /// The servers' WebSocket doors, taken in turn.
    #[arg(long, value_delimiter = ',')]
    gateways: Vec<String>,
    /// Local addresses to connect from, in turn; one has ports for some 28,000 connections to one server.
    #[arg(long, value_delimiter = ',')]
    sources: Vec<IpAddr>,
    /// Processes of the servers, whose CPU time and memory are read from /proc.
    #[arg(long, value_delimiter = ',')]
    pid: Vec<u32>,
    /// Print the report as JSON, and no progress.
    #[arg(long)]
    json: bool,
}

/// How messages are sent.
#[derive(Debug, Clone, Arguments)]
struct Load {
    /// How many messages of a sender are unanswered at most.
    #[arg(long, default_value_t = 16)]
    window: usize,
    /// The length of a text, in bytes; at least 40.
    #[arg(long, default_value_t = 100)]
    size: usize,
    /// For how long to measure, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// For how long to send before that, in seconds.
    #[arg(long, default_value_t = 2)]
    warmup: u64,
    /// Open loop: so many messages a second, all senders together.
    #[arg(long)]
    rate: Option<f64>,
    /// How long to wait for what has not come yet, in seconds.
    #[arg(long, default_value_t = 30)]
    settle: u64,
    #[command(flatten)]
    common: Common,
}

impl Common {
    fn bar(&self, what: &'static str) -> ProgressBar {
        let style = ProgressStyle::with_template("{msg:14} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}");
        let target = if self.json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(0), target).with_message(what);
        if let Ok(style) = style { bar.with_style(style) } else { bar }
    }

    fn http(&self) -> Result<Vec<Http>, Error> {
        Ok(self.server.iter().map(|server| Http::new(server)).collect::<Result<_, _>>()?)
    }

    /// The WebSocket door of a connection.
    fn gateway(&self, number: usize) -> &str {
        let doors = if self.gateways.is_empty() { &self.server } else { &self.gateways };
        &doors[number % doors.len()]
    }

    fn source(&self, number: usize) -> Option<IpAddr> {
        (!self.sources.is_empty()).then(|| self.sources[number % self.sources.len()])
    }

    /// New people.
    async fn people(&self, http: &Http, count: usize) -> Result<Vec<Person>, Error> {
        let word = uuid::Uuid::new_v4().simple().to_string();
        let progress = self.bar("signing up");
        let people = people::sign_up(http, &format!("b{}", &word[..10]), count, 32, &progress).await?;
        progress.finish_and_clear();
        Ok(people)
    }
}

/// Loads a server, and prints the report; true: all that was sent arrived, once and in order.
pub async fn run(args: Args) -> Result<bool, Error> {
    match args.shape {
        Shape::Pairs { pairs, load } => {
            let https = load.common.http()?;
            let people = load.common.people(&https[0], 2 * pairs).await?;
            let plans = people.chunks_exact(2).flat_map(|pair| {
                let to = pair[1].tokens.user.clone();
                let conversation = Arc::new(Conversation::new(1));
                let plan = |person: &Person, sends: bool| Plan {
                    person: person.clone(),
                    conversation: conversation.clone(),
                    sends: sends.then(|| connection::To::User(to.clone())),
                };
                [plan(&pair[0], true), plan(&pair[1], false)]
            });
            let plans = plans.collect();
            load_with("pairs", &load, plans).await
        }
        Shape::Group { members, senders, load } => {
            let https = load.common.http()?;
            let people = load.common.people(&https[0], members).await?;
            let Some((owner, others)) = people.split_first() else {
                return Err(Error::Usage("a group needs members: --members 2".into()));
            };
            let others: Vec<_> = others.iter().map(|person| person.tokens.user.clone()).collect();
            let key = uuid::Uuid::new_v4().to_string();
            let token = &owner.tokens.access_token;
            let made = people::persist(|| https[0].create_group(token, "bench", &others, History::All, &key)).await?;
            if !made.refused.is_empty() {
                return Err(Error::Usage(format!("{} members were not taken in", made.refused.len())));
            }
            let conversation = Arc::new(Conversation::new(senders.min(members)));
            let to = made.conversation.conversation;
            let plans = people.into_iter().enumerate().map(|(number, person)| Plan {
                person,
                conversation: conversation.clone(),
                sends: (number < senders).then(|| connection::To::Conversation(to.clone())),
            });
            load_with("group", &load, plans.collect()).await
        }
        Shape::Idle { connections, seconds, common } => idle::run(&common, connections, seconds).await,
        Shape::Logins { concurrency, seconds, common } => logins::run(&common, concurrency, seconds).await,
        Shape::Refreshes { people, common } => refreshes::run(&common, people).await,
        Shape::Storm(args) => storm::run(&args).await,
        Shape::Talk(args) => talk::run(&args).await,
        Shape::Soak(args) => soak::run(&args).await,
        Shape::Push(args) => push::run(&args).await,
    }
}

async fn load_with(shape: &'static str, load: &Load, plans: Vec<Plan>) -> Result<bool, Error> {
    if load.size < connection::STAMP {
        return Err(Error::Usage(format!("--size is at least {}", connection::STAMP)));
    }
    let senders = plans.iter().filter(|plan| plan.sends.is_some()).count();
    let every = load.rate.map(|rate| Duration::from_secs_f64(senders as f64 / rate.max(1e-3)));
    let shared = Arc::new(Shared::new(load.window, load.size, every));
    let all = plans.iter().map(|plan| (plan.person.tokens.access_token.clone(), plan.conversation.clone()));
    let behind = Behind::new(Http::new(&load.common.server[0])?, all);
    let progress = load.common.bar("connecting");
    progress.set_length(plans.len() as u64);
    let mut tasks = Vec::new();
    for (number, plan) in plans.into_iter().enumerate() {
        let gateway = load.common.gateway(number);
        let socket = connection::open(gateway, load.common.source(number), &plan.person).await?;
        tasks.push(tokio::spawn(connection::run(socket, plan, number, shared.clone())));
        progress.inc(1);
    }
    progress.finish_and_clear();
    let progress = load.common.bar("sending");
    progress.set_length(load.warmup + load.seconds);
    shared.enter(Phase::Warmup);
    seconds(load.warmup, &progress).await;
    shared.enter(Phase::Measured);
    let (began, before) = (std::time::Instant::now(), (Usage::of(&load.common.pid), Usage::own()));
    seconds(load.seconds, &progress).await;
    let took = began.elapsed();
    let after = (Usage::of(&load.common.pid), Usage::own());
    shared.enter(Phase::Settling);
    let ended = std::time::Instant::now();
    progress.finish_and_clear();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(load.settle);
    while !shared.settled() && tokio::time::Instant::now() < deadline {
        sleep(Duration::from_millis(20)).await;
    }
    let behind = behind.wait(ended).await?;
    // What should not come may take a moment longer than what should.
    sleep(Duration::from_millis(300)).await;
    shared.enter(Phase::Over);
    let mut all = Outcome::new()?;
    for task in tasks {
        all.add(&task.await??)?;
    }
    let report = Report::new(shape, &all, took, (before, after), behind);
    report::print(&report, load.common.json)?;
    Ok(report.good())
}

async fn seconds(count: u64, progress: &ProgressBar) {
    for _ in 0..count {
        sleep(Duration::from_secs(1)).await;
        progress.inc(1);
    }
}
