//! The port to what users have asked for under an `Idempotency-Key`.

use super::Error;
use async_trait::async_trait;
use madang_proto::id::UserId;

/// How long a key stands for what was asked under it, in ms.
pub const DAY_MS: i64 = 86_400_000;

/// A request under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who asks.
    pub user: UserId,
    /// Under which key.
    pub key: String,
    /// A hash of what is asked for.
    pub asked: [u8; 32],
}

/// What is known of a request that is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Nothing: do it.
    New,
    /// It was done; the answer.
    Done(Vec<u8>),
    /// Somebody does it at the moment.
    Busy,
    /// Who was at it has not said in time what came of it: they died, or could not.
    Unknown,
    /// The key stands for something else.
    Other,
}

impl Claim {
    /// What a row that is there says of a request.
    pub(super) fn of(request: &Request, asked: &[u8], answer: Vec<u8>, busy_until: i64, now: i64) -> Self {
        if asked != request.asked {
            Self::Other
        } else if busy_until == 0 {
            Self::Done(answer)
        } else if busy_until > now {
            Self::Busy
        } else {
            Self::Unknown
        }
    }
}

/// The requests.
#[async_trait]
pub trait RequestStore: Send + Sync + 'static {
    /// Takes a request, if it is new: nobody else does it before `until` (ms since 1970).
    async fn claim_request(&self, request: Request, now: i64, until: i64) -> Result<Claim, Error>;

    /// It was done, with an answer; none: it was not, and the key stands for nothing.
    async fn settle_request(&self, request: Request, answer: Option<Vec<u8>>) -> Result<(), Error>;

    /// Forgets those from before a time.
    async fn forget_requests(&self, before: i64) -> Result<(), Error>;
}
