//! How any service runs: ports to the log and the registry, subscriptions, refusals on gRPC, start and drain.
//!
//! A module is here only if several services use it, and none but the settings knows a chat word.

pub mod again;
pub mod calls;
pub mod channel;
pub mod clock;
pub mod data;
pub mod door;
pub mod grants;
pub mod homes;
pub mod identity;
pub mod json;
pub mod lease;
pub mod log;
pub mod metrics;
pub mod operations;
pub mod postgres;
pub mod problem;
pub mod process;
pub mod rate;
pub mod refused;
pub mod registry;
pub mod rooms;
pub mod secret;
pub mod serve;
pub mod settings;
pub mod shard;
pub mod status;
pub mod streams;
pub mod subscription;
pub mod telemetry;
pub mod tls;
pub mod token;
pub mod trace;
pub mod vital;
