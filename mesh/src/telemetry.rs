//! Logs: to standard error, filtered by `RUST_LOG` (default `info`).

use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Installs the subscriber; a second call is ignored.
pub fn init() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    // One that is installed already (in tests) stays.
    let _ = logs.try_init();
}

/// Ends when the process is asked to stop (SIGTERM or SIGINT).
pub async fn shutdown_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let of = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(error) => {
                tracing::error!(%error, "signals can't be taken");
                std::future::pending().await
            }
        }
    };
    tokio::select! {
        () = of(SignalKind::terminate()) => {}
        () = of(SignalKind::interrupt()) => {}
    }
}
