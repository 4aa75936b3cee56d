//! Groups of people on devices that are notified, and what each of them was told.

use crate::{
    PATIENCE,
    push::{Browser, PushServer, Taken},
};
use async_nats::jetstream;
use futures_util::TryStreamExt as _;
use madang_client::Http;
use madang_loadgen::people::{self, Person};
use madang_proto::{client::v1::History, id::ClientId};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Somebody in a group.
pub struct Member {
    /// Who.
    pub person: Person,
    /// Of which messages they were told, and how often.
    pub told: BTreeMap<u64, u32>,
    conversation: String,
    browser: Browser,
    path: String,
}

impl Member {
    /// Takes what came: of the group, and as it was written.
    fn take(&mut self, taken: &Taken) {
        let said = self.browser.decrypt(&taken.body);
        assert_eq!(said["conversation"], *self.conversation, "nobody is told of what is not theirs");
        let seq: u64 = said["seq"].as_str().unwrap().parse().unwrap();
        assert!(said["body"].as_str().unwrap().ends_with(&format!(": {seq}")), "{said}");
        *self.told.entry(seq).or_default() += 1;
    }
}

/// All of them.
pub struct Crowd {
    /// The members, group by group; who writes is none of them.
    pub members: Vec<Member>,
    http: Http,
    groups: Vec<(Person, String)>,
}

impl Crowd {
    /// Makes so many groups of so many members, at an HTTP door, who are told by a push service.
    pub async fn gather(door: &str, push: &PushServer, groups: usize, members: usize) -> Self {
        let http = Http::new(door).unwrap();
        let progress = indicatif::ProgressBar::hidden();
        let all = people::sign_up(&http, "push", groups * (members + 1), 8, &progress).await.unwrap();
        let mut crowd = Self { members: Vec::new(), http, groups: Vec::new() };
        for (number, some) in all.chunks(members + 1).enumerate() {
            let (owner, others) = some.split_first().unwrap();
            let users: Vec<_> = others.iter().map(|person| person.tokens.user.clone()).collect();
            let (key, token) = (number.to_string(), &owner.tokens.access_token);
            let make = || crowd.http.create_group(token, "방", &users, History::All, &key);
            let conversation = people::persist(make).await.unwrap().conversation.conversation;
            for person in others {
                let (browser, path) = (Browser::default(), format!("/{}", person.handle));
                let body = json!({"webPush": browser.subscription(&format!("{}{path}", push.url)), "preview": true});
                crowd.call(person, "PUT", &format!("/v1/devices/{}/push", person.device.id), body).await;
                let (person, conversation) = (person.clone(), conversation.clone());
                crowd.members.push(Member { person, told: BTreeMap::new(), conversation, browser, path });
            }
            crowd.groups.push((owner.clone(), conversation));
        }
        crowd
    }

    async fn call(&self, person: &Person, method: &str, path: &str, body: Value) -> Value {
        let token = Some(&*person.tokens.access_token);
        people::persist(|| self.http.call(method, path, token, Some(body.clone()), None)).await.unwrap()
    }

    /// Each group's next message: its text is its number.
    pub async fn write(&self, seq: u64) {
        for (owner, conversation) in &self.groups {
            let id = ClientId::now().to_string();
            let body = json!({"conversation": conversation, "clientId": id, "text": seq.to_string()});
            let ack = self.call(owner, "POST", "/v1/messages", body).await;
            assert_eq!(ack["seq"], seq.to_string());
        }
    }

    /// Takes the next push.
    pub async fn take(&mut self, push: &PushServer) {
        let taken = push.next(|_| true).await;
        self.members.iter_mut().find(|one| one.path == taken.path).unwrap().take(&taken);
    }

    /// Takes pushes until those whose numbers fulfil a condition were all told of a message.
    pub async fn until_told(&mut self, push: &PushServer, seq: u64, who: impl Fn(usize) -> bool) {
        let missing = |crowd: &Self| -> Vec<String> {
            let not_told = |(number, one): (usize, &Member)| {
                (who(number) && !one.told.contains_key(&seq)).then(|| one.path.clone())
            };
            crowd.members.iter().enumerate().filter_map(not_told).collect()
        };
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !missing(self).is_empty() {
            let in_time = tokio::time::timeout_at(deadline, self.take(push)).await;
            assert!(in_time.is_ok(), "not told of {seq}: {:?}", missing(self));
        }
    }
}

/// Deletes all inboxes, with what is in them.
pub async fn lose_inboxes() {
    let nats = std::env::var("MADANG_TEST_NATS").unwrap();
    let context = jetstream::new(async_nats::connect(nats).await.unwrap());
    let Ok(names) = context.stream_names().try_collect::<Vec<String>>().await else {
        return; // of a machine that is busy with other things, too
    };
    for name in names.iter().filter(|name| name.starts_with("INBOX")) {
        // It may be gone already, with its home.
        let _ = context.delete_stream(name).await;
    }
}
