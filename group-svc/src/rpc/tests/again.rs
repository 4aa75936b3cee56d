//! A home does what it is asked, and nobody hears of it: what is asked again is found done. What it refuses stays refused.

use super::*;
use tonic::Code;

fn code<T>(answer: Result<Response<T>, Status>) -> Result<T, Code> {
    answer.map(Response::into_inner).map_err(|status| status.code())
}

impl Stage {
    async fn remove(&self, actor: UserId, member: UserId) -> Result<u64, Code> {
        let (user, conversation, member) = (actor.to_string(), self.id.to_string(), member.to_string());
        let request = RemoveMemberRequest { user, conversation, member };
        Ok(code(self.groups.remove_member(Request::new(request)).await)?.revision)
    }

    async fn hand_over(&self, actor: UserId, member: UserId) -> Result<u64, Code> {
        let (user, conversation, member) = (actor.to_string(), self.id.to_string(), member.to_string());
        let request = SetRoleRequest { user, conversation, member, role: Role::Owner.into() };
        Ok(code(self.groups.set_role(Request::new(request)).await)?.revision)
    }

    async fn end(&self, actor: UserId) -> Result<EndGroupResponse, Code> {
        let request = EndGroupRequest { user: actor.to_string(), conversation: self.id.to_string() };
        code(self.groups.end_group(Request::new(request)).await)
    }
}

#[tokio::test]
async fn what_nobody_heard_of_is_done_once_and_found_done() {
    let stage = Stage::new().await;
    let (ann, bob, cho) = (stage.ann, stage.bob, stage.cho);
    stage.turns(&[Turn::Unheard]);
    let added = stage.add(ann, &[cho]).await.unwrap();
    assert_eq!((added.revision, added.refused, stage.now().0), (2, vec![], 2));
    stage.turns(&[Turn::Down, Turn::Unheard, Turn::Down]);
    assert_eq!((stage.remove(ann, cho).await, stage.now().0), (Ok(3), 3));
    let again = stage.add(ann, &[cho]).await.unwrap();
    assert_eq!((again.revision, stage.now().0), (4, 4), "who was put out may be brought in");
    // From here on the second try is refused: who has left is in no such group, and who has handed over is no owner.
    stage.turns(&[Turn::Unheard]);
    assert_eq!((stage.remove(cho, cho).await, stage.now().0), (Ok(5), 5));
    stage.turns(&[Turn::Unheard]);
    assert_eq!((stage.hand_over(ann, bob).await, stage.now().0), (Ok(6), 6));
    let room = stage.groups.room(stage.id, 6).await.unwrap();
    assert!(has_role(&room, bob, Role::Owner.into()) && has_left(&room, cho, 0));
    stage.turns(&[Turn::Unheard]);
    assert_eq!((stage.end(bob).await.map(|ended| ended.revision), stage.now()), (Ok(7), (7, vec![])));
    assert!(has_ended(&stage.groups.room(stage.id, 7).await.unwrap()), "as who asked is answered");
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_stays_refused() {
    let stage = Stage::new().await;
    let (ann, bob, cho) = (stage.ann, stage.bob, stage.cho);
    let refused = |code| (Err(code), 1);
    // Also where a try was not answered before: nothing of it is found done.
    for turns in [vec![], vec![Turn::Down]] {
        stage.turns(&turns);
        assert_eq!((stage.remove(cho, cho).await, stage.now().0), refused(Code::NotFound));
        stage.turns(&turns);
        assert_eq!((stage.remove(bob, ann).await, stage.now().0), refused(Code::PermissionDenied));
        stage.turns(&turns);
        assert_eq!((stage.hand_over(bob, cho).await, stage.now().0), refused(Code::PermissionDenied));
        stage.turns(&turns);
        assert_eq!((stage.end(bob).await.map(|ended| ended.revision), stage.now().0), refused(Code::PermissionDenied));
        stage.turns(&turns);
        assert_eq!(stage.add(cho, &[cho]).await.map(|_| ()).map_err(|status| status.code()), Err(Code::NotFound));
    }
    // No home answers at all.
    stage.turns(&[Turn::Down; 100]);
    assert_eq!((stage.remove(ann, bob).await, stage.now().0), refused(Code::Unavailable));
}

/// As where who asked heard of a fault alone, and asks again under the key.
#[tokio::test(start_paused = true)]
async fn who_has_left_since_it_was_first_asked_under_a_key_is_not_brought_back() {
    let stage = Stage::new().await;
    let (ann, bob, cho) = (stage.ann, stage.bob, stage.cho);
    let code = |answer: Result<AddMembersResponse, Status>| answer.map(|_| ()).map_err(|status| status.code());
    stage.turns(&[&[Turn::Unheard][..], &[Turn::Down; 100]].concat());
    assert_eq!(code(stage.add_under("k", ann, &[cho]).await), Err(Code::Unavailable));
    assert_eq!(stage.now().0, 2, "it was done");
    stage.turns(&[]);
    assert_eq!(stage.add_under("k", ann, &[cho]).await.unwrap().revision, 2, "and is not done again");
    assert_eq!(stage.remove(cho, cho).await, Ok(3));
    let again = stage.add_under("k", ann, &[cho]).await.unwrap();
    assert_eq!((again.refused, stage.now().0), (vec![], 3));
    // What was not done is, for who stays or was never there; another key is another request, another's key not this one.
    stage.turns(&[Turn::Down; 100]);
    assert_eq!(code(stage.add_under("l", ann, &[cho]).await), Err(Code::Unavailable));
    stage.turns(&[]);
    assert_eq!(stage.add_under("l", ann, &[cho]).await.unwrap().revision, 4);
    assert_eq!(stage.remove(cho, cho).await, Ok(5));
    assert_eq!(stage.add_under("k", bob, &[cho]).await.unwrap().revision, 6);
    // What the database does not have yet its home may know.
    stage.turns(&[Turn::Down; 100]);
    let (user, conversation, users) = (ann.to_string(), ConversationId::new().to_string(), vec![cho.to_string()]);
    let begun = AddMembersRequest { user, conversation, users, idempotency_key: "m".into() };
    assert_eq!(self::code(stage.groups.add_members(Request::new(begun)).await).map(|_| ()), Err(Code::Unavailable));
}
