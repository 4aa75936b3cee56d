//! Every RPC that is open to internal services, called by one over the network in one story, for users and on its own: what
//! each does shows in what the others say.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use futures_util::stream::{self, StreamExt};
use madang_mesh::{
    channel::{Channel, Channels},
    status::from_status,
};
use madang_proto::{
    access::{Access, rule, table},
    account::v1::{account_service_client::AccountServiceClient, *},
    chat::v1::{chat_service_client::ChatServiceClient, downstream::Item, upstream, *},
    client::v1::{self as client, Device, DeviceKind, Role},
    group::v1::{group_service_client::GroupServiceClient, *},
    id::ClientId,
    notify::v1::{notify_service_client::NotifyServiceClient, set_subscription_request::Target, *},
    reason::Reason,
    store::v1::{store_service_client::StoreServiceClient, *},
};
use madang_solo::{serve::Running, token::Tokens};
use madang_tests::{
    client::{Person, Socket, sign_up},
    start, until,
};
use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex},
};
use tonic::{GrpcMethod, Request, Status, service::Interceptor, service::interceptor::InterceptedService};

/// A PNG of one grey pixel.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\0\0\0\x0aIDATx\xdach\0\0\0\x82\0\x81\xdaE\x08;\0\0\0\0IEND\xaeB`\x82";

/// Says who calls and for whom, and takes down what is called.
#[derive(Clone)]
struct As {
    token: String,
    user: String,
    called: Arc<Mutex<BTreeSet<String>>>,
}

impl Interceptor for As {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let method = request.extensions().get::<GrpcMethod<'static>>().unwrap();
        self.called.lock().unwrap().insert(format!("/{}/{}", method.service(), method.method()));
        request.metadata_mut().insert("authorization", self.token.parse().unwrap());
        if !self.user.is_empty() {
            request.metadata_mut().insert("madang-user", self.user.parse().unwrap());
        }
        Ok(request)
    }
}

type Way = InterceptedService<Channel, As>;

/// An internal service.
struct Caller {
    channel: Channel,
    nobody: As,
}

impl Caller {
    fn of(server: &Running, folder: &Path) -> Self {
        let channel = Channels::new().get(&format!("http://{}", server.grpc)).unwrap();
        let token = format!("Bearer {}", Tokens::open(folder).unwrap().make("test"));
        Self { channel, nobody: As { token, user: String::new(), called: Arc::default() } }
    }

    /// For a user; for nobody, if they are none.
    fn way(&self, user: &str) -> Way {
        InterceptedService::new(self.channel.clone(), As { user: user.to_owned(), ..self.nobody.clone() })
    }

    fn chat(&self, user: &Person) -> ChatServiceClient<Way> {
        ChatServiceClient::new(self.way(&user.id))
    }

    fn group(&self, user: &Person) -> GroupServiceClient<Way> {
        GroupServiceClient::new(self.way(&user.id))
    }

    fn store(&self, user: &str) -> StoreServiceClient<Way> {
        StoreServiceClient::new(self.way(user))
    }

    fn account(&self, user: &str) -> AccountServiceClient<Way> {
        AccountServiceClient::new(self.way(user))
    }

    fn notify(&self, user: &str) -> NotifyServiceClient<Way> {
        NotifyServiceClient::new(self.way(user))
    }

    /// Those that are open to it and that it has not called.
    fn left(&self) -> Vec<String> {
        let called = self.nobody.called.lock().unwrap();
        let open = |path: &String| rule(path).is_some_and(|rule| rule.access == Access::Outside);
        table().filter(|path| open(path) && !called.contains(path)).collect()
    }
}

fn why<T>(answer: Result<T, Status>) -> Reason {
    from_status(&answer.err().unwrap()).reason
}

/// A group of ann, bob and cho, in which bob is an admin; cho has gone again and dan has come by an invite.
async fn gather(caller: &Caller, [ann, bob, cho, dan]: [&Person; 4]) -> String {
    let mut by_ann = caller.group(ann);
    // The user of the metadata is who acts, where the request leaves them out.
    let group = CreateGroupRequest { name: "마당".into(), members: vec![bob.id.clone()], ..Default::default() };
    let made = by_ann.create_group(group).await.unwrap().into_inner().conversation.unwrap();
    let conversation = made.conversation.clone();
    assert_eq!((made.member_count, made.role()), (2, Role::Owner));
    let of = || conversation.clone();
    let add = AddMembersRequest { conversation: of(), users: vec![cho.id.clone()], ..Default::default() };
    let added = by_ann.add_members(add).await.unwrap().into_inner();
    assert!(added.refused.is_empty() && added.revision > 1);
    let member = bob.id.clone();
    let promote = SetRoleRequest { conversation: of(), member, role: Role::Admin.into(), ..Default::default() };
    let role = by_ann.set_role(promote.clone()).await.unwrap().into_inner();
    assert_eq!(why(caller.group(bob).set_role(promote).await), Reason::RoleRequired, "as at any door");
    let rename = UpdateGroupRequest { conversation: of(), name: Some("뜰".into()), ..Default::default() };
    let renamed = caller.group(bob).update_group(rename).await.unwrap().into_inner().conversation.unwrap();
    assert_eq!((renamed.name.as_str(), renamed.revision > role.revision), ("뜰", true));
    let remove = RemoveMemberRequest { conversation: of(), member: cho.id.clone(), ..Default::default() };
    let removed = caller.group(bob).remove_member(remove).await.unwrap().into_inner();

    let invite = CreateInviteRequest { conversation: of(), max_uses: 1, ..Default::default() };
    let invite = caller.group(bob).create_invite(invite).await.unwrap().into_inner().invite.unwrap();
    let code = || invite.code.clone();
    let look = GetInviteRequest { code: code(), ..Default::default() };
    let look = caller.group(dan).get_invite(look).await.unwrap().into_inner();
    assert_eq!((look.name.as_str(), look.member_count, look.conversation.as_str()), ("뜰", 2, ""));
    let join = AcceptInviteRequest { code: code(), ..Default::default() };
    let joined = caller.group(dan).accept_invite(join).await.unwrap().into_inner().conversation.unwrap();
    assert_eq!((joined.conversation, joined.member_count), (of(), 3));
    let list = ListInvitesRequest { conversation: of(), ..Default::default() };
    let invites = by_ann.list_invites(list.clone()).await.unwrap().into_inner().invites;
    assert_eq!(invites.iter().map(|each| (&each.code, each.uses)).collect::<Vec<_>>(), [(&invite.code, 1)]);
    by_ann.delete_invite(DeleteInviteRequest { conversation: of(), code: code(), ..Default::default() }).await.unwrap();
    assert!(by_ann.list_invites(list).await.unwrap().into_inner().invites.is_empty());

    let at_least = removed.revision;
    let members = ListMembersRequest { conversation: of(), at_least, ..Default::default() };
    let members = caller.group(dan).list_members(members).await.unwrap().into_inner().members;
    let ranks = members.iter().map(|each| (each.profile.as_ref().unwrap().user.as_str(), each.role()));
    let expected = [(&ann.id, Role::Owner), (&bob.id, Role::Admin), (&dan.id, Role::Member)];
    assert!(ranks.eq(expected.map(|(id, role)| (id.as_str(), role))));
    let one = GetConversationRequest { conversation: of(), at_least, ..Default::default() };
    assert_eq!(why(caller.group(cho).get_conversation(one.clone()).await), Reason::ConversationNotFound);
    let shown = caller.group(bob).get_conversation(one).await.unwrap().into_inner().conversation.unwrap();
    assert_eq!((shown.name.as_str(), shown.member_count, shown.role()), ("뜰", 3, Role::Admin));
    conversation
}

/// Five messages of ann's: the first edited, the second taken back, the third with bob's heart, and four read by bob.
async fn talk(caller: &Caller, conversation: &str, ann: &Person, bob: &Person) -> u64 {
    let (of, new) = (|| conversation.to_owned(), || ClientId::now().to_string());
    for n in 1..=5 {
        let text = format!("message {n}");
        let send = client::Send { conversation: of(), client_id: new(), text, ..Default::default() };
        let sent = caller.chat(ann).send_message(SendMessageRequest { send: Some(send) }).await.unwrap();
        assert_eq!(sent.into_inner().ack.unwrap().seq, n);
    }
    let edit =
        client::Edit { conversation: of(), seq: 1, client_id: new(), text: "edited".into(), ..Default::default() };
    let edited = caller.chat(ann).edit_message(EditMessageRequest { edit: Some(edit.clone()) }).await.unwrap();
    let edited = edited.into_inner().ack.unwrap();
    let again = caller.chat(ann).edit_message(EditMessageRequest { edit: Some(edit) }).await.unwrap().into_inner();
    assert_eq!(again.ack, Some(client::Ack { duplicate: true, ..edited.clone() }));
    let delete =
        |seq| DeleteMessageRequest { delete: Some(client::Delete { conversation: of(), seq, client_id: new() }) };
    let deleted = caller.chat(ann).delete_message(delete(2)).await.unwrap().into_inner().ack.unwrap();
    assert_eq!((deleted.seq, deleted.revision), (2, edited.revision + 1));
    assert_eq!(why(caller.chat(ann).delete_message(delete(6)).await), Reason::MessageNotFound);
    let react =
        client::React { conversation: of(), seq: 3, emoji: "❤".into(), client_id: new(), ..Default::default() };
    let reacted = caller.chat(bob).react(ReactRequest { react: Some(react) }).await.unwrap().into_inner().ack.unwrap();
    assert_eq!((reacted.seq, reacted.revision), (3, deleted.revision + 1));
    let read = |seq| MarkReadRequest { read: Some(client::Read { conversation: of(), seq }) };
    assert!(!caller.chat(bob).mark_read(read(4)).await.unwrap().into_inner().ack.unwrap().duplicate);
    assert!(caller.chat(bob).mark_read(read(3)).await.unwrap().into_inner().ack.unwrap().duplicate, "never back");
    let unread = async || {
        let list = caller.group(bob).list_conversations(ListConversationsRequest::default()).await.ok()?.into_inner();
        let listed = list.conversations.into_iter().find(|each| each.conversation == conversation)?;
        (listed.read_seq == 4 && listed.last_seq == 5).then_some((listed.unread, list.badge))
    };
    assert_eq!(until("the list has it", unread).await, (1, 1));
    reacted.revision
}

/// What history has of that; and nobody else's.
async fn history(caller: &Caller, conversation: &str, [bob, cho]: [&Person; 2], at_least: u64) {
    let of = || conversation.to_owned();
    let list = ListMessagesRequest { conversation: of(), at_least, ..Default::default() };
    let page = caller.store(&bob.id).list_messages(list).await.unwrap().into_inner();
    let texts: Vec<_> = page.messages.iter().map(|each| each.text.as_str()).collect();
    assert_eq!(texts, ["edited", "", "message 3", "message 4", "message 5"]);
    let get = || GetMessagesRequest { conversation: of(), seqs: vec![3, 1, 2, 3, 9], ..Default::default() };
    let found = caller.store(&bob.id).get_messages(get()).await.unwrap().into_inner().messages;
    assert_eq!(found, page.messages[..3], "by seq, each once, as they are now");
    assert!(found[1].deleted && found[2].reactions[0].mine && found[0].edited_at > 0);
    assert_eq!(why(caller.store(&cho.id).get_messages(get()).await), Reason::ConversationNotFound);
    let all = caller.store("").get_messages(get()).await.unwrap().into_inner().messages;
    assert_eq!(all.len(), 3, "for no user it is shown all");
    assert!(!all[2].reactions[0].mine);
    let wanted = [3, 9].map(|seq| MessageNumber { conversation: of(), seq }).to_vec();
    let batch = |who: &Person| {
        let (mut store, wanted) = (caller.store(&who.id), wanted.clone());
        async move {
            let request = BatchGetMessagesRequest { wanted, ..Default::default() };
            store.batch_get_messages(request).await.unwrap().into_inner().found
        }
    };
    assert_eq!(batch(bob).await.into_iter().map(|each| each.message.unwrap()).collect::<Vec<_>>(), found[2..]);
    assert_eq!(batch(cho).await, []);
    // The edit, the end of the second and the heart are the last three.
    let since = at_least - 3;
    let changes = ListChangesRequest { conversation: of(), since, at_least, ..Default::default() };
    let changes = caller.store(&bob.id).list_changes(changes).await.unwrap().into_inner();
    assert_eq!(changes.messages, page.messages[..3]);
    let of_many = BatchListChangesRequest {
        since: vec![ConversationRevision { conversation: of(), revision: since }],
        ..Default::default()
    };
    let of_many = caller.store(&bob.id).batch_list_changes(of_many).await.unwrap().into_inner().changes;
    assert_eq!((of_many.len(), &of_many[0].messages), (1, &changes.messages));
}

/// Who is connected: those whom one shares a conversation with, and to a service on its own anybody.
async fn presence(caller: &Caller, server: &Running, [ann, bob, cho]: [&Person; 3]) {
    let (_at_bob, _) = Socket::connect(server, bob, "").await;
    let (_at_cho, _) = Socket::connect(server, cho, "").await;
    let users = || vec![bob.id.clone(), cho.id.clone(), ann.id.clone()];
    let ask = async |mut chat: ChatServiceClient<Way>| {
        let answer = chat.get_presence(GetPresenceRequest { users: users() }).await.ok()?.into_inner();
        Some(answer.presences.into_iter().map(|each| (each.user, each.online)).collect::<Vec<_>>())
    };
    let (of_bob, of_cho, of_ann) = ((bob.id.clone(), true), (cho.id.clone(), true), (ann.id.clone(), false));
    let all = [of_bob.clone(), of_cho, of_ann.clone()];
    let anybody = || ChatServiceClient::new(caller.way(""));
    until("both are there", async || ask(anybody()).await.filter(|found| *found == all)).await;
    // Cho was put out: they share nothing any more.
    assert_eq!(ask(caller.chat(ann)).await.unwrap(), [of_bob, of_ann]);
    // A session of one user's, over gRPC.
    let opened = until("a session begins", async || {
        let device = Device { id: new_id(), kind: DeviceKind::Service.into(), ..Device::default() };
        let open = Open { session: new_id(), device: Some(device), ..Open::default() };
        let item = Some(upstream::Item::Open(open));
        let first = ConnectRequest { items: vec![Upstream { connection: 1, item, ..Upstream::default() }] };
        let requests = stream::once(async { first }).chain(stream::pending());
        let mut answers = caller.chat(ann).connect(requests).await.ok()?.into_inner();
        let first = answers.message().await.ok()??.items.into_iter().next()?;
        matches!(first.item, Some(Item::Opened(_))).then_some(answers)
    });
    let _opened = opened.await;
    until("ann is there, too", async || ask(anybody()).await.filter(|found| found.iter().all(|(_, online)| *online)))
        .await;
}

fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// What ann said is taken back for good, for everybody; what others said stays.
async fn erase(caller: &Caller, conversation: &str, ann: &Person, bob: &Person) {
    let send = client::Send {
        conversation: conversation.into(),
        client_id: ClientId::now().to_string(),
        text: "mine".into(),
        ..Default::default()
    };
    caller.chat(bob).send_message(SendMessageRequest { send: Some(send) }).await.unwrap();
    let left = async || {
        let get =
            GetMessagesRequest { conversation: conversation.into(), seqs: (1..=6).collect(), ..Default::default() };
        let found = caller.store(&bob.id).get_messages(get).await.unwrap().into_inner().messages;
        assert!(found.len() == 6 && found.iter().all(|each| each.deleted == each.text.is_empty()));
        found.into_iter().filter(|each| !each.deleted).map(|each| each.text).collect::<Vec<_>>()
    };
    let step =
        |sender: &str| EraseRequest { sender: sender.into(), conversation: conversation.into(), ..Default::default() };
    let erased = caller.store("").erase(step(&ann.id)).await.unwrap().into_inner();
    assert_eq!((erased.messages, erased.place.as_str()), (4, ""), "one was gone already");
    assert_eq!(left().await, ["mine"], "gone when it is answered");
    let again = caller.store("").erase(step(&ann.id)).await.unwrap().into_inner();
    assert_eq!((again.messages, again.place.as_str()), (0, ""));
    assert_eq!(why(caller.store("").erase(EraseRequest::default()).await), Reason::InvalidField);
    assert_eq!(why(caller.store("").erase(step("ann")).await), Reason::InvalidField);
    assert_eq!(caller.store("").erase(step("")).await.unwrap().into_inner().messages, 1);
    assert_eq!(left().await, [""; 0], "all of a conversation");
    let latest = StreamEventsRequest { latest: true, ..Default::default() };
    let mut all = caller.store("").stream_events(latest).await.unwrap().into_inner();
    assert!(!all.message().await.unwrap().unwrap().cursor.is_empty());
}

/// Profiles, pictures, blocks and sessions.
async fn accounts(caller: &Caller, ann: &Person, bob: &Person) {
    let mut account = caller.account(&ann.id);
    let picture = account.store_picture(StorePictureRequest { image: PNG.into() }).await.unwrap().into_inner().picture;
    let get = || GetPictureRequest { picture: picture.clone(), size: 64 };
    assert!(account.get_picture(get()).await.unwrap().into_inner().image.starts_with(&[0xff, 0xd8]), "a JPEG");
    let profile = |picture: &str| UpdateProfileRequest {
        name: Some("앤".into()),
        picture: Some(picture.into()),
        ..Default::default()
    };
    let changed = account.update_profile(profile(&picture)).await.unwrap().into_inner().user.unwrap();
    assert_eq!((changed.user.as_str(), changed.picture.as_str()), (ann.id.as_str(), picture.as_str()));
    let users = GetUsersRequest { users: vec![ann.id.clone(), new_id()], ..Default::default() };
    assert_eq!(caller.account("").get_users(users).await.unwrap().into_inner().users, [changed]);
    let before = account.update_profile(profile("")).await.unwrap().into_inner().picture_before;
    assert_eq!(before.as_deref(), Some(picture.as_str()));
    account.delete_picture(DeletePictureRequest { picture: picture.clone() }).await.unwrap();
    assert_eq!(why(account.get_picture(get()).await), Reason::NotFound);

    for blocked in [true, false] {
        let block = SetBlockRequest { other: bob.id.clone(), blocked, ..Default::default() };
        account.set_block(block).await.unwrap();
        let blocks = account.list_blocks(ListBlocksRequest::default()).await.unwrap().into_inner().users;
        assert_eq!(blocks.iter().any(|each| each.user == bob.id), blocked);
        let send = client::Send {
            user: ann.id.clone(),
            client_id: ClientId::now().to_string(),
            text: "hello".into(),
            ..Default::default()
        };
        let sent = caller.chat(bob).send_message(SendMessageRequest { send: Some(send) }).await;
        assert!(if blocked { why(sent) == Reason::Blocked } else { sent.is_ok() }, "{blocked}");
    }
    let jwks = caller.account("").get_keys(GetKeysRequest::default()).await.unwrap().into_inner().jwks;
    assert!(jwks.contains("Ed25519"), "{jwks}");
    let sessions = async || {
        let list = ListSessionsRequest { user: bob.id.clone() };
        caller.account("").list_sessions(list).await.unwrap().into_inner().sessions
    };
    let [one] = &sessions().await[..] else { panic!() };
    let session = one.session.clone();
    caller.account(&bob.id).end_session(EndSessionRequest { session, ..Default::default() }).await.unwrap();
    assert_eq!(sessions().await, []);
}

/// Where a device is notified.
async fn devices(caller: &Caller, dan: &Person) {
    let mut notify = caller.notify(&dan.id);
    assert_eq!(notify.get_key(GetKeyRequest {}).await.unwrap().into_inner().key.len(), 87);
    let target = Webhook { url: "https://bots.example.com/hook".into(), secret: "0123456789abcdef".into() };
    let set = |device: &str| SetSubscriptionRequest {
        device: device.into(),
        target: Some(Target::Webhook(target.clone())),
        locale: "ko".into(),
        ..Default::default()
    };
    notify.set_subscription(set(&dan.device)).await.unwrap();
    assert_eq!(why(notify.set_subscription(set(&new_id())).await), Reason::NotFound, "not logged in there");
    let list = async || {
        let list = ListSubscriptionsRequest { user: dan.id.clone() };
        caller.notify("").list_subscriptions(list).await.unwrap().into_inner().subscriptions
    };
    let [one] = &list().await[..] else { panic!() };
    assert_eq!((one.device.as_str(), one.host.as_str()), (dan.device.as_str(), "bots.example.com"));
    let delete = DeleteSubscriptionRequest { device: dan.device.clone(), ..Default::default() };
    notify.delete_subscription(delete).await.unwrap();
    assert_eq!(list().await, []);
    let deliveries = ListDeliveriesRequest { user: dan.id.clone(), ..Default::default() };
    assert_eq!(caller.notify("").list_deliveries(deliveries).await.unwrap().into_inner().deliveries, []);
    let seen = async || {
        let status = caller.notify("").get_status(GetStatusRequest {}).await.unwrap().into_inner();
        (status.messages_seen >= 6 && status.sent == 0).then_some(())
    };
    until("it has read what was said", seen).await;
}

/// What operators do, and the end of an account.
async fn ends(caller: &Caller, conversation: &str, [ann, bob, dan]: [&Person; 3]) {
    let mut operator = caller.account("");
    for suspended in [true, false] {
        operator.set_suspended(SetSuspendedRequest { user: dan.id.clone(), suspended }).await.unwrap();
    }
    let password = SetPasswordRequest { user: dan.id.clone(), password: "another horse".into() };
    operator.set_password(password).await.unwrap();
    let delete = |password: &str| DeleteAccountRequest { password: password.into(), ..Default::default() };
    assert_eq!(why(caller.account(&dan.id).delete_account(delete("correct horse")).await), Reason::WrongPassword);
    caller.account(&dan.id).delete_account(delete("another horse")).await.unwrap();

    let of = || conversation.to_owned();
    let pin = UpdateSettingsRequest { conversation: of(), pinned_at: Some(7), ..Default::default() };
    let settings = caller.group(bob).update_settings(pin).await.unwrap().into_inner().settings.unwrap();
    assert_eq!(settings.pinned_at, 7);
    let end = EndGroupRequest { conversation: of(), ..Default::default() };
    assert_eq!(why(caller.group(bob).end_group(end.clone()).await), Reason::RoleRequired);
    let ended = caller.group(ann).end_group(end).await.unwrap().into_inner();
    let gone = async || {
        let one = GetConversationRequest { conversation: of(), at_least: ended.revision, ..Default::default() };
        caller.group(bob).get_conversation(one).await.err()
    };
    assert_eq!(from_status(&until("it has ended", gone).await).reason, Reason::ConversationNotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_that_is_open_to_internal_services() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let caller = Caller::of(&server, folder.path());
    let [ann, bob, cho] = ["ann", "bob", "cho"].map(|handle| sign_up(&server, handle));
    let (ann, bob, cho) = (ann.await, bob.await, cho.await);
    let device = Device { id: new_id(), kind: DeviceKind::Service.into(), ..Device::default() };
    let dan = SignUpRequest {
        handle: "dan".into(),
        password: "correct horse".into(),
        device: Some(device.clone()),
        ..Default::default()
    };
    let made = caller.account("").sign_up(dan).await.unwrap().into_inner().tokens.unwrap();
    let dan = Person { id: made.user.unwrap().user, token: made.access_token, device: device.id };

    let conversation = gather(&caller, [&ann, &bob, &cho, &dan]).await;
    let revision = talk(&caller, &conversation, &ann, &bob).await;
    history(&caller, &conversation, [&bob, &cho], revision).await;
    presence(&caller, &server, [&ann, &bob, &cho]).await;
    erase(&caller, &conversation, &ann, &bob).await;
    accounts(&caller, &ann, &bob).await;
    devices(&caller, &dan).await;
    ends(&caller, &conversation, [&ann, &bob, &dan]).await;
    assert_eq!(caller.left(), Vec::<String>::new(), "an RPC that is open to services and that nothing here calls");
    server.stop().await;
}
