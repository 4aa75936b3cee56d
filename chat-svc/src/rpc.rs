//! gRPC in and out: translates, and leaves the deciding to homes and connections.

mod acting;

use crate::{
    ask::Answer,
    connection::{Connections, Question, TrunkHandle},
    fan_out::FanOut,
    homes::Homes,
    inbox::Inbox,
    presence::{self, Presence, Presences},
    rates::Rates,
    refusals,
    router::Router,
    typing::Typing,
};
use acting::OneUser;
use bytes::Bytes;
use futures_util::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use madang_mesh::{
    lease::Tenure,
    shard::{ShardMap, shard_of},
    status::to_status,
    trace::{self, Kind, Span},
};
use madang_proto::{
    chat::v1::{chat_service_server::ChatService, home_service_server::HomeService, operation, outcome, upstream, *},
    client::v1::{Ack, ClientFrame, Pong, ServerFrame, client_frame, server_frame},
    id::{DeviceId, UserId},
    log::v1::{Delivery, InboxBatch},
    reason::{Reason, Refusal},
};
use prost::Message as _;
use std::{
    collections::HashMap,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::{UnboundedReceiverStream, WatchStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// How many questions after what was delivered are asked at once.
const QUESTIONS: usize = 1000;

/// Both services of a chat-svc process.
#[derive(Clone)]
pub struct Rpc {
    pub(crate) router: Router,
    pub(crate) homes: Homes,
    pub(crate) connections: Connections,
    pub(crate) presences: Presences,
    pub(crate) fan_out: FanOut,
    pub(crate) inbox: Arc<dyn Inbox>,
    pub(crate) typing: Typing,
    pub(crate) rates: Arc<Rates>,
    pub(crate) map: watch::Receiver<ShardMap>,
    pub(crate) drain: CancellationToken,
    /// Whether this process knows who is home of what.
    pub(crate) tenure: Tenure,
}

/// How often it is looked whether it does.
const LOOK: Duration = Duration::from_secs(1);

fn unimplemented(what: &str) -> Refusal {
    Refusal::new(Reason::Unimplemented, format!("{what} is not there yet"))
}

/// An encoded answer to a request.
fn answer_frame(id: u32, result: Result<Ack, Refusal>) -> Bytes {
    let body = match result {
        Ok(ack) => server_frame::Body::Ack(ack),
        Err(refusal) => server_frame::Body::Error(refusal.to_error()),
    };
    ServerFrame { id, body: Some(body) }.encode_to_vec().into()
}

fn operation(actor: &str, device: Option<DeviceId>, body: client_frame::Body) -> Result<Operation, Refusal> {
    // Nothing else asks on which it was.
    let device = device.filter(|_| matches!(body, client_frame::Body::Read(_)));
    let (conversation, body) = match body {
        client_frame::Body::Send(send) => (send.conversation.clone(), operation::Body::Send(send)),
        client_frame::Body::Read(read) => (read.conversation.clone(), operation::Body::Read(read)),
        client_frame::Body::Typing(typing) => (typing.conversation.clone(), operation::Body::Typing(typing)),
        client_frame::Body::Edit(edit) => (edit.conversation.clone(), operation::Body::Edit(edit)),
        client_frame::Body::Delete(delete) => (delete.conversation.clone(), operation::Body::Delete(delete)),
        client_frame::Body::React(react) => (react.conversation.clone(), operation::Body::React(react)),
        client_frame::Body::Watch(_) | client_frame::Body::Hello(_) | client_frame::Body::Ping(_) => {
            return Err(Refusal::new(Reason::InvalidFrame, "this is for a connection"));
        }
    };
    Ok(Operation {
        conversation,
        actor: actor.to_owned(),
        body: Some(body),
        device: device.map(|device| device.to_string()).unwrap_or_default(),
    })
}

impl Rpc {
    /// Takes a frame. `rated`: it comes from a gateway's socket.
    async fn frame(
        &self,
        connection: u64,
        ((user, device), rated): ((&str, Option<DeviceId>), bool),
        (bytes, trace): (Bytes, Bytes),
        trunk: &TrunkHandle,
    ) {
        let frame = match ClientFrame::decode(bytes) {
            Ok(frame) => frame,
            Err(error) => {
                let refusal = Refusal::new(Reason::InvalidFrame, format!("a frame can't be read: {error}"));
                return trunk.reply(connection, answer_frame(0, Err(refusal)));
            }
        };
        // Nobody waits for what becomes of typing.
        let id = if matches!(frame.body, Some(client_frame::Body::Typing(_))) { 0 } else { frame.id };
        if let (true, Ok(user)) = (rated, user.parse())
            && let Err(refusal) = self.rates.take(user, frame.body.as_ref(), Instant::now())
        {
            let answer = (id != 0).then(|| answer_frame(id, Err(refusal)));
            return answer.into_iter().for_each(|frame| trunk.reply(connection, frame));
        }
        match &frame.body {
            Some(client_frame::Body::Watch(watch)) => {
                return self.watch(connection, id, user, &watch.users, trunk).await;
            }
            // Gateways answer it themselves; a session of an internal service has none.
            Some(client_frame::Body::Ping(_)) => {
                let pong = ServerFrame { id, body: Some(server_frame::Body::Pong(Pong {})) };
                return trunk.reply(connection, pong.encode_to_vec().into());
            }
            _ => {}
        }
        let trunk = trunk.clone();
        let mut span = Span::of(&trace, "chat", "accept", Kind::Server);
        let context = span.context();
        let answer: Answer = Box::new(move |result| {
            result.as_ref().err().into_iter().for_each(|refusal| span.refused(refusal));
            drop(span);
            if id != 0 {
                trunk.reply(connection, answer_frame(id, result));
            }
        });
        match frame.body.ok_or_else(|| unimplemented("this frame")).and_then(|body| operation(user, device, body)) {
            Ok(operation) => trace::during(context, || self.router.submit(operation, answer)),
            Err(refusal) => answer(Err(refusal)),
        }
    }

    /// Watches users for a connection, instead of those that it has watched.
    async fn watch(&self, connection: u64, id: u32, user: &str, users: &[String], trunk: &TrunkHandle) {
        let invalid = |_| Refusal::new(Reason::InvalidField, "the connection is of nobody");
        let parsed = presence::users(users).and_then(|users| Ok((user.parse().map_err(invalid)?, users)));
        let watching = parsed.and_then(|(user, users)| self.presences.watch(user, trunk.offer(connection), &users));
        let (answer, watching) = match watching {
            Ok(watching) => (Ok(Ack::default()), Some(watching)),
            Err(refusal) => (Err(refusal), None),
        };
        if id != 0 {
            trunk.reply(connection, answer_frame(id, answer));
        }
        if let Some(watching) = watching {
            trunk.watch(connection, watching).await;
        }
    }

    /// Reads a trunk until it ends; never stops reading.
    async fn read_trunk(self, mut requests: Streaming<ConnectRequest>, trunk: TrunkHandle, only: Option<OneUser>) {
        let mut users: HashMap<u64, (String, Option<DeviceId>)> = HashMap::new();
        loop {
            let request = tokio::select! {
                request = requests.next() => request,
                () = self.drain.cancelled() => None,
            };
            if let Some(Err(status)) = &request
                && refusals::is_unreadable(status)
            {
                refusals::UNREADABLE.count();
            }
            let Some(Ok(request)) = request else { break };
            for Upstream { connection, item, trace } in request.items {
                match item {
                    Some(upstream::Item::Open(mut open)) => {
                        if only.as_ref().is_some_and(|only| !only.has(&mut open.user)) {
                            return trunk.end().await;
                        }
                        let device = open.device.as_ref().and_then(|device| device.id.parse().ok());
                        users.insert(connection, (open.user.clone(), device));
                        trunk.open(connection, open).await;
                    }
                    Some(upstream::Item::Frame(bytes)) => {
                        if let Some((user, device)) = users.get(&connection) {
                            self.frame(connection, ((user, *device), only.is_none()), (bytes, trace), &trunk).await;
                        }
                    }
                    Some(upstream::Item::Delivered(delivered)) => trunk.delivered(connection, delivered.cursor),
                    Some(upstream::Item::Close(_)) => {
                        users.remove(&connection);
                        trunk.close(connection).await;
                    }
                    None => {}
                }
            }
        }
        trunk.end().await;
    }

    /// Puts an event of no conversation into a user's inbox.
    async fn give(&self, user: UserId, event: Bytes, shards: u32) -> Result<(), Refusal> {
        let delivery = Delivery { event, users: Bytes::copy_from_slice(user.bytes()), trace: Bytes::new() };
        let batch = InboxBatch { own: vec![delivery], ..InboxBatch::default() };
        let given = self.inbox.publish(shard_of(user.bytes(), shards), Some(user), batch.encode_to_vec().into()).await;
        given.map_err(|error| Refusal::new(Reason::Unavailable, error.to_string()).after(500))
    }

    async fn unary<T>(&self, request: &Request<T>, body: client_frame::Body) -> Result<Option<Ack>, Status> {
        let user = acting::for_user(request.metadata())?;
        let operation = operation(&user.to_string(), None, body).map_err(|refusal| to_status(&refusal))?;
        let (sender, receiver) = oneshot::channel();
        self.router.submit(operation, Box::new(move |result| drop(sender.send(result))));
        let lost = || Refusal::new(Reason::Unavailable, "the home ended before it answered: send again");
        receiver.await.unwrap_or_else(|_| Err(lost())).map(Some).map_err(|refusal| to_status(&refusal))
    }
}

fn outcome(result: Result<Ack, Refusal>) -> Outcome {
    let result = match result {
        Ok(ack) => outcome::Result::Ack(ack),
        Err(refusal) => outcome::Result::Error(refusal.to_error()),
    };
    Outcome { result: Some(result) }
}

fn required<T>(body: Option<T>, name: &str) -> Result<T, Status> {
    let none = || Refusal::new(Reason::InvalidField, format!("the request has no {name}")).of(name);
    body.ok_or_else(|| to_status(&none()))
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ChatService for Rpc {
    type ConnectStream = BoxStream<'static, Result<ConnectResponse, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let only = acting::perhaps_for_user(request.metadata())?.map(OneUser::of);
        let (trunk, responses) = self.connections.trunk();
        tokio::spawn(self.clone().read_trunk(request.into_inner(), trunk, only.clone()));
        Ok(Response::new(match only {
            Some(only) => only.answers(responses),
            None => responses,
        }))
    }

    async fn send_message(
        &self,
        mut request: Request<SendMessageRequest>,
    ) -> Result<Response<SendMessageResponse>, Status> {
        let send = required(request.get_mut().send.take(), "send")?;
        let ack = self.unary(&request, client_frame::Body::Send(send)).await?;
        Ok(Response::new(SendMessageResponse { ack }))
    }

    async fn edit_message(
        &self,
        mut request: Request<EditMessageRequest>,
    ) -> Result<Response<EditMessageResponse>, Status> {
        let edit = required(request.get_mut().edit.take(), "edit")?;
        let ack = self.unary(&request, client_frame::Body::Edit(edit)).await?;
        Ok(Response::new(EditMessageResponse { ack }))
    }

    async fn delete_message(
        &self,
        mut request: Request<DeleteMessageRequest>,
    ) -> Result<Response<DeleteMessageResponse>, Status> {
        let delete = required(request.get_mut().delete.take(), "delete")?;
        let ack = self.unary(&request, client_frame::Body::Delete(delete)).await?;
        Ok(Response::new(DeleteMessageResponse { ack }))
    }

    async fn react(&self, mut request: Request<ReactRequest>) -> Result<Response<ReactResponse>, Status> {
        let react = required(request.get_mut().react.take(), "react")?;
        let ack = self.unary(&request, client_frame::Body::React(react)).await?;
        Ok(Response::new(ReactResponse { ack }))
    }

    async fn mark_read(&self, mut request: Request<MarkReadRequest>) -> Result<Response<MarkReadResponse>, Status> {
        let read = required(request.get_mut().read.take(), "read")?;
        let ack = self.unary(&request, client_frame::Body::Read(read)).await?;
        Ok(Response::new(MarkReadResponse { ack }))
    }

    async fn get_presence(
        &self,
        request: Request<GetPresenceRequest>,
    ) -> Result<Response<GetPresenceResponse>, Status> {
        let refused = |refusal: Refusal| to_status(&refusal);
        let whose = acting::perhaps_for_user(request.metadata())?;
        let mut users: Vec<UserId> = presence::users(&request.get_ref().users).map_err(refused)?;
        if let Some(whose) = whose {
            let visible = self.presences.visible(whose, &users, None).await.map_err(refused)?;
            users.retain(|user| visible.contains(user));
        }
        let found = self.presences.look_up(&users).await.map_err(refused)?;
        let absent = Presence { online: false, last_seen: 0 };
        let presences = users.iter().map(|user| found.get(user).copied().unwrap_or(absent).of(*user)).collect();
        Ok(Response::new(GetPresenceResponse { presences }))
    }
}

#[tonic::async_trait]
impl HomeService for Rpc {
    type OperateStream = Answers<OperateResponse>;
    type WatchShardsStream = Answers<WatchShardsResponse>;
    type TakeOverStream = Answers<TakeOverResponse>;

    async fn operate(
        &self,
        request: Request<Streaming<OperateRequest>>,
    ) -> Result<Response<Self::OperateStream>, Status> {
        let mut requests = request.into_inner();
        // Bounded by the caller, which is another chat-svc and nobody else: it has at most `router::IN_FLIGHT` of them
        // unanswered, each has exactly one answer, and an answer is an ack or a refusal.
        let (sender, receiver) = mpsc::unbounded_channel();
        let rpc = self.clone();
        tokio::spawn(async move {
            while let Some(Ok(OperateRequest { number, operation, trace })) = requests.next().await {
                let sender = sender.clone();
                let answer: Answer = Box::new(move |result| {
                    let response = OperateResponse { number, outcome: Some(outcome(result)) };
                    drop(sender.send(Ok(response)));
                });
                match operation {
                    Some(operation) => {
                        let context = trace::Context::from_bytes(&trace);
                        trace::during(context, || rpc.router.submit_here(operation, answer));
                    }
                    None => {
                        answer(Err(Refusal::new(Reason::InvalidField, "the request has no operation").of("operation")))
                    }
                }
            }
        });
        let drain = self.drain.clone();
        let answers = UnboundedReceiverStream::new(receiver).take_until(async move { drain.cancelled().await });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn operate_once(
        &self,
        request: Request<OperateOnceRequest>,
    ) -> Result<Response<OperateOnceResponse>, Status> {
        let operation = required(request.into_inner().operation, "operation")?;
        let (sender, receiver) = oneshot::channel();
        self.router.submit_here(operation, Box::new(move |result| drop(sender.send(result))));
        let lost = || Refusal::new(Reason::Unavailable, "the home ended before it answered: ask again");
        let result = receiver.await.unwrap_or_else(|_| Err(lost()));
        Ok(Response::new(OperateOnceResponse { outcome: Some(outcome(result)) }))
    }

    async fn watch_shards(&self, _: Request<WatchShardsRequest>) -> Result<Response<Self::WatchShardsStream>, Status> {
        let (drain, tenure) = (self.drain.clone(), self.tenure.clone());
        if !tenure.is_fresh() {
            let message = "this process is cut off from the registry: another knows the shard map";
            return Err(to_status(&Refusal::new(Reason::Unavailable, message)));
        }
        // Whoever follows looks for another process then, which sees more.
        let ends = async move {
            let goes_blind = async {
                while tenure.is_fresh() {
                    tokio::time::sleep(LOOK).await;
                }
            };
            tokio::select! {
                () = drain.cancelled() => {}
                () = goes_blind => {}
            }
        };
        let maps = WatchStream::new(self.map.clone()).map(|map| {
            let homes = map.homes.iter().map(|(shard, home)| ShardHome {
                shard: *shard,
                process: home.process.clone(),
                address: home.address.clone(),
            });
            Ok(WatchShardsResponse { count: map.count, homes: homes.collect() })
        });
        Ok(Response::new(Box::pin(maps.take_until(ends))))
    }

    async fn take_over(&self, request: Request<TakeOverRequest>) -> Result<Response<Self::TakeOverStream>, Status> {
        let TakeOverRequest { shard, marker } = request.into_inner();
        let nothing = || Status::not_found("nothing is handed over: replay the log");
        let left = self.homes.shelf().take(shard, marker).ok_or_else(nothing)?;
        Ok(Response::new(Box::pin(stream::iter(left.send().map(Ok)))))
    }

    async fn notify(&self, request: Request<NotifyRequest>) -> Result<Response<NotifyResponse>, Status> {
        let NotifyRequest { users, frame, event } = request.into_inner();
        let count = self.map.borrow().count;
        let users: Vec<UserId> = users.chunks_exact(16).filter_map(|id| UserId::from_slice(id).ok()).collect();
        let here: Vec<_> =
            users.iter().filter(|user| self.homes.get(shard_of(user.bytes(), count)).is_some()).copied().collect();
        if !event.is_empty() {
            if here.len() < users.len() {
                let message = "another process is the home of a user: refresh the shard map";
                return Err(to_status(&Refusal::new(Reason::NotHome, message)));
            }
            for user in here {
                self.give(user, event.clone(), count).await.map_err(|refusal| to_status(&refusal))?;
            }
            return Ok(Response::new(NotifyResponse {}));
        }
        if frame.is_empty() {
            self.typing.forget(&users);
        }
        self.connections.notify(&here, frame);
        Ok(Response::new(NotifyResponse {}))
    }

    async fn look_up_presence(
        &self,
        request: Request<LookUpPresenceRequest>,
    ) -> Result<Response<LookUpPresenceResponse>, Status> {
        let LookUpPresenceRequest { users, epoch, since } = request.into_inner();
        let users = users.chunks_exact(16).filter_map(|id| UserId::from_slice(id).ok());
        let answer = self.presences.board().answer(users, epoch, since);
        let presences = answer.presences.into_iter().map(|(user, presence)| UserPresence {
            user: Bytes::copy_from_slice(user.bytes()),
            online: presence.online,
            last_seen: presence.last_seen,
        });
        Ok(Response::new(LookUpPresenceResponse {
            epoch: answer.epoch,
            version: answer.version,
            lost: answer.lost,
            presences: presences.collect(),
        }))
    }

    async fn rewind(&self, request: Request<RewindRequest>) -> Result<Response<RewindResponse>, Status> {
        let RewindRequest { source, destination, after } = request.into_inner();
        let elsewhere = || {
            let message = "another process is the home of the source shard: refresh the shard map";
            to_status(&Refusal::new(Reason::NotHome, message))
        };
        let rewound = self.fan_out.rewind(source, destination, after).ok_or_else(elsewhere)?;
        Ok(Response::new(RewindResponse { sent: rewound.sent, again: rewound.again }))
    }

    async fn list_delivered(
        &self,
        request: Request<ListDeliveredRequest>,
    ) -> Result<Response<ListDeliveredResponse>, Status> {
        let asked = request.into_inner().questions;
        if asked.len() > QUESTIONS {
            let message = format!("at most {QUESTIONS} questions are asked at once");
            return Err(to_status(&Refusal::new(Reason::TooLarge, message).of("questions")));
        }
        let mut answers = vec![DeliveredAnswer::default(); asked.len()];
        let questions = (0..).zip(asked).map(|(number, DeliveredQuestion { shard, position, users })| {
            let users = users.chunks_exact(16).filter_map(|user| UserId::from_slice(user).ok()).collect();
            Question { number, shard, position, users }
        });
        for (number, user, device) in self.connections.who_has(questions.collect()).await {
            if let Some(answer) = answers.get_mut(number) {
                answer.devices.push(DeliveredDevice { user: user.bytes().to_vec().into(), device });
            }
        }
        Ok(Response::new(ListDeliveredResponse { answers }))
    }
}
