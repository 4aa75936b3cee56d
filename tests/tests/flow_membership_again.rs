//! Who is in a group is changed, and whoever asked for it hears nothing and asks again, without any key: it is done once, told
//! of once, and the second answer is the first, or says in so many words how it is. Over HTTP and over gRPC.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use madang_mesh::{channel::Channels, status::from_status};
use madang_proto::{
    client::v1::Role,
    group::v1::{group_service_client::GroupServiceClient, *},
    reason::Reason,
};
use madang_solo::{serve::Running, token::Tokens};
use madang_tests::{
    client::{Person, call, group_of_three},
    start,
};
use serde_json::{Value, json};

const ANN: usize = 0;
const BOB: usize = 1;
const CHO: usize = 2;
const DAN: usize = 3;

/// A group of ann, who owns it, bob and cho. bob is there to its end, and sees every notice.
struct Group {
    server: Running,
    people: Vec<Person>,
    id: String,
    folder: tempfile::TempDir,
}

impl Group {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = start(folder.path()).await;
        let (people, id) = group_of_three(&server, json!({})).await;
        Self { server, people, id, folder }
    }

    fn id_of(&self, who: usize) -> String {
        self.people[who].id.clone()
    }

    async fn ask(&self, who: usize, method: &str, path: &str, body: Value) -> (u16, Value) {
        let path = path.replace("{g}", &format!("/v1/groups/{}", self.id));
        let path = (0..4).fold(path, |path, n| path.replace(&format!("{{{n}}}"), &self.people[n].id));
        call(&self.server, method, &path, &self.people[who].token, body).await
    }

    /// How often something was told of, as bob sees it; none: he is in it no more.
    async fn told(&self) -> Option<usize> {
        let path = format!("/v1/conversations/{}/changes?since=0&limit=200", self.id);
        self.ask(BOB, "GET", &path, Value::Null).await.1["notices"].as_array().map(Vec::len)
    }

    async fn code(&self) -> String {
        let (status, invite) = self.ask(ANN, "POST", "{g}/invites", json!({"maxUses": 2})).await;
        assert_eq!(status, 201, "{invite}");
        invite["code"].as_str().unwrap().to_owned()
    }

    /// How often invites have been used.
    async fn uses(&self) -> u64 {
        let (_, answer) = self.ask(ANN, "GET", "{g}/invites", Value::Null).await;
        answer["invites"].as_array().unwrap().iter().map(|invite| invite["uses"].as_u64().unwrap()).sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_it_is_done_and_told_of_once() {
    let group = Group::new().await;
    let join = format!("/v1/invites/{}", group.code().await);
    let take_back = format!("{{g}}/invites/{}", group.code().await);
    // Where the second answer is another than the first: what it says.
    let steps = [
        (ANN, "POST", "{g}/members", json!({"users": [group.id_of(DAN)]}), None),
        (ANN, "PUT", "{g}/members/{3}/role", json!({"role": "ROLE_ADMIN"}), None),
        (ANN, "PATCH", "{g}", json!({"name": "뜰", "data": {"a": "1"}}), None),
        (ANN, "DELETE", "{g}/members/{3}", Value::Null, None),
        (DAN, "POST", &join, Value::Null, None),
        (DAN, "DELETE", "{g}/members/{3}", Value::Null, Some("CONVERSATION_NOT_FOUND")),
        (ANN, "DELETE", &take_back, Value::Null, Some("INVITE_NOT_FOUND")),
        (ANN, "PUT", "{g}/members/{1}/role", json!({"role": "ROLE_OWNER"}), None),
        (CHO, "DELETE", "{g}/members/{2}", Value::Null, Some("CONVERSATION_NOT_FOUND")),
        (BOB, "DELETE", "{g}", Value::Null, Some("CONVERSATION_NOT_FOUND")),
    ];
    for (who, method, path, body, other) in steps {
        let before = group.told().await;
        let first = group.ask(who, method, path, body.clone()).await;
        assert!(first.0 < 300, "{method} {path}: {first:?}");
        let told = group.told().await;
        assert!(told != before || path == take_back, "{method} {path} is told of");
        let again = group.ask(who, method, path, body).await;
        match other {
            None => assert_eq!(again, first, "{method} {path}, again"),
            Some(reason) => {
                assert_eq!((again.0, again.1["reason"].as_str()), (404, Some(reason)), "{method} {path}, again");
            }
        }
        assert_eq!(group.told().await, told, "{method} {path} is told of once");
        if path == join {
            assert_eq!(group.uses().await, 1);
        }
    }
    group.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_grpc_it_is_done_and_told_of_once() {
    let group = Group::new().await;
    let (code, other) = (group.code().await, group.code().await);
    let token = Tokens::open(group.folder.path()).unwrap().make("test");
    let mut client = GroupServiceClient::new(Channels::new().get(&format!("http://{}", group.server.grpc)).unwrap());
    let conversation = || group.id.clone();
    // Asks twice: what came of the two.
    macro_rules! twice {
        ($method:ident, $message:expr) => {{
            let mut answers = Vec::new();
            for _ in 0..2 {
                let mut request = tonic::Request::new($message);
                request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
                let answer = client.$method(request).await;
                answers
                    .push((answer.map(|it| it.into_inner()).map_err(|it| from_status(&it).reason), group.told().await));
            }
            let (again, first) = (answers.pop().unwrap(), answers.pop().unwrap());
            assert!(first.0.is_ok(), "{first:?}");
            assert_eq!(first.1, again.1, "{} is told of once", stringify!($method));
            (first.0, again.0)
        }};
    }
    macro_rules! the_same {
        ($method:ident, $message:expr) => {{
            let (first, again) = twice!($method, $message);
            assert_eq!(first, again, "{}", stringify!($method));
        }};
    }
    let [ann, bob, cho, dan] = [ANN, BOB, CHO, DAN].map(|who| group.id_of(who));
    let role = |member: &str, role: Role| SetRoleRequest {
        user: ann.clone(),
        conversation: conversation(),
        member: member.to_owned(),
        role: role.into(),
    };
    let remove = |user: &str, member: &str| RemoveMemberRequest {
        user: user.to_owned(),
        conversation: conversation(),
        member: member.to_owned(),
    };
    let users = vec![dan.clone()];
    the_same!(
        add_members,
        AddMembersRequest {
            user: ann.clone(),
            conversation: conversation(),
            users: users.clone(),
            ..Default::default()
        }
    );
    the_same!(set_role, role(&dan, Role::Admin));
    let named = UpdateGroupRequest {
        user: ann.clone(),
        conversation: conversation(),
        name: Some("뜰".into()),
        ..UpdateGroupRequest::default()
    };
    the_same!(update_group, named.clone());
    the_same!(remove_member, remove(&ann, &dan));
    the_same!(accept_invite, AcceptInviteRequest { user: dan.clone(), code: code.clone(), ..Default::default() });
    assert_eq!(group.uses().await, 1);
    let gone = Err(Reason::ConversationNotFound);
    assert_eq!(twice!(remove_member, remove(&dan, &dan)).1, gone);
    let take_back = DeleteInviteRequest { user: ann.clone(), conversation: conversation(), code: other };
    assert_eq!(twice!(delete_invite, take_back.clone()).1, Err(Reason::InviteNotFound));
    the_same!(set_role, role(&bob, Role::Owner));
    assert_eq!(twice!(remove_member, remove(&cho, &cho)).1, gone);
    let end = EndGroupRequest { user: bob.clone(), conversation: conversation() };
    assert_eq!(twice!(end_group, end.clone()).1.map(|_| 0), Err(Reason::ConversationNotFound));
    group.server.stop().await;
}
