//! loadgen: replay, bench and chat. Not there yet: this crate holds only its place.
