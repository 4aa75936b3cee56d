//! What this chat-svc refuses and drops because something is full, each kind counted and now and then said.

use madang_mesh::refused::Refused;
use std::sync::LazyLock;
use tonic::{Code, Status};

/// Requests that found a home's queue full.
pub static OVERLOADED: LazyLock<Refused> = LazyLock::new(|| {
    Refused::new(
        "home_queue",
        "requests got OVERLOADED since 4,096 or 8 MiB wait for a shard's home: the log is slow, or more shards are needed",
    )
});
/// Sends while a reader of the log is too far behind.
pub static LAGGING: LazyLock<Refused> = LazyLock::new(|| {
    Refused::new(
        "lagging",
        "sends got LAGGING since store-svc or group-svc is 10 min or lag-bytes behind the log: look at them and their databases",
    )
});
/// Operations that found the way to another home full.
pub static ROUTER: LazyLock<Refused> = LazyLock::new(|| {
    Refused::new(
        "router",
        "operations got UNAVAILABLE since 8,192 or 32 MiB wait for another chat-svc: it hangs, or is overloaded",
    )
});
/// Trunks that were not read.
pub static TRUNK: LazyLock<Refused> = LazyLock::new(|| {
    Refused::new(
        "gateway_stream",
        "streams of gateways that did not read were ended; their sockets catch up: look at the gateways",
    )
});
/// Trunks that carried what can't be read.
pub static UNREADABLE: LazyLock<Refused> = LazyLock::new(|| {
    Refused::new(
        "unreadable_trunk",
        "streams of gateways were ended since a message was too large or broken: gateways of another version, or a fault",
    )
});
/// Notices for shards that have too much to do.
pub static NOTICES: LazyLock<Refused> = LazyLock::new(|| {
    Refused::new(
        "notices",
        "notices of typing and presence were dropped since too much waits for a shard of users, a gateway or another chat-svc",
    )
});
/// Watches for which there is no room.
pub static WATCHES: LazyLock<Refused> = LazyLock::new(|| {
    Refused::new("watches", "watches got OVERLOADED since 1,000,000 users are watched in a chat-svc: more of them help")
});

/// Requests with a client id for which a room has no more room.
pub static ROOM_FULL: LazyLock<Refused> = LazyLock::new(|| {
    let advice = "requests of a member were refused (OVERLOADED) who has as many of the 200,000 client ids that a room remembers as there is room for more: somebody floods a conversation";
    Refused::new("room_full", advice)
});
/// Frames of a user beyond what all of their sockets together may send.
pub static USER_RATE: LazyLock<Refused> = LazyLock::new(|| {
    Refused::new(
        "user_rate",
        "frames of users whose sockets together sent more than send-rate, or ten times that of any kind",
    )
});

/// Whether a trunk ended since its content could not be read: a gateway that goes away is no fault.
#[must_use]
pub fn is_unreadable(status: &Status) -> bool {
    matches!(status.code(), Code::OutOfRange | Code::Internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_goes_away_is_not_counted_as_unreadable() {
        assert!(is_unreadable(&Status::out_of_range("Error, decoded message length too large")));
        assert!(!is_unreadable(&Status::cancelled("h2 protocol error")));
        assert!(!is_unreadable(&Status::unknown("error reading a body from connection")));
    }
}
