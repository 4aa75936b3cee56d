//! What members had set when they joined: group-svc keeps it of who leaves. A row that has their joining has all that was set
//! before it as well.

use super::fetch::{Fetched, NOBODY, Sources, behind};
use crate::room::settings;
use madang_proto::id::{ConversationId, UserId};
use std::{collections::HashSet, time::Duration};

/// How often rows are looked at that have not somebody's joining yet, and after how long again.
const LOOKS: usize = 10;
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What these had set, each as of the event with which they joined.
pub async fn fetch(sources: &dyn Sources, mut wanted: Vec<(ConversationId, UserId, u64)>, fetched: &mut Vec<Fetched>) {
    let mut refusal = behind();
    for look in 0..LOOKS {
        if look > 0 {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let ids: HashSet<_> = wanted.iter().map(|(conversation, ..)| *conversation).collect();
        match sources.rooms(&ids.into_iter().collect::<Vec<_>>(), NOBODY).await {
            Ok(rows) => wanted.retain(|(conversation, user, revision)| {
                let Some(row) = rows.get(conversation).filter(|row| row.revision >= *revision) else { return true };
                let found = Ok(settings::in_row(row, user));
                fetched.push(Fetched::Settings { conversation: *conversation, user: *user, found });
                false
            }),
            Err(error) => {
                refusal = error;
                break;
            }
        }
        if wanted.is_empty() {
            break;
        }
    }
    fetched.extend(wanted.into_iter().map(|(conversation, user, _)| {
        let found = Err(refusal.clone());
        Fetched::Settings { conversation, user, found }
    }));
}
