//! notify-svc on the real backends: killed between sending and saving its cursor, replaced by another, and with its inboxes
//! lost, it tells everybody, and nobody who is not to be told.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use async_nats::jetstream;
use futures_util::TryStreamExt as _;
use madang_client::Http;
use madang_loadgen::people::{self, Person};
use madang_proto::{client::v1::History, id::ClientId};
use madang_tests::{
    cluster::{Cluster, Plan},
    push::{Answer, Browser, PushServer, Taken},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// Longer than anything here takes on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);
const GROUPS: usize = 12;
const MEMBERS: usize = 4;
const ROUNDS: u64 = 4;

struct Away {
    conversation: String,
    browser: Browser,
    path: String,
    /// Of which messages it was told, and how often.
    told: BTreeMap<u64, u32>,
}

impl Away {
    /// Takes what came for it: of its conversation, and as it was written.
    fn take(&mut self, taken: &Taken) {
        let said = self.browser.decrypt(&taken.body);
        assert_eq!(said["conversation"], *self.conversation, "nobody is told of what is not theirs");
        let seq: u64 = said["seq"].as_str().unwrap().parse().unwrap();
        assert!(said["body"].as_str().unwrap().ends_with(&format!(": {seq}")), "{said}");
        *self.told.entry(seq).or_default() += 1;
    }
}

async fn call(http: &Http, person: &Person, method: &str, path: &str, body: Value) -> Value {
    let token = Some(&*person.tokens.access_token);
    people::persist(|| http.call(method, path, token, Some(body.clone()), None)).await.unwrap()
}

/// Deletes all inboxes, with what is in them.
async fn lose_inboxes() {
    let nats = std::env::var("MADANG_TEST_NATS").unwrap();
    let context = jetstream::new(async_nats::connect(nats).await.unwrap());
    let names: Vec<String> = context.stream_names().try_collect().await.unwrap();
    for name in names.iter().filter(|name| name.starts_with("INBOX")) {
        context.delete_stream(name).await.unwrap();
    }
}

struct Stage {
    cluster: Cluster,
    push: PushServer,
    http: Http,
    groups: Vec<(Person, String)>,
    away: Vec<Away>,
    _folder: tempfile::TempDir,
}

async fn set() -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let flags = ["--push-ca", push.ca.to_str().unwrap(), "--push-wait-ms", "300"].map(str::to_owned).to_vec();
    let cluster = Cluster::with(Plan { chats: 2, notifies: 2, push: flags, ..Plan::default() }).await;
    let http = Http::new(&cluster.api).unwrap();
    let progress = indicatif::ProgressBar::hidden();
    let all = people::sign_up(&http, "push", GROUPS * (MEMBERS + 1), 8, &progress).await.unwrap();
    let (mut groups, mut away) = (Vec::new(), Vec::new());
    for (number, some) in all.chunks(MEMBERS + 1).enumerate() {
        let (owner, others) = some.split_first().unwrap();
        let users: Vec<_> = others.iter().map(|person| person.tokens.user.clone()).collect();
        let (key, token) = (number.to_string(), &owner.tokens.access_token);
        let made = people::persist(|| http.create_group(token, "방", &users, History::All, &key)).await.unwrap();
        let conversation = made.conversation.conversation;
        for person in others {
            let (browser, path) = (Browser::default(), format!("/{}", person.handle));
            let body = json!({"webPush": browser.subscription(&format!("{}{path}", push.url)), "preview": true});
            call(&http, person, "PUT", &format!("/v1/devices/{}/push", person.device.id), body).await;
            away.push(Away { conversation: conversation.clone(), browser, path, told: BTreeMap::new() });
        }
        groups.push((owner.clone(), conversation));
    }
    Stage { cluster, push, http, groups, away, _folder: folder }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_told_though_it_dies_between_sending_and_its_cursor() {
    let Stage { mut cluster, push, http, groups, mut away, _folder } = set().await;
    // Slow enough that some are always on their way.
    push.answer(|_| Answer { after: Duration::from_millis(150), ..Answer::default() });
    for round in 1..=ROUNDS {
        for (owner, conversation) in &groups {
            let id = ClientId::now().to_string();
            let body = json!({"conversation": conversation, "clientId": id, "text": round.to_string()});
            let ack = call(&http, owner, "POST", "/v1/messages", body).await;
            assert_eq!(ack["seq"], round.to_string());
        }
        let mut first = Some(push.next(|_| true).await);
        match round {
            // Between any two steps, with nothing said to anybody; what it read is read by the other.
            2 => cluster.notifies.remove(0).kill(),
            3 => lose_inboxes().await,
            4 => {
                cluster.more_notify().await;
                cluster.notifies.remove(0).stop().await;
            }
            _ => {}
        }
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while away.iter().any(|one| !one.told.contains_key(&round)) {
            let next = async {
                match first.take() {
                    Some(taken) => taken,
                    None => push.next(|_| true).await,
                }
            };
            let Ok(taken) = tokio::time::timeout_at(deadline, next).await else {
                let missing = away.iter().filter(|one| !one.told.contains_key(&round)).map(|one| &one.path);
                panic!("round {round}: not told: {:?}", missing.collect::<Vec<_>>());
            };
            away.iter_mut().find(|one| one.path == taken.path).unwrap().take(&taken);
        }
    }
    cluster.stop().await;
    let twice = away.iter().flat_map(|one| &one.told).filter(|(_, times)| **times > 1).count();
    assert!(twice < away.len() * 2, "what nobody was killed over was sent once: {twice} were sent again");
}
