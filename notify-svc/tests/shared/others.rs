//! group-svc, account-svc and homes as notify-svc asks them: people in every conversation that is asked for, of whom a test says
//! what they want, nobody is blocked, and some devices have everything. They can be out of order.
#![allow(dead_code)] // not every test needs all of it

use axum::{
    Router,
    response::{IntoResponse, Response as Shown},
    routing::post,
};
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use madang_mesh::{channel::Channels, serve};
use madang_proto::{
    account::v1::{FindBlocksRequest, FindBlocksResponse, GetUsersRequest, GetUsersResponse},
    chat::v1::{
        DeliveredAnswer, DeliveredDevice, ListDeliveredRequest, ListDeliveredResponse, ShardHome, WatchShardsRequest,
        WatchShardsResponse,
    },
    group::v1::{ListBadgesRequest, ListBadgesResponse, LoadRoomsRequest, LoadRoomsResponse, RoomMember, RoomState},
    id::{ConversationId, DeviceId, UserId},
    log::v1::MemberSettings,
};
use std::{
    future::ready,
    sync::{Arc, Mutex},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, server::Grpc};
use tonic_prost::ProstCodec;

/// Where they are.
pub const OTHERS: &str = "inproc://others";

type Asked = axum::http::Request<axum::body::Body>;

#[derive(Default)]
struct Known {
    down: bool,
    members: Vec<RoomMember>,
    asked: Vec<Instant>,
    have: Vec<(UserId, DeviceId)>,
}

/// All of them.
#[derive(Clone, Default)]
pub struct Others(Arc<Mutex<Known>>);

impl Others {
    /// They are at [`OTHERS`], among these channels.
    pub fn serve(&self, channels: &Channels) {
        let answers = self.clone();
        let router = Router::new().fallback(post(move |request: Asked| answers.clone().answer(request)));
        let (routes, incoming) = (tonic::service::Routes::from(router), channels.listen("others"));
        tokio::spawn(serve::grpc(routes, None, Some(incoming), CancellationToken::new()));
    }

    /// Whether they are out of order.
    pub fn set_down(&self, down: bool) {
        self.0.lock().unwrap().down = down;
    }

    /// Somebody is in every conversation, and has set that.
    pub fn sets(&self, user: UserId, settings: MemberSettings) {
        let member = RoomMember {
            user: user.bytes().to_vec(),
            joined_revision: 1,
            settings: Some(settings),
            ..RoomMember::default()
        };
        let members = &mut self.0.lock().unwrap().members;
        members.retain(|each| each.user != member.user);
        members.push(member);
    }

    /// A device has everything, as its home knows.
    pub fn has(&self, user: UserId, device: DeviceId) {
        self.0.lock().unwrap().have.push((user, device));
    }

    fn delivered(&self, request: &ListDeliveredRequest) -> ListDeliveredResponse {
        let known = self.0.lock().unwrap();
        let answers = request.questions.iter().map(|question| {
            let asked = |user: &UserId| question.users.chunks(16).any(|id| id == user.bytes());
            let have = known.have.iter().filter(|(user, _)| asked(user));
            let device = |(user, device): &(UserId, DeviceId)| DeliveredDevice {
                user: user.bytes().to_vec().into(),
                device: device.to_string(),
            };
            DeliveredAnswer { devices: have.map(device).collect() }
        });
        ListDeliveredResponse { answers: answers.collect() }
    }

    /// When they were asked for rooms.
    pub fn asked(&self) -> Vec<Instant> {
        self.0.lock().unwrap().asked.clone()
    }

    fn rooms(&self, request: LoadRoomsRequest) -> Result<LoadRoomsResponse, Status> {
        let mut known = self.0.lock().unwrap();
        known.asked.push(Instant::now());
        if known.down {
            return Err(Status::internal("out of order"));
        }
        let room = |id: String| {
            let conversation = id.parse::<ConversationId>().unwrap().bytes().to_vec();
            RoomState { conversation, revision: 1 << 40, members: known.members.clone(), ..RoomState::default() }
        };
        let rooms = request.conversations.into_iter().map(room).collect();
        Ok(LoadRoomsResponse { rooms, ..LoadRoomsResponse::default() })
    }

    async fn answer(self, request: Asked) -> Shown {
        let path = request.uri().path().to_owned();
        match path.rsplit_once('/').unwrap().1 {
            "LoadRooms" => {
                let service = tower::service_fn(move |request: Request<LoadRoomsRequest>| {
                    ready(self.rooms(request.into_inner()).map(Response::new))
                });
                Grpc::new(ProstCodec::default()).unary(service, request).await.into_response()
            }
            "ListBadges" => {
                let service = tower::service_fn(|request: Request<ListBadgesRequest>| {
                    let badges = vec![0; request.into_inner().users.len()];
                    ready(Ok(Response::new(ListBadgesResponse { badges })))
                });
                Grpc::new(ProstCodec::default()).unary(service, request).await.into_response()
            }
            "FindBlocks" => {
                let service = tower::service_fn(|_: Request<FindBlocksRequest>| {
                    ready(Ok(Response::new(FindBlocksResponse::default())))
                });
                Grpc::new(ProstCodec::default()).unary(service, request).await.into_response()
            }
            "GetUsers" => {
                let service = tower::service_fn(|_: Request<GetUsersRequest>| {
                    ready(Ok(Response::new(GetUsersResponse::default())))
                });
                Grpc::new(ProstCodec::default()).unary(service, request).await.into_response()
            }
            "WatchShards" => {
                let service = tower::service_fn(|_: Request<WatchShardsRequest>| {
                    let home = |shard| ShardHome { shard, process: "others".into(), address: OTHERS.into() };
                    let map = WatchShardsResponse { count: 8, homes: (0..8).map(home).collect() };
                    let maps: BoxStream<'static, Result<_, Status>> =
                        stream::iter([Ok(map)]).chain(stream::pending()).boxed();
                    ready(Ok(Response::new(maps)))
                });
                Grpc::new(ProstCodec::default()).server_streaming(service, request).await.into_response()
            }
            "ListDelivered" => {
                let service = tower::service_fn(move |request: Request<ListDeliveredRequest>| {
                    ready(Ok(Response::new(self.delivered(&request.into_inner()))))
                });
                Grpc::new(ProstCodec::default()).unary(service, request).await.into_response()
            }
            _ => Status::unimplemented("not needed").into_http::<axum::body::Body>().into_response(),
        }
    }
}
