//! A client of the public contract (docs/protocol.md), as programs need it: HTTP for what is asked for, a WebSocket for
//! what is live, and a session that stays up over both. It uses nothing but the public doors, so whoever tests or loads
//! a server with it does what any app could do.

pub mod http;
pub mod session;
pub mod socket;

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

/// A server's `http://HOST:PORT`, cut down to `HOST:PORT`. TLS ends before the server, so only plain HTTP is spoken.
#[must_use]
pub fn authority(base: &str) -> Option<&str> {
    let rest = base.strip_prefix("http://")?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    (!rest.is_empty() && !rest.contains('/') && rest.contains(':')).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_with_a_port_is_a_base() {
        assert_eq!(authority("http://127.0.0.1:8080"), Some("127.0.0.1:8080"));
        assert_eq!(authority("http://chat.local:80/"), Some("chat.local:80"));
        assert_eq!(authority("https://127.0.0.1:8080"), None);
        assert_eq!(authority("http://127.0.0.1"), None);
        assert_eq!(authority("http://127.0.0.1:8080/v1"), None);
    }
}
