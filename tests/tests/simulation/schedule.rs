//! One schedule: a seed, and all that comes of it. For a while users do what they like while processes, links and
//! servers fail; then everything is healed, and all must come to hold what the log says.

use super::{
    check,
    clock::{self, MS, below, between, chance, pick},
    databases, devices, inbox, journal,
    net::{self, PORTS, Port, Weather},
    operations,
    processes::{self, CLIENTS, Kind},
};
use madang_proto::id::UserId;
use std::collections::BTreeMap;

/// How long everything may take to come to rest once nothing fails any more.
const REST: u64 = 120_000 * MS;

/// What came of a schedule.
pub struct Outcome {
    /// What does not hold, if anything.
    pub wrong: Option<String>,
    /// A number that two runs of one schedule have in common.
    pub hash: u64,
    /// How often what happened.
    pub counts: BTreeMap<&'static str, u64>,
}

/// Something that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    KillChat,
    StopChat,
    PauseChat,
    KillDatabases,
    PauseDatabases,
    SlowDatabases,
    CutAll,
    CutOne,
    CutDatabases,
    LoseInbox,
    DropTail,
    FullLog,
    Weather,
    Jump,
}

const FAULTS: [Fault; 14] = [
    Fault::KillChat,
    Fault::StopChat,
    Fault::PauseChat,
    Fault::KillDatabases,
    Fault::PauseDatabases,
    Fault::SlowDatabases,
    Fault::CutAll,
    Fault::CutOne,
    Fault::CutDatabases,
    Fault::LoseInbox,
    Fault::DropTail,
    Fault::FullLog,
    Fault::Weather,
    Fault::Jump,
];

/// The faults that a variable names, separated by commas.
fn named(variable: &str) -> Vec<String> {
    std::env::var(variable).unwrap_or_default().split(',').map(str::to_owned).collect()
}

/// What differs between schedules besides chance.
struct Plan {
    shards: u32,
    chats: usize,
    faults: Vec<Fault>,
    /// How long it is between two faults, on average.
    pause: u64,
    /// How wrong wall clocks are at most.
    skew: u64,
    /// How long things fail.
    length: u64,
    /// The longest step of time.
    step: u64,
    /// How long nothing at all happens first: long enough that homes need not ask for older client ids any more.
    calm: u64,
}

impl Plan {
    fn new() -> Self {
        let without = named("MADANG_SIM_WITHOUT");
        let faults = FAULTS.into_iter().filter(|fault| chance(if *fault == Fault::Jump { 80 } else { 400 }));
        let faults = faults.filter(|fault| !without.contains(&format!("{fault:?}"))).collect();
        Self {
            shards: u32::try_from(between(1, 4)).unwrap_or(1),
            chats: usize::try_from(between(1, 3)).unwrap_or(1),
            faults,
            pause: *pick(&[400, 1500, 4000]) * MS,
            skew: *pick(&[0, 20, 2000]) * MS,
            length: between(8_000, 40_000) * MS,
            step: *pick(&[4, 12, 30]) * MS,
            calm: if chance(60) { between(600_000, 700_000) * MS } else { 0 },
        }
    }

    fn skew(&self) -> i64 {
        let size = i64::try_from(below(self.skew + 1)).unwrap_or(0);
        if chance(500) { size } else { -size }
    }
}

/// Runs the schedule of a seed, on this thread, which must be fresh.
pub fn run(seed: u64, trace: bool) -> Outcome {
    clock::begin(seed);
    let plan = Plan::new();
    check::begin(plan.shards, trace);
    processes::begin(plan.shards, if plan.calm > 0 { 1 } else { *pick(&[3_000, 20_000, 10_000_000]) });
    check::trace(|| format!("seed {seed}: {} shards, {} chats, {:?}", plan.shards, plan.chats, plan.faults));
    let clients = processes::start(Kind::Clients, 0);
    assert_eq!(clients, CLIENTS);
    for _ in 0..plan.chats {
        processes::start(Kind::Chat, plan.skew());
    }
    processes::start(Kind::Databases, plan.skew() / 4);
    let users: Vec<UserId> = (0..between(2, 5)).map(|_| UserId::new()).collect();
    for user in &users {
        for _ in 0..between(1, 2) {
            devices::start(*user, users.clone());
        }
    }
    fail_for(&plan);
    rest(&plan);
    processes::end_all();
    Outcome { wrong: check::found(), hash: check::hash(), counts: check::counts() }
}

/// A step of time: what is under way arrives, and everybody gets a turn.
fn step(plan: &Plan) {
    net::run_until(clock::now() + between(MS, plan.step));
    processes::turns();
}

fn fail_for(plan: &Plan) {
    devices::set_calm(plan.calm > 0);
    while clock::now() < plan.calm {
        net::run_until(clock::now() + between(50 * MS, 500 * MS));
        processes::turns();
    }
    devices::set_calm(false);
    let end = clock::now() + plan.length;
    let mut next = clock::now() + between(500 * MS, 6000 * MS);
    let mut back = Vec::new();
    while clock::now() < end && check::found().is_none() {
        step(plan);
        if clock::now() >= next && !plan.faults.is_empty() {
            next = clock::now() + between(plan.pause / 4, plan.pause * 2);
            let fault = *pick(&plan.faults);
            check::trace(|| format!("fault {fault:?}"));
            fail(fault, plan);
        }
        replace(plan, &mut back);
    }
}

/// What was killed or has stopped comes back after a while, under a new name.
fn replace(plan: &Plan, back: &mut Vec<(u64, Kind)>) {
    for (kind, wanted) in [(Kind::Chat, plan.chats), (Kind::Databases, 1)] {
        let there = processes::all(kind).len() + back.iter().filter(|(_, each)| *each == kind).count();
        for _ in there..wanted {
            back.push((clock::now() + between(10 * MS, *pick(&[100, 2000, 15_000]) * MS), kind));
        }
    }
    back.retain(|(at, kind)| {
        let due = *at <= clock::now();
        if due {
            processes::start(*kind, plan.skew());
        }
        !due
    });
}

/// Does something to a process of a kind, if there is one.
fn one(kind: Kind, act: impl FnOnce(usize)) {
    let all = processes::all(kind);
    if !all.is_empty() {
        act(*pick(&all));
    }
}

fn fail(fault: Fault, plan: &Plan) {
    let shard = u32::try_from(below(u64::from(plan.shards))).unwrap_or(0);
    match fault {
        Fault::KillChat => one(Kind::Chat, processes::kill),
        Fault::StopChat => one(Kind::Chat, processes::stop),
        Fault::PauseChat => {
            one(Kind::Chat, |id| processes::pause(id, between(50 * MS, *pick(&[500, 4000, 14_000]) * MS)));
        }
        Fault::KillDatabases => one(Kind::Databases, processes::kill),
        Fault::PauseDatabases => {
            one(Kind::Databases, |id| processes::pause(id, between(50 * MS, *pick(&[2000, 25_000]) * MS)));
        }
        Fault::SlowDatabases => {
            databases::set_slow(true);
            net::after(between(500 * MS, 8000 * MS), || databases::set_slow(false));
        }
        Fault::CutAll => net::cut(None, *pick(&PORTS), between(50 * MS, *pick(&[500, 3000, 10_000]) * MS)),
        Fault::CutOne => one(Kind::Chat, |id| cut_off(id, *pick(&PORTS), *pick(&[500, 5000, 15_000]))),
        // For longer than lists may be old.
        Fault::CutDatabases => one(Kind::Databases, |id| {
            let port = *pick(&[Port::Log, Port::Registry, Port::Database]);
            cut_off(id, port, *pick(&[2000, 15_000, 45_000]));
        }),
        Fault::LoseInbox => {
            if chance(300) {
                (0..plan.shards).for_each(inbox::lose);
            } else {
                inbox::lose(shard);
            }
        }
        Fault::DropTail => inbox::drop_tail(shard, between(1, 4)),
        Fault::FullLog => {
            check::set_full(true);
            net::after(between(100 * MS, 3000 * MS), || check::set_full(false));
        }
        Fault::Weather => {
            net::set_weather(Weather { lost: below(60), late: below(100), refused: below(40) });
            net::after(between(500 * MS, 8000 * MS), || net::set_weather(Weather::default()));
        }
        Fault::Jump => net::run_until(clock::now() + *pick(&[10, 200, 360, 4000]) * 1000 * MS),
    }
}

/// Cuts one process off, for so many ms at most.
fn cut_off(id: usize, port: Port, most: u64) {
    check::trace(|| format!("cut {id} off from {port:?}"));
    net::cut(Some(id), port, between(50 * MS, most * MS));
}

/// Everything is healed, and all come to rest.
fn rest(plan: &Plan) {
    check::trace(|| "all is well again".to_owned());
    devices::stop();
    net::heal();
    net::run_until(clock::now());
    net::heal();
    databases::set_slow(false);
    check::set_full(false);
    processes::wake();
    let mut back: Vec<(u64, Kind)> = Vec::new();
    let end = clock::now() + REST;
    let mut look = clock::now() + 500 * MS;
    while check::found().is_none() {
        step(plan);
        replace(plan, &mut back);
        if clock::now() < look {
            continue;
        }
        look = clock::now() + 500 * MS;
        let Some(why) = unsettled() else { return journal::verdict() };
        if clock::now() > end {
            return check::wrong(format!("it does not come to rest: {why}"));
        }
    }
}

fn unsettled() -> Option<String> {
    if operations::open() > 0 {
        return Some(format!("{} operations have no answer", operations::open()));
    }
    let behind = check::rooms().into_iter().find_map(|id| {
        let revision = check::room(id, |room| room.revision())?;
        let (group, store) = databases::revisions(id);
        ((group, store) != (revision, revision))
            .then(|| format!("{id} has revision {revision}, in the databases {group} and {store}"))
    });
    behind.or_else(devices::unsettled)
}
