//! A gateway is killed under hundreds of clients: all come back over another one from where they were, have everything,
//! and cost the databases no read, by the databases' own counters.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use futures_util::future::join_all;
use madang_client::{Format, Http, Session, Socket, Update, session::Options};
use madang_loadgen::{
    archive,
    history::{Device, Journal, judge},
    people::{self, Person},
};
use madang_proto::{
    client::v1::{Hello, History, Resume, Send, server_frame::Body},
    id::ClientId,
};
use madang_solo::dev::reads;
use madang_tests::{PATIENCE, cluster::Cluster, until};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::time::timeout;

const GROUPS: usize = 4;
const LISTENERS: usize = 75;
/// Of each group's talker, before the gateway is killed and after.
const SENDS: usize = 20;
/// How long Postgres may keep back what it has counted.
const COUNTED: Duration = Duration::from_secs(11);

type Notes = Arc<Mutex<Journal>>;

/// Somebody who only listens, and keeps a cursor.
struct Listener {
    person: Person,
    device: Device,
    cursor: String,
    socket: Option<Socket>,
}

impl Listener {
    /// Connects and takes what was missed; gives how the server took the cursor.
    async fn connect(&mut self, gateway: &str, notes: &Notes, began: Instant) -> Resume {
        // Who says nothing for 5 s is sent away, which this machine may bring about when all come at once.
        let (socket, ready, frames) = until("a socket is ready", async || {
            let mut socket = Socket::connect(gateway, None, Format::Protobuf).await.ok()?;
            let token = self.person.tokens.access_token.clone();
            let hello = Hello { token, device: Some(self.person.device.clone()), resume: self.cursor.clone() };
            let mut frames = Vec::new();
            let ready = socket.hello(hello, &mut frames).await.ok()?;
            Some((socket, ready, frames))
        })
        .await;
        if ready.resume() != Resume::Resumed {
            notes.lock().unwrap().resynced(self.device);
        }
        self.socket = Some(socket);
        let mut live = self.take(frames, notes, began);
        while !live {
            live = self.listen(notes, began).await.unwrap();
        }
        ready.resume()
    }

    /// Takes the next message of the socket; true: `live` was in it. None: the socket is gone.
    async fn listen(&mut self, notes: &Notes, began: Instant) -> Option<bool> {
        let mut frames = Vec::new();
        let received = timeout(PATIENCE, self.socket.as_mut().unwrap().receive(&mut frames)).await.unwrap();
        received.ok().map(|()| self.take(frames, notes, began))
    }

    fn take(&mut self, frames: Vec<madang_proto::client::v1::ServerFrame>, notes: &Notes, began: Instant) -> bool {
        let mut live = false;
        for frame in frames {
            match frame.body {
                Some(Body::Event(event)) => {
                    notes.lock().unwrap().saw(began.elapsed().as_micros() as u64, self.device, &event);
                    self.cursor = event.cursor;
                }
                Some(Body::Live(at)) => (self.cursor, live) = (at.cursor, true),
                Some(Body::Resync(_)) => panic!("told to start over"),
                _ => {}
            }
        }
        live
    }
}

/// Somebody who talks, through the gateway that will be killed and then through the other.
fn talker(cluster: &Cluster, gateways: Vec<String>, person: &Person, notes: &Notes, began: Instant) -> Session {
    let options = Options {
        http: Http::new(&cluster.api).unwrap(),
        gateways,
        tokens: person.tokens.clone(),
        device: person.device.clone(),
        source: None,
        format: Format::Protobuf,
        cursor: String::new(),
    };
    let (notes, device) = (notes.clone(), notes.lock().unwrap().device(&person.tokens.user));
    Session::start(options, move |update| match update {
        Update::Ready(ready) if ready.resume() != Resume::Resumed => notes.lock().unwrap().resynced(device),
        Update::Resync => panic!("told to start over"),
        Update::Event(event) => notes.lock().unwrap().saw(began.elapsed().as_micros() as u64, device, &event),
        Update::Ended(why) => panic!("a session ended: {why}"),
        _ => {}
    })
}

async fn talk(session: &Session, person: &Person, group: &str, notes: &Notes, began: Instant) {
    let (now, user) = (|| began.elapsed().as_micros() as u64, &person.tokens.user);
    for n in 0..SENDS {
        let (client_id, text) = (ClientId::now().to_string(), format!("{n} of {SENDS}"));
        let send = Send { conversation: group.into(), client_id, text, ..Send::default() };
        loop {
            notes.lock().unwrap().invoked(now(), group, user, &send);
            match session.send(send.clone()).await {
                Ok(ack) => break notes.lock().unwrap().acked(now(), user, &send.client_id, &ack),
                Err(refusal) if refusal.reason.retryable() => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(refusal) => panic!("{refusal:?}"),
            }
        }
    }
}

/// Tables that are looked at by the clock, whoever comes: what is left to do for deleted accounts and changed blocks, the
/// signing keys, and all of notify-svc's, which pushes nothing to people without devices.
const BY_THE_CLOCK: [&str; 4] = ["deletion", "block", "token_key", "push_"];
/// The same of Cassandra: what store-svc looks into for what is kept too long.
const TIDIED: [&str; 2] = [".cursor", ".feed_begin"];

/// How often each table was read, and when that was last asked.
struct Reads {
    tables: BTreeMap<String, u64>,
    /// Of the sessions that have ended: every process asks for all of them twice a second, however many clients it has.
    ended: u64,
    at: Instant,
}

impl Reads {
    async fn now(cluster: &Cluster) -> Self {
        let (node, keyspace) = &cluster.cassandra;
        let own = format!("cassandra {keyspace}.");
        let (mut tables, at) = (reads::count(node, &cluster.postgres).await.unwrap(), Instant::now());
        tables.retain(|name, _| name.starts_with(&own) || name.starts_with("postgres "));
        tables.retain(|name, _| !BY_THE_CLOCK.iter().any(|table| name.starts_with(&format!("postgres {table}"))));
        tables.retain(|name, _| !TIDIED.iter().any(|table| name.starts_with("cassandra ") && name.ends_with(table)));
        let ended = tables.remove("postgres ended").unwrap();
        Self { tables, ended, at }
    }

    /// Once nothing has been read for as long as Postgres may keep back what it has counted.
    async fn at_rest(cluster: &Cluster) -> Self {
        let rest = async {
            let mut since = Self::now(cluster).await;
            loop {
                tokio::time::sleep(Duration::from_millis(500)).await;
                let now = Self::now(cluster).await;
                if now.tables != since.tables {
                    since = now;
                } else if now.at - since.at > COUNTED {
                    break now;
                }
            }
        };
        timeout(2 * PATIENCE, rest).await.unwrap()
    }

    fn of(&self, database: &str) -> u64 {
        self.tables.iter().filter(|(name, _)| name.starts_with(database)).map(|(_, count)| count).sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_come_back_from_where_they_were_and_no_database_is_read() {
    let cluster = Cluster::start(2, 1).await;
    let doomed = cluster.doomed_gateway().await;
    let http = Http::new(&cluster.api).unwrap();
    let hidden = indicatif::ProgressBar::hidden();
    let mut everybody = people::sign_up(&http, "storm", GROUPS * (LISTENERS + 1), 8, &hidden).await.unwrap();
    let (notes, began): (Notes, _) = (Arc::default(), Instant::now());
    let talkers = everybody.split_off(GROUPS * LISTENERS);
    let doors = vec![doomed.url.clone(), cluster.gateways[0].clone()];
    let sessions: Vec<_> =
        talkers.iter().map(|person| talker(&cluster, doors.clone(), person, &notes, began)).collect();
    let mut listeners: Vec<Listener> = Vec::new();
    for person in everybody {
        let device = notes.lock().unwrap().device(&person.tokens.user);
        listeners.push(Listener { person, device, cursor: String::new(), socket: None });
    }
    join_all(listeners.iter_mut().map(|listener| listener.connect(&doomed.url, &notes, began))).await;
    let mut groups = Vec::new();
    for (owner, some) in talkers.iter().zip(listeners.chunks(LISTENERS)) {
        let users: Vec<String> = some.iter().map(|listener| listener.person.tokens.user.clone()).collect();
        let (token, key) = (&owner.tokens.access_token, uuid::Uuid::new_v4().to_string());
        let made = people::persist(|| http.create_group(token, "storm", &users, History::All, &key)).await;
        groups.push(made.unwrap().conversation.conversation);
    }

    // While some listen, all talk; then the gateway dies, at any place in what it was sending.
    let mut ends = Vec::new();
    let talking = join_all(
        (sessions.iter().zip(&talkers).zip(&groups))
            .map(|((session, person), group)| talk(session, person, group, &notes, began)),
    );
    for mut listener in listeners {
        let notes = notes.clone();
        ends.push(tokio::spawn(async move {
            while listener.listen(&notes, began).await.is_some() {}
            listener
        }));
    }
    talking.await;
    doomed.kill();
    let mut listeners: Vec<Listener> = join_all(ends).await.into_iter().map(Result::unwrap).collect();
    // Those who talk come back by themselves; those who listen are away meanwhile.
    join_all(
        (sessions.iter().zip(&talkers).zip(&groups))
            .map(|((session, person), group)| talk(session, person, group, &notes, began)),
    )
    .await;

    let before = Reads::at_rest(&cluster).await;
    let back = join_all(listeners.iter_mut().map(|listener| listener.connect(&cluster.gateways[0], &notes, began)));
    let resumed = back.await.into_iter().filter(|resume| *resume == Resume::Resumed).count();
    assert_eq!(resumed, GROUPS * LISTENERS);
    let after = Reads::at_rest(&cluster).await;
    assert_eq!(after.tables, before.tables, "what the databases had read");
    // Three processes ask: the gateway, the api, notify-svc.
    let most = 7 * (after.at - before.at).as_secs() + 10;
    assert!(
        after.ended - before.ended <= most,
        "{} reads of ended sessions, {most} at most",
        after.ended - before.ended
    );

    let mut rooms = Vec::new();
    for (owner, group) in talkers.iter().zip(&groups) {
        let token = || owner.tokens.access_token.clone();
        rooms.push(archive::read(&http, token, group, true).await.unwrap());
    }
    let verdict = judge(&notes.lock().unwrap(), &rooms);
    eprintln!("{:?}", verdict.counts);
    assert!(verdict.good(), "{verdict}");
    let messages = (GROUPS * 2 * SENDS) as u64;
    assert_eq!(
        (verdict.counts.acked, verdict.counts.delivered),
        (messages, messages * (LISTENERS as u64 + 1)),
        "messages, and their deliveries"
    );
    // The counters do see what is read.
    let after = Reads::at_rest(&cluster).await;
    for database in ["cassandra", "postgres"] {
        assert!(after.of(database) > before.of(database), "{database} has counted no read of history");
    }
    drop((sessions, listeners));
    cluster.stop().await;
}
