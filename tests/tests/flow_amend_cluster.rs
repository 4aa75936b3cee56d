//! Edits, deletions and reactions on the real backends, over two homes and two stores, one of which is replaced meanwhile:
//! what history shows in the end is what was acknowledged.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use madang_client::{Http, Session};
use madang_loadgen::people;
use madang_proto::{
    client::v1::{Ack, Delete, Edit, History, React, Send, client_frame::Body},
    id::ClientId,
};
use madang_tests::cluster::{Cluster, Plan};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// What a message should be: who sent it, its text (none: deleted), and who put which emoji there.
struct Plain {
    sender: usize,
    text: Option<String>,
    reactions: BTreeMap<&'static str, BTreeSet<usize>>,
}

async fn ask(session: &Session, body: Body) -> Ack {
    loop {
        match session.ask(body.clone()).await {
            Ok(ack) => return ack,
            Err(refusal) if refusal.reason.retryable() => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(refusal) => panic!("{refusal:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_what_history_shows() {
    let seed = std::env::var("MADANG_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("MADANG_SEED={seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let mut cluster = Cluster::with(Plan { chats: 2, gateways: 1, stores: 2, ..Plan::default() }).await;
    let http = Http::new(&cluster.api).unwrap();
    let people = people::sign_up(&http, "amend", 3, 4, &indicatif::ProgressBar::hidden()).await.unwrap();
    let session = |person: &people::Person| Session::start(cluster.options(0, person), |_| ());
    let sessions: Vec<_> = people.iter().map(session).collect();
    let others: Vec<String> = people[1..].iter().map(|person| person.tokens.user.clone()).collect();
    let key = uuid::Uuid::new_v4().to_string();
    let make = || http.create_group(&people[0].tokens.access_token, "amend", &others, History::All, &key);
    let conversation = people::persist(make).await.unwrap().conversation.conversation;
    let mut model: BTreeMap<u64, Plain> = BTreeMap::new();
    for round in 0..240 {
        if round == 120 {
            let chat = cluster.chats.remove(0);
            let again = chat.restart().await;
            cluster.chats.push(again);
        }
        let (who, c, client_id) = (dice.random_range(0..3), conversation.clone(), ClientId::now().to_string());
        let seq = dice.random_range(0..=model.len() as u64);
        let text = format!("{round}");
        let Some(plain) = model.get_mut(&seq).filter(|plain| plain.text.is_some()) else {
            let send = Send { conversation: c, client_id, text: text.clone(), ..Send::default() };
            let ack = ask(&sessions[who], Body::Send(send)).await;
            model.insert(ack.seq, Plain { sender: who, text: Some(text), reactions: BTreeMap::new() });
            continue;
        };
        let ack = match dice.random_range(0..6) {
            0 => {
                (plain.text, plain.reactions) = (None, BTreeMap::new());
                ask(&sessions[plain.sender], Body::Delete(Delete { conversation: c, seq, client_id })).await
            }
            1 | 2 => {
                plain.text = Some(text.clone());
                let edit = Edit { conversation: c, seq, client_id, text, ..Edit::default() };
                ask(&sessions[plain.sender], Body::Edit(edit)).await
            }
            _ => {
                let emoji = ["👍", "❤", "🎉"][dice.random_range(0..3)];
                let there = plain.reactions.entry(emoji).or_default();
                let remove = !there.insert(who) && there.remove(&who);
                let react = React { conversation: c, seq, emoji: emoji.into(), remove, client_id };
                ask(&sessions[who], Body::React(react)).await
            }
        };
        assert_eq!(ack.seq, seq);
    }
    let end = ask(
        &sessions[0],
        Body::Send(Send {
            conversation: conversation.clone(),
            client_id: ClientId::now().to_string(),
            text: "end".into(),
            ..Send::default()
        }),
    )
    .await;
    for (who, person) in people.iter().enumerate() {
        let mut found = BTreeMap::new();
        let mut tries = 0;
        while !found.contains_key(&end.seq) {
            match http.after(&person.tokens.access_token, &conversation, 0, 200).await {
                // All of it anew: what was read before the end was there may have changed since.
                Ok(page) => found = page.messages.into_iter().map(|message| (message.seq, message)).collect(),
                Err(error) => println!("again, since {error}"),
            }
            tries += 1;
            assert!(tries < 1200, "history does not come to {}", end.seq);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for (seq, plain) in &model {
            let is = &found[seq];
            assert_eq!(is.sender, people[plain.sender].tokens.user);
            assert_eq!(
                (is.deleted, &is.text),
                (plain.text.is_none(), &plain.text.clone().unwrap_or_default()),
                "{seq}"
            );
            let shown: BTreeMap<_, _> =
                is.reactions.iter().map(|each| (each.emoji.as_str(), (each.count as usize, each.mine))).collect();
            let with = plain.reactions.iter().filter(|(_, users)| !users.is_empty());
            let should: BTreeMap<_, _> =
                with.map(|(emoji, users)| (*emoji, (users.len(), users.contains(&who)))).collect();
            assert_eq!(shown, should, "reactions of {seq}, as {who} sees them");
        }
    }
    cluster.stop().await;
}
