//! The targets over their seeds, and over some thousand changes of each: what a fuzzer does for hours, for a moment.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use madang_fuzz::{TARGETS, seeds};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use std::{fs, path::PathBuf};

/// Changes of each target's seeds.
const CHANGES: usize = 4000;

fn folder(target: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "seeds", target].iter().collect()
}

#[test]
fn seeds_are_as_the_code_makes_them() {
    for (target, _) in TARGETS {
        let (folder, seeds) = (folder(target), seeds::of(target));
        assert!(!seeds.is_empty(), "{target} has no seeds");
        if std::env::var_os("UPDATE").is_some() {
            fs::create_dir_all(&folder).unwrap();
            for (n, seed) in seeds.iter().enumerate() {
                fs::write(folder.join(format!("{n:02}")), seed).unwrap();
            }
        }
        for (n, seed) in seeds.iter().enumerate() {
            let written = fs::read(folder.join(format!("{n:02}"))).unwrap_or_default();
            assert_eq!(&written, seed, "{target}/{n:02}: UPDATE=1 cargo test -p madang-fuzz --test seeds");
        }
        // More may lie there: inputs that a fuzzer has found.
        for entry in fs::read_dir(&folder).unwrap() {
            let seed = fs::read(entry.unwrap().path()).unwrap();
            TARGETS.iter().find(|(name, _)| name == target).unwrap().1(&seed);
        }
    }
}

/// One of the usual changes of a mutating fuzzer.
fn change(random: &mut StdRng, data: &mut Vec<u8>, other: &[u8]) {
    let at = if data.is_empty() { 0 } else { random.random_range(0..data.len()) };
    match random.random_range(0..7) {
        0 if !data.is_empty() => data[at] ^= 1 << random.random_range(0..8),
        1 if !data.is_empty() => data[at] = *[0, 1, 0x7f, 0x80, 0xff, b'"', b'.', b'\n'].choose(random).unwrap(),
        2 => data.truncate(at),
        3 => data.insert(at, random.random()),
        4 if !data.is_empty() => drop(data.remove(at)),
        5 => {
            let from = random.random_range(0..=other.len());
            let part = &other[from..random.random_range(from..=other.len())];
            data.splice(at..at, part.iter().copied());
        }
        _ => {
            let end = random.random_range(at..=data.len());
            data.extend_from_within(at..end);
        }
    }
}

#[test]
fn changed_seeds_break_nothing() {
    let seed = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random::<u64>);
    for (target, body) in TARGETS {
        let (seeds, mut random) = (seeds::of(target), StdRng::seed_from_u64(seed));
        for n in 0..CHANGES {
            let mut data = seeds.choose(&mut random).unwrap().clone();
            for _ in 0..random.random_range(1..6) {
                let other = seeds.choose(&mut random).unwrap();
                change(&mut random, &mut data, other);
            }
            let result = std::panic::catch_unwind(|| body(&data));
            assert!(result.is_ok(), "{target}, change {n}, SEED={seed}: {:?}", data.escape_ascii().to_string());
        }
    }
}
