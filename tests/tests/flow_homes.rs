//! What a socket sees while the home behind it goes, stays away, hangs and comes back: a real gateway and accounts, with
//! homes that do what the test says.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use clap::Parser;
use futures_util::{StreamExt as _, future::BoxFuture, stream::BoxStream};
use madang_mesh::{
    channel::Channels,
    door::{self, Door},
    log::sqlite::SqliteLog,
    process::Service as _,
    registry::memory::MemoryRegistry,
    serve::{self, Context, Peers},
    settings::Settings,
};
use madang_proto::{
    account::v1::{SignUpRequest, account_service_client::AccountServiceClient},
    chat::v1::{
        chat_service_server::{ChatService, ChatServiceServer},
        home_service_server::{HomeService, HomeServiceServer},
        *,
    },
    client::v1::{Ack, ClientFrame, Device, DeviceKind, Resume, ServerFrame, server_frame},
    id::ClientId,
};
use madang_tests::client::{Person, Socket};
use prost::Message as _;
use serde_json::{Value, json};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_stream::wrappers::{ReceiverStream, WatchStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, service::Routes};

type Responses = mpsc::Sender<Result<ConnectResponse, Status>>;

/// A chat-svc that does what the test says.
#[derive(Clone)]
struct Chat {
    map: watch::Receiver<WatchShardsResponse>,
    trunks: mpsc::UnboundedSender<(Streaming<ConnectRequest>, Responses)>,
}

/// As `async_trait` writes them, which does not look into macros.
macro_rules! not_asked {
    ($($name:ident($request:ty) -> $response:ty;)*) => {$(
        fn $name<'a, 'b>(&'a self, _: Request<$request>) -> BoxFuture<'b, Result<Response<$response>, Status>>
        where
            'a: 'b,
            Self: 'b,
        {
            Box::pin(async { Err(Status::unimplemented("not asked")) })
        }
    )*};
}

#[tonic::async_trait]
impl ChatService for Chat {
    type ConnectStream = ReceiverStream<Result<ConnectResponse, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (sender, receiver) = mpsc::channel(1024);
        self.trunks.send((request.into_inner(), sender)).unwrap();
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    not_asked! {
        send_message(SendMessageRequest) -> SendMessageResponse;
        edit_message(EditMessageRequest) -> EditMessageResponse;
        delete_message(DeleteMessageRequest) -> DeleteMessageResponse;
        react(ReactRequest) -> ReactResponse;
        mark_read(MarkReadRequest) -> MarkReadResponse;
        get_presence(GetPresenceRequest) -> GetPresenceResponse;
    }
}

#[tonic::async_trait]
impl HomeService for Chat {
    type OperateStream = BoxStream<'static, Result<OperateResponse, Status>>;
    type WatchShardsStream = BoxStream<'static, Result<WatchShardsResponse, Status>>;
    type TakeOverStream = BoxStream<'static, Result<TakeOverResponse, Status>>;

    async fn operate(&self, _: Request<Streaming<OperateRequest>>) -> Result<Response<Self::OperateStream>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn watch_shards(&self, _: Request<WatchShardsRequest>) -> Result<Response<Self::WatchShardsStream>, Status> {
        Ok(Response::new(WatchStream::new(self.map.clone()).map(Ok).boxed()))
    }

    async fn take_over(&self, _: Request<TakeOverRequest>) -> Result<Response<Self::TakeOverStream>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    not_asked! {
        operate_once(OperateOnceRequest) -> OperateOnceResponse;
        notify(NotifyRequest) -> NotifyResponse;
        rewind(RewindRequest) -> RewindResponse;
        list_delivered(ListDeliveredRequest) -> ListDeliveredResponse;
        look_up_presence(LookUpPresenceRequest) -> LookUpPresenceResponse;
    }
}

/// One home's end of a trunk.
struct Trunk {
    requests: Streaming<ConnectRequest>,
    responses: Responses,
    waiting: Vec<Upstream>,
}

impl Trunk {
    async fn next(&mut self) -> (u64, upstream::Item) {
        loop {
            while self.waiting.is_empty() {
                self.waiting = self.requests.next().await.unwrap().unwrap().items;
            }
            let Upstream { connection, item, .. } = self.waiting.remove(0);
            match item.unwrap() {
                upstream::Item::Delivered(_) => {}
                item => return (connection, item),
            }
        }
    }

    /// The connection that is opened, and from which cursor.
    async fn open(&mut self) -> (u64, String) {
        loop {
            match self.next().await {
                (connection, upstream::Item::Open(open)) => return (connection, open.resume),
                (_, upstream::Item::Close(_) | upstream::Item::Delivered(_)) => {}
                (_, upstream::Item::Frame(_)) => panic!("a frame before its connection is open"),
            }
        }
    }

    /// The connection of the next frame, and the number that the gateway has given it.
    async fn frame(&mut self) -> (u64, u32) {
        match self.next().await {
            (connection, upstream::Item::Frame(frame)) => (connection, ClientFrame::decode(frame).unwrap().id),
            other => panic!("{other:?}"),
        }
    }

    async fn send(&self, connection: u64, item: downstream::Item) {
        let down = Downstream { connections: vec![connection], item: Some(item), ..Downstream::default() };
        self.responses.send(Ok(ConnectResponse { items: vec![down] })).await.unwrap();
    }

    async fn opened(&self, connection: u64, cursor: &str, resume: Resume) {
        let opened = Opened { cursor: cursor.into(), resume: resume.into() };
        self.send(connection, downstream::Item::Opened(opened)).await;
    }

    async fn ack(&self, connection: u64, id: u32, seq: u64) {
        let body = Some(server_frame::Body::Ack(Ack { seq, ..Ack::default() }));
        self.send(connection, downstream::Item::Frame(ServerFrame { id, body }.encode_to_vec().into())).await;
    }
}

struct Rig {
    http: SocketAddr,
    person: Person,
    map: watch::Sender<WatchShardsResponse>,
    homes: [mpsc::UnboundedReceiver<(Streaming<ConnectRequest>, Responses)>; 2],
    _folder: tempfile::TempDir,
    _end: tokio_util::sync::DropGuard,
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    account: madang_account::Config,
}

/// Any home of all shards, or none.
fn homes(of: Option<usize>) -> WatchShardsResponse {
    let home = |shard| ShardHome { shard, process: "p".into(), address: format!("inproc://chat{}", of.unwrap()) };
    WatchShardsResponse { count: 2, homes: if of.is_some() { vec![home(0), home(1)] } else { Vec::new() } }
}

async fn rig(flags: &[&str]) -> Rig {
    let (folder, end) = (tempfile::tempdir().unwrap(), CancellationToken::new());
    let cli = Cli::parse_from([&["", "--argon2-kib", "8", "--send-rate", "0"], flags].concat());
    let channels = Channels::new();
    let context = Context {
        process: "test".into(),
        address: "inproc://gateway".into(),
        settings: cli.settings.clone(),
        log: Arc::new(SqliteLog::open(folder.path()).unwrap()),
        registry: Arc::new(MemoryRegistry::new()),
        channels: channels.clone(),
        peers: Peers {
            chat: "inproc://chat0".into(),
            account: "inproc://account".into(),
            // Nobody is there.
            group: "inproc://group".into(),
            store: "inproc://store".into(),
            notify: "inproc://notify".into(),
        },
        until: Instant::now(),
    };
    let config = madang_account::Config { data: Some(folder.path().to_owned()), ..cli.account };
    let account = madang_account::build(config, context.clone()).await.unwrap();
    tokio::spawn(serve::grpc(account.routes(), None, Some(channels.listen("account")), end.clone()));
    let map = watch::Sender::new(homes(Some(0)));
    let mut made = Vec::new();
    for n in 0..2 {
        let (trunks, receiver) = mpsc::unbounded_channel();
        let chat = Chat { map: map.subscribe(), trunks };
        let routes = Routes::new(ChatServiceServer::new(chat.clone())).add_service(HomeServiceServer::new(chat));
        tokio::spawn(serve::grpc(routes, None, Some(channels.listen(&format!("chat{n}"))), end.clone()));
        made.push(receiver);
    }
    let gateway = madang_gateway::build(context).await.unwrap();
    let listener = serve::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let http = listener.local_addr().unwrap();
    tokio::spawn(door::serve(listener, gateway.door().unwrap(), Door::new(&cli.settings), end.clone()));
    let device = uuid::Uuid::new_v4().to_string();
    let request = SignUpRequest {
        handle: "alice".into(),
        password: "correct horse".into(),
        device: Some(Device { id: device.clone(), kind: DeviceKind::Service.into(), ..Device::default() }),
        ..SignUpRequest::default()
    };
    let mut account = AccountServiceClient::new(channels.get("inproc://account").unwrap());
    let tokens = account.sign_up(request).await.unwrap().into_inner().tokens.unwrap();
    let person = Person { id: tokens.user.unwrap().user, token: tokens.access_token, device };
    let [second, first] = [made.pop().unwrap(), made.pop().unwrap()];
    Rig { http, person, map, homes: [first, second], _folder: folder, _end: end.drop_guard() }
}

impl Rig {
    async fn trunk(&mut self, home: usize) -> Trunk {
        let (requests, responses) = self.homes[home].recv().await.unwrap();
        Trunk { requests, responses, waiting: Vec::new() }
    }

    /// A socket that is ready, its home's trunk, and its number there.
    async fn connect(&mut self) -> (Socket, Trunk, u64) {
        let device = self.person.device.clone();
        self.connect_to(0, &device).await
    }

    /// The same, of a device of the person's, at a home.
    async fn connect_to(&mut self, home: usize, device: &str) -> (Socket, Trunk, u64) {
        let mut socket = Socket::over(TcpStream::connect(self.http).await.unwrap()).await;
        let device = json!({"id": device, "kind": "DEVICE_KIND_SERVICE"});
        socket.send(json!({"id": 1, "hello": {"token": self.person.token, "device": device}})).await;
        let mut trunk = self.trunk(home).await;
        let (connection, resume) = trunk.open().await;
        assert_eq!(resume, "");
        trunk.opened(connection, "first", Resume::New).await;
        assert!(socket.next().await["ready"].is_object());
        (socket, trunk, connection)
    }
}

fn ask(id: u64) -> Value {
    json!({"id": id, "read": {"conversation": uuid::Uuid::new_v4().to_string(), "seq": "1"}})
}

async fn ping(socket: &mut Socket, id: u64) {
    socket.send(json!({"id": id, "ping": {}})).await;
    let frame = socket.next().await;
    assert!(frame["id"] == id && frame["pong"].is_object(), "{frame}");
}

const NOT_HOME: Closed = Closed { reason: ClosedReason::NotHome as i32 };

#[tokio::test(flavor = "multi_thread")]
async fn frames_are_held_while_the_home_moves_and_go_on_in_order() {
    let mut rig = rig(&["--max-in-flight", "100"]).await;
    let (mut socket, old, connection) = rig.connect().await;
    rig.map.send_replace(homes(None));
    old.send(connection, downstream::Item::Closed(NOT_HOME)).await;
    assert!(socket.next().await["interrupted"].is_object());
    for id in 2..=65 {
        socket.send(ask(id)).await;
    }
    // The socket is read all the while; what is too much to hold is refused at once.
    ping(&mut socket, 70).await;
    socket.send(ask(66)).await;
    let refused = socket.next().await;
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!(66), &json!("UNAVAILABLE")), "{refused}");
    assert_eq!((&refused["error"]["retryable"], &refused["error"]["retryAfterMs"]), (&json!(true), &json!("1000")));
    // What the older generation still says is nobody's any more.
    old.ack(connection, 1, 99).await;
    rig.map.send_replace(homes(Some(1)));
    let mut new = rig.trunk(1).await;
    let (again, resume) = new.open().await;
    assert!(again != connection && resume == "first", "the next generation, from the cursor");
    new.opened(again, "second", Resume::Resumed).await;
    for id in 2..=65 {
        let (from, number) = new.frame().await;
        assert_eq!(from, again);
        new.ack(again, number, id).await;
    }
    for id in 2..=65 {
        let frame = socket.next().await;
        assert_eq!((&frame["id"], &frame["ack"]["seq"]), (&json!(id), &json!(id.to_string())), "{frame}");
    }
}

/// Takes about 5 s: so long an answer is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_home_sends_are_refused_and_the_socket_stays() {
    let mut rig = rig(&[]).await;
    let (mut socket, mut hung, connection) = rig.connect().await;
    // The home takes a request, and says nothing.
    socket.send(ask(2)).await;
    let (from, late) = hung.frame().await;
    assert_eq!(from, connection);
    let refused = socket.next().await;
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!(2), &json!("UNAVAILABLE")), "{refused}");
    // Its late answer would be a second one; and it is none to what has that id since.
    socket.send(ask(2)).await;
    let (_, number) = hung.frame().await;
    hung.ack(connection, late, 1).await;
    ping(&mut socket, 3).await;
    hung.ack(connection, number, 7).await;
    let answer = socket.next().await;
    assert_eq!((&answer["id"], &answer["ack"]["seq"]), (&json!(2), &json!("7")), "{answer}");
    // It goes, and no other comes.
    rig.map.send_replace(homes(None));
    hung.send(connection, downstream::Item::Closed(NOT_HOME)).await;
    assert!(socket.next().await["interrupted"].is_object());
    socket.send(ask(4)).await;
    socket.send(json!({"typing": {"conversation": rig.person.id}})).await;
    let refused = socket.next().await;
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!(4), &json!("UNAVAILABLE")), "{refused}");
    ping(&mut socket, 5).await;
    // One comes: the same socket goes on, and nothing old is sent to it.
    rig.map.send_replace(homes(Some(1)));
    let mut new = rig.trunk(1).await;
    let (again, _) = new.open().await;
    new.opened(again, "second", Resume::Snapshot).await;
    assert_eq!(socket.next().await["resync"]["cursor"], "second", "something may be missing");
    socket.send(ask(6)).await;
    let (from, number) = new.frame().await;
    assert_eq!(from, again);
    new.ack(again, number, 6).await;
    assert_eq!(socket.next().await["ack"]["seq"], "6");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_comes_and_goes_interrupts_once() {
    let mut rig = rig(&[]).await;
    let (mut socket, mut trunk, mut connection) = rig.connect().await;
    trunk.send(connection, downstream::Item::Closed(NOT_HOME)).await;
    assert!(socket.next().await["interrupted"].is_object());
    for _ in 0..3 {
        (connection, _) = trunk.open().await;
        trunk.send(connection, downstream::Item::Closed(NOT_HOME)).await;
    }
    (connection, _) = trunk.open().await;
    trunk.opened(connection, "second", Resume::Resumed).await;
    ping(&mut socket, 3).await;
    // A process that dies ends its trunk; a request that was on its way is to be sent again.
    socket.send(ask(4)).await;
    assert_eq!(trunk.frame().await.0, connection);
    drop(trunk);
    assert!(socket.next().await["interrupted"].is_object());
    let mut trunk = rig.trunk(0).await;
    (connection, _) = trunk.open().await;
    trunk.opened(connection, "third", Resume::Resumed).await;
    socket.send(ask(4)).await;
    let (from, number) = trunk.frame().await;
    assert_eq!(from, connection);
    trunk.ack(connection, number, 4).await;
    assert_eq!(socket.next().await["ack"]["seq"], "4");
}

/// Takes about 10 s: so long a home may take to open what was open before.
#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_never_opens_a_link_is_asked_again() {
    let mut rig = rig(&[]).await;
    let (mut socket, mut trunk, connection) = rig.connect().await;
    trunk.send(connection, downstream::Item::Closed(NOT_HOME)).await;
    assert!(socket.next().await["interrupted"].is_object());
    let (unanswered, _) = trunk.open().await;
    let (again, resume) = trunk.open().await;
    assert!(again != unanswered && resume == "first");
    trunk.opened(again, "second", Resume::Resumed).await;
    ping(&mut socket, 3).await;
}

/// Who says hello while there is no home, by one network and then by another: the first is told as one that was there before.
#[tokio::test(flavor = "multi_thread")]
async fn a_hello_that_waited_for_a_home_is_not_the_devices_last_word() {
    let mut rig = rig(&[]).await;
    rig.map.send_replace(homes(None));
    let device = json!({"id": rig.person.device, "kind": "DEVICE_KIND_SERVICE"});
    let hello = json!({"id": 1, "hello": {"token": rig.person.token, "device": device}});
    let mut waits = Socket::over(TcpStream::connect(rig.http).await.unwrap()).await;
    waits.send(hello.clone()).await;
    // What this waits for is time.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut late = Socket::over(TcpStream::connect(rig.http).await.unwrap()).await;
    late.send(hello).await;
    rig.map.send_replace(homes(Some(0)));
    let mut trunk = rig.trunk(0).await;
    let mut opens = Vec::new();
    while opens.len() < 2 {
        if let (_, upstream::Item::Open(open)) = trunk.next().await {
            opens.push(open);
        }
    }
    opens.sort_by_key(|open| open.hello_at);
    assert!(opens[0].again, "it has waited");
}

/// A home that takes nothing any more holds up nobody whose home is another one, nor the reading of the sockets that are its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_stalls_holds_up_nobody_elses() {
    let mut rig = rig(&["--max-in-flight", "200"]).await;
    let (mut stalled, mut first, connection) = rig.connect().await;
    rig.map.send_replace(homes(Some(1)));
    let (mut other, mut second, number) = rig.connect_to(1, &uuid::Uuid::new_v4().to_string()).await;
    // Over 12 MiB: more than a trunk's window and its queue take. Nobody reads it.
    let text = "x".repeat(64 << 10);
    for id in 2..=190 {
        let room = uuid::Uuid::new_v4().to_string();
        let send = json!({"conversation": room, "clientId": ClientId::now().to_string(), "text": text});
        stalled.send(json!({"id": id, "send": send})).await;
    }
    for id in 2..=50 {
        other.send(ask(id)).await;
        let (from, asked) = second.frame().await;
        assert_eq!(from, number);
        second.ack(number, asked, id).await;
        let frame = other.next().await;
        assert_eq!((&frame["id"], &frame["ack"]["seq"]), (&json!(id), &json!(id.to_string())), "{frame}");
    }
    stalled.send(json!({"id": 500, "ping": {}})).await;
    loop {
        let frame = stalled.next().await;
        if frame["id"] == 500 {
            assert!(frame["pong"].is_object(), "{frame}");
            break;
        }
        // What is not answered in time, or found the trunk full.
        assert_eq!(frame["error"]["retryable"], true, "{frame}");
    }
    // It goes on where it was.
    assert_eq!(first.frame().await, (connection, 1));
}
