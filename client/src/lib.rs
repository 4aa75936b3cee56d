//! A client of the public contract (docs/protocol.md), as programs need it: HTTP for what is asked for, a WebSocket for
//! what is live, and a session that stays up over both. It uses nothing but the public doors, so whoever tests or loads
//! a server with it does what any app could do.

pub mod http;
pub mod session;
pub mod socket;
pub mod way;

pub use http::Http;
pub use session::{Session, Update};
pub use socket::{Format, Socket};

use std::time::{SystemTime, UNIX_EPOCH};

/// The time of this machine in ms since 1970.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
