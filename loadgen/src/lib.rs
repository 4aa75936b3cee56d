//! Programs that use a server as its clients do: a replay of real conversations that checks every delivery, a load
//! generator, and a torture of a whole cluster. They know the public contract and nothing else; the torture also knows
//! processes and connections, to break them.

pub mod archive;
pub mod bench;
pub mod history;
pub mod people;
pub mod replay;
pub mod torture;

use madang_client::{http, socket};
use madang_proto::reason::Refusal;

/// Why a command could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call failed.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// A connection failed.
    #[error(transparent)]
    Socket(#[from] socket::Error),
    /// The server refused a frame.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A file could not be read or written.
    #[error("{0}: {1}")]
    File(String, std::io::Error),
    /// A file does not hold what it should.
    #[error("{0}")]
    Format(String),
    /// The command line asks for what can't be.
    #[error("{0}")]
    Usage(String),
    /// A task of this program died.
    #[error("a task of this program died: {0}")]
    Task(#[from] tokio::task::JoinError),
}
