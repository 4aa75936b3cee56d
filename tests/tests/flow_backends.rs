//! A cluster whose databases go away and come back, and whose readers of the log are more than one: what goes on meanwhile,
//! and that all that was acknowledged is there after it.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use madang_client::{Http, Session, Update, http::Problem};
use madang_loadgen::people::{self, Person};
use madang_mesh::channel::Channels;
use madang_proto::{
    client::v1::{Ack, History, Send, event::Body},
    group::v1::{ListAccessRequest, ListConversationsRequest, group_service_client::GroupServiceClient},
    id::ClientId,
    store::v1::{ListChangesRequest, ListMessagesRequest, store_service_client::StoreServiceClient},
};
use madang_tests::{
    cluster::{Cluster, Plan},
    proxy::Proxy,
    until,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

struct Member {
    person: Person,
    session: Session,
    /// What they were shown, by seq.
    seen: Arc<Mutex<BTreeMap<u64, String>>>,
}

impl Member {
    fn token(&self) -> &str {
        &self.person.tokens.access_token
    }

    async fn say(&self, conversation: &str, text: String) -> Ack {
        let client_id = ClientId::now().to_string();
        let send = Send { conversation: conversation.into(), client_id, text, ..Send::default() };
        loop {
            match self.session.send(send.clone()).await {
                Ok(ack) => return ack,
                Err(refusal) if refusal.reason.retryable() => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(refusal) => panic!("{refusal:?}"),
            }
        }
    }
}

fn server(variable: &str) -> String {
    let value = std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run with `make test`"));
    let address = value.rsplit_once('@').map_or(value.as_str(), |(_, rest)| rest);
    address.split('/').next().unwrap().to_owned()
}

async fn members(cluster: &Cluster, count: usize) -> Vec<Member> {
    let http = Http::new(&cluster.api).unwrap();
    let people = people::sign_up(&http, "backends", count, 4, &indicatif::ProgressBar::hidden()).await.unwrap();
    let connect = |person: Person| {
        let seen: Arc<Mutex<BTreeMap<u64, String>>> = Arc::default();
        let options = cluster.options(0, &person);
        let into = seen.clone();
        let session = Session::start(options, move |update| {
            if let Update::Event(event) = update
                && let Some(Body::Message(message)) = event.body
            {
                into.lock().unwrap().insert(message.seq, message.text);
            }
        });
        Member { person, session, seen }
    };
    people.into_iter().map(connect).collect()
}

async fn group(http: &Http, members: &[Member]) -> String {
    let others: Vec<String> = members[1..].iter().map(|member| member.person.tokens.user.clone()).collect();
    let key = uuid::Uuid::new_v4().to_string();
    let make = || http.create_group(members[0].token(), "backends", &others, History::All, &key);
    people::persist(make).await.unwrap().conversation.conversation
}

/// All of a conversation, as its history gives it.
async fn history(
    http: &Http,
    token: &str,
    conversation: &str,
) -> Result<Vec<(u64, String)>, madang_client::http::Error> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let page = http.after(token, conversation, after, 200).await?;
        all.extend(page.messages.into_iter().map(|message| (message.seq, message.text)));
        after = all.last().map_or(0, |(seq, _)| *seq);
        if !page.has_after {
            return Ok(all);
        }
    }
}

fn refused(error: madang_client::http::Error) -> Problem {
    match error {
        madang_client::http::Error::Refused(problem) => problem,
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_go_and_come_back() {
    let (cassandra, postgres) =
        (Proxy::before(&server("MADANG_TEST_CASSANDRA")).await, Proxy::before(&server("MADANG_TEST_POSTGRES")).await);
    let plan = Plan { cassandra: Some(cassandra.address), postgres: Some(postgres.address), ..Plan::default() };
    let cluster = Cluster::with(plan).await;
    let http = Http::new(&cluster.api).unwrap();
    let members = members(&cluster, 2).await;
    let (ann, bob) = (&members[0], &members[1]);
    let room = group(&http, &members).await;
    let mut acked = Vec::new();
    let say = async |from: usize, to: usize, acked: &mut Vec<(u64, String)>| {
        for n in from..to {
            let ack = ann.say(&room, format!("message {n}")).await;
            acked.push((ack.seq, format!("message {n}")));
        }
    };
    let live = async |acked: &[(u64, String)]| {
        until("what was said is live", async || (bob.seen.lock().unwrap().len() == acked.len()).then_some(())).await;
        assert_eq!(bob.seen.lock().unwrap().clone().into_iter().collect::<Vec<_>>(), acked);
    };
    say(0, 50, &mut acked).await;
    until("history has it", async || (history(&http, bob.token(), &room).await.ok()? == acked).then_some(())).await;
    let list = people::persist(|| http.list(bob.token(), "")).await.unwrap();

    // Cassandra is gone: talk goes on, history says that it can't be read.
    cassandra.cut();
    say(50, 150, &mut acked).await;
    live(&acked).await;
    for error in [
        http.newest(bob.token(), &room, 50).await.map(drop).unwrap_err(),
        http.changes(bob.token(), &room, 1, 50).await.map(drop).unwrap_err(),
        http.many_changes(bob.token(), &[(room.clone(), 1)]).await.map(drop).unwrap_err(),
    ] {
        let problem = refused(error);
        // 504: what says so says it late.
        assert!([503, 504].contains(&problem.status) && problem.retryable, "{problem}");
    }
    cassandra.mend();
    until("history has it all", async || (history(&http, bob.token(), &room).await.ok()? == acked).then_some(())).await;

    // Postgres is gone: who is connected goes on, lists and log-ins are to be tried again.
    postgres.cut();
    say(150, 250, &mut acked).await;
    live(&acked).await;
    let (handle, device) = (&ann.person.handle, &ann.person.device);
    let log_in = async || http.log_in(handle, &people::password(handle), device).await;
    for error in [
        http.list(bob.token(), "").await.map(drop).unwrap_err(),
        http.list(bob.token(), &list.sync).await.map(drop).unwrap_err(),
        http.conversation(bob.token(), &room).await.map(drop).unwrap_err(),
        log_in().await.map(drop).unwrap_err(),
    ] {
        let problem = refused(error);
        // 504: what says so says it late.
        assert!([503, 504].contains(&problem.status) && problem.retryable, "{problem}");
    }
    postgres.mend();
    let changed = until("lists have it all", async || {
        let changed = http.list(bob.token(), &list.sync).await.ok()?;
        (changed.conversations.first()?.last_seq == 250).then_some(changed)
    })
    .await;
    assert_eq!((changed.badge, changed.removed.len(), changed.conversations.len()), (250, 0, 1));
    assert_eq!(changed.conversations[0].last_message.as_ref().unwrap().text, "message 249");
    until("history has it all", async || (history(&http, bob.token(), &room).await.ok()? == acked).then_some(())).await;
    until("log-ins are taken", async || log_in().await.ok()).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_answers_and_one_that_dies_is_replaced() {
    let mut cluster = Cluster::with(Plan { stores: 2, groups: 2, ..Plan::default() }).await;
    let http = Http::new(&cluster.api).unwrap();
    let members = members(&cluster, 2).await;
    let (ann, bob) = (&members[0], &members[1]);
    let user = bob.person.tokens.user.clone();
    // Enough for both replicas to have some of them.
    let mut rooms = Vec::new();
    for _ in 0..12 {
        rooms.push(group(&http, &members).await);
    }
    let mut said: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
    let mut newest = BTreeMap::new();
    for n in 0..10 {
        for room in &rooms {
            let ack = ann.say(room, format!("{n}")).await;
            said.entry(room.clone()).or_default().push((ack.seq, format!("{n}")));
            newest.insert(room.clone(), ack.revision);
        }
    }
    let channels = Channels::new();
    // Either replica waits for what is asked for, whoever writes it.
    for store in &cluster.stores {
        let mut store = StoreServiceClient::new(channels.get(&store.grpc).unwrap());
        for room in &rooms {
            let (conversation, user, at_least) = (room.clone(), user.clone(), newest[room]);
            let request = ListMessagesRequest { conversation, user, at_least, ..Default::default() };
            // It waits for 2 s, and wants to be asked again then.
            let page = until("it has all", async || store.list_messages(request.clone()).await.ok()).await.into_inner();
            assert_eq!((page.messages.len(), page.revision), (10, newest[room]));
            let (conversation, user) = (room.clone(), bob.person.tokens.user.clone());
            let request = ListChangesRequest { conversation, user, since: 1, at_least, ..Default::default() };
            let changes = until("it has all", async || store.list_changes(request.clone()).await.ok()).await;
            assert_eq!(changes.into_inner().messages, page.messages);
        }
    }
    let mut lists = Vec::new();
    for group in &cluster.groups {
        let mut group = GroupServiceClient::new(channels.get(&group.grpc).unwrap());
        let request = ListConversationsRequest { user: user.clone(), ..Default::default() };
        let list = group.list_conversations(request).await.unwrap().into_inner();
        let request = ListAccessRequest { user: user.clone(), conversations: rooms.clone() };
        let access = group.list_access(request).await.unwrap().into_inner().access;
        assert_eq!(access.iter().map(|each| each.conversation.clone()).collect::<Vec<_>>(), rooms);
        let listed = list.conversations.into_iter().map(|each| each.conversation);
        lists.push(listed.collect::<std::collections::BTreeSet<_>>());
    }
    assert_eq!((lists[0].len(), &lists[0]), (12, &lists[1]));

    // One dies in the middle of it, and another one begins: everything is written, and once.
    let killed = cluster.stores.pop().unwrap();
    let mut killed = Some(killed);
    for n in 10..40 {
        for room in &rooms {
            let ack = ann.say(room, format!("{n}")).await;
            said.entry(room.clone()).or_default().push((ack.seq, format!("{n}")));
        }
        if n == 15 {
            killed.take().unwrap().kill();
        }
        if n == 25 {
            cluster.more_store().await;
        }
    }
    for (room, said) in &said {
        until("history has it all", async || (history(&http, bob.token(), room).await.ok()? == *said).then_some(()))
            .await;
    }
    cluster.stop().await;
}
