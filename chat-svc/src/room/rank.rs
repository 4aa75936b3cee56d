//! Ranks: who may do what to whom, and to whom an owner's place falls.

use super::{Member, Members, State};
use madang_proto::{
    client::v1::Role,
    id::UserId,
    reason::{Reason, Refusal},
};

/// That somebody has one of these ranks.
pub(super) fn require(state: &State, actor: UserId, roles: &[Role], why: &str) -> Result<(), Refusal> {
    let role = state.members.get(&actor).map_or(Role::Unspecified, |member| member.role);
    if roles.contains(&role) { Ok(()) } else { Err(Refusal::new(Reason::RoleRequired, why)) }
}

/// That somebody may remove somebody.
pub(super) fn may_remove(state: &State, actor: UserId, user: UserId, target: Member) -> Result<(), Refusal> {
    let role = state.members.get(&actor).map_or(Role::Unspecified, |member| member.role);
    let allowed = actor == user
        || match target.role {
            Role::Owner => false,
            Role::Admin => role == Role::Owner,
            _ => matches!(role, Role::Owner | Role::Admin),
        };
    if allowed {
        Ok(())
    } else {
        Err(Refusal::new(Reason::RoleRequired, "only an admin (of an admin: the owner) may remove"))
    }
}

/// Who an owner's place falls to: the longest-serving admin, or member.
pub(super) fn heir(members: &Members) -> Option<UserId> {
    let rank = |member: &Member| (member.role != Role::Admin, member.joined_revision);
    members.by_user.iter().min_by_key(|(user, member)| (rank(member), **user)).map(|(user, _)| *user)
}
