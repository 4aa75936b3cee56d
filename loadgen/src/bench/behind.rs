//! How far the databases are behind when the sending ends: until history and the list have all that was acknowledged.

use super::connection::Conversation;
use crate::Error;
use madang_client::Http;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// How many conversations are looked at.
const SAMPLES: usize = 16;
/// How often.
const LOOK: Duration = Duration::from_millis(20);
/// For how long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Conversations to look at, each with a member's token.
pub struct Behind {
    http: Http,
    samples: Vec<(String, Arc<Conversation>)>,
}

impl Behind {
    /// Looks at some of these.
    pub fn new(http: Http, all: impl Iterator<Item = (String, Arc<Conversation>)>) -> Self {
        let mut samples: Vec<(String, Arc<Conversation>)> = Vec::new();
        for (token, conversation) in all {
            if samples.len() < SAMPLES && !samples.iter().any(|(_, known)| Arc::ptr_eq(known, &conversation)) {
                samples.push((token, conversation));
            }
        }
        Self { http, samples }
    }

    /// Waits until all is there; how long after `since` that was, in history and in the list.
    pub async fn wait(&self, since: Instant) -> Result<(Duration, Duration), Error> {
        let (mut store, mut group) = (Duration::ZERO, Duration::ZERO);
        for (token, conversation) in &self.samples {
            let wanted = conversation.acked();
            let listed = loop {
                let listed = self.http.conversations(token).await?.pop();
                if let Some(listed) = listed.filter(|listed| listed.last_seq >= wanted) {
                    break listed.conversation;
                }
                pause(since).await?;
            };
            group = group.max(since.elapsed());
            while self.http.newest(token, &listed, 1).await?.messages.last().is_none_or(|last| last.seq < wanted) {
                pause(since).await?;
            }
            store = store.max(since.elapsed());
        }
        Ok((store, group))
    }
}

async fn pause(since: Instant) -> Result<(), Error> {
    if since.elapsed() > PATIENCE {
        return Err(Error::Format(format!("{PATIENCE:?} after the last message the databases do not have all")));
    }
    sleep(LOOK).await;
    Ok(())
}
