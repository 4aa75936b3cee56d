//! Who is brought into a group: whom somebody may bring in is asked of account-svc and the database, right before each try.

use super::{Groups, failed, operation, refuse, user_of};
use madang_mesh::{
    operations::Tries,
    status::{from_status, to_status},
};
use madang_proto::{
    account::v1::{FindBlocksRequest, GetUsersRequest},
    chat::v1::operation::Body,
    client::v1::Ack,
    group::v1::Refusal,
    id::{ConversationId, UserId},
    reason::Reason,
};
use std::collections::HashSet;
use tonic::Status;

impl Groups {
    /// Brings users in, named in a field: who may be is looked at right before each try, for a block holds once it is
    /// acknowledged. With the refusals of the others.
    pub(super) async fn bring(
        &self,
        field: &str,
        users: &[String],
        (id, actor): (ConversationId, UserId),
        body: impl Fn(Vec<String>) -> Result<Body, Status>,
    ) -> Result<(Ack, Vec<Refusal>), Status> {
        let tries = Tries::begin();
        loop {
            let (may, refused) = self.known(field, users, actor).await?;
            match self.operations.once(id, operation(id, actor, body(may)?)).await {
                Ok(ack) => return Ok((ack, refused)),
                Err(refusal) if tries.again(&refusal).await => {}
                Err(refusal) => return Err(to_status(&refusal)),
            }
        }
    }

    /// Those of the users, named in a field, whom somebody may bring in, in order, and the refusals of the others: who is
    /// nobody, who blocks the other or is blocked, as account-svc has it now, and who is in as many conversations as one may be.
    /// Nobody acts for who is nobody.
    pub(super) async fn known(
        &self,
        field: &str,
        users: &[String],
        actor: UserId,
    ) -> Result<(Vec<String>, Vec<Refusal>), Status> {
        let mut seen = HashSet::from([actor]);
        let mut asked = Vec::new();
        for each in users {
            let id = user_of(field, each)?;
            if seen.insert(id) {
                asked.push(id);
            }
        }
        if asked.len() >= 1000 {
            return Err(self.full());
        }
        let users = asked.iter().chain([&actor]).map(ToString::to_string).collect();
        let profiles = GetUsersRequest { users, handle: String::new() };
        let pairs = asked.iter().flat_map(|other| [*actor.bytes(), *other.bytes()]).flatten().collect();
        let (mut account, mut again) = (self.account.clone(), self.account.clone());
        let answers = tokio::join!(account.get_users(profiles), again.find_blocks(FindBlocksRequest { pairs }));
        let unanswered = |status| to_status(&from_status(&status));
        let (users, blocks) =
            (answers.0.map_err(unanswered)?.into_inner(), answers.1.map_err(unanswered)?.into_inner());
        let known: HashSet<String> =
            users.users.into_iter().filter(|user| !user.deleted).map(|user| user.user).collect();
        if !known.contains(&actor.to_string()) {
            return Err(refuse(Reason::UserNotFound, "there is no such user as this is to be done for: check the id"));
        }
        let blocked: HashSet<u32> = blocks.blocked.into_iter().collect();
        let counts = self.store.counts(asked.clone()).await.map_err(|error| failed(&error))?;
        let (mut may, mut refused) = (Vec::new(), Vec::new());
        for (place, id) in (0..).zip(asked) {
            let user = id.to_string();
            let reason = if !known.contains(&user) {
                Reason::UserNotFound
            } else if blocked.contains(&place) {
                Reason::Blocked
            } else if counts.get(&id).copied().unwrap_or(0) >= self.settings.max_conversations {
                Reason::TooManyConversations
            } else {
                may.push(user);
                continue;
            };
            refused.push(Refusal { user, reason: reason.word().into() });
        }
        Ok((may, refused))
    }
}
