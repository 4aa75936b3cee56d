//! Who is brought into a group: whom somebody may bring in is asked of account-svc and the database, right before each try.
//! account-svc is asked about blocks once more when they are in: a block that was answered before the home let them in, and
//! after it was asked for, would count for nothing. Who has blocked the other by then goes again; nobody is answered before that.

use super::{Groups, operation, refuse, user_of};
use crate::store::present;
use madang_mesh::{
    operations::Tries,
    status::{from_status, to_status},
};
use madang_proto::{
    account::v1::{FindBlocksRequest, GetUsersRequest},
    chat::v1::{RemoveMember, operation::Body},
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
        match self.try_to_bring(field, users, (id, actor), body, &mut announced).await {
            Ok((ack, refused)) => {
                let (ack, blocked) = self.look_again((id, actor), ack, announced.users.into_iter().collect()).await?;
                Ok((ack, refused.into_iter().chain(blocked).collect()))
            }
            Err(status) => {
                if !announced.unanswered {
                    self.call_off(id, announced.users.into_iter().collect(), &status).await;
                }
                Err(status)
            }
        }
    }

    /// Puts those out again who came in by this, as of an event, and between whom and the actor there is a block now.
    async fn look_again(
        &self,
        (id, actor): (ConversationId, UserId),
        mut ack: Ack,
        users: Vec<UserId>,
    ) -> Result<(Ack, Vec<Refusal>), Status> {
        let mut refused = Vec::new();
        if ack.duplicate || users.is_empty() {
            return Ok((ack, refused));
        }
        let blocked = self.blocked(actor, &users).await?;
        if blocked.is_empty() {
            return Ok((ack, refused));
        }
        let room = self.changed(id, &ack).await?;
        let came = |user: UserId| present(&room, user).is_some_and(|member| member.joined_revision == ack.revision);
        let out: Vec<UserId> = blocked.into_iter().filter(|user| came(*user)).collect();
        for user in out {
            let leave = Body::RemoveMember(RemoveMember { user: user.to_string() });
            match self.operations.operate(id, operation(id, user, leave)).await {
                Ok(left) => ack.revision = left.revision,
                // They have left by themselves.
                Err(refusal) if refusal.reason == Reason::ConversationNotFound => {}
                Err(refusal) => return Err(to_status(&refusal)),
            }
            refused.push(Refusal { user: user.to_string(), reason: Reason::Blocked.word().into() });
        }
        Ok((ack, refused))
    }

    /// Those of these users who block somebody or are blocked by them, as account-svc has it now.
    async fn blocked(&self, actor: UserId, users: &[UserId]) -> Result<HashSet<UserId>, Status> {
        let pairs = users.iter().flat_map(|other| [*actor.bytes(), *other.bytes()]).flatten().collect();
        let answer = self.account.clone().find_blocks(FindBlocksRequest { pairs }).await;
        let places = answer.map_err(|status| to_status(&from_status(&status)))?.into_inner().blocked;
        Ok(places.into_iter().filter_map(|place| users.get(place as usize).copied()).collect())
    }

    /// Brings users in, as often as that has to be tried, and takes note of who was announced. Who may be brought in is looked at
    /// right before each try, for a block holds once it is acknowledged.
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
        let mut account = self.account.clone();
        let (users, blocked) = tokio::join!(account.get_users(profiles), self.blocked(actor, &asked));
        let (users, blocked) = (users.map_err(|status| to_status(&from_status(&status)))?.into_inner(), blocked?);
        let known: HashSet<String> =
            users.users.into_iter().filter(|user| !user.deleted).map(|user| user.user).collect();
        if !known.contains(&actor.to_string()) {
            return Err(refuse(Reason::UserNotFound, "there is no such user as this is to be done for: check the id"));
        }
        let one = |user: UserId| {
            let unknown = (!known.contains(&user.to_string())).then_some(Reason::UserNotFound);
            (user, unknown.or(blocked.contains(&user).then_some(Reason::Blocked)))
        };
        Ok(asked.into_iter().map(one).collect())
    }
}
