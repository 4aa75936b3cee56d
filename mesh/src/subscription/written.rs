//! Waiting for what a projection writes: it says so whenever it has written; and since another replica may be the one that
//! does, whose word is not heard here, the database is looked at now and then as well.

use std::time::Duration;
use tokio::{sync::watch, time::Instant};

/// How soon it is looked again though nothing was said; the pause doubles.
const FIRST: Duration = Duration::from_millis(20);
/// The longest such pause.
const LAST: Duration = Duration::from_millis(200);
/// How soon it is looked again at the earliest: much may be written that nobody waits for, and a look is a query.
const LEAST: Duration = Duration::from_millis(10);

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
        Looks { written: self.0.subscribe(), pause: FIRST, looked: Instant::now() }
    }
}

/// When to look again.
#[derive(Debug)]
pub struct Looks {
    written: watch::Receiver<u64>,
    pause: Duration,
    looked: Instant,
}

impl Looks {
    /// Waits until another look is worth it.
    pub async fn again(&mut self) {
        if tokio::time::timeout(self.pause, self.written.changed()).await.is_err() {
            self.pause = (self.pause * 2).min(LAST);
        }
        tokio::time::sleep_until(self.looked + LEAST).await;
        self.written.mark_unchanged();
        self.looked = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_written_is_looked_at_soon_and_not_each_time() {
        let written = Written::default();
        let (mut looks, begun) = (written.looks(), Instant::now());
        looks.again().await;
        assert_eq!(begun.elapsed(), FIRST, "though nothing was said");
        let writing = async {
            for _ in 0..1000 {
                written.now();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let looking = async {
            let mut times = 0;
            loop {
                looks.again().await;
                times += 1;
                if begun.elapsed() >= Duration::from_secs(1) {
                    return times;
                }
            }
        };
        let ((), times) = tokio::join!(writing, looking);
        assert!((90..=110).contains(&times), "{times} in a second");
    }
}
