//! Invites: an admin makes one, whoever has its code joins. A place is taken first and then the room's home is asked, as
//! for everybody who comes; a home that does not answer leaves the place taken, for the same user to ask again.

use super::{
    Groups,
    again::{has_ended, has_left},
    coming::may_be_done,
    conversation, failed, good_key, not_found, refuse, reused, user, view,
};
use crate::store::{
    Seen,
    invites::{Hash, Invited, Kept, Taken, code, hash, new_code},
    keys, present,
};
use madang_mesh::{
    clock,
    refused::Refused,
    status::{from_status, invalid_field, to_status},
};
use madang_proto::{
    chat::v1::{self as chat, operation::Body},
    client::v1::{Ack, Conversation, ConversationKind, Role},
    group::v1::*,
    id::{ConversationId, UserId},
    reason::{self, Reason},
};
use std::{sync::LazyLock, time::Instant};
use tonic::Status;

/// How many codes somebody may try a second, and at once.
pub const TRIES: (u32, u32) = (1, 30);

static GUESSES: LazyLock<Refused> = LazyLock::new(|| {
    Refused::new("invite_codes", "looks at invites by users beyond one a second: somebody may be guessing codes")
});

fn no_invite() -> Status {
    refuse(Reason::InviteNotFound, "there is no such invite (any more): ask for a new one")
}

fn expired() -> Status {
    refuse(Reason::InviteExpired, "the invite's time is over: ask for a new one")
}

fn used_up() -> Status {
    refuse(Reason::InviteUsedUp, "as many have joined by this invite as may: ask for a new one")
}

impl Groups {
    /// The group whose invites an admin may see and make.
    async fn administered(&self, whose: UserId, id: ConversationId) -> Result<(), Status> {
        let room = self.room(id, 0).await?;
        let me = present(&room, whose).ok_or_else(not_found)?;
        if room.kind() == ConversationKind::Direct {
            let message = "a direct conversation has its two members for good: make a group";
            return Err(refuse(Reason::DirectConversation, message));
        }
        if !matches!(me.role(), Role::Owner | Role::Admin) {
            return Err(refuse(Reason::RoleRequired, "only admins see and make invites"));
        }
        Ok(())
    }

    pub(super) async fn invites_of(&self, request: ListInvitesRequest) -> Result<Vec<Invite>, Status> {
        let (whose, id) = (user(&request.user)?, conversation(&request.conversation)?);
        let invites = self.store.invites(id).await.map_err(|error| failed(&error))?;
        // Looked at afterwards: who may see them now might have seen all of these before.
        self.administered(whose, id).await?;
        Ok(invites.into_iter().map(Kept::view).collect())
    }

    pub(super) async fn invite(&self, request: CreateInviteRequest) -> Result<Invite, Status> {
        let CreateInviteRequest { user: whose, conversation: id, expires_at, max_uses, idempotency_key: key } = request;
        let (whose, id) = (user(&whose)?, conversation(&id)?);
        good_key(&key)?;
        self.administered(whose, id).await?;
        let (now, asked) = (clock::now_ms(), keys::of_invite(expires_at, max_uses));
        let (mut code, mut under) = (new_code(), None);
        if !key.is_empty() {
            let (key, new) = (format!("invite {id} {key}"), uuid::Uuid::from_bytes(rand::random()).into());
            let made = self.store.made(whose, key.clone(), new, now).await.map_err(|error| failed(&error))?;
            if made.is_of_another(&asked) {
                return Err(reused("invite"));
            }
            code = self::code(*made.id.bytes());
            if made.asked.is_some() {
                // As it was at first. It may have been taken back since: its code is never made to work again.
                return Ok(Kept { code, conversation: id, by: whose, expires_at, max_uses, uses: 0 }.view());
            }
            under = Some((key, asked));
        }
        if expires_at != 0 && expires_at <= now {
            return Err(invalid_field("expiresAt", "expiresAt must be a time to come, in ms since 1970, or 0"));
        }
        let invite = Kept { code, conversation: id, by: whose, expires_at, max_uses, uses: 0 };
        match self.store.invite(invite.clone(), under, now).await.map_err(|error| failed(&error))? {
            Invited::Made => {
                // Who has been put out meanwhile has no code in hand. Where that can't be told, who asks again is looked at
                // again, and finds it.
                if let Err(status) = self.administered(whose, id).await {
                    if from_status(&status).reason.retryable() {
                        return Err(status);
                    }
                    self.store.take_back(id, hash(&invite.code)).await.map_err(|error| failed(&error))?;
                    return Err(status);
                }
                Ok(invite.view())
            }
            Invited::Full => {
                let most = crate::store::invites::INVITES;
                let message = format!("the group has {most} invites that are of use: take one back first");
                Err(refuse(Reason::TooManyInvites, message))
            }
            Invited::Before => {
                let message = "this is being done at the moment, under the same Idempotency-Key: ask again";
                Err(to_status(&reason::Refusal::new(Reason::Unavailable, message).after(100)))
            }
        }
    }

    pub(super) async fn uninvite(&self, request: DeleteInviteRequest) -> Result<(), Status> {
        let (whose, id) = (user(&request.user)?, conversation(&request.conversation)?);
        self.administered(whose, id).await?;
        let gone = self.store.take_back(id, hash(&request.code)).await.map_err(|error| failed(&error))?;
        if gone { Ok(()) } else { Err(no_invite()) }
    }

    /// The invite of a code, and its group; each look counts as a try.
    async fn by_code(&self, whose: UserId, code: &str) -> Result<(Hash, Kept, RoomState), Status> {
        if let Err(ms) = self.tries.take(whose, Instant::now()) {
            GUESSES.count();
            let refusal = reason::Refusal::new(Reason::RateLimited, "too many codes were tried: try again later");
            return Err(to_status(&refusal.after(ms)));
        }
        let hash = hash(code);
        let invite = self.store.find_invite(hash).await.map_err(|error| failed(&error))?.ok_or_else(no_invite)?;
        let room = self.room(invite.conversation, 0).await.map_err(|status| {
            if from_status(&status).reason == Reason::ConversationNotFound { no_invite() } else { status }
        })?;
        if has_ended(&room) {
            return Err(no_invite());
        }
        Ok((hash, invite, room))
    }

    pub(super) async fn look(&self, request: GetInviteRequest) -> Result<GetInviteResponse, Status> {
        let whose = user(&request.user)?;
        let (_, invite, room) = self.by_code(whose, &request.code).await?;
        let inside = present(&room, whose).is_some();
        if !inside && invite.expired(clock::now_ms()) {
            return Err(expired());
        }
        if !inside && invite.used_up() {
            return Err(used_up());
        }
        let count = room.members.iter().filter(|member| member.left_revision == 0).count();
        Ok(GetInviteResponse {
            name: room.name,
            picture: room.picture,
            member_count: u32::try_from(count).unwrap_or(u32::MAX),
            expires_at: invite.expires_at,
            conversation: if inside { invite.conversation.to_string() } else { String::new() },
        })
    }

    pub(super) async fn join(&self, request: AcceptInviteRequest) -> Result<Conversation, Status> {
        let AcceptInviteRequest { user: whose, code, idempotency_key: key } = request;
        let whose = user(&whose)?;
        good_key(&key)?;
        let (hash, invite, room) = self.by_code(whose, &code).await?;
        let id = invite.conversation;
        if !key.is_empty() {
            let since = self.first_asked(whose, format!("join {id} {key}"), &room).await?;
            if has_left(&room, whose, since) {
                return Err(not_found());
            }
        }
        if let Some(me) = present(&room, whose) {
            let me = me.clone();
            return Ok(view(Seen::of(room, me)));
        }
        self.announce_self(id, whose).await?;
        let come = self.come_by(id, (hash, whose), room.revision).await;
        let ack = match come {
            Ok(ack) => ack,
            Err(status) => {
                self.call_off(id, vec![whose], &status).await;
                return Err(status);
            }
        };
        self.store.settle(hash, whose, Some(ack.revision)).await.map_err(|error| failed(&error))?;
        let seen = self.seen(whose, self.changed(id, &ack).await?)?;
        Ok(view(seen))
    }

    /// Takes a place, who was not in the group at a revision, and comes in.
    async fn come_by(&self, id: ConversationId, (hash, whose): (Hash, UserId), looked_at: u64) -> Result<Ack, Status> {
        let now = clock::now_ms();
        match self.store.take_place(hash, whose, now, looked_at).await.map_err(|error| failed(&error))? {
            Taken::Place => {}
            Taken::Expired => return Err(expired()),
            Taken::UsedUp => return Err(used_up()),
            Taken::Gone => return Err(no_invite()),
        }
        let operated = self.operate(id, whose, Body::Admit(chat::Admit {})).await;
        let Err(status) = operated else { return operated };
        let refusal = from_status(&status);
        if !may_be_done(&refusal) {
            self.store.settle(hash, whose, None).await.map_err(|error| failed(&error))?;
        }
        Err(if refusal.reason == Reason::ConversationNotFound { no_invite() } else { status })
    }
}
