//! `atLeast`: an answer as of a revision is waited for so long and no longer. Each service behind it waits as long by itself,
//! for the same or for what the one before it has found; whoever asked is not to wait for all of that one after the other.

use crate::problem::Problem;
use madang_proto::reason::{Reason, Refusal};
use std::time::Duration;

/// How long is waited altogether: the two seconds of the one that waits, and half a second for its answer to come.
const LONGEST: Duration = Duration::from_millis(2500);

/// The answer, if it comes in time; one that nothing is waited for takes as long as it takes.
pub(crate) async fn within<T>(at_least: u64, answer: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    if at_least == 0 {
        return answer.await;
    }
    let late = || Refusal::new(Reason::Lagging, "this revision is not here yet: ask again a little later").after(500);
    tokio::time::timeout(LONGEST, answer).await.unwrap_or_else(|_| Err(late().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse as _;
    use tokio::time::{Instant, sleep};

    #[tokio::test(start_paused = true)]
    async fn two_that_wait_one_after_the_other_are_not_waited_for() {
        let answer = async |at_least: u64| {
            let begun = Instant::now();
            let both = async {
                sleep(Duration::from_millis(1900)).await;
                sleep(Duration::from_millis(1900)).await;
                Ok(())
            };
            (within(at_least, both).await.map_err(|problem| problem.into_response().status().as_u16()), begun.elapsed())
        };
        assert_eq!(answer(0).await, (Ok(()), Duration::from_millis(3800)));
        assert_eq!(answer(7).await, (Err(503), LONGEST));
    }
}
