//! The databases are lost and restored from back-ups that are older, as docs/operations.md says: store-svc and group-svc
//! apply again what the log has since, and everybody finds all there was, message by message, once. Accounts are as of
//! their back-up.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use futures_util::future::join_all;
use madang_client::{
    Http, Session, Update,
    http::{self, Tokens},
};
use madang_loadgen::people::{self, Person};
use madang_mesh::{
    channel::Channels,
    log::{Log, Position, jetstream::JetStreamLog},
    serve::free,
    shard::Shard,
};
use madang_proto::{
    client::v1::{Ack, Delete, Device, Edit, History, React, Read, Send, client_frame::Body, event},
    group::v1::{GetCursorRequest, group_service_client::GroupServiceClient},
    id::ClientId,
    store::v1::{self as store, store_service_client::StoreServiceClient},
};
use madang_tests::{
    backup::{self, Keyspace},
    cluster::{Cluster, Plan, database},
    nats, shown, until,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

/// Read marks are gathered for a second.
const REST: Duration = Duration::from_millis(2500);

/// What somebody said, and what became of it.
struct Said {
    by: String,
    send: Send,
    ack: Ack,
}

type Seen = Arc<Mutex<BTreeMap<(String, u64), BTreeSet<String>>>>;

/// Somebody who is connected all the while.
struct Member {
    person: Person,
    session: Session,
    /// The texts that they were sent, by conversation and revision.
    seen: Seen,
}

impl Member {
    fn connect(cluster: &Cluster, person: Person) -> Self {
        let seen = Seen::default();
        let into = seen.clone();
        let session = Session::start(cluster.options(0, &person), move |update| {
            if let Update::Event(event) = update
                && let Some(event::Body::Message(message)) = event.body
            {
                into.lock().unwrap().entry((event.conversation, event.revision)).or_default().insert(message.text);
            }
        });
        Self { person, session, seen }
    }

    fn id(&self) -> &str {
        &self.person.tokens.user
    }

    async fn ask(&self, body: Body) -> Ack {
        loop {
            match self.session.ask(body.clone()).await {
                Ok(ack) => return ack,
                Err(refusal) if refusal.reason.retryable() => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(refusal) => panic!("{refusal:?}"),
            }
        }
    }

    async fn send(&self, to: Send, text: &str) -> Said {
        let send = Send { client_id: ClientId::now().to_string(), text: text.into(), ..to };
        let ack = self.ask(Body::Send(send.clone())).await;
        Said { by: self.id().into(), send, ack }
    }

    async fn say(&self, conversation: &str, text: &str) -> Said {
        self.send(Send { conversation: conversation.into(), ..Send::default() }, text).await
    }

    async fn write_to(&self, other: &Self, text: &str) -> Said {
        self.send(Send { user: other.id().into(), ..Send::default() }, text).await
    }

    async fn edit(&self, conversation: &str, seq: u64, text: &str) {
        let (conversation, client_id) = (conversation.to_owned(), ClientId::now().to_string());
        self.ask(Body::Edit(Edit { conversation, seq, client_id, text: text.into(), ..Edit::default() })).await;
    }

    async fn delete(&self, conversation: &str, seq: u64) {
        let (conversation, client_id) = (conversation.to_owned(), ClientId::now().to_string());
        self.ask(Body::Delete(Delete { conversation, seq, client_id })).await;
    }

    async fn react(&self, conversation: &str, seq: u64, emoji: &str, remove: bool) {
        let (conversation, client_id) = (conversation.to_owned(), ClientId::now().to_string());
        self.ask(Body::React(React { conversation, seq, emoji: emoji.into(), remove, client_id })).await;
    }

    async fn read(&self, conversation: &str, seq: u64) {
        self.ask(Body::Read(Read { conversation: conversation.into(), seq })).await;
    }
}

async fn sign_up(cluster: &Cluster, http: &Http, run: &str, count: usize) -> Vec<Member> {
    let people = people::sign_up(http, run, count, 4, &indicatif::ProgressBar::hidden()).await.unwrap();
    people.into_iter().map(|person| Member::connect(cluster, person)).collect()
}

async fn group(http: &Http, members: &[&Member], history: History) -> String {
    let others: Vec<String> = members[1..].iter().map(|member| member.id().to_owned()).collect();
    let (token, key) = (&members[0].person.tokens.access_token, uuid::Uuid::new_v4().to_string());
    let make = || http.create_group(token, "restore", &others, history, &key);
    people::persist(make).await.unwrap().conversation.conversation
}

async fn jetstream() -> JetStreamLog {
    let nats = std::env::var("MADANG_TEST_NATS");
    let nats = nats.unwrap_or_else(|_| panic!("MADANG_TEST_NATS is not set: run the tests with `make test`"));
    JetStreamLog::new(async_nats::connect(nats).await.unwrap(), 1, -1)
}

/// Up to where both readers have come in each shard's log.
async fn cursors(cluster: &Cluster, log: &JetStreamLog) -> Vec<(Shard, Position)> {
    let channels = Channels::new();
    let mut group = GroupServiceClient::new(channels.get(&cluster.groups[0].grpc).unwrap());
    let mut store = StoreServiceClient::new(channels.get(&cluster.stores[0].grpc).unwrap());
    let mut all = Vec::new();
    for shard in log.shards().await.unwrap() {
        let grouped = group.get_cursor(GetCursorRequest { shard }).await.unwrap().into_inner().position;
        let stored = store.get_cursor(store::GetCursorRequest { shard }).await.unwrap().into_inner().position;
        all.push((shard, grouped.min(stored)));
    }
    all
}

/// Everything that somebody is shown of these conversations. Of whom an account is unknown, the id alone.
async fn views(
    http: &Http,
    member: &Member,
    rooms: &[&str],
    newest: &BTreeMap<&str, u64>,
    unknown: &str,
) -> Vec<Value> {
    let view = |room: &&str| {
        let (room, at_least) = ((*room).to_owned(), newest.get(room).copied().unwrap_or(0));
        async move {
            let mut view = shown::conversation(http, &member.person, &room, at_least).await;
            shown::forget(&mut view, unknown);
            view
        }
    };
    join_all(rooms.iter().map(view)).await
}

async fn all(
    http: &Http,
    members: &[&Member],
    rooms: &[&str],
    newest: &BTreeMap<&str, u64>,
    unknown: &str,
) -> Vec<Vec<Value>> {
    join_all(members.iter().map(|member| views(http, member, rooms, newest, unknown))).await
}

async fn lists(http: &Http, members: &[&Member], except: &str, unknown: &str) -> Vec<Value> {
    let mut lists = Vec::new();
    for member in members {
        let mut list = shown::list(http, &member.person, except).await;
        shown::forget(&mut list, unknown);
        lists.push(list);
    }
    lists
}

/// Each of them was sent all that was said, as it was acknowledged, and nothing else in its place.
async fn live(members: &[&Member], said: &[Said]) {
    for member in members {
        for Said { send, ack, .. } in said {
            let at = (ack.conversation.clone(), ack.revision);
            let texts = until("it is live", async || member.seen.lock().unwrap().get(&at).cloned()).await;
            assert_eq!(texts, BTreeSet::from([send.text.clone()]));
        }
    }
}

/// In time somebody is shown what was said in a conversation after a message, and that alone.
async fn has(http: &Http, who: &Member, conversation: &str, after: u64, said: &[Said]) {
    let wanted: Vec<_> = said.iter().map(|Said { send, ack, .. }| (ack.seq, send.text.clone())).collect();
    let look = async || {
        let page = http.after(&who.person.tokens.access_token, conversation, after, 200).await.ok()?;
        let found: Vec<_> = page.messages.into_iter().map(|message| (message.seq, message.text)).collect();
        (found == wanted).then_some(())
    };
    until("history has it", look).await;
}

/// What somebody says while something is done.
async fn meanwhile(who: &Member, room: &str, done: impl Future<Output = ()>) -> Vec<Said> {
    tokio::pin!(done);
    let mut said = Vec::new();
    loop {
        let text = format!("meanwhile {}", said.len());
        tokio::select! {
            () = &mut done => return said,
            sent = who.say(room, &text) => said.push(sent),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Holds group-svc's cursors: it applies nothing until this is dropped.
async fn hold_back(database: &str) -> AsyncPgConnection {
    let mut connection = AsyncPgConnection::establish(database).await.unwrap();
    connection.batch_execute("BEGIN; SELECT * FROM group_cursor FOR UPDATE").await.unwrap();
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_that_were_lost_are_restored_and_have_all_again() {
    let (saved, (_, accounts)) = (tempfile::tempdir().unwrap(), database().await);
    let account = vec!["--account-postgres".to_owned(), accounts.clone()];
    let mut cluster = Cluster::with(Plan { account, ..Plan::default() }).await;
    let (http, log) = (Http::new(&cluster.api).unwrap(), jetstream().await);
    let keyspace = Keyspace { node: cluster.cassandra.0.clone(), name: cluster.cassandra.1.clone() };
    let people = sign_up(&cluster, &http, "restore", 5).await;
    let [ann, bob, cho, dan, eve] = &people[..] else { unreachable!() };
    let room = group(&http, &[ann, bob, cho, dan], History::SinceJoined).await;
    // Here they go on talking whatever happens.
    let talk = group(&http, &[ann, bob, cho, dan, eve], History::All).await;
    let (mut said, mut pair) = (Vec::new(), String::new());
    for n in 0..20 {
        said.push([ann, bob, cho, dan][n % 4].say(&room, &format!("before {n}")).await);
        pair = ann.write_to(bob, &format!("pair {n}")).await.ack.conversation;
    }
    ann.edit(&room, 1, "edited before").await;
    bob.delete(&room, 2).await;
    for (who, seq) in [(ann, 3), (bob, 3), (cho, 4), (ann, 5)] {
        who.react(&room, seq, "👍", false).await;
    }
    bob.read(&room, 9).await;
    bob.read(&pair, 5).await;
    let log_in = async |who: &Member, password: &str, device: &Device| {
        people::persist(|| http.log_in(&who.person.handle, password, device)).await
    };
    let refresh = async |token: &str| people::persist(|| http.refresh(token)).await;
    let usual = |who: &Member| people::password(&who.person.handle);
    let second = log_in(cho, &usual(cho), &people::device("second")).await.unwrap();
    tokio::time::sleep(REST).await;

    // What is older than this the log has trimmed when it comes to the worst.
    let kept = cursors(&cluster, &log).await;
    said.extend(
        meanwhile(cho, &room, async {
            backup::dump(&cluster.postgres, &saved.path().join("groups")).await;
            backup::dump(&accounts, &saved.path().join("accounts")).await;
            keyspace.save(saved.path()).await;
        })
        .await,
    );

    // Everything goes on after it.
    for n in 0..20 {
        said.push([ann, bob, cho, dan][n % 4].say(&room, &format!("after {n}")).await);
    }
    bob.say(&pair, "after").await;
    cho.edit(&room, 3, "edited after").await;
    dan.delete(&room, 4).await;
    ann.react(&room, 5, "👍", true).await;
    bob.react(&room, 6, "🎉", false).await;
    let path = format!("/v1/groups/{room}/members");
    shown::call(&http, &dan.person, "DELETE", &format!("{path}/{}", dan.id()), None).await.unwrap();
    shown::call(&http, &ann.person, "POST", &path, Some(json!({"users": [eve.id()]}))).await.unwrap();
    said.push(eve.say(&room, "I am new").await);
    ann.read(&room, said.last().unwrap().ack.seq - 3).await;
    bob.read(&room, 15).await;
    let late = sign_up(&cluster, &http, "late", 1).await.pop().unwrap();
    let third = late.write_to(ann, "I am late").await.ack.conversation;
    let password = json!({"old": usual(dan), "new": "another password"});
    shown::call(&http, &dan.person, "PUT", "/v1/me/password", Some(password)).await.unwrap();
    let path = format!("/v1/sessions/{}", second.session);
    shown::call(&http, &cho.person, "DELETE", &path, None).await.unwrap();
    let refreshed = refresh(&eve.person.tokens.refresh_token).await.unwrap();

    // What everybody is shown, once it has come to rest.
    let (everybody, rooms) = ([ann, bob, cho, dan, eve, &late], [&*room, &*pair, &*third]);
    let newest = BTreeMap::new();
    let look = async || {
        (all(&http, &everybody, &rooms, &newest, late.id()).await, lists(&http, &everybody, &talk, late.id()).await)
    };
    let mut before = look().await;
    loop {
        tokio::time::sleep(REST).await;
        let now = look().await;
        if std::mem::replace(&mut before, now.clone()) == now {
            break;
        }
    }

    // All is lost: people go on talking.
    let (group, store) = (cluster.groups.remove(0).stop().await, cluster.stores.remove(0).stop().await);
    let (notify, account) = (cluster.notifies.remove(0).stop().await, cluster.accounts.remove(0).stop().await);
    for database in [&cluster.postgres, &accounts] {
        backup::lose(database).await;
    }
    keyspace.lose().await;
    for (shard, position) in kept.into_iter().filter(|(_, position)| *position > 0) {
        log.trim(shard, position).await.unwrap();
    }
    let mut talked = Vec::new();
    for n in 0..10 {
        talked.push([ann, bob, cho, dan, eve][n % 5].say(&talk, &format!("all the same {n}")).await);
    }
    let present = [ann, bob, cho, dan, eve];
    live(&present, &talked).await;

    // Restored.
    backup::restore(&cluster.postgres, &saved.path().join("groups")).await;
    backup::restore(&accounts, &saved.path().join("accounts")).await;
    keyspace.restore(saved.path()).await;
    cluster.accounts.push(account.start().await);
    cluster.notifies.push(notify.start().await);
    cluster.stores.push(store.start().await);
    let held = hold_back(&cluster.postgres).await;
    cluster.groups.push(group.start().await);
    // While it catches up nothing old is shown for new: above all not to those who have left since.
    let one = format!("/v1/conversations/{room}");
    for path in ["/v1/conversations", &one, &format!("{one}/members"), &format!("{one}/messages?before=9")] {
        let shown = http.get::<Value>(&dan.person.tokens.access_token, path).await;
        assert!(shown.as_ref().is_err_and(http::Error::retryable), "{path}: {shown:?}");
    }
    drop(held);
    // As ann saw them, who is in all of them.
    let revisions = before.0[0].iter().map(|view| shown::number(&view["one"]["Ok"]["revision"]));
    let newest: BTreeMap<&str, u64> = rooms.iter().copied().zip(revisions).collect();
    let now = all(&http, &everybody, &rooms, &newest, late.id()).await;
    for ((member, now), before) in everybody.iter().zip(&now).zip(&before.0) {
        for (n, room) in rooms.iter().enumerate() {
            for part in ["one", "members", "history", "changes"] {
                assert_eq!(now[n][part], before[n][part], "{part} of {room} for {}", member.person.handle);
            }
        }
    }
    let same = async || (lists(&http, &everybody, &talk, late.id()).await == before.1).then_some(());
    until("lists are what they were", same).await;

    // It goes on: what was sent before and after the back-up is known to be the same, and new numbers follow.
    for Said { by, send, ack } in [&said[0], &said[20], said.last().unwrap()] {
        let sender = present.iter().find(|member| member.id() == by).unwrap();
        let again = sender.ask(Body::Send(send.clone())).await;
        assert_eq!((again.seq, again.revision, again.duplicate), (ack.seq, ack.revision, true));
    }
    let last = said.last().unwrap().ack.seq;
    let mut new = Vec::new();
    for n in 0..8 {
        let who = [ann, bob, cho, eve][n % 4];
        new.push(who.say(&room, &format!("again {n}")).await);
        talked.push(who.say(&talk, &format!("again {n}")).await);
    }
    assert_eq!(
        new.iter().map(|said: &Said| said.ack.seq).collect::<Vec<_>>(),
        (last + 1..=last + 8).collect::<Vec<_>>()
    );
    live(&[ann, bob, cho, eve], &new).await;
    live(&present, &talked).await;
    has(&http, dan, &talk, 0, &talked).await;
    has(&http, eve, &room, last, &new).await;

    // Accounts: whoever came later is unknown, passwords are the former ones, who was logged out is not, and tokens that
    // were given out since are none.
    let reason = |outcome: Result<Tokens, http::Error>| outcome.err().unwrap().reason().to_owned();
    assert_eq!(reason(log_in(&late, &usual(&late), &late.person.device).await), "BAD_CREDENTIALS");
    assert_eq!(reason(log_in(dan, "another password", &dan.person.device).await), "BAD_CREDENTIALS");
    log_in(dan, &usual(dan), &dan.person.device).await.unwrap();
    refresh(&second.refresh_token).await.unwrap();
    assert_eq!(reason(refresh(&refreshed.refresh_token).await), "BAD_TOKEN");
    log_in(eve, &usual(eve), &eve.person.device).await.unwrap();
    drop(people);
    cluster.stop().await;
}

/// A home that has forgotten rooms, since the databases had all of them, loads none from a database that is older.
#[tokio::test(flavor = "multi_thread")]
async fn no_number_is_given_twice_while_a_restored_database_catches_up() {
    let saved = tempfile::tempdir().unwrap();
    let chat = vec!["--room-bytes".to_owned(), "1".to_owned()];
    let mut cluster = Cluster::with(Plan { chat, ..Plan::default() }).await;
    let http = Http::new(&cluster.api).unwrap();
    let people = sign_up(&cluster, &http, "forgotten", 2).await;
    let (ann, bob) = (&people[0], &people[1]);
    let room = group(&http, &[ann, bob], History::All).await;
    let mut said = Vec::new();
    for n in 0..10 {
        if n == 5 {
            tokio::time::sleep(REST).await;
            backup::dump(&cluster.postgres, &saved.path().join("groups")).await;
        }
        said.push(ann.say(&room, &format!("{n}")).await);
    }
    // Its home has heard that all is written, and forgets it.
    tokio::time::sleep(REST).await;
    let group = cluster.groups.remove(0).stop().await;
    backup::lose(&cluster.postgres).await;
    backup::restore(&cluster.postgres, &saved.path().join("groups")).await;
    let held = hold_back(&cluster.postgres).await;
    cluster.groups.push(group.start().await);
    {
        let saying = ann.say(&room, "10");
        tokio::pin!(saying);
        let early = tokio::time::timeout(2 * REST, &mut saying).await;
        drop(held);
        said.push(match early {
            // It had not forgotten the room yet, which is its own affair: what counts is which number it gives.
            Ok(early) => early,
            Err(_) => saying.await,
        });
    }
    assert_eq!(said.last().unwrap().ack.seq, 11);
    live(&[ann, bob], &said).await;
    has(&http, bob, &room, 0, &said).await;
    drop(people);
    cluster.stop().await;
}

/// NATS is moved: its streams are saved and made again on another disk, with all services stopped. What the databases do not
/// have yet is in the log alone.
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_saved_and_made_again_have_what_was_acknowledged() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let [first, second, saved] = folders.each_ref().map(tempfile::TempDir::path);
    let at = free().unwrap();
    let mut server = nats::start(at, first, "30GB", "4GB").await;
    let mut cluster = Cluster::with(Plan { nats: Some(at.to_string()), ..Plan::default() }).await;
    let http = Http::new(&cluster.api).unwrap();
    let people = sign_up(&cluster, &http, "moved", 3).await;
    let [ann, bob, cho] = &people[..] else { unreachable!() };
    let room = group(&http, &[ann, bob, cho], History::All).await;
    let mut said = Vec::new();
    for n in 0..10 {
        said.push([ann, bob, cho][n % 3].say(&room, &format!("{n}")).await);
    }
    ann.edit(&room, 1, "edited").await;
    tokio::time::sleep(REST).await;
    let (group, store) = (cluster.groups.remove(0).stop().await, cluster.stores.remove(0).stop().await);
    for n in 10..20 {
        said.push([ann, bob, cho][n % 3].say(&room, &format!("{n}")).await);
    }
    bob.delete(&room, 2).await;
    live(&[ann, bob, cho], &said[10..]).await;
    let notify = cluster.notifies.remove(0).stop().await;
    let (chat, account) = (cluster.chats.remove(0).stop().await, cluster.accounts.remove(0).stop().await);

    let client = async_nats::connect(at.to_string()).await.unwrap();
    // A log for each shard, and the bucket.
    assert_eq!(nats::save(&client, saved).await, 9);
    server.kill().await.unwrap();
    let _server = nats::start(at, second, "30GB", "4GB").await;
    nats::restore(&async_nats::connect(at.to_string()).await.unwrap(), saved).await;

    cluster.accounts.push(account.start().await);
    cluster.stores.push(store.start().await);
    cluster.groups.push(group.start().await);
    cluster.chats.push(chat.start().await);
    cluster.notifies.push(notify.start().await);
    // Who has no answer asks again: it is the same message. New numbers follow.
    let last = &said[19];
    let again = cho.ask(Body::Send(said[17].send.clone())).await;
    assert_eq!((again.seq, again.revision, again.duplicate), (said[17].ack.seq, said[17].ack.revision, true));
    let next = ann.say(&room, "next").await;
    assert_eq!((next.ack.seq, next.ack.revision), (last.ack.seq + 1, last.ack.revision + 2));
    said.push(next);
    live(&[ann, bob, cho], &said[20..]).await;
    has(&http, bob, &room, 2, &said[2..]).await;
    let page = http.after(&cho.person.tokens.access_token, &room, 0, 2).await.unwrap();
    let shown: Vec<_> = page.messages.iter().map(|message| (message.text.as_str(), message.deleted)).collect();
    assert_eq!(shown, [("edited", false), ("", true)]);
    drop(people);
    cluster.stop().await;
}
