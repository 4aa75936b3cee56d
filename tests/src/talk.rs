//! People in groups who all talk at once, while something happens to a cluster; and what came of it.

use crate::cluster::Cluster;
use madang_client::{Http, Session};
use madang_loadgen::{
    archive,
    history::{Device, Journal, Verdict, judge},
    people::{self, Person},
};
use madang_proto::{
    client::v1::{Event, History, Send},
    id::ClientId,
};
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::JoinSet};

/// What everybody notes in one journal.
#[derive(Clone)]
pub struct Notes {
    /// The journal.
    pub journal: Arc<Mutex<Journal>>,
    began: Instant,
    /// How much was acknowledged and delivered.
    pub done: watch::Sender<(u64, u64)>,
}

impl Notes {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { journal: Arc::default(), began: Instant::now(), done: watch::Sender::new((0, 0)) }
    }

    /// Microseconds since it was begun.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    /// A device was sent something.
    pub fn saw(&self, device: Device, event: &Event) {
        let mut journal = self.journal.lock().unwrap();
        journal.saw(self.now(), device, event);
        let delivered = journal.so_far().1.delivered;
        self.done.send_modify(|done| done.1 = delivered);
    }

    /// Waits until so much was acknowledged, and delivered.
    pub async fn wait(&self, acked: u64, delivered: u64) {
        let mut done = self.done.subscribe();
        done.wait_for(|done| done.0 >= acked && done.1 >= delivered).await.unwrap();
    }
}

impl Default for Notes {
    fn default() -> Self {
        Self::new()
    }
}

/// Makes groups of so many each, the first of each their owner.
pub async fn groups(http: &Http, everybody: &[Person], members: usize) -> Vec<String> {
    let mut groups = Vec::new();
    for (n, some) in everybody.chunks(members).enumerate() {
        let (owner, others) = some.split_first().unwrap();
        let users: Vec<String> = others.iter().map(|member| member.tokens.user.clone()).collect();
        let (token, key) = (&owner.tokens.access_token, uuid::Uuid::new_v4().to_string());
        let name = format!("group {n}");
        let made = people::persist(|| http.create_group(token, &name, &users, History::All, &key)).await;
        groups.push(made.unwrap().conversation.conversation);
    }
    groups
}

/// All of them send so many messages to their group. Each is sent again until it is saved: with the same id, so it is
/// one message whatever became of the first.
#[must_use]
pub fn all_talk(
    sessions: &[Session],
    everybody: &[Person],
    groups: &[String],
    sends: usize,
    notes: &Notes,
) -> JoinSet<()> {
    let members = everybody.len() / groups.len();
    let mut talking = JoinSet::new();
    for (n, session) in sessions.iter().enumerate() {
        let (user, group) = (everybody[n].tokens.user.clone(), groups[n / members].clone());
        talking.spawn(talk(session.clone(), group, user, sends, notes.clone()));
    }
    talking
}

async fn talk(session: Session, group: String, user: String, sends: usize, notes: Notes) {
    for n in 0..sends {
        let (client_id, text) = (ClientId::now().to_string(), format!("{user} says {n}"));
        let send = Send { conversation: group.clone(), client_id, text, ..Send::default() };
        loop {
            notes.journal.lock().unwrap().invoked(notes.now(), &group, &user, &send);
            match session.send(send.clone()).await {
                Ok(ack) => {
                    notes.journal.lock().unwrap().acked(notes.now(), &user, &send.client_id, &ack);
                    break notes.done.send_modify(|done| done.0 += 1);
                }
                Err(refusal) if refusal.reason.retryable() => {
                    tokio::time::sleep(Duration::from_millis(refusal.retry_after_ms.clamp(20, 1000))).await;
                }
                Err(refusal) => panic!("{refusal:?}"),
            }
        }
    }
}

/// What the history checker says, once the owners have read all histories.
pub async fn verdict(cluster: &Cluster, everybody: &[Person], groups: &[String], notes: &Notes) -> Verdict {
    let (http, members) = (Http::new(&cluster.api).unwrap(), everybody.len() / groups.len());
    let mut rooms = Vec::new();
    for (n, group) in groups.iter().enumerate() {
        let token = || everybody[n * members].tokens.access_token.clone();
        rooms.push(archive::read(&http, token, group, true).await.unwrap());
    }
    let verdict = judge(&notes.journal.lock().unwrap(), &rooms);
    eprintln!("{:?}", verdict.counts);
    verdict
}
