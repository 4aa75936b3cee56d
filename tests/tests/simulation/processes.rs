//! The simulated processes: each a tokio runtime of its own on the schedule's one thread, given turns in a seeded
//! order. A kill drops the runtime between any two steps; a pause gives it no turn; its wall clock may be wrong.

use super::{
    check,
    clock::{self, MS, between, pick},
    databases::{self, Projection, Reader, Serving, SimulatedSources},
    inbox::SimulatedInbox,
    log::SimulatedLog,
    net::{self, Port},
    registry::SimulatedRegistry,
};
use clap::Parser;
use futures_util::StreamExt;
use madang_chat::{connection::Connections, router::Router};
use madang_mesh::{
    channel::{Channels, Incoming},
    lease,
    log::Log,
    process::Service,
    registry::Registry,
    serve::{self, Context, Peers},
    settings::Settings,
    shard::ShardMap,
    subscription::{self, Lag},
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Poll, Waker},
    time::Duration,
};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;

/// The clients' number: all of them live in one runtime, which is never ended.
pub const CLIENTS: usize = 0;

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A chat-svc.
    Chat,
    /// A reader of the log for both databases, which also answers for them.
    Databases,
    /// Those who use it.
    Clients,
}

struct Process {
    kind: Kind,
    name: String,
    runtime: Runtime,
    drain: CancellationToken,
    ended: Arc<AtomicBool>,
    paused_until: u64,
    skew: i64,
}

/// A chat-svc, as gateways reach it.
#[derive(Clone)]
pub struct Chat {
    /// Its process.
    pub id: usize,
    /// Its name.
    pub name: String,
    /// Its homes.
    pub router: Router,
    /// Its connections.
    pub connections: Connections,
    /// What it says of who is home.
    pub map: watch::Receiver<ShardMap>,
    runtime: Handle,
    channels: Channels,
    /// Takes connections from another process.
    doors: mpsc::UnboundedSender<Incoming>,
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
}

thread_local! {
    static PROCESSES: RefCell<BTreeMap<usize, Process>> = RefCell::default();
    static CHATS: RefCell<BTreeMap<usize, Chat>> = RefCell::default();
    static NEXT: Cell<usize> = const { Cell::new(CLIENTS) };
    static SETTINGS: RefCell<Option<Settings>> = RefCell::default();
    static PARKED: Cell<u32> = const { Cell::new(0) };
    static ROOT: RefCell<Option<Waker>> = RefCell::default();
}

/// Sets what all processes are told.
pub fn begin(shards: u32, room_bytes: u32) {
    let flags = ["sim".into(), format!("--shards={shards}"), format!("--room-bytes={room_bytes}")];
    SETTINGS.set(Some(Cli::parse_from(flags).settings));
}

fn settings() -> Settings {
    SETTINGS.with_borrow(|settings| settings.clone()).unwrap()
}

fn runtime() -> Runtime {
    let park = || {
        PARKED.set(PARKED.get() + 1);
        if let Some(root) = ROOT.take() {
            root.wake();
        }
    };
    // What another thread does takes real time: the schedule would not be the same twice.
    let threads = || panic!("something runs on a thread of its own, as a name's look-up does");
    Builder::new_current_thread().enable_time().on_thread_park(park).on_thread_start(threads).build().unwrap()
}

/// Gives a runtime a turn: all that is ready runs, then what its timers make ready. It never waits, for whenever it
/// would its root is woken.
fn turn(runtime: &Runtime) {
    PARKED.set(0);
    runtime.block_on(poll_fn(|context| {
        if PARKED.get() >= 2 {
            return Poll::Ready(());
        }
        ROOT.set(Some(context.waker().clone()));
        Poll::Pending
    }));
}

/// Starts a process; its number.
pub fn start(kind: Kind, skew: i64) -> usize {
    let id = NEXT.get();
    NEXT.set(id + 1);
    let name = format!("{kind:?}{id}").to_lowercase();
    let (runtime, drain, ended) = (runtime(), CancellationToken::new(), Arc::<AtomicBool>::default());
    check::trace(|| format!("start {name}"));
    match kind {
        Kind::Chat => {
            drop(runtime.spawn(chat(id, name.clone(), runtime.handle().clone(), drain.clone(), ended.clone())))
        }
        Kind::Databases => drop(runtime.spawn(readers(id, name.clone(), drain.clone(), ended.clone()))),
        Kind::Clients => {}
    }
    let process = Process { kind, name, runtime, drain, ended, paused_until: 0, skew };
    PROCESSES.with_borrow_mut(|processes| processes.insert(id, process));
    id
}

async fn chat(id: usize, name: String, runtime: Handle, drain: CancellationToken, ended: Arc<AtomicBool>) {
    let channels = Channels::new();
    let (doors, connecting) = mpsc::unbounded_channel();
    let _ = doors.send(channels.listen(&name));
    CHATS.with_borrow(|chats| {
        for other in chats.values() {
            let _ = doors.send(other.channels.listen(&name));
            let _ = other.doors.send(channels.listen(&other.name));
        }
    });
    let context = Context {
        process: name.clone(),
        address: format!("inproc://{name}"),
        settings: settings(),
        log: Arc::new(SimulatedLog(id)),
        registry: Arc::new(SimulatedRegistry(id)),
        channels: channels.clone(),
        peers: Peers::default(),
        until: Instant::now(),
    };
    let service = madang_chat::build_on(
        madang_chat::Config::default(),
        context,
        Arc::new(SimulatedInbox(id)),
        Arc::new(SimulatedSources(id)),
    )
    .await;
    let (router, connections, map) = (service.router(), service.connections(), service.map());
    let incoming = UnboundedReceiverStream::new(connecting).flatten_unordered(None).boxed();
    tokio::spawn(serve::grpc(service.routes(), None, Some(incoming), CancellationToken::new()));
    let chat = Chat { id, name, router, connections, map, runtime, channels, doors };
    CHATS.with_borrow_mut(|chats| chats.insert(id, chat));
    service.run(drain).await;
    ended.store(true, Ordering::Relaxed);
}

async fn readers(id: usize, name: String, drain: CancellationToken, ended: Arc<AtomicBool>) {
    let (log, registry): (Arc<dyn Log>, Arc<dyn Registry>) =
        (Arc::new(SimulatedLog(id)), Arc::new(SimulatedRegistry(id)));
    let mut running = Vec::new();
    let (hears, others_hear) = watch::channel(false);
    tokio::spawn(say_who_hears(id, hears));
    let lags = [Lag::new(settings().shards), Lag::new(settings().shards)];
    databases::serve(Some(Serving { process: id, group: lags[0].clone(), hears_since: None }));
    for (reader, lag) in [Reader::Group, Reader::Store].into_iter().zip(lags) {
        let wanted = lease::Config {
            group: reader.name().into(),
            process: name.clone(),
            address: String::new(),
            shards: settings().shards,
        };
        let leases = lease::join(wanted, registry.clone(), drain.clone()).await;
        let config = subscription::Config {
            group: reader.name().into(),
            max_batch: usize::try_from(between(1, 40)).unwrap_or(1),
            linger: Duration::from_nanos(*pick(&[0, 5 * MS])),
            lag,
            others_hear: others_hear.clone(),
        };
        let handler = Arc::new(Projection { reader, process: id });
        running.push(tokio::spawn(subscription::run(
            config,
            leases,
            log.clone(),
            registry.clone(),
            handler,
            drain.clone(),
        )));
    }
    for each in running {
        let _ = each.await;
    }
    ended.store(true, Ordering::Relaxed);
}

/// Says whether a chat-svc tells who is home, as `Homes` does: one that is cut off from the registry goes on for 6 s.
async fn say_who_hears(process: usize, hears: watch::Sender<bool>) {
    let (mut heard, mut since) = (None, None);
    loop {
        let chats: Vec<usize> = CHATS.with_borrow(|chats| chats.keys().copied().collect());
        if chats.iter().any(|id| !net::is_cut(*id, Port::Registry)) {
            heard = Some(clock::now());
        }
        let awake = !chats.is_empty() && heard.is_some_and(|heard| clock::now() - heard < 6000 * MS);
        since = since.or(Some(clock::now())).filter(|_| awake);
        databases::hears(process, since);
        hears.send_if_modified(|said| std::mem::replace(said, awake) != awake);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Runs a task of the clients.
pub fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    PROCESSES.with_borrow(|processes| drop(processes[&CLIENTS].runtime.spawn(task)));
}

/// Gives every process that is not paused a turn, in a seeded order; those that have ended are gone.
pub fn turns() {
    let mut ids: Vec<usize> = PROCESSES.with_borrow(|processes| processes.keys().copied().collect());
    for place in (1..ids.len()).rev() {
        ids.swap(place, usize::try_from(clock::below(place as u64 + 1)).unwrap_or(0));
    }
    for id in ids {
        // It is out of the table during its turn, in which it may look at the table.
        let Some(process) = PROCESSES.with_borrow_mut(|processes| processes.remove(&id)) else { continue };
        if process.paused_until <= clock::now() {
            clock::set_skew(process.skew);
            turn(&process.runtime);
            clock::set_skew(0);
        }
        if process.ended.load(Ordering::Relaxed) {
            end(id, process);
        } else {
            PROCESSES.with_borrow_mut(|processes| processes.insert(id, process));
        }
    }
}

fn end(id: usize, process: Process) {
    check::trace(|| format!("end {}", process.name));
    CHATS.with_borrow_mut(|chats| chats.remove(&id));
    if process.kind == Kind::Databases {
        databases::serve(None);
    }
    clock::set_skew(process.skew);
    drop(process);
    clock::set_skew(0);
}

/// Ends a process between any two steps.
pub fn kill(id: usize) {
    if let Some(process) = PROCESSES.with_borrow_mut(|processes| processes.remove(&id)) {
        check::trace(|| format!("kill {}", process.name));
        end(id, process);
    }
}

/// Tells a process to stop.
pub fn stop(id: usize) {
    with(id, |process| {
        check::trace(|| format!("stop {}", process.name));
        process.drain.cancel();
    });
}

/// Gives a process no turn for a while.
pub fn pause(id: usize, nanos: u64) {
    with(id, |process| {
        check::trace(|| format!("pause {} for {} ms", process.name, nanos / MS));
        process.paused_until = clock::now() + nanos;
    });
}

/// Ends all pauses.
pub fn wake() {
    PROCESSES.with_borrow_mut(|processes| processes.values_mut().for_each(|process| process.paused_until = 0));
}

fn with(id: usize, act: impl FnOnce(&mut Process)) {
    PROCESSES.with_borrow_mut(|processes| {
        if let Some(process) = processes.get_mut(&id) {
            act(process);
        }
    });
}

/// Whether a process gets no turn now.
pub fn is_paused(id: usize) -> bool {
    PROCESSES.with_borrow(|processes| processes.get(&id).is_some_and(|process| process.paused_until > clock::now()))
}

/// Whether a process is there.
pub fn is_there(id: usize) -> bool {
    CHATS.with_borrow(|chats| chats.contains_key(&id))
}

/// All processes of a kind.
pub fn all(kind: Kind) -> Vec<usize> {
    PROCESSES.with_borrow(|processes| {
        processes.iter().filter(|(_, process)| process.kind == kind).map(|(id, _)| *id).collect()
    })
}

/// The chat-svc that some chat-svc says is the home of an id.
pub fn home_of(id: &[u8; 16]) -> Option<Chat> {
    CHATS.with_borrow(|chats| {
        let all: Vec<_> = chats.values().collect();
        if all.is_empty() {
            return None;
        }
        let map = pick(&all).map.borrow().clone();
        let home = map.homes.get(&madang_mesh::shard::shard_of(id, map.count))?;
        all.into_iter().find(|chat| chat.name == home.process).cloned()
    })
}

/// A chat-svc that is there.
pub fn find(id: usize) -> Option<Chat> {
    CHATS.with_borrow(|chats| chats.get(&id).cloned())
}

impl Chat {
    /// Does something as this process: by its clock, and in its runtime.
    pub fn within<T>(&self, act: impl FnOnce(&Handle) -> T) -> T {
        let skew = PROCESSES.with_borrow(|processes| processes.get(&self.id).map_or(0, |process| process.skew));
        let _guard = self.runtime.enter();
        clock::set_skew(skew);
        let done = act(&self.runtime);
        clock::set_skew(0);
        done
    }
}

/// Ends everything.
pub fn end_all() {
    let ids: Vec<usize> = PROCESSES.with_borrow(|processes| processes.keys().copied().collect());
    ids.into_iter().for_each(kill);
}

/// Runs a task of the clients, from within one of theirs.
pub fn spawn_here(task: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(task));
}
