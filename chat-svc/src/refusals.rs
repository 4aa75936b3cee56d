//! What this chat-svc refuses and drops because something is full, each kind counted and now and then said.

use madang_mesh::refused::Refused;
use std::sync::LazyLock;

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
        "sends got LAGGING since store-svc or group-svc is 10 min or 256 MiB behind the log: look at them and their databases",
    )
});
/// Operations that found the way to another home full.
pub static ROUTER: LazyLock<Refused> = LazyLock::new(|| {
    Refused::new(
        "router",
        "operations got UNAVAILABLE since 8,192 wait for another chat-svc: it hangs, or is overloaded",
    )
});
/// Trunks that were not read.
pub static TRUNK: LazyLock<Refused> = LazyLock::new(|| {
    Refused::new(
        "gateway_stream",
        "streams of gateways that did not read were ended; their sockets catch up: look at the gateways",
    )
});
/// Notices for shards that have too much to do.
pub static NOTICES: LazyLock<Refused> = LazyLock::new(|| {
    Refused::new(
        "notices",
        "notices of typing and presence were dropped since too much waits for a shard of users or a gateway",
    )
});
/// Watches for which there is no room.
pub static WATCHES: LazyLock<Refused> = LazyLock::new(|| {
    Refused::new("watches", "watches got OVERLOADED since 1,000,000 users are watched in a chat-svc: more of them help")
});
