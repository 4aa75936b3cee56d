//! Ranks: who may do what to whom, and to whom an owner's place falls.

use super::{Limits, Member, Members, State, full, not_a_member, not_found};
use madang_proto::{
    client::v1::{ConversationKind, Role},
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

/// Whether somebody has a rank already, of those whom the actor may give one.
pub(super) fn is_so(state: &State, actor: UserId, user: UserId, role: Role) -> Result<bool, Refusal> {
    let of = |user: UserId| state.members.get(&user).map(|member| member.role);
    // Whoever has handed the group over is an admin since, and asks again if they were not answered.
    if role == Role::Owner && of(user) == Some(Role::Owner) && of(actor) == Some(Role::Admin) {
        return Ok(true);
    }
    require(state, actor, &[Role::Owner], "only the owner gives ranks")?;
    let is_so = of(user).ok_or_else(not_a_member)? == role;
    if user == actor && !is_so {
        let message = "an owner hands the group over by making somebody else its owner";
        return Err(Refusal::new(Reason::InvalidField, message).of("user"));
    }
    Ok(is_so)
}

/// Who an owner's place falls to: the longest-serving admin, or member.
pub(super) fn heir(members: &Members) -> Option<UserId> {
    let rank = |member: &Member| (member.role != Role::Admin, member.joined_revision);
    members.by_user.iter().min_by_key(|(user, member)| (rank(member), **user)).map(|(user, _)| *user)
}

/// The group that somebody may come into by an invite; none: they are in it. One that has ended has nobody to come to.
pub(super) fn admit(state: &mut Option<State>, user: UserId, limits: Limits) -> Result<Option<&mut State>, Refusal> {
    let open = |state: &&mut State| state.kind == ConversationKind::Group && !state.members.by_user.is_empty();
    let state = state.as_mut().filter(open).ok_or_else(not_found)?;
    if state.members.get(&user).is_some() {
        return Ok(None);
    }
    if state.members.by_user.len() >= limits.members {
        return Err(full(limits));
    }
    Ok(Some(state))
}
