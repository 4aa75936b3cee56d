//! Erasing what was said. The log decides here as well: each message's home is asked to take it back, a page at a time, and
//! everybody hears of it like of any deletion. What is gone already is passed over, so any step may be done again.

use super::{History, conversation, failed};
use madang_mesh::status::{from_status, invalid_field, to_status};
use madang_proto::{
    chat::v1::{EraseMessages, Operation, operation::Body},
    client::v1::Message,
    group::v1::ListMembershipsRequest,
    id::{ConversationId, UserId},
    store::v1::{EraseRequest, EraseResponse},
};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;
use tonic::Status;
use uuid::Uuid;

/// How many messages are looked at at once: as many as a home erases with one operation.
const PAGE: usize = 200;
/// How long one call goes on before it says where the next one begins.
const STEP: Duration = Duration::from_secs(5);

/// Where a step begins: at a message of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    conversation: ConversationId,
    seq: u64,
}

impl Place {
    fn text(self) -> String {
        format!("{}.{}", self.conversation, self.seq)
    }

    fn read(text: &str) -> Result<Option<Self>, Status> {
        if text.is_empty() {
            return Ok(None);
        }
        let place = text.split_once('.').and_then(|(conversation, seq)| {
            Some(Self { conversation: conversation.parse().ok()?, seq: seq.parse().ok()? })
        });
        place.map(Some).ok_or_else(|| invalid_field("place", "place must be that of the answer before, or empty"))
    }
}

/// What is still to be taken back of a page, by who sent it.
fn by_sender(messages: &[Message], of: Option<UserId>) -> BTreeMap<UserId, Vec<u64>> {
    let mut found: BTreeMap<UserId, Vec<u64>> = BTreeMap::new();
    for message in messages.iter().filter(|message| !message.deleted) {
        if let Ok(sender) = message.sender.parse()
            && of.is_none_or(|of| of == sender)
        {
            found.entry(sender).or_default().push(message.seq);
        }
    }
    found
}

impl History {
    pub(super) async fn erase_some(&self, request: EraseRequest) -> Result<EraseResponse, Status> {
        let end = Instant::now() + STEP;
        let EraseRequest { conversation: whole, sender, place } = request;
        let sender: Option<UserId> = match sender.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| invalid_field("sender", "sender must be a user's id, or empty"))?),
        };
        let mut place = Place::read(&place)?;
        let mut answer = EraseResponse::default();
        let Some(sender) = sender.filter(|_| whole.is_empty()) else {
            let id = conversation(&whole)?;
            let from = place.filter(|place| place.conversation == id).map_or(1, |place| place.seq);
            answer.place =
                self.erase_in(id, sender, from, end, &mut answer.messages).await?.map_or_else(String::new, Place::text);
            return Ok(answer);
        };
        loop {
            if let Some(Place { conversation, seq }) = place {
                let rest = self.erase_in(conversation, Some(sender), seq, end, &mut answer.messages).await?;
                if let Some(rest) = rest {
                    answer.place = rest.text();
                    return Ok(answer);
                }
            }
            let after = place.map(|place| place.conversation.to_string()).unwrap_or_default();
            // Also what is still on its way into group-svc's database.
            let within_ms = place.is_none().then_some(0);
            let request = ListMembershipsRequest { user: sender.to_string(), after, page_size: 1, within_ms };
            let page = self.group.clone().list_memberships(request).await;
            let page = page.map_err(|status| to_status(&from_status(&status)))?.into_inner().memberships;
            let Some(next) = page.first() else { return Ok(answer) };
            place = Some(Place { conversation: conversation(&next.conversation)?, seq: 1 });
        }
    }

    /// Erases in one conversation, from a message on; where to go on, if there was no time for all of it.
    async fn erase_in(
        &self,
        id: ConversationId,
        sender: Option<UserId>,
        from: u64,
        end: Instant,
        erased: &mut u64,
    ) -> Result<Option<Place>, Status> {
        // The home's own word for how far the conversation has come: so nothing is left that was acknowledged before.
        let mut revision = self.erase_at_home(id, sender.unwrap_or(UserId::from(Uuid::nil())), Vec::new()).await?;
        self.reach(id, revision).await?;
        let mut next = from;
        loop {
            let page = self.store.page(id, next, u64::MAX >> 1, PAGE, false).await.map_err(failed)?;
            let Some(last) = page.last() else { break };
            for (sender, seqs) in by_sender(&page, sender) {
                let count = seqs.len() as u64;
                revision = revision.max(self.erase_at_home(id, sender, seqs).await?);
                *erased += count;
            }
            next = last.seq + 1;
            if Instant::now() >= end {
                break;
            }
        }
        // Answered, it is gone from history.
        self.reach(id, revision).await?;
        let more = !self.store.page(id, next, u64::MAX >> 1, 1, false).await.map_err(failed)?.is_empty();
        Ok(more.then_some(Place { conversation: id, seq: next }))
    }

    async fn erase_at_home(&self, id: ConversationId, sender: UserId, seqs: Vec<u64>) -> Result<u64, Status> {
        let body = Some(Body::Erase(EraseMessages { seqs }));
        let operation =
            Operation { conversation: id.to_string(), actor: sender.to_string(), body, ..Operation::default() };
        let done = self.operations.operate(id, operation).await;
        done.map(|ack| ack.revision).map_err(|refusal| to_status(&refusal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_given_and_nothing_else() {
        let place = Place { conversation: ConversationId::new(), seq: 42 };
        assert_eq!(Place::read(&place.text()).ok(), Some(Some(place)));
        assert_eq!(Place::read("").ok(), Some(None));
        for bad in [".", "x", "x.1", &format!("{}.", place.conversation), &format!("{}.-1", place.conversation)] {
            assert!(Place::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_gone_or_somebody_elses_is_passed_over() {
        let (one, other) = (UserId::new(), UserId::new());
        let message =
            |seq, sender: UserId, deleted| Message { seq, sender: sender.to_string(), deleted, ..Default::default() };
        let page = [message(1, one, false), message(2, other, false), message(3, one, true), message(4, one, false)];
        assert_eq!(by_sender(&page, Some(one)), BTreeMap::from([(one, vec![1, 4])]));
        assert_eq!(by_sender(&page, None), BTreeMap::from([(one, vec![1, 4]), (other, vec![2])]));
    }
}
