//! Settings that every service must be told alike, and where any setting comes from: a flag, else a variable, else the
//! settings file, else its default.

mod file;

pub use file::parse;

use crate::{door::Network, grants::Grant};
use std::time::Duration;

/// What every service must be told alike: the limits that users meet, and what is part of the data.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Settings {
    /// How many shards there are; part of the data's layout, and the same for all processes.
    #[arg(long, env = "MADANG_SHARDS", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub shards: u32,
    /// The `iss` of access tokens.
    #[arg(long, env = "MADANG_TOKEN_ISSUER", default_value = "madang")]
    pub token_issuer: String,
    /// Bytes of a message's text, at most; an event of it has to go into one message of NATS.
    #[arg(long, env = "MADANG_MAX_MESSAGE_BYTES", default_value_t = 65_536,
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=262_144))]
    pub max_message_bytes: usize,
    /// Members of a group, at most.
    #[arg(long, env = "MADANG_MAX_MEMBERS", default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub max_members: u32,
    /// Conversations of a user, at most.
    #[arg(long, env = "MADANG_MAX_CONVERSATIONS", default_value_t = 10_000)]
    pub max_conversations: usize,
    /// Devices of a user, at most: sessions, and sockets at once.
    #[arg(long, env = "MADANG_MAX_DEVICES", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub max_devices: u32,
    /// How much a page of a list or of history has, if the client does not say.
    #[arg(long, env = "MADANG_PAGE_SIZE", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub page_size: u32,
    /// How much a page of a list or of history has, at most.
    #[arg(long, env = "MADANG_MAX_PAGE_SIZE", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub max_page_size: u32,
    /// What rooms may take of the memory of a process that is home of some, in bytes; those used longest ago are forgotten,
    /// and loaded again when they are asked for something.
    #[arg(long, env = "MADANG_ROOM_BYTES", default_value_t = 256 << 20)]
    pub room_bytes: usize,
    /// Bytes that a chat-svc keeps of what its users were sent lately, at most: what their devices resume from.
    #[arg(long, env = "MADANG_TAIL_BYTES", default_value_t = 512 << 20)]
    pub tail_bytes: usize,
    /// Bytes of a shard's log that its readers may be behind, at most: beyond that sends are refused. As many are kept behind
    /// them, for a database that is restored. At most half of what the log may take.
    #[arg(long, env = "MADANG_LAG_BYTES", default_value_t = 256 << 20, value_parser = clap::value_parser!(u64).range(1 << 16..=1 << 40))]
    pub lag_bytes: u64,
    /// Bytes that a shard's inbox in NATS may take of its memory: for who takes over after a crash.
    #[arg(long, env = "MADANG_INBOX_BYTES", default_value_t = 256 << 20, value_parser = clap::value_parser!(u64).range(1 << 16..=1 << 40))]
    pub inbox_bytes: u64,
    /// The longest WebSocket message that is taken, in bytes; a frame of it has to go into one gRPC message with others.
    #[arg(long, env = "MADANG_MAX_FRAME_BYTES", default_value_t = 131_072,
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(4096..=4 << 20))]
    pub max_frame_bytes: usize,
    /// Requests of a connection that may be unanswered.
    #[arg(long, env = "MADANG_MAX_IN_FLIGHT", default_value_t = 64)]
    pub max_in_flight: u32,
    /// Frames that wait for a slow connection, at most.
    #[arg(long, env = "MADANG_QUEUE_FRAMES", default_value_t = 256,
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(16..=65_536))]
    pub queue_frames: usize,
    /// Bytes that wait for a slow connection, at most; the largest event has to go in.
    #[arg(long, env = "MADANG_QUEUE_BYTES", default_value_t = 1 << 20,
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1 << 19..=1 << 30))]
    pub queue_bytes: usize,
    /// Messages that a user may send a second; 0: no limit.
    #[arg(long, env = "MADANG_SEND_RATE", default_value_t = 10)]
    pub send_rate: u32,
    /// Messages that a user may send at once.
    #[arg(long, env = "MADANG_SEND_BURST", default_value_t = 40)]
    pub send_burst: u32,
    /// Log-ins, sign-ups and refreshes of one address a second; 0: no limit.
    #[arg(long, env = "MADANG_LOGIN_RATE", default_value_t = 10)]
    pub login_rate: u32,
    /// Log-ins, sign-ups and refreshes of one address at once.
    #[arg(long, env = "MADANG_LOGIN_BURST", default_value_t = 100)]
    pub login_burst: u32,
    /// Connections of one address (IPv6: of one /64) to a public door, at most; 0: no limit. This machine's own are not
    /// counted.
    #[arg(long, env = "MADANG_SOCKETS_PER_ADDRESS", default_value_t = 1000)]
    pub sockets_per_address: usize,
    /// Of these, such as have not yet sent a request or a hello; 0: no limit.
    #[arg(long, env = "MADANG_ARRIVALS_PER_ADDRESS", default_value_t = 256)]
    pub arrivals_per_address: usize,
    /// New sockets that a gateway takes a second, after a burst of a fifth of it; who comes too fast waits up to 20 s.
    /// 0: no limit.
    #[arg(long, env = "MADANG_CONNECT_RATE", default_value_t = 1000)]
    pub connect_rate: u32,
    /// Networks of proxies whose X-Forwarded-For is believed, separated by commas: 10.0.0.0/8, 2001:db8::1.
    #[arg(long, env = "MADANG_TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<Network>,
    /// The browser pages that may open sockets and call the API, as their Origin: https://chat.example.com, separated
    /// by commas. None: any. Apps send no Origin and are not asked for one.
    #[arg(long, env = "MADANG_ALLOWED_ORIGINS", value_delimiter = ',')]
    pub allowed_origins: Vec<String>,
    /// What other internal services may call, by the names in their certificates or tokens: NAME:RPC, separated by commas, as
    /// in bot:SendMessage; * for any. Who may send, read or change for a user may for any user. None: nothing; in
    /// `madang serve`, where whoever has a token has it from the operator, everything.
    #[arg(long, env = "MADANG_GRANTS", value_delimiter = ',')]
    pub grants: Vec<Grant>,
    /// Over how many seconds a gateway that is told to stop sends its sockets elsewhere. The time that is left to it
    /// (terminationGracePeriodSeconds) must be 15 s longer.
    #[arg(long, env = "MADANG_DRAIN_WINDOW", default_value_t = 1, value_parser = clap::value_parser!(u32).range(..=3600))]
    pub drain_window: u32,
}

impl Settings {
    /// Over how long sockets are sent elsewhere.
    #[must_use]
    pub fn drain_window(&self) -> Duration {
        Duration::from_secs(self.drain_window.into())
    }

    /// Refuses a log that would be full before anybody hears that its readers are behind: then nothing could be sent, and
    /// what is kept for a restored database would have no room.
    pub fn fit(&self, log_bytes: i64) -> Result<(), String> {
        let most = u64::try_from(log_bytes).unwrap_or(0) / 2;
        if self.lag_bytes <= most {
            return Ok(());
        }
        let lag = self.lag_bytes;
        Err(format!(
            "--lag-bytes {lag} is above half of --log-bytes, {most}: lower it, or raise --log-bytes (and `nats stream edit NAME --max-bytes` for the logs that are there)"
        ))
    }

    /// How much a page has that was asked for so much; 0: the client did not say.
    #[must_use]
    pub fn page(&self, asked: u32) -> usize {
        let size = if asked == 0 { self.page_size } else { asked };
        size.min(self.max_page_size) as usize
    }
}
