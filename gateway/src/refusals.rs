//! What this gateway refuses, drops and closes, each kind counted and now and then said.

use madang_mesh::{metrics, refused::Refused};
use prometheus::IntCounter;
use std::sync::LazyLock;

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $what:literal, $advice:literal;)*) => {$(
        $(#[$doc])*
        pub static $name: LazyLock<Refused> = LazyLock::new(|| Refused::new($what, $advice));
    )*};
}

refusals! {
    /// A page of a foreign origin.
    ORIGIN = "origin", "pages of an origin that allowed-origins does not name";
    /// More new sockets than connect-rate, for too long.
    CROWD = "crowd", "new sockets got 503 since 20 s of connect-rate wait already: a flood, or too few gateways";
    /// No hello in time.
    NO_HELLO = "no_hello", "sockets that sent no hello within 5 s were closed (4001): slow networks, or a flood";
    /// No home for a new connection.
    NO_HOME = "no_home", "new sockets were closed (4000): no chat-svc took their users in 10 s; look at chat-svc and its log";
    /// More sockets than devices.
    DEVICES = "devices", "sockets of users with more than max-devices were closed (4504)";
    /// Too many requests in flight.
    IN_FLIGHT = "in_flight", "requests beyond max-in-flight unanswered ones of a socket";
    /// A user's rate of messages.
    SEND_RATE = "send_rate", "messages of users beyond send-rate";
    /// A socket's rate of frames.
    FRAME_RATE = "frame_rate", "frames of sockets beyond ten times send-rate";
    /// Too many refusals.
    EAGER = "eager", "sockets that went on in spite of thousands of refusals were closed (4005)";
    /// Too many frames that can't be understood.
    INVALID = "invalid_frames", "sockets that sent ten frames that can't be understood in a minute were closed (4501)";
    /// No answer in time.
    LATE = "late", "requests got UNAVAILABLE since no home answered in 4 s: look at chat-svc and at NATS";
    /// No room for a frame without a home.
    HELD = "held", "frames got UNAVAILABLE since a socket without a home had 64 of them, or queue-bytes: look at chat-svc";
    /// No room in a trunk.
    TRUNK = "trunk", "frames got UNAVAILABLE since 8,192 or 32 MiB wait for a chat-svc: it hangs, or is overloaded";
    /// Too much of one socket in a trunk.
    TRUNK_SHARE = "trunk_share", "frames got UNAVAILABLE since their socket had more than an eighth of what was left of a trunk: clients that do not wait, while a chat-svc hangs";
    /// Typing and presence for a socket that is slow.
    NOTICES = "socket_notices", "notices of typing and presence were dropped since half of a socket's queue was taken";
    /// Nothing heard.
    HEARTBEAT = "heartbeat", "sockets that answered no ping were closed (4003): networks that went away";
    /// A write was stuck.
    STUCK = "stuck", "sockets that took nothing for 10 s were closed (4002)";
}

/// Sockets that were told to reconnect.
pub static GO_AWAY: LazyLock<IntCounter> = LazyLock::new(|| {
    metrics::counter("madang_gateway_go_aways_total", "How many sockets were told to reconnect elsewhere.")
});
