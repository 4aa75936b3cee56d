//! What must hold of everything that parses bytes from outside, whatever the bytes: nothing panics, and what was taken
//! reads the same the other way round. The same bodies run under a fuzzer (`fuzz/run`, or `cargo fuzz run`) and, over
//! the seeds and some thousand changes of each, in the tests.
#![allow(clippy::unwrap_used, clippy::panic)] // a panic is what a fuzzer reports

mod frames;
mod places;
mod records;
pub mod seeds;
mod tokens;

pub use frames::{client_frames, server_frames};
pub use places::places;
pub use records::{inboxes, records};
pub use tokens::tokens;

/// A target: its name, and what it does with some bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("client_frames", client_frames),
    ("server_frames", server_frames),
    ("tokens", tokens),
    ("places", places),
    ("records", records),
    ("inboxes", inboxes),
];
