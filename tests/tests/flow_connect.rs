//! An internal service holds a person's connection: `Connect` with `madang-user`. It hears what they hear and says what they
//! say, as whom it is granted to act; nobody else's connection comes through the same call, and without a grant none does.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use futures_util::{StreamExt, stream};
use madang_mesh::channel::Channels;
use madang_proto::{
    chat::v1::{ConnectRequest, Open, Upstream, chat_service_client::ChatServiceClient, downstream, upstream},
    client::v1::{ClientFrame, Device, DeviceKind, Send, ServerFrame, client_frame, event, server_frame},
    id::ClientId,
};
use madang_solo::{certs, token::Tokens};
use madang_tests::{
    client::{Person, Socket, send, sign_up_at},
    cluster::{Cluster, Plan},
    secure::outsider,
    start_with,
};
use prost::Message as _;
use std::net::SocketAddr;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming, client::GrpcService, codegen::StdError};

/// A call of `Connect`: what it says, and what it hears.
struct Call {
    says: mpsc::Sender<Upstream>,
    hears: Streaming<madang_proto::chat::v1::ConnectResponse>,
    frames: std::collections::VecDeque<ServerFrame>,
}

fn open(connection: u64, user: &str) -> Upstream {
    let device = Device { id: uuid::Uuid::new_v4().to_string(), kind: DeviceKind::Service.into(), ..Device::default() };
    let session = uuid::Uuid::now_v7().to_string();
    let open = Open { user: user.into(), session, device: Some(device), ..Open::default() };
    Upstream { connection, item: Some(upstream::Item::Open(open)), ..Upstream::default() }
}

impl Call {
    /// Begins with a connection of `user`, for whom the metadata names.
    async fn begin<C>(channel: C, token: &str, acting: &str, user: &str) -> Result<Self, Status>
    where
        C: GrpcService<tonic::body::Body, Error: Into<StdError>>,
        C::ResponseBody: tonic::codegen::Body<Data = bytes::Bytes, Error: Into<StdError> + std::marker::Send>
            + std::marker::Send
            + 'static,
    {
        let (says, said) = mpsc::channel(8);
        says.send(open(1, user)).await.unwrap();
        let items = ReceiverStream::new(said).map(|item| ConnectRequest { items: vec![item] });
        let mut request = Request::new(items.chain(stream::pending()));
        let metadata = request.metadata_mut();
        metadata.insert("madang-user", acting.parse().unwrap());
        if !token.is_empty() {
            metadata.insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        let hears = ChatServiceClient::new(channel).connect(request).await?.into_inner();
        Ok(Self { says, hears, frames: Default::default() })
    }

    /// The next frame that comes.
    async fn next(&mut self) -> Result<ServerFrame, Status> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Ok(frame);
            }
            let answer = self.hears.next().await.unwrap_or_else(|| Err(Status::aborted("it ended")))?;
            for item in answer.items {
                match item.item {
                    Some(downstream::Item::Frame(frame)) => {
                        assert_eq!(item.connections, [1], "of nobody else");
                        self.frames.push_back(ServerFrame::decode(frame).unwrap());
                    }
                    Some(downstream::Item::Closed(closed)) => return Err(Status::unavailable(format!("{closed:?}"))),
                    _ => {}
                }
            }
        }
    }
}

/// Where people go.
struct Doors {
    http: SocketAddr,
    gateway: SocketAddr,
}

impl Doors {
    async fn socket(&self, person: &Person) -> Socket {
        Socket::connect_at(self.gateway, person, "").await.0
    }
}

/// `channel`: of who is granted `Connect`; `others`: of who is not.
async fn acts_for_one<C>(doors: &Doors, channel: C, token: &str, others: C, other: &str)
where
    C: GrpcService<tonic::body::Body, Error: Into<StdError>> + Clone,
    C::ResponseBody: tonic::codegen::Body<Data = bytes::Bytes, Error: Into<StdError> + std::marker::Send>
        + std::marker::Send
        + 'static,
{
    let (ann, bob) = (sign_up_at(doors.http, "ann").await, sign_up_at(doors.http, "bob").await);
    // A gateway waits for homes that are not there yet.
    drop(doors.socket(&ann).await);
    let mut at_bob = doors.socket(&bob).await;
    // Her connection need not name her; one that does is hers as well.
    for (text, named) in [("unnamed", ""), ("named", ann.id.as_str())] {
        let mut call = Call::begin(channel.clone(), token, &ann.id, named).await.unwrap();
        at_bob.send(send(7, &ann, text, ClientId::now())).await;
        assert!(at_bob.answer(7).await["ack"].is_object());
        loop {
            let frame = call.next().await.unwrap();
            let Some(server_frame::Body::Event(event)) = frame.body else { continue };
            if let Some(event::Body::Message(message)) = event.body
                && message.text == text
                && message.sender == bob.id
            {
                break;
            }
        }
        let said = format!("from ann, {text}");
        let send = Send {
            user: bob.id.clone(),
            client_id: ClientId::now().to_string(),
            text: said.clone(),
            ..Send::default()
        };
        let frame = ClientFrame { id: 3, body: Some(client_frame::Body::Send(send)), ..ClientFrame::default() };
        let item = Some(upstream::Item::Frame(frame.encode_to_vec().into()));
        call.says.send(Upstream { connection: 1, item, ..Upstream::default() }).await.unwrap();
        loop {
            let frame = call.next().await.unwrap();
            if frame.id == 3 {
                assert!(matches!(frame.body, Some(server_frame::Body::Ack(_))), "{frame:?}");
                break;
            }
        }
        loop {
            let event = at_bob.message().await;
            if event["message"]["sender"] == ann.id.as_str() {
                assert_eq!(event["message"]["text"], said.as_str());
                break;
            }
        }
        // Another's connection ends the call, and does not begin.
        call.says.send(open(2, &bob.id)).await.unwrap();
        let refused = loop {
            match call.next().await {
                Ok(_) => {}
                Err(status) => break status,
            }
        };
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    }
    let refused = async |channel: &C, token: &str, acting: &str, user: &str| {
        let call = Call::begin(channel.clone(), token, acting, user).await;
        let status = match call {
            Err(status) => status,
            Ok(mut call) => loop {
                if let Err(status) = call.next().await {
                    break status;
                }
            },
        };
        status.code()
    };
    assert_eq!(refused(&channel, token, &ann.id, &bob.id).await, Code::PermissionDenied, "from the beginning");
    assert_eq!(refused(&channel, token, "ann", "").await, Code::InvalidArgument, "that is nobody");
    assert_eq!(refused(&others, other, &ann.id, "").await, Code::PermissionDenied, "without a grant");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_at_madang_serve() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_with(folder.path(), &["--grants", "bot:Connect,other:SendMessage"]).await;
    let tokens = Tokens::open(folder.path()).unwrap();
    let channel = Channels::new().get(&format!("http://{}", server.grpc)).unwrap();
    let doors = Doors { http: server.http, gateway: server.http };
    acts_for_one(&doors, channel.clone(), &tokens.make("bot"), channel, &tokens.make("other")).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_in_a_cluster() {
    let parent = tempfile::tempdir().unwrap();
    let folder = certs::make(parent.path()).unwrap();
    let service = vec!["bot".to_owned(), "other".to_owned()];
    let of = certs::Args { folder: folder.clone(), trust_domain: "madang.test".into(), service, days: 1, renew: true };
    certs::run(&of).unwrap();
    let chat = vec!["--grants".to_owned(), "bot:Connect,other:SendMessage".to_owned()];
    let cluster = Cluster::with(Plan { certificates: Some(folder.clone()), chat, ..Plan::default() }).await;
    let address = |url: &str| url.strip_prefix("http://").unwrap().parse().unwrap();
    let doors = Doors { http: address(&cluster.api), gateway: address(&cluster.gateways[0]) };
    let home = cluster.chats[0].grpc.replace("http://", "https://");
    let [bot, other] = ["bot", "other"].map(|name| outsider(&folder, name, &home));
    acts_for_one(&doors, bot, "", other, "").await;
    cluster.stop().await;
}
