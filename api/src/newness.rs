//! `atLeast`: an answer as of a revision is waited for so long and no longer. Each service behind it waits as long by itself,
//! for the same or for what the one before it has found; whoever asked is not to wait for all of that one after the other. And
//! what waits takes up a call of those services: one user has but so many.

use crate::problem::Problem;
use madang_proto::{
    id::UserId,
    reason::{Reason, Refusal},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How long is waited altogether: the two seconds of the one that waits, and half a second for its answer to come.
const LONGEST: Duration = Duration::from_millis(2500);
/// How many answers of one user are waited for at once.
const AT_ONCE: usize = 16;

/// How many answers are waited for, of each user.
#[derive(Default)]
pub(crate) struct Waits(Mutex<HashMap<UserId, usize>>);

/// One of them; it is over when this is dropped.
struct Wait {
    of: Arc<Waits>,
    user: UserId,
}

impl Waits {
    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(self: &Arc<Self>, user: UserId) -> Result<Wait, Refusal> {
        let mut waits = self.lock();
        let count = waits.entry(user).or_default();
        if *count >= AT_ONCE {
            let message =
                format!("at most {AT_ONCE} answers with atLeast are waited for at once: try again after retryAfterMs");
            return Err(Refusal::new(Reason::RateLimited, message).after(500));
        }
        *count += 1;
        Ok(Wait { of: self.clone(), user })
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut waits = self.of.lock();
        if let Some(count) = waits.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                waits.remove(&self.user);
            }
        }
    }
}

/// The answer to a user, if it comes in time; one that nothing is waited for takes as long as it takes.
pub(crate) async fn within<T>(
    waits: Arc<Waits>,
    (user, at_least): (UserId, u64),
    answer: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    if at_least == 0 {
        return answer.await;
    }
    let _wait = waits.begin(user)?;
    let late = || Refusal::new(Reason::Lagging, "this revision is not here yet: ask again a little later").after(500);
    tokio::time::timeout(LONGEST, answer).await.unwrap_or_else(|_| Err(late().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse as _;
    use tokio::{
        task::JoinSet,
        time::{Instant, sleep},
    };

    async fn answer(waits: Arc<Waits>, user: UserId, at_least: u64) -> Result<(), u16> {
        let both = async {
            sleep(Duration::from_millis(1900)).await;
            sleep(Duration::from_millis(1900)).await;
            Ok(())
        };
        let answer = within(waits, (user, at_least), both).await;
        answer.map_err(|problem| problem.into_response().status().as_u16())
    }

    #[tokio::test(start_paused = true)]
    async fn two_that_wait_one_after_the_other_are_not_waited_for() {
        let timed = async |at_least: u64| {
            let begun = Instant::now();
            (answer(Arc::default(), UserId::new(), at_least).await, begun.elapsed())
        };
        assert_eq!(timed(0).await, (Ok(()), Duration::from_millis(3800)));
        assert_eq!(timed(7).await, (Err(503), LONGEST));
    }

    #[tokio::test(start_paused = true)]
    async fn one_user_waits_for_so_many_and_is_in_nobody_elses_way() {
        let (waits, ann) = (Arc::<Waits>::default(), UserId::new());
        let all: JoinSet<_> = (0..=AT_ONCE).map(|_| answer(waits.clone(), ann, 7)).collect();
        let other = answer(waits.clone(), UserId::new(), 7);
        let (all, other, at_once) = tokio::join!(all.join_all(), other, answer(waits.clone(), ann, 0));
        assert_eq!(all.iter().filter(|answer| **answer == Err(429)).count(), 1);
        assert_eq!((other, at_once), (Err(503), Ok(())));
        assert_eq!(answer(waits.clone(), ann, 7).await, Err(503), "they are over");
        assert!(waits.lock().is_empty());
    }
}
