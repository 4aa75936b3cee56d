//! Virtual time and chance: on a thread that simulates, the system's clock and its random numbers are the simulation's.
//!
//! The C library's `clock_gettime` and `getrandom` are replaced in this binary, so the code under test needs no change:
//! std's clocks and hash keys, tokio's timers and its choice between ready branches, ids and nonces all come from here.
//! Every other thread gets the real ones.
#![allow(unsafe_code)] // two symbols of the C library are replaced: see the proofs at each

use libc::{c_int, c_uint, c_void, clockid_t, size_t, ssize_t, timespec};
use std::cell::Cell;

/// When virtual time begins, by the monotonic clock: late enough to subtract from.
const MONOTONIC_START: u64 = 10_000_000_000_000;
/// When it begins for people, nanoseconds since 1970.
const WALL_START: u64 = 1_800_000_000_000_000_000;

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
    static NOW: Cell<u64> = const { Cell::new(0) };
    static SKEW: Cell<i64> = const { Cell::new(0) };
    static ENTROPY: Cell<u64> = const { Cell::new(0) };
    static FATE: Cell<u64> = const { Cell::new(0) };
}

/// A millisecond of virtual time, which is counted in nanoseconds.
pub const MS: u64 = 1_000_000;

/// From here on this thread simulates.
pub fn begin(seed: u64) {
    ENTROPY.set(seed ^ 0x9e37_79b9_7f4a_7c15);
    FATE.set(seed.wrapping_mul(0xd134_2543_de82_ef95) ^ 0x1234_5678_9abc_def1);
    ON.set(true);
}

/// Virtual time since the beginning, nanoseconds.
pub fn now() -> u64 {
    NOW.get()
}

/// The same, in milliseconds.
pub fn now_ms() -> u64 {
    now() / MS
}

/// Moves time; never back.
pub fn advance_to(now: u64) {
    NOW.set(now.max(NOW.get()));
}

/// How wrong the wall clock of whoever runs now is, nanoseconds.
pub fn set_skew(skew: i64) {
    SKEW.set(skew);
}

/// The wall clock of the servers that are no process here, microseconds since 1970.
pub fn wall_micros() -> i64 {
    i64::try_from((WALL_START + now()) / 1000).unwrap_or(i64::MAX)
}

fn step(state: &Cell<u64>) -> u64 {
    let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    state.set(next);
    let mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// What the schedule decides next.
pub fn fate() -> u64 {
    FATE.with(step)
}

/// A number below another.
pub fn below(bound: u64) -> u64 {
    fate() % bound.max(1)
}

/// A number from one to another, both included.
pub fn between(low: u64, high: u64) -> u64 {
    low + below(high - low + 1)
}

/// Whether something comes about that does so many times in a thousand.
pub fn chance(per_mille: u64) -> bool {
    below(1000) < per_mille
}

/// One of several; there must be one.
pub fn pick<T>(all: &[T]) -> &T {
    &all[usize::try_from(below(all.len() as u64)).unwrap_or(0)]
}

/// Replaces the C library's.
///
/// # Safety
///
/// As for the C library's: `to` is valid for a write, which its contract demands of every caller.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: clockid_t, to: *mut timespec) -> c_int {
    if !ON.get() {
        // SAFETY: the arguments are passed on to the kernel as they came; it checks them itself.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, to) as c_int };
    }
    let nanos = match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => {
            (WALL_START + NOW.get()).saturating_add_signed(SKEW.get())
        }
        _ => MONOTONIC_START + NOW.get(),
    };
    let time = timespec { tv_sec: (nanos / 1_000_000_000) as i64, tv_nsec: (nanos % 1_000_000_000) as i64 };
    // SAFETY: by the contract of clock_gettime the caller gives a place for a timespec.
    unsafe { to.write(time) };
    0
}

/// Replaces the C library's.
///
/// # Safety
///
/// As for the C library's: `to` is valid for writes of `length` bytes, which its contract demands of every caller.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(to: *mut c_void, length: size_t, flags: c_uint) -> ssize_t {
    if !ON.get() {
        // SAFETY: the arguments are passed on to the kernel as they came; it checks them itself.
        return unsafe { libc::syscall(libc::SYS_getrandom, to, length, flags) as ssize_t };
    }
    for place in 0..length {
        let byte = ENTROPY.with(step).to_le_bytes()[0];
        // SAFETY: by the contract of getrandom the caller gives `length` bytes, and `place` is below it.
        unsafe { to.cast::<u8>().add(place).write(byte) };
    }
    length.cast_signed()
}
