//! Waiting for what a projection writes: it says so whenever it has written; and since another replica may be the one that
//! does, whose word is not heard here, the database is looked at now and then as well.

use std::time::Duration;
use tokio::sync::watch;

/// How soon it is looked again though nothing was said; the pause doubles.
const FIRST: Duration = Duration::from_millis(20);
/// The longest such pause.
const LAST: Duration = Duration::from_millis(200);

/// Says that something was written.
#[derive(Debug)]
pub struct Written(watch::Sender<u64>);

impl Default for Written {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Written {
    /// Something was written now.
    pub fn now(&self) {
        self.0.send_modify(|count| *count += 1);
    }

    /// To wait with, before the first look.
    #[must_use]
    pub fn looks(&self) -> Looks {
        Looks { written: self.0.subscribe(), pause: FIRST }
    }
}

/// When to look again.
#[derive(Debug)]
pub struct Looks {
    written: watch::Receiver<u64>,
    pause: Duration,
}

impl Looks {
    /// Waits until another look is worth it.
    pub async fn again(&mut self) {
        if tokio::time::timeout(self.pause, self.written.changed()).await.is_err() {
            self.pause = (self.pause * 2).min(LAST);
        }
    }
}
