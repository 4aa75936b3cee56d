//! Pushes that have waited are looked at once more before they are sent: all that wait for it together, since a crowd that
//! is told at once would ask one by one otherwise.

use super::Push;
use crate::audience::Audience;
use madang_mesh::vital::vital;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// How many are looked at together.
const TOGETHER: usize = 1000;

/// A push, and who waits for what is found.
struct Asked {
    push: Push,
    answer: oneshot::Sender<(Push, bool)>,
}

/// Looks at pushes once more.
pub(super) struct Check(mpsc::Sender<Asked>);

impl Check {
    /// Asks this, for as long as it lives.
    pub fn spawn(audience: Arc<Audience>) -> Self {
        let (asked, some) = mpsc::channel(TOGETHER);
        tokio::spawn(vital("who is still to be notified", look(audience, some)));
        Self(asked)
    }

    /// Whether it is still to be sent; its badge is as of now then. None: that can't be said now.
    pub async fn again(&self, push: &mut Push) -> Option<bool> {
        let (answer, found) = oneshot::channel();
        self.0.send(Asked { push: push.clone(), answer }).await.ok()?;
        let (looked, still) = found.await.ok()?;
        *push = looked;
        Some(still)
    }
}

async fn look(audience: Arc<Audience>, mut asked: mpsc::Receiver<Asked>) {
    let mut some: Vec<Asked> = Vec::new();
    while asked.recv_many(&mut some, TOGETHER).await > 0 {
        let found = audience.again(&mut some.iter_mut().map(|each| &mut each.push).collect::<Vec<_>>()).await;
        if let Err(why) = &found {
            tracing::debug!(%why, "it can't be said now who is still to be notified");
        }
        let still = found.unwrap_or_default().into_iter();
        // Those of whom nothing is said hear that by the answer's end.
        for (Asked { push, answer }, still) in some.drain(..).zip(still) {
            // Who does not wait any more was cut off.
            let _ = answer.send((push, still));
        }
    }
}
