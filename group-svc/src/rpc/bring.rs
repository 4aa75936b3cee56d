//! Who is brought into a group: whom somebody may bring in is asked of account-svc and the database, right before each try.

use super::{Groups, operation, refuse, user_of};
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

/// Somebody who is to be brought in, and why not, if so.
type Asked = (UserId, Option<Reason>);

/// Those who may be brought in, and the refusals of the others, where these are in as many conversations as one may be.
pub(super) fn sorted(asked: Vec<Asked>, full: &HashSet<UserId>) -> (Vec<String>, Vec<Refusal>) {
    let (mut may, mut refused) = (Vec::new(), Vec::new());
    for (user, reason) in asked {
        let (full, user) = (full.contains(&user), user.to_string());
        match reason.or(full.then_some(Reason::TooManyConversations)) {
            None => may.push(user),
            Some(reason) => refused.push(Refusal { user, reason: reason.word().into() }),
        }
    }
    (may, refused)
}

/// Who was announced, and whether they may have come by a try that was not answered.
#[derive(Default)]
struct Announced {
    users: HashSet<UserId>,
    unanswered: bool,
}

impl Groups {
    /// Brings users in, named in a field, with the refusals of the others.
    pub(super) async fn bring(
        &self,
        field: &str,
        users: &[String],
        (id, actor): (ConversationId, UserId),
        body: impl Fn(Vec<String>) -> Result<Body, Status>,
    ) -> Result<(Ack, Vec<Refusal>), Status> {
        let mut announced = Announced::default();
        let brought = self.try_to_bring(field, users, (id, actor), body, &mut announced).await;
        if let (Err(status), false) = (&brought, announced.unanswered) {
            self.call_off(id, announced.users.into_iter().collect(), status).await;
        }
        brought
    }

    /// The same; who may be is looked at right before each try, for a block holds once it is acknowledged.
    async fn try_to_bring(
        &self,
        field: &str,
        users: &[String],
        (id, actor): (ConversationId, UserId),
        body: impl Fn(Vec<String>) -> Result<Body, Status>,
        announced: &mut Announced,
    ) -> Result<(Ack, Vec<Refusal>), Status> {
        let tries = Tries::begin();
        loop {
            let asked = self.known(field, users, actor).await?;
            let may = asked.iter().filter(|(_, reason)| reason.is_none()).map(|(user, _)| *user);
            let new: Vec<UserId> = may.filter(|user| !announced.users.contains(user)).collect();
            let full = self.announce(id, new.clone()).await?;
            announced.users.extend(new.into_iter().filter(|user| !full.contains(user)));
            let (may, refused) = sorted(asked, &full);
            match self.operations.once(id, operation(id, actor, body(may)?)).await {
                Ok(ack) => return Ok((ack, refused)),
                Err(refusal) if tries.again(&refusal).await => {
                    announced.unanswered |= refusal.reason == Reason::Unavailable;
                }
                Err(refusal) => return Err(to_status(&refusal)),
            }
        }
    }

    /// The users, named in a field, whom somebody would bring in, in order, each with why that may not be: who is nobody, and who
    /// blocks the other or is blocked, as account-svc has it now. Nobody acts for who is nobody.
    pub(super) async fn known(&self, field: &str, users: &[String], actor: UserId) -> Result<Vec<Asked>, Status> {
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
        let one = |(place, user): (u32, UserId)| {
            let unknown = !known.contains(&user.to_string());
            let reason = if unknown { Some(Reason::UserNotFound) } else { None };
            (user, reason.or(blocked.contains(&place).then_some(Reason::Blocked)))
        };
        Ok((0..).zip(asked).map(one).collect())
    }
}
