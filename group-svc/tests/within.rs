//! Who asks for what happened until now, of all conversations, is not answered before it is in the database.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use clap::Parser;
use madang_group::Config;
use madang_mesh::{
    channel::{Channel, Channels},
    clock::now_micros,
    log::{Log, sqlite::SqliteLog},
    process::Service as _,
    registry::memory::MemoryRegistry,
    serve::{self, Context, Peers},
    settings::Settings,
    shard::shard_of,
};
use madang_proto::{
    client::v1::{ConversationKind, Role},
    group::v1::{ListAcquaintedRequest, ListMembershipsRequest, group_service_client::GroupServiceClient},
    id::{ConversationId, UserId},
    log::v1::{Created, JoinedUser, LoggedEvent, Record, logged_event::Body},
};
use prost::Message as _;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

const SHARDS: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than any test, in ms.
const LONG: u64 = 3_600_000;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
}

/// A group-svc that reads nothing yet.
struct Stage {
    log: Arc<SqliteLog>,
    service: Option<madang_group::Service>,
    client: GroupServiceClient<Channel>,
    _folder: tempfile::TempDir,
}

impl Stage {
    async fn set() -> Self {
        let (folder, channels) = (tempfile::tempdir().unwrap(), Channels::new());
        let log = Arc::new(SqliteLog::open(folder.path()).unwrap());
        for shard in 0..SHARDS {
            log.create(shard).await.unwrap();
        }
        let nobody = || "http://127.0.0.1:1".to_owned();
        let context = Context {
            process: "test".into(),
            address: "inproc://group".into(),
            settings: Cli::parse_from(["", "--shards", &SHARDS.to_string()]).settings,
            log: log.clone(),
            registry: Arc::new(MemoryRegistry::new()),
            channels: channels.clone(),
            peers: Peers { chat: nobody(), account: nobody(), ..Peers::default() },
            until: Instant::now(),
        };
        let config = Config { data: Some(folder.path().to_owned()), group_postgres: None };
        let service = madang_group::build(config, context).await.unwrap();
        let incoming = channels.listen("group");
        tokio::spawn(serve::grpc(service.routes(), None, Some(incoming), CancellationToken::new()));
        let client = GroupServiceClient::new(channels.get("inproc://group").unwrap());
        Self { log, service: Some(service), client, _folder: folder }
    }

    /// Two are in a new group, as the log has it.
    async fn group(&self, people: [UserId; 2]) -> ConversationId {
        let group = ConversationId::new();
        let joined = |user: UserId, role: Role| JoinedUser { user: user.bytes().to_vec().into(), role: role.into() };
        let members = vec![joined(people[0], Role::Owner), joined(people[1], Role::Member)];
        let created = Created { kind: ConversationKind::Group.into(), members, ..Created::default() };
        let event = LoggedEvent {
            conversation: group.bytes().to_vec().into(),
            revision: 1,
            at_micros: now_micros(),
            body: Some(Body::Created(created)),
            ..LoggedEvent::default()
        };
        let record = Record { format: 1, events: vec![event], ..Record::default() };
        let shard = shard_of(group.bytes(), SHARDS);
        self.log.append(shard, record.encode_to_vec().into(), None).await.unwrap();
        group
    }

    async fn memberships(&self, user: UserId, within_ms: Option<u64>) -> Result<Vec<String>, Status> {
        let request = ListMembershipsRequest { user: user.to_string(), within_ms, ..ListMembershipsRequest::default() };
        let found = self.client.clone().list_memberships(request).await?.into_inner().memberships;
        Ok(found.into_iter().map(|each| each.conversation).collect())
    }

    async fn acquainted(&self, [user, other]: [UserId; 2], within_ms: Option<u64>) -> Result<bool, Status> {
        let request = ListAcquaintedRequest { user: user.to_string(), users: vec![other.to_string()], within_ms };
        Ok(!self.client.clone().list_acquainted(request).await?.into_inner().users.is_empty())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_until_a_moment_ago_is_waited_for_or_refused() {
    let mut stage = Stage::set().await;
    let people = [UserId::new(), UserId::new()];
    let first = stage.group(people).await.to_string();
    assert!(stage.memberships(people[0], None).await.unwrap().is_empty(), "as the database has it");
    assert!(!stage.acquainted(people, None).await.unwrap());
    let (memberships, acquainted) =
        tokio::join!(stage.memberships(people[0], Some(0)), stage.acquainted(people, Some(0)));
    let refused = [memberships.unwrap_err(), acquainted.unwrap_err()];
    assert_eq!(refused.map(|status| status.code()), [Code::Unavailable; 2], "nobody reads the log");

    let drain = CancellationToken::new();
    let running = tokio::spawn(stage.service.take().unwrap().run(drain.clone()));
    let begun = async {
        loop {
            match stage.memberships(people[0], Some(0)).await {
                Ok(found) => break assert_eq!(found, std::slice::from_ref(&first), "it is not answered before"),
                Err(status) => assert_eq!(status.code(), Code::Unavailable),
            }
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.unwrap();
    for _ in 0..3 {
        let people = [UserId::new(), UserId::new()];
        let group = stage.group(people).await.to_string();
        let (memberships, acquainted) =
            tokio::join!(stage.memberships(people[1], Some(0)), stage.acquainted(people, Some(0)));
        assert_eq!((memberships.unwrap(), acquainted.unwrap()), (vec![group], true));
    }

    // What is asked for is proven already, whatever happens now.
    drain.cancel();
    running.await.unwrap();
    let people = [UserId::new(), UserId::new()];
    stage.group(people).await;
    assert!(stage.memberships(people[0], Some(LONG)).await.unwrap().is_empty());
    assert_eq!(stage.memberships(people[0], Some(0)).await.unwrap_err().code(), Code::Unavailable);
}
