//! `madang replay`: conversations that people had, had again through the public doors, and then judged: every history
//! read back byte for byte, every delivery counted at every member, and nothing seen by anybody else.

pub mod check;
pub mod dataset;
pub mod report;
mod rooms;

use crate::{
    Error, archive,
    history::{self, Faults, Sent},
    people::{self, Person},
};
use check::{Ledger, Plan};
use clap::Args as Arguments;
use dataset::Dataset;
use futures_util::{StreamExt as _, stream};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use madang_client::{Format, Http, Session, Update, http, session::Options};
use madang_proto::{client::v1 as client, reason::Refusal};
use report::Report;
use serde::{Deserialize, Serialize};
use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// The longest text that the contract takes, in bytes.
const MAX_TEXT: usize = 65_536;

/// How to replay.
#[derive(Debug, Clone, Arguments)]
pub struct Args {
    /// The conversations: gzipped JSON Lines.
    pub file: PathBuf,
    /// The server's HTTP and WebSocket door.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub server: String,
    /// The servers' WebSocket doors, taken in turn, where they are others than `--server`.
    #[arg(long, value_delimiter = ',')]
    pub gateways: Vec<String>,
    /// How many times as fast as it was said, or `max`: as fast as the server takes it.
    #[arg(long, default_value = "max")]
    pub speed: String,
    /// Only the first so many rooms.
    #[arg(long)]
    pub rooms: Option<usize>,
    /// Print the report as JSON, and no progress.
    #[arg(long)]
    pub json: bool,
    /// A file that remembers the run, so that it can be cut off and started again within 7 days.
    #[arg(long)]
    pub state: Option<PathBuf>,
    /// How many sign-ups and other calls at once.
    #[arg(long, default_value_t = 16)]
    pub concurrency: usize,
    /// Local addresses to connect from, in turn; one has ports for some 28,000 connections.
    #[arg(long, value_delimiter = ',')]
    pub sources: Vec<IpAddr>,
    /// Seconds without any delivery after which what has not come is lost.
    #[arg(long, default_value_t = 30)]
    pub settle: u64,
}

/// What a state file holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    run: String,
    started_at: u64,
}

/// What was answered, and when the first was sent, µs after the run's beginning.
struct Said {
    rooms: Vec<Answered>,
    began: u64,
}

/// What was answered to one room's messages.
struct Answered {
    /// For each message, its number; none: refused.
    seqs: Vec<Option<u64>>,
    /// The places that were not duplicates at their first ack.
    fresh: Vec<usize>,
    refused: u64,
    wrongly_refused: u64,
    wrongly_accepted: u64,
    acks: Histogram<u64>,
}

/// Replays a file, and prints the report; true: all is as it should be.
pub async fn run(args: Args) -> Result<bool, Error> {
    let json = args.json;
    let report = replay(args).await?;
    report.print(json)?;
    Ok(report.good())
}

/// Replays a file.
pub async fn replay(args: Args) -> Result<Report, Error> {
    let speed = match args.speed.as_str() {
        "max" => None,
        text => match text.parse::<f64>() {
            Ok(speed) if speed > 0.0 && speed.is_finite() => Some(speed),
            _ => return Err(Error::Usage(format!("--speed takes a number above 0, or `max`, not `{text}`"))),
        },
    };
    let dataset = Dataset::open(&args.file, args.rooms.unwrap_or(usize::MAX))?;
    let (run, resumed) = remember(args.state.as_deref())?;
    let http = Http::new(&args.server)?;

    let progress = bar(&args, "signing up");
    let mut people = people::sign_up(&http, &run.run, dataset.people, args.concurrency, &progress).await?;
    progress.finish_and_clear();

    let progress = bar(&args, "making rooms");
    // Long sign-ups outlive the tokens of those who came first.
    refresh(&http, &mut people, args.concurrency).await?;
    let (made, refused_rooms) =
        rooms::make(&http, &dataset, &people, &run.run, run.started_at, args.concurrency, &progress).await?;
    progress.finish_and_clear();

    let plan = Arc::new(Plan::new(dataset, made, resumed)?);
    let mut report = Report { rooms: plan.rooms.len(), refused_rooms, ..Report::default() };
    let sockets = connect(&args, &http, &plan, people).await?;
    report.people = sockets.sessions.iter().flatten().count();

    let answered = drive(&args, &plan, &sockets, speed).await?;
    let began = answered.began;
    let answered = answered.rooms;
    report.send_seconds = (plan.now() - began) as f64 / 1e6;
    let due: Vec<Vec<usize>> = answered
        .iter()
        .map(|room| {
            if resumed {
                return room.fresh.clone();
            }
            room.seqs.iter().enumerate().filter_map(|(place, seq)| seq.map(|_| place)).collect()
        })
        .collect();
    report.seconds = settle(&args, &plan, &sockets, &due).await.saturating_sub(began) as f64 / 1e6;
    for ledger in sockets.ledgers.iter().flatten() {
        report.delivered.add(&lock(ledger).finish(&due));
    }
    let progress = bar(&args, "reading back");
    report.history = read_back(&args, &http, &plan, &sockets, &answered, &progress).await?;
    progress.finish_and_clear();

    finish(&mut report, &plan, &sockets, &answered)?;
    Ok(report)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bar(args: &Args, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:14} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}");
    let target = if args.json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(0), target).with_message(what);
    if let Ok(style) = style { bar.with_style(style) } else { bar }
}

/// The run of a state file, or a new one; and whether it is an old one.
fn remember(path: Option<&Path>) -> Result<(Run, bool), Error> {
    let word = uuid::Uuid::new_v4().simple().to_string();
    let fresh = Run { run: format!("r{}", &word[..10]), started_at: madang_client::now_ms() };
    let Some(path) = path else { return Ok((fresh, false)) };
    let failed = |error| Error::File(path.display().to_string(), error);
    match fs::read(path) {
        Ok(bytes) => {
            let run = serde_json::from_slice(&bytes);
            Ok((run.map_err(|error| Error::Format(format!("{}: {error}", path.display())))?, true))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let text = serde_json::to_string(&fresh).map_err(|error| Error::Format(error.to_string()))?;
            fs::write(path, text).map_err(failed)?;
            Ok((fresh, false))
        }
        Err(error) => Err(failed(error)),
    }
}

async fn refresh(http: &Http, people: &mut [Person], concurrency: usize) -> Result<(), Error> {
    let ageing: Vec<_> =
        people.iter_mut().filter(|person| person.tokens.ageing()).map(|person| &mut person.tokens).collect();
    let all = stream::iter(ageing).map(async |tokens| {
        *tokens = people::persist(|| http.refresh(&tokens.refresh_token)).await?;
        Ok::<_, http::Error>(())
    });
    let done: Vec<_> = all.buffer_unordered(concurrency.max(1)).collect().await;
    Ok(done.into_iter().collect::<Result<(), _>>()?)
}

/// Everybody's connection.
struct Sockets {
    sessions: Vec<Option<Session>>,
    ledgers: Vec<Option<Arc<Mutex<Ledger>>>>,
    tokens: Vec<Arc<Mutex<http::Tokens>>>,
    reconnects: Arc<AtomicU64>,
    ended: Arc<AtomicU64>,
}

/// Opens the sockets of all who are in a room, and waits until they have all that they missed.
async fn connect(args: &Args, http: &Http, plan: &Arc<Plan>, people: Vec<Person>) -> Result<Sockets, Error> {
    let mut rooms_of = vec![Vec::new(); people.len()];
    for (place, room) in plan.rooms.iter().enumerate() {
        for member in &plan.dataset.rooms[room.room].members {
            rooms_of[*member].push(place);
        }
    }
    let (live, mut lived) = watch::channel(0usize);
    let live = Arc::new(live);
    let mut sockets = Sockets {
        sessions: Vec::new(),
        ledgers: Vec::new(),
        tokens: Vec::new(),
        reconnects: Arc::default(),
        ended: Arc::default(),
    };
    let progress = bar(args, "connecting");
    let wanted = rooms_of.iter().filter(|rooms| !rooms.is_empty()).count();
    progress.set_length(wanted as u64);
    let mut opened = 0;
    for (number, person) in people.into_iter().enumerate() {
        let tokens = Arc::new(Mutex::new(person.tokens.clone()));
        sockets.tokens.push(tokens.clone());
        if rooms_of[number].is_empty() {
            sockets.sessions.push(None);
            sockets.ledgers.push(None);
            continue;
        }
        let ledger = Arc::new(Mutex::new(Ledger::new(plan.clone(), number, &rooms_of[number])));
        sockets.ledgers.push(Some(ledger.clone()));
        let options = Options {
            http: http.clone(),
            gateways: args.gateways.get(number % args.gateways.len().max(1)).cloned().into_iter().collect(),
            tokens: person.tokens,
            device: person.device,
            source: (!args.sources.is_empty()).then(|| args.sources[number % args.sources.len()]),
            format: Format::Protobuf,
            cursor: String::new(),
        };
        let (live, reconnects, ended) = (live.clone(), sockets.reconnects.clone(), sockets.ended.clone());
        let mut first = true;
        sockets.sessions.push(Some(Session::start(options, move |update| match update {
            Update::Event(event) => lock(&ledger).event(&event),
            Update::Live if std::mem::take(&mut first) => live.send_modify(|count| *count += 1),
            Update::Tokens(fresh) => *lock(&tokens) = fresh,
            Update::Lost(_) => _ = reconnects.fetch_add(1, Relaxed),
            Update::Ended(_) => _ = ended.fetch_add(1, Relaxed),
            _ => {}
        })));
        opened += 1;
        // A listener's queue is short: only so many may be on their way.
        while opened - *lived.borrow_and_update() > 128 {
            waiting(&mut lived, &sockets.ended, &progress).await?;
        }
    }
    while *lived.borrow_and_update() < wanted {
        waiting(&mut lived, &sockets.ended, &progress).await?;
    }
    progress.finish_and_clear();
    Ok(sockets)
}

async fn waiting(lived: &mut watch::Receiver<usize>, ended: &AtomicU64, progress: &ProgressBar) -> Result<(), Error> {
    let changed = tokio::time::timeout(Duration::from_secs(120), lived.changed()).await;
    progress.set_position(*lived.borrow() as u64);
    if changed.is_err() || ended.load(Relaxed) > 0 {
        return Err(Error::Format("not everybody could connect".into()));
    }
    Ok(())
}

/// Says all that was said: each room in order, all rooms at once.
async fn drive(args: &Args, plan: &Arc<Plan>, sockets: &Sockets, speed: Option<f64>) -> Result<Said, Error> {
    let progress = bar(args, "sending");
    progress.set_length(plan.rooms.iter().map(|room| room.client_ids.len() as u64).sum());
    let mut tasks = Vec::new();
    let (start, began) = (Instant::now(), plan.now());
    for place in 0..plan.rooms.len() {
        let (plan, sessions, progress) = (plan.clone(), sockets.sessions.clone(), progress.clone());
        tasks.push(tokio::spawn(async move { say(&plan, place, &sessions, speed, start, &progress).await }));
    }
    let mut rooms = Vec::new();
    for task in tasks {
        rooms.push(task.await??);
    }
    progress.finish_and_clear();
    Ok(Said { rooms, began })
}

/// Says one room's messages, each after the ack of the one before.
async fn say(
    plan: &Plan,
    place: usize,
    sessions: &[Option<Session>],
    speed: Option<f64>,
    start: Instant,
    progress: &ProgressBar,
) -> Result<Answered, Error> {
    let room = &plan.rooms[place];
    let messages = &plan.dataset.rooms[room.room].messages;
    let first = messages.first().map_or(0, |said| said.at);
    let mut answered = Answered {
        seqs: Vec::with_capacity(messages.len()),
        fresh: Vec::new(),
        refused: 0,
        wrongly_refused: 0,
        wrongly_accepted: 0,
        acks: check::histogram()?,
    };
    for (number, said) in messages.iter().enumerate() {
        if let Some(speed) = speed {
            let after = Duration::from_secs_f64((said.at - first).max(0) as f64 / 1000.0 / speed);
            tokio::time::sleep(after.saturating_sub(start.elapsed())).await;
        }
        let reply = said.reply_to.and_then(|reply| answered.seqs.get(reply).copied().flatten());
        let send = client::Send {
            conversation: room.conversation.clone(),
            client_id: room.client_ids[number].clone(),
            text: said.text.clone(),
            reply_to: reply.unwrap_or(0),
            r#type: if said.action { "x-action".into() } else { String::new() },
            ..Default::default()
        };
        let Some(session) = &sessions[said.user] else {
            return Err(Error::Format("somebody speaks who has no connection".into()));
        };
        let sent_at = plan.now();
        room.sent_at[number].store(sent_at, Relaxed);
        let beyond = said.text.is_empty() || said.text.len() > MAX_TEXT || said.text.contains('\0');
        match insist(session, send).await {
            Ok(ack) => {
                answered.acks.saturating_record(plan.now() - sent_at);
                answered.seqs.push(Some(ack.seq));
                answered.wrongly_accepted += u64::from(beyond);
                if !ack.duplicate {
                    answered.fresh.push(number);
                }
            }
            Err(_) => {
                answered.seqs.push(None);
                answered.refused += u64::from(beyond);
                answered.wrongly_refused += u64::from(!beyond);
            }
        }
        progress.inc(1);
    }
    Ok(answered)
}

/// Sends again while the server says that it may be tried.
async fn insist(session: &Session, send: client::Send) -> Result<client::Ack, Refusal> {
    let mut tries = 0;
    loop {
        match session.send(send.clone()).await {
            Err(refusal) if refusal.reason.retryable() && tries < 100 => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(refusal.retry_after_ms.max(50))).await;
            }
            other => return other,
        }
    }
}

/// Waits until all that is due has come, or nothing has come for a while; gives when the last delivery was seen.
async fn settle(args: &Args, plan: &Plan, sockets: &Sockets, due: &[Vec<usize>]) -> u64 {
    let mut seen = plan.deliveries.load(Relaxed);
    let mut last = plan.now();
    let quiet = args.settle.saturating_mul(1_000_000);
    let mut waiting: Vec<_> = sockets.ledgers.iter().flatten().collect();
    loop {
        waiting.retain(|ledger| !lock(ledger).complete(due));
        let now = plan.deliveries.load(Relaxed);
        if now != seen {
            (seen, last) = (now, plan.now());
        }
        if waiting.is_empty() || plan.now() - last > quiet {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // What should not come may take a moment longer than what should.
    tokio::time::sleep(Duration::from_millis(500)).await;
    last
}

/// Reads every room's history as one of its members, and compares it with what was acknowledged.
async fn read_back(
    args: &Args,
    http: &Http,
    plan: &Plan,
    sockets: &Sockets,
    answered: &[Answered],
    progress: &ProgressBar,
) -> Result<Faults, Error> {
    progress.set_length(plan.rooms.len() as u64);
    let all = stream::iter(plan.rooms.iter().zip(answered)).map(async |(room, answered)| {
        let said = &plan.dataset.rooms[room.room];
        // The last member: whoever made the room is not the only one who may read it.
        let Some(reader) = said.members.last() else { return Ok(Faults::default()) };
        let token = || lock(&sockets.tokens[*reader]).access_token.clone();
        let history = archive::read(http, token, &room.conversation, true).await?.messages;
        let users: Vec<_> = sockets.tokens.iter().map(|tokens| lock(tokens).user.clone()).collect();
        let sent = answered.seqs.iter().enumerate().filter_map(|(place, seq)| {
            let message = &said.messages[place];
            let (client_id, sender) = (&room.client_ids[place], &users[message.user]);
            Some(Sent { client_id, seq: (*seq)?, sender, text: &message.text })
        });
        progress.inc(1);
        Ok::<_, http::Error>(history::compare(&sent.collect::<Vec<_>>(), &history))
    });
    let all: Vec<_> = all.buffer_unordered(args.concurrency.max(1)).collect().await;
    let mut faults = Faults::default();
    for room in all {
        faults.add(&room?);
    }
    Ok(faults)
}

fn finish(report: &mut Report, plan: &Plan, sockets: &Sockets, answered: &[Answered]) -> Result<(), Error> {
    let (mut acks, mut delivery) = (check::histogram()?, check::histogram()?);
    for room in answered {
        report.acked += room.seqs.iter().flatten().count() as u64;
        report.refused += room.refused;
        report.wrongly_refused += room.wrongly_refused;
        report.wrongly_accepted += room.wrongly_accepted;
        acks.add(&room.acks).map_err(|error| Error::Format(error.to_string()))?;
    }
    for shard in &plan.delivery {
        delivery.add(&*lock(shard)).map_err(|error| Error::Format(error.to_string()))?;
    }
    let quantile = |of: &Histogram<u64>, quantile| of.value_at_quantile(quantile) as f64 / 1000.0;
    (report.ack_p50_ms, report.ack_p99_ms) = (quantile(&acks, 0.5), quantile(&acks, 0.99));
    (report.delivery_p50_ms, report.delivery_p99_ms) = (quantile(&delivery, 0.5), quantile(&delivery, 0.99));
    report.deliveries = plan.deliveries.load(Relaxed);
    report.sends_per_second = report.acked as f64 / report.send_seconds.max(1e-6);
    report.deliveries_per_second = report.deliveries as f64 / report.seconds.max(1e-6);
    report.reconnects = sockets.reconnects.load(Relaxed);
    report.sessions_ended = sockets.ended.load(Relaxed);
    Ok(())
}
