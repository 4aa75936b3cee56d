//! client: a Rust client of the public contract. Not there yet: this crate holds only its place.
