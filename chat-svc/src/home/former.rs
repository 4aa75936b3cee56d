//! What members had set when they joined: group-svc keeps it of who leaves. A row that has their joining has all that was set
//! before it as well.

use super::{
    Home,
    batch::Batch,
    fetch::{Fetched, NOBODY, Sources, Wanted, behind},
};
use crate::{
    ask::{Ask, Claim, What},
    room::settings,
};
use madang_proto::{
    client::v1::History,
    id::{ConversationId, UserId},
    log::v1::{LoggedEvent, MemberSettings, logged_event::Body},
    reason::Refusal,
};
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
                let (conversation, user, revision) = (*conversation, *user, *revision);
                fetched.push(Fetched::Settings { conversation, user, revision, found });
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
    fetched.extend(wanted.into_iter().map(|(conversation, user, revision)| {
        let found = Err(refusal.clone());
        Fetched::Settings { conversation, user, revision, found }
    }));
}

impl Home {
    /// Holds what takes a member's settings, and what they ask behind it, until it is known what they had set when they joined;
    /// none: it is on its way already.
    pub(super) fn wait_for_settings(&mut self, ask: Ask, user: UserId, wanted: Option<Wanted>) {
        let Some(ask) = self.waits.take(ask) else { return };
        self.to_fetch.extend(wanted);
        self.waits.settings.entry((ask.conversation, user)).or_default().push(ask);
    }

    /// It is: they go on behind that.
    pub(super) fn found_settings(
        &mut self,
        (conversation, user): (ConversationId, UserId),
        joined: u64,
        found: Result<MemberSettings, Refusal>,
    ) {
        let queue = self.waits.settings.remove(&(conversation, user)).unwrap_or_default();
        self.release(queue, found.as_ref().err());
        if let Ok(former) = found {
            self.ready.push_front(Ask {
                conversation,
                actor: Some(user),
                what: What::Settled(joined, Box::new(former)),
                claim: Claim::default(),
                trace: None,
                answer: Box::new(|_| ()),
            });
        }
    }

    /// Takes note of it, while nothing of the room is on its way to the log that would be as of before.
    pub(super) fn settle(&mut self, ask: Ask, batch: &mut Batch) {
        let Ask { conversation, actor: Some(user), what: What::Settled(joined, former), .. } = ask else { return };
        if let Some(room) = self.rooms.get_mut(&conversation) {
            room.state.settle(&user, joined, &former);
            self.weigh(&conversation);
        }
        batch.settle(&conversation, &user, (joined, &former));
    }

    /// Where all is shown to who comes, what they had cleared when they left is not: it is asked for as they come back.
    pub(super) fn ask_for_settings(&mut self, conversation: ConversationId, event: &LoggedEvent) {
        let (Some(Body::Joined(joined)), Some(room)) = (&event.body, self.rooms.get(&conversation)) else { return };
        if room.state.history == History::All {
            let users = joined.members.iter().filter_map(|member| UserId::from_slice(&member.user).ok());
            let lacking = users.filter_map(|user| Some((user, room.state.lacks_settings(&user)?)));
            self.to_fetch.extend(lacking.map(|(user, revision)| Wanted::Settings { conversation, user, revision }));
        }
    }
}
