//! Who follows the map of homes: a chat-svc that is cut off from the registry says none, and another is asked. Where all are
//! cut off, the last map stays, and whoever reads the log knows that nobody sees more than itself.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use async_trait::async_trait;
use bytes::Bytes;
use clap::Parser;
use madang_chat::{home, inbox::memory::MemoryInbox};
use madang_mesh::{
    channel::Channels,
    homes::Homes,
    log::{Bounds, Entries, Error, Log, Position},
    process::Service as _,
    registry::{memory::MemoryRegistry, way::Way},
    serve::{self, Context, Peers},
    settings::Settings,
    shard::Shard,
};
use madang_proto::{
    account::v1::account_service_client::AccountServiceClient, group::v1::group_service_client::GroupServiceClient,
    id::UserId, store::v1::store_service_client::StoreServiceClient,
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
}

/// No log: nothing is said here.
struct NoLog;

#[async_trait]
impl Log for NoLog {
    async fn create(&self, _: Shard) -> Result<(), Error> {
        Err(Error::Full)
    }
    async fn append(&self, _: Shard, _: Bytes, _: Option<Position>) -> Result<Position, Error> {
        Err(Error::Full)
    }
    async fn bounds(&self, _: Shard) -> Result<Bounds, Error> {
        Err(Error::Full)
    }
    async fn read(&self, _: Shard, _: Position) -> Result<Entries, Error> {
        Err(Error::Full)
    }
    async fn trim(&self, _: Shard, _: Position) -> Result<(), Error> {
        Err(Error::Full)
    }
}

/// A chat-svc that says who is home of what; its way to the registry.
async fn chat(name: &str, registry: &Arc<MemoryRegistry>, channels: &Channels) -> Way {
    let way = Way::new(registry);
    let context = Context {
        process: name.into(),
        address: format!("inproc://{name}"),
        settings: Cli::parse_from(["", "--shards", "4"]).settings,
        log: Arc::new(NoLog),
        registry: Arc::new(way.clone()),
        channels: channels.clone(),
        peers: Peers::default(),
        until: Instant::now(),
    };
    let nowhere = channels.get("http://127.0.0.1:1").unwrap();
    let sources = home::Services {
        group: GroupServiceClient::new(nowhere.clone()),
        store: StoreServiceClient::new(nowhere.clone()),
        account: AccountServiceClient::new(nowhere),
    };
    let service =
        madang_chat::build_on(madang_chat::Config::default(), context, Arc::new(MemoryInbox::new()), Arc::new(sources))
            .await;
    let incoming = channels.listen(name);
    tokio::spawn(serve::grpc(service.routes(), None, Some(incoming), CancellationToken::new()));
    // It has shards for as long as the test goes on.
    Box::leak(Box::new(service));
    way
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let found = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test(start_paused = true)]
async fn who_is_cut_off_tells_nobody_who_is_home() {
    let (registry, channels) = (Arc::new(MemoryRegistry::new()), Channels::new());
    let one = chat("one", &registry, &channels).await;
    let two = chat("two", &registry, &channels).await;
    let homes = Homes::follow(channels.clone(), "inproc://one,inproc://two");
    let awake = homes.awake();
    let users: Vec<_> = (0..100).map(|_| UserId::new()).collect();
    let of =
        |name: &str| users.iter().filter(|user| homes.of(user.bytes()).is_some_and(|is| is.process == name)).count();
    until("both have shards", || *awake.borrow() && of("one") > 0 && of("two") > 0).await;

    one.cut();
    until("the other one is asked, which has them all", || of("two") == users.len()).await;
    assert!(*awake.borrow());

    two.cut();
    until("nobody says anything", || !*awake.borrow()).await;
    // For longer than either needs to see that the other one is silent.
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!((of("two"), *awake.borrow()), (users.len(), false), "what was said last stays");

    one.mend();
    two.mend();
    until("both have shards again", || *awake.borrow() && of("one") > 0 && of("two") > 0).await;
}
