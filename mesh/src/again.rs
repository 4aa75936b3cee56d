//! What is not there yet is tried again, until a time; each time it is said why it is not there. What does not pass is not
//! waited for.

use std::{fmt::Display, time::Duration};
use tokio::time::Instant;

/// How long between tries.
const AGAIN: Duration = Duration::from_secs(2);

/// Tries until the end; `passes`: whether an error may be gone the next time.
pub async fn until<T, E: Display, F: Future<Output = Result<T, E>>>(
    end: Instant,
    what: &str,
    passes: impl Fn(&E) -> bool,
    mut attempt: impl FnMut() -> F,
) -> Result<T, E> {
    loop {
        match attempt().await {
            Err(error) if Instant::now() < end && passes(&error) => {
                tracing::warn!(what, %error, "not yet; trying again")
            }
            outcome => return outcome,
        }
        tokio::time::sleep(AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::ready;

    #[tokio::test(start_paused = true)]
    async fn what_comes_late_is_waited_for_but_not_for_ever_and_not_what_does_not_pass() {
        let patience = Duration::from_secs(100);
        let (mut tries, began) = (0, Instant::now());
        let outcome = until(
            began + patience,
            "it",
            |_| true,
            || {
                tries += 1;
                ready(if tries < 40 { Err("no answer") } else { Ok(tries) })
            },
        );
        assert_eq!(outcome.await, Ok(40));
        assert!(began.elapsed() > Duration::from_secs(70));
        let began = Instant::now();
        let never = until(began + patience, "it", |_| true, || ready(Err::<(), _>("no answer")));
        assert_eq!(never.await, Err("no answer"));
        assert!((patience..patience + 2 * AGAIN).contains(&began.elapsed()), "{:?}", began.elapsed());
        let began = Instant::now();
        let wrong =
            until(began + patience, "it", |why| *why != "wrong password", || ready(Err::<(), _>("wrong password")));
        assert_eq!((wrong.await, began.elapsed()), (Err("wrong password"), Duration::ZERO));
    }
}
