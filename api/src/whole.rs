//! What is begun is brought to its end, also where who asked breaks off meanwhile: else what was kept for it, a picture, would
//! stay for good with nobody knowing of it.

use crate::problem::Problem;
use madang_proto::reason::{Reason, Refusal};
use tracing::Instrument as _;

/// Does it, and gives what came of it to who still waits.
pub(crate) async fn whole<T: Send + 'static>(
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    let lost = |_| Problem::from(Refusal::new(Reason::Internal, "the request was not finished: ask again"));
    tokio::spawn(work.in_current_span()).await.map_err(lost)?
}
