//! Leases under faults, in virtual time: shards end evenly spread, and no two processes use one at once.

use super::*;
use crate::registry::{Item, memory::MemoryRegistry, way::Way};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use tokio::time::Instant;

/// A process; aborting it is a crash.
struct Process {
    leases: Leases,
    drain: CancellationToken,
    way: Way,
    /// Its way is never mended.
    dead: Arc<AtomicBool>,
}

async fn process(registry: &Arc<MemoryRegistry>, name: &str, shards: u32) -> Process {
    let (drain, way) = (CancellationToken::new(), Way::new(registry));
    let config = Config { group: "test".into(), process: name.into(), address: format!("http://{name}"), shards };
    let leases = join(config, Arc::new(way.clone()), drain.clone()).await;
    Process { leases, drain, way, dead: Arc::default() }
}

impl Process {
    fn held(&self) -> BTreeSet<Shard> {
        self.leases.held.borrow().clone()
    }

    async fn holds(&self, count: usize) {
        let mut held = self.leases.held.clone();
        let holds = held.wait_for(|held| held.len() == count);
        tokio::time::timeout(8 * EXPIRE, holds).await.expect("the shards come, or go").unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn shards_are_shared_evenly_and_given_back() {
    let registry = Arc::new(MemoryRegistry::new());
    let one = process(&registry, "one", 8).await;
    one.holds(8).await;
    let two = process(&registry, "two", 8).await;
    two.holds(4).await;
    one.holds(4).await;
    assert!(one.held().is_disjoint(&two.held()));
    let of_two = |map: &ShardMap| map.homes.values().filter(|home| home.process == "two").count();
    one.leases.map.clone().wait_for(|map| of_two(map) == 4).await.unwrap();
    assert_eq!((one.leases.others(), two.leases.others()), (1, 1));
    let begun = Instant::now();
    two.drain.cancel();
    one.holds(8).await;
    two.leases.left().await;
    assert!(begun.elapsed() < RENEW, "who leaves is not waited for: {:?}", begun.elapsed());
    assert_eq!(one.leases.others(), 0);
    let from = |shard| one.leases.before(shard).map(|home| home.address);
    assert_eq!(
        two.held().into_iter().chain(0..8).filter(|shard| from(*shard).as_deref() == Some("http://two")).count(),
        4
    );
}

#[tokio::test(start_paused = true)]
async fn a_process_that_does_not_renew_loses_its_shards() {
    let registry = Arc::new(MemoryRegistry::new());
    registry.put("lease.test.process.dead", "1 http://dead".into()).await.unwrap();
    for shard in 0..8 {
        registry.put(&format!("lease.test.shard.{shard}"), "dead".into()).await.unwrap();
    }
    let begun = Instant::now();
    let one = process(&registry, "one", 8).await;
    one.holds(8).await;
    assert!(begun.elapsed() >= EXPIRE && begun.elapsed() < EXPIRE + RENEW);
    assert_eq!(one.leases.before(0), None, "a dead process hands nothing over");
}

#[tokio::test(start_paused = true)]
async fn one_that_was_killed_and_is_back_at_its_address_is_not_waited_for() {
    let registry = Arc::new(MemoryRegistry::new());
    registry.put("lease.test.process.dead", "1 http://one".into()).await.unwrap();
    for shard in 0..8 {
        registry.put(&format!("lease.test.shard.{shard}"), "dead".into()).await.unwrap();
    }
    let begun = Instant::now();
    let one = process(&registry, "one", 8).await;
    one.holds(8).await;
    assert!(begun.elapsed() >= REPLACED && begun.elapsed() < REPLACED + RENEW, "{:?}", begun.elapsed());
    // Of two that are told one address by mistake, and live, neither is dead to the other.
    let again = process(&registry, "one_too", 8).await;
    let config = Config { group: "test".into(), process: "twin".into(), address: "http://one".into(), shards: 8 };
    let twin = join(config, registry.clone(), CancellationToken::new()).await;
    one.holds(3).await;
    tokio::time::sleep(8 * EXPIRE).await;
    let held = [one.held(), again.held(), twin.held.borrow().clone()];
    assert_eq!(held.iter().map(BTreeSet::len).sum::<usize>(), 8);
    assert!(held.iter().all(|held| held.len() >= 2), "{held:?}");
}

#[tokio::test(start_paused = true)]
async fn a_shard_in_use_is_not_given_away_before_it_is_not() {
    let registry = Arc::new(MemoryRegistry::new());
    let one = process(&registry, "one", 2).await;
    one.holds(2).await;
    one.leases.begin(0);
    one.leases.begin(1);
    let two = process(&registry, "two", 2).await;
    one.holds(1).await;
    let given = (0..2).find(|shard| !one.held().contains(shard)).unwrap();
    tokio::time::sleep(GIVE / 2).await;
    assert!(two.held().is_empty(), "it is in use");
    one.leases.end(given);
    let begun = Instant::now();
    two.holds(1).await;
    assert!(begun.elapsed() < RENEW / 4, "it is given away at once");
    // One that hangs is not waited for longer than so long: the log fences it.
    two.leases.begin(given);
    two.drain.cancel();
    let begun = Instant::now();
    one.holds(2).await;
    assert!(begun.elapsed() >= GIVE && begun.elapsed() < GIVE + RENEW, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_a_leaving_process_has_given_away_is_taken_while_it_still_uses_the_rest() {
    let registry = Arc::new(MemoryRegistry::new());
    let [one, two] = [process(&registry, "one", 8).await, process(&registry, "two", 8).await];
    one.holds(4).await;
    two.holds(4).await;
    let used = *two.held().first().unwrap();
    two.leases.begin(used);
    let begun = Instant::now();
    two.drain.cancel();
    one.holds(7).await;
    assert!(begun.elapsed() < RENEW, "{:?}", begun.elapsed());
    two.leases.end(used);
    one.holds(8).await;
    assert!(begun.elapsed() < RENEW, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_wakes_from_a_pause_holds_nothing_before_any_of_its_tasks_has_noticed() {
    let registry = Arc::new(MemoryRegistry::new());
    let one = process(&registry, "one", 4).await;
    one.holds(4).await;
    let tenure = one.leases.tenure();
    assert!(tenure.holds(0) && !tenure.holds(4));
    assert!(!Leases::none().tenure().holds(0) && Tenure::endless().holds(0));
    one.way.cut();
    let ends = Instant::now() + 2 * STOP;
    while tenure.holds(0) {
        assert!(Instant::now() < ends, "it is held for ever");
        // This task alone goes on: nothing else of the process has run when the clock has moved on.
        tokio::time::advance(RENEW).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_cut_off_stops_before_others_take_over_and_comes_back() {
    let registry = Arc::new(MemoryRegistry::new());
    let [one, two] = [process(&registry, "one", 8).await, process(&registry, "two", 8).await];
    one.holds(4).await;
    two.holds(4).await;
    let cut = Instant::now();
    two.way.cut();
    two.holds(0).await;
    assert!(cut.elapsed() <= STOP && one.held().len() == 4, "{:?}", cut.elapsed());
    one.holds(8).await;
    assert!(cut.elapsed() < Duration::from_secs(10), "{:?}", cut.elapsed());
    two.way.mend();
    two.holds(4).await;
    one.holds(4).await;
}

#[tokio::test(start_paused = true)]
async fn when_the_registry_was_away_everybody_keeps_what_they_had() {
    let registry = Arc::new(MemoryRegistry::new());
    let all =
        [process(&registry, "one", 9).await, process(&registry, "two", 9).await, process(&registry, "three", 9).await];
    for each in &all {
        each.holds(3).await;
    }
    let before = all.each_ref().map(Process::held);
    for each in &all {
        each.way.cut();
    }
    for each in &all {
        each.holds(0).await;
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    for each in &all {
        each.way.mend();
        // Not all see it at the same moment.
        tokio::time::sleep(RENEW / 2).await;
    }
    for (each, before) in all.iter().zip(&before) {
        each.holds(3).await;
        assert_eq!(each.held(), *before);
    }
    tokio::time::sleep(2 * EXPIRE).await;
    assert_eq!(all.each_ref().map(Process::held), before);
}

#[tokio::test(start_paused = true)]
async fn whose_key_was_deleted_by_mistake_keeps_its_shards() {
    let registry = Arc::new(MemoryRegistry::new());
    let one = process(&registry, "one", 8).await;
    let two = process(&registry, "two", 8).await;
    one.holds(4).await;
    two.holds(4).await;
    registry.delete("lease.test.process.one").await.unwrap();
    // Also one that comes just then, and knows nothing of it, waits.
    let three = process(&registry, "three", 8).await;
    let end = Instant::now() + RENEW;
    while Instant::now() < end {
        assert!(one.held().len() >= 2 && one.held().is_disjoint(&two.held()) && one.held().is_disjoint(&three.held()));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    three.holds(2).await;
    assert!(one.held().is_disjoint(&two.held()) && one.held().is_disjoint(&three.held()));
}

/// Joins, leaves, crashes and cuts at random; then peace.
async fn storm(seed: u64) {
    const SHARDS: u32 = 16;
    let mut random = StdRng::seed_from_u64(seed);
    let registry = Arc::new(MemoryRegistry::new());
    let mut all: Vec<Process> = Vec::new();
    let mut gone: Vec<Process> = Vec::new();
    let check = |all: &[Process], gone: &[Process]| {
        let mut used = BTreeSet::new();
        for each in all.iter().chain(gone) {
            for shard in each.held() {
                assert!(used.insert(shard), "seed {seed}: {shard} is used by two");
            }
        }
    };
    for n in 0..40 {
        match random.random_range(0..5) {
            0 | 1 if all.len() < 6 => all.push(process(&registry, &format!("p{n}"), SHARDS).await),
            2 if !all.is_empty() => {
                let leaving = all.swap_remove(random.random_range(0..all.len()));
                leaving.drain.cancel();
                gone.push(leaving);
            }
            // Cut off for good is dead to everybody else.
            3 if !all.is_empty() => {
                let dead = all.swap_remove(random.random_range(0..all.len()));
                dead.dead.store(true, SeqCst);
                dead.way.cut();
                gone.push(dead);
            }
            4 if !all.is_empty() => {
                let cut = &all[random.random_range(0..all.len())];
                let (way, dead) = (cut.way.clone(), cut.dead.clone());
                way.cut();
                let until = Duration::from_millis(random.random_range(0..15_000));
                tokio::spawn(async move {
                    tokio::time::sleep(until).await;
                    if !dead.load(SeqCst) {
                        way.mend();
                    }
                });
            }
            _ => {}
        }
        for _ in 0..random.random_range(1..60) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            check(&all, &gone);
        }
    }
    if all.is_empty() {
        all.push(process(&registry, "last", SHARDS).await);
    }
    tokio::time::sleep(Duration::from_secs(40)).await;
    check(&all, &gone);
    let mut counts: Vec<_> = all.iter().map(|each| each.held().len()).collect();
    counts.sort_unstable();
    let (least, most) = (SHARDS as usize / all.len(), (SHARDS as usize).div_ceil(all.len()));
    assert_eq!(counts.iter().sum::<usize>(), SHARDS as usize, "seed {seed}: {counts:?}");
    assert!(counts[0] >= least && counts[counts.len() - 1] <= most, "seed {seed}: {counts:?}");
}

#[test]
fn after_any_storm_shards_are_spread_evenly_and_none_is_used_by_two() {
    let setting = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let first = setting("MADANG_LEASES_FIRST").unwrap_or_else(rand::random);
    eprintln!("seeds from {first}: MADANG_LEASES_FIRST has them again, MADANG_LEASES so many");
    for seed in 0..setting("MADANG_LEASES").unwrap_or(20) {
        // Each in a runtime of its own, so that nothing of one goes on in the next.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(storm(first.wrapping_add(seed)));
    }
}

/// One that had been cut off for long renewed once and was cut off again; the other was cut off just then, saw nothing of it,
/// and took its shards as soon as it could.
#[tokio::test(start_paused = true)]
async fn a_storm_that_once_gave_a_shard_to_two() {
    storm(16_812_121_811_789_762_121).await;
}

#[tokio::test(start_paused = true)]
async fn who_was_late_takes_its_shards_once_more_before_it_holds_them() {
    let registry = Arc::new(MemoryRegistry::new());
    let one = process(&registry, "one", 4).await;
    one.holds(4).await;
    let before = registry.list("lease.test.shard.").await.unwrap();
    one.way.cut();
    one.holds(0).await;
    one.way.mend();
    one.holds(4).await;
    for item in before {
        let late = registry.compare_and_set(&item.key, "two".into(), item.revision).await.unwrap();
        assert_eq!(late, None, "whoever has not seen that it is back takes {}", item.key);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_taken_for_dead_by_what_is_not_seen_yet() {
    let mut one = view::View::new("one", "lease.test.", 1, Instant::now());
    let mut revision = 0;
    let mut see = |one: &mut view::View, key: &str, value: String| {
        revision += 1;
        one.see(Item { key: format!("lease.test.{key}"), value: Some(value.into()), revision });
    };
    see(&mut one, "process.two", "1 http://two".into());
    see(&mut one, "shard.0", "two".into());
    for second in [0, 2, 4, 5] {
        tokio::time::sleep_until(one.begun + Duration::from_secs(second)).await;
        see(&mut one, "process.one", format!("{second}000 http://one"));
    }
    tokio::time::sleep_until(one.begun + EXPIRE + RENEW / 4).await;
    assert!(one.is_fresh() && one.plan().take.is_empty(), "it may have renewed in the fifth second, in time");
    see(&mut one, "process.one", "6000 http://one".into());
    assert_eq!(one.plan().take, [(0, 2)], "it has not");
}

/// What many shards cost: one process that joins another takes half of them, with as few changes as that needs.
#[tokio::test(start_paused = true)]
async fn nothing_moves_that_need_not() {
    let registry = Arc::new(MemoryRegistry::new());
    let mut all = vec![process(&registry, "p0", 256).await];
    all[0].holds(256).await;
    for n in 1..5 {
        let before: Vec<_> = all.iter().map(Process::held).collect();
        all.push(process(&registry, &format!("p{n}"), 256).await);
        let end = Instant::now() + EXPIRE;
        while Instant::now() < end {
            tokio::time::sleep(RENEW).await;
        }
        for (each, before) in all.iter().zip(before) {
            assert!(each.held().is_subset(&before), "who had too many takes none");
        }
        assert_eq!(all.iter().map(|each| each.held().len()).sum::<usize>(), 256);
    }
}
