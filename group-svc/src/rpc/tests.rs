//! The service by itself: beside it a home that may answer UNAVAILABLE to what it has done, and an account-svc that may
//! hear of blocks in between.

mod again;
mod blocks;
mod load;
mod pictures;
mod settings;

use super::*;
use crate::store::sqlite::SqliteGroups;
use axum::{
    Router,
    extract::Request as Asked,
    response::{IntoResponse, Response as Shown},
    routing::post,
};
use clap::Parser;
use futures_util::{StreamExt, stream, stream::BoxStream};
use madang_mesh::{channel::Channels, log::Entry, rate::Rate, serve, subscription::Handler};
use madang_proto::{
    account::v1::{FindBlocksRequest, FindBlocksResponse, GetUsersRequest, GetUsersResponse},
    chat::v1::{
        OperateOnceRequest, OperateOnceResponse, Outcome, ShardHome, WatchShardsRequest, WatchShardsResponse, outcome,
    },
    client::v1::Role,
    log::v1::{
        Created, GroupChanged, JoinedUser, LoggedEvent, MembersJoined, MembersLeft, Record, RoleSet, logged_event,
    },
    reason::Refusal,
};
use prost::Message as _;
use std::{
    collections::{BTreeMap, VecDeque},
    future::ready,
    sync::Mutex,
};
use tokio_util::sync::CancellationToken;
use tonic::server::Grpc;
use tonic_prost::ProstCodec;

/// What comes of the next thing that a home is asked, if not what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is done, and nobody hears of it.
    Unheard,
    /// It is not done, and there is no answer.
    Down,
}

#[derive(Default)]
struct Room {
    revision: u64,
    members: BTreeMap<UserId, Role>,
    picture: String,
    turns: VecDeque<Turn>,
    /// For each time that it is asked: who is blocked by then.
    blocks: VecDeque<Vec<UserId>>,
}

/// A home of one group, and account-svc.
#[derive(Clone)]
struct Others {
    room: Arc<Mutex<Room>>,
    projection: Arc<Projection>,
}

fn refusal(reason: Reason) -> Refusal {
    Refusal::new(reason, "as the test has it")
}

fn joined(users: &[(UserId, Role)]) -> Vec<JoinedUser> {
    let one = |(user, role): &(UserId, Role)| JoinedUser { user: user.bytes().to_vec().into(), role: (*role).into() };
    users.iter().map(one).collect()
}

impl Room {
    /// What an operation makes of the room, as a home has it; none: nothing.
    fn decide(&mut self, actor: UserId, body: Body) -> Result<Option<logged_event::Body>, Reason> {
        let id = |text: &str| text.parse::<UserId>().unwrap();
        if let Body::CreateGroup(create) = &body {
            let mut members = vec![(actor, Role::Owner)];
            members.extend(create.members.iter().map(|user| (id(user), Role::Member)));
            self.members.extend(members.iter().copied());
            let members = joined(&members);
            return Ok(Some(logged_event::Body::Created(Created { kind: 2, members, ..Default::default() })));
        }
        let role = *self.members.get(&actor).ok_or(Reason::ConversationNotFound)?;
        let owns = if role == Role::Owner { Ok(()) } else { Err(Reason::RoleRequired) };
        let left = |users: Vec<UserId>, ended| {
            let users = users.iter().map(|user| user.bytes().to_vec().into()).collect();
            logged_event::Body::Left(MembersLeft { users, ended })
        };
        Ok(match body {
            Body::AddMembers(add) => {
                let new: Vec<_> = add.users.iter().map(|user| (id(user), Role::Member)).collect();
                let new: Vec<_> = new.into_iter().filter(|(user, _)| !self.members.contains_key(user)).collect();
                self.members.extend(new.iter().copied());
                let members = joined(&new);
                (!new.is_empty()).then(|| logged_event::Body::Joined(MembersJoined { members }))
            }
            Body::RemoveMember(remove) => {
                let user = id(&remove.user);
                if user != actor {
                    owns?;
                }
                self.members.remove(&user).map(|_| left(vec![user], false))
            }
            Body::SetRole(set) => {
                owns?;
                self.members.insert(actor, Role::Admin);
                self.members.insert(id(&set.user), set.role());
                let (user, role) = (id(&set.user).bytes().to_vec().into(), set.role);
                Some(logged_event::Body::Role(RoleSet { user, role }))
            }
            Body::ChangeGroup(change) => {
                if change.picture_was.is_some_and(|was| was != self.picture) {
                    return Err(Reason::Lagging);
                }
                let picture = change.picture.unwrap_or_default();
                self.picture.clone_from(&picture);
                Some(logged_event::Body::Changed(GroupChanged { picture, ..Default::default() }))
            }
            // They have no number, and are of the time of the newest event here.
            Body::ChangeSettings(_) => None,
            Body::EndGroup(_) => {
                owns?;
                Some(left(std::mem::take(&mut self.members).into_keys().collect(), true))
            }
            other => panic!("{other:?}"),
        })
    }
}

impl Others {
    fn operate(&self, operation: Operation) -> Result<Ack, Refusal> {
        let (actor, id) = (operation.actor.parse().unwrap(), operation.conversation.parse::<ConversationId>().unwrap());
        let mut room = self.room.lock().unwrap();
        let turn = room.turns.pop_front();
        if turn == Some(Turn::Down) {
            return Err(refusal(Reason::Unavailable));
        }
        let event = room.decide(actor, operation.body.unwrap()).map_err(refusal)?;
        let duplicate = event.is_none();
        if let Some(body) = event {
            room.revision += 1;
            let event = LoggedEvent {
                conversation: id.bytes().to_vec().into(),
                revision: room.revision,
                at_micros: i64::try_from(room.revision).unwrap(),
                actor: actor.bytes().to_vec().into(),
                body: Some(body),
                ..LoggedEvent::default()
            };
            let record = Record { format: 1, events: vec![event], ..Record::default() };
            let payload = record.encode_to_vec().into();
            let (position, projection) = (room.revision, self.projection.clone());
            // It comes by the log, a moment later.
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(20 * position)).await;
                projection.handle(0, &[Entry { position, at_micros: 0, payload }]).await.unwrap();
            });
        }
        if turn == Some(Turn::Unheard) {
            return Err(refusal(Reason::Unavailable));
        }
        Ok(Ack { conversation: id.to_string(), revision: room.revision, duplicate, ..Ack::default() })
    }

    fn blocked(&self, request: &FindBlocksRequest) -> FindBlocksResponse {
        let blocks = self.room.lock().unwrap().blocks.pop_front().unwrap_or_default();
        let other = |pair: &[u8]| blocks.iter().any(|user| user.bytes()[..] == pair[16..]);
        let blocked = (0..).zip(request.pairs.chunks_exact(32)).filter(|(_, pair)| other(pair));
        FindBlocksResponse { blocked: blocked.map(|(place, _)| place).collect() }
    }

    async fn answer(self, request: Asked) -> Shown {
        let others = self;
        let path = request.uri().path().to_owned();
        match path.rsplit_once('/').unwrap().1 {
            "OperateOnce" => {
                let service = tower::service_fn(move |request: Request<OperateOnceRequest>| {
                    let result = match others.operate(request.into_inner().operation.unwrap()) {
                        Ok(ack) => outcome::Result::Ack(ack),
                        Err(refusal) => outcome::Result::Error(refusal.to_error()),
                    };
                    let outcome = Some(Outcome { result: Some(result) });
                    ready(Ok(Response::new(OperateOnceResponse { outcome })))
                });
                Grpc::new(ProstCodec::default()).unary(service, request).await.into_response()
            }
            "WatchShards" => {
                let service = tower::service_fn(|_: Request<WatchShardsRequest>| {
                    let home = |shard| ShardHome { shard, process: "chat".into(), address: "inproc://chat".into() };
                    let map = WatchShardsResponse { count: 8, homes: (0..8).map(home).collect() };
                    let maps: BoxStream<'static, Result<_, Status>> =
                        stream::iter([Ok(map)]).chain(stream::pending()).boxed();
                    ready(Ok(Response::new(maps)))
                });
                Grpc::new(ProstCodec::default()).server_streaming(service, request).await.into_response()
            }
            "GetUsers" => {
                let service = tower::service_fn(|request: Request<GetUsersRequest>| {
                    let users = request.into_inner().users.into_iter().map(|user| User { user, ..User::default() });
                    ready(Ok(Response::new(GetUsersResponse { users: users.collect() })))
                });
                Grpc::new(ProstCodec::default()).unary(service, request).await.into_response()
            }
            "FindBlocks" => {
                let service = tower::service_fn(move |request: Request<FindBlocksRequest>| {
                    ready(Ok(Response::new(others.blocked(&request.into_inner()))))
                });
                Grpc::new(ProstCodec::default()).unary(service, request).await.into_response()
            }
            other => panic!("{other}"),
        }
    }
}

#[derive(Parser)]
struct Told {
    #[command(flatten)]
    settings: madang_mesh::settings::Settings,
}

/// A group of three, and the service.
pub(super) struct Stage {
    groups: Groups,
    others: Others,
    id: ConversationId,
    ann: UserId,
    bob: UserId,
    cho: UserId,
    _folder: tempfile::TempDir,
}

impl Stage {
    /// Ann owns it, Bob is in it.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteGroups::open(folder.path()).unwrap());
        let projection = Arc::new(Projection::new(store.clone()));
        let others = Others { room: Arc::default(), projection: projection.clone() };
        let (channels, answers) = (Channels::new(), others.clone());
        let router = Router::new().fallback(post(move |request: Asked| answers.clone().answer(request)));
        for name in ["chat", "account"] {
            let routes = tonic::service::Routes::from(router.clone());
            tokio::spawn(serve::grpc(routes, None, Some(channels.listen(name)), CancellationToken::new()));
        }
        let groups = Groups {
            store,
            projection,
            account: AccountServiceClient::new(channels.get("inproc://account").unwrap()),
            operations: Operations::new(channels, "inproc://chat"),
            settings: Told::parse_from(["group"]).settings,
            lag: Lag::new(8),
            tries: Rate::new(1, 30),
        };
        let [ann, bob, cho] = [UserId::new(), UserId::new(), UserId::new()];
        let request = CreateGroupRequest {
            user: ann.to_string(),
            name: "마당".into(),
            members: vec![bob.to_string()],
            ..CreateGroupRequest::default()
        };
        let made = groups.create_group(Request::new(request)).await.unwrap().into_inner();
        let id = made.conversation.unwrap().conversation.parse().unwrap();
        Self { groups, others, id, ann, bob, cho, _folder: folder }
    }

    /// What comes of what the home is asked next.
    fn turns(&self, turns: &[Turn]) {
        self.others.room.lock().unwrap().turns = turns.iter().copied().collect();
    }

    /// The event up to which the home has come, and who is in the group.
    fn now(&self) -> (u64, Vec<UserId>) {
        let room = self.others.room.lock().unwrap();
        (room.revision, room.members.keys().copied().collect())
    }

    async fn add(&self, actor: UserId, users: &[UserId]) -> Result<AddMembersResponse, Status> {
        self.add_under("", actor, users).await
    }

    async fn add_under(&self, key: &str, actor: UserId, users: &[UserId]) -> Result<AddMembersResponse, Status> {
        let (user, conversation, idempotency_key) = (actor.to_string(), self.id.to_string(), key.to_owned());
        let users = users.iter().map(ToString::to_string).collect();
        let request = AddMembersRequest { user, conversation, users, idempotency_key };
        self.groups.add_members(Request::new(request)).await.map(Response::into_inner)
    }
}
