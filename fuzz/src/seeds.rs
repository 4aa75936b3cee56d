//! What the fuzzers start from: one good example of every kind, and some that are nearly good. They are files in
//! `fuzz/seeds/`, written from here (`UPDATE=1 cargo test -p madang-fuzz --test seeds`).

use crate::places::{NOW_MS, SHARDS};
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use madang_chat::cursor::Cursor;
use madang_group::token::{Place, Sync};
use madang_mesh::token::{Claims, sign};
use madang_proto::{
    client::v1::{self as client, client_frame, event, server_frame},
    id::{SessionId, UserId},
    log::v1::{
        self as log, Delivery, FanOutPosition, InboxBatch, JoinedUser, LoggedEvent, Record, SourcePosition,
        logged_event::Body,
    },
};
use prost::Message as _;

/// The time of the tokens, in seconds since 1970.
pub const NOW: i64 = 1_000_000_000;

/// The key of the tokens.
#[must_use]
pub fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

/// What the one good token says.
#[must_use]
pub fn claims() -> Claims {
    let id = |last| [7, 7, 7, 7, 7, 7, 0x47, 7, 0x87, 7, 7, 7, 7, 7, 7, last];
    let (user, session) = (UserId::from_slice(&id(1)).unwrap(), SessionId::from_slice(&id(2)).unwrap());
    Claims { user, session, expires_at: NOW + 900 }
}

/// The seeds of a target, numbered as they stand.
#[must_use]
pub fn of(target: &str) -> Vec<Vec<u8>> {
    match target {
        "client_frames" => client_frames(),
        "server_frames" => server_frames().iter().map(prost::Message::encode_to_vec).collect(),
        "tokens" => tokens(),
        "places" => {
            let cursor = Cursor { sequence: 1 << 40, at_micros: 1_700_000_000_000_000, index: 3 };
            let sync = Sync::new(vec![7; SHARDS as usize], NOW_MS);
            let page = Place::after(sync.clone(), None, 1_700_000_000_000_000, vec![7; 16]);
            let moved = Place::moved(sync.clone(), Some(sync.clone()), Vec::new());
            let texts = [cursor.to_string(), page.text(), moved.text(), sync.text(), "AAAA".into(), String::new()];
            texts.map(String::into_bytes).to_vec()
        }
        "records" => records().iter().map(prost::Message::encode_to_vec).collect(),
        "inboxes" => inboxes().iter().map(prost::Message::encode_to_vec).collect(),
        _ => Vec::new(),
    }
}

fn content() -> client::Content {
    client::Content {
        text: "안녕 👋🏽 \u{2028}\r\n\u{1b}[31m\u{202e}".into(),
        reply_to: 3,
        mentions: vec![client::Mention { user: claims().user.to_string(), offset: 0, length: 2 }],
        attachments: vec![client::Attachment { url: "https://a/b".into(), size: 1 << 40, ..Default::default() }],
        r#type: "text".into(),
        data: [("k".to_owned(), "v".to_owned())].into(),
    }
}

fn client_frames() -> Vec<Vec<u8>> {
    use client_frame::Body;
    let id = claims().user.to_string();
    let said = content();
    let device = client::Device { id: id.clone(), kind: client::DeviceKind::Web.into(), ..Default::default() };
    let bodies = [
        Body::Hello(client::Hello { token: "a.b.c".into(), device: Some(device), resume: "AAAA".into() }),
        Body::Send(client::Send {
            conversation: id.clone(),
            client_id: id.clone(),
            text: said.text,
            reply_to: said.reply_to,
            mentions: said.mentions,
            attachments: said.attachments,
            r#type: said.r#type,
            data: said.data,
            ..Default::default()
        }),
        Body::Edit(client::Edit { conversation: id.clone(), seq: 7, text: "anew".into(), ..Default::default() }),
        Body::Delete(client::Delete { conversation: id.clone(), seq: 7, client_id: id.clone() }),
        Body::React(client::React { conversation: id.clone(), seq: 7, emoji: "👍".into(), ..Default::default() }),
        Body::Read(client::Read { conversation: id.clone(), seq: u64::MAX }),
        Body::Typing(client::Typing { conversation: id.clone() }),
        Body::Watch(client::Watch { users: vec![id.clone(), id] }),
        Body::Ping(client::Ping {}),
    ];
    let frames: Vec<_> = bodies
        .into_iter()
        .enumerate()
        .map(|(n, body)| client::ClientFrame { id: n as u32, body: Some(body), traceparent: String::new() })
        .collect();
    let mut seeds: Vec<Vec<u8>> = frames.iter().map(prost::Message::encode_length_delimited_to_vec).collect();
    seeds.push(seeds.concat());
    let lines: Vec<_> = frames.iter().map(|frame| serde_json::to_string(frame).unwrap()).collect();
    seeds.extend(lines.iter().map(|line| line.clone().into_bytes()));
    seeds.push(lines.join("\n").into_bytes());
    seeds.extend([&b"{\"id\":1,\"teleport\":{}}"[..], b"[]", &[0xff; 10], &[5, 8, 1, 0x92, 3, 0]].map(<[u8]>::to_vec));
    seeds
}

fn server_frames() -> Vec<client::ServerFrame> {
    use server_frame::Body;
    let id = claims().user.to_string();
    let said = content();
    let message = client::Message {
        seq: 1,
        sender: id.clone(),
        text: said.text,
        mentions: said.mentions,
        attachments: said.attachments,
        data: said.data,
        reactions: vec![client::Reaction { emoji: "👍".into(), count: 2, mine: true }],
        ..Default::default()
    };
    let event = |body| {
        let conversation = id.clone();
        Body::Event(client::Event {
            cursor: "AAAA".into(),
            conversation,
            revision: 2,
            body: Some(body),
            ..Default::default()
        })
    };
    let bodies = [
        Body::Ready(client::Ready { resume: client::Resume::Resumed.into(), ..Default::default() }),
        Body::Ack(client::Ack { conversation: id.clone(), seq: 1, duplicate: true, ..Default::default() }),
        Body::Error(client::Error { code: "INTERNAL".into(), retryable: true, ..Default::default() }),
        event(event::Body::Message(message)),
        event(event::Body::Joined(client::Joined {
            members: vec![client::JoinedMember { user: id.clone(), role: client::Role::Owner.into() }],
            by: id.clone(),
        })),
        Body::Interrupted(client::Interrupted {}),
        Body::GoAway(client::GoAway { reconnect_in_ms: 7 }),
    ];
    bodies.into_iter().map(|body| client::ServerFrame { id: 9, body: Some(body) }).collect()
}

fn tokens() -> Vec<Vec<u8>> {
    let good = sign(&key(), "k", "madang", claims(), NOW);
    let other = sign(&SigningKey::from_bytes(&[2; 32]), "k", "madang", claims(), NOW);
    let bare = |exp: &str| {
        let Claims { user, session, .. } = claims();
        format!(r#"{{"iss":"madang","sub":"{user}","sid":"{session}","aud":["madang"],"exp":{exp},"nbf":1}}"#)
    };
    let (future, text, long) = (bare("1000000001"), bare("\"1000000001\""), "a".repeat(9000));
    [good, other, future, text, long, "a.b.c".into()].map(String::into_bytes).to_vec()
}

fn bytes(id: u8) -> Bytes {
    Bytes::copy_from_slice(&[id; 16])
}

fn records() -> Vec<Record> {
    let member = |id| JoinedUser { user: bytes(id), role: client::Role::Member.into() };
    let bodies = [
        Body::Created(log::Created {
            kind: client::ConversationKind::Group.into(),
            name: "방".into(),
            members: vec![member(1), member(2)],
            ..Default::default()
        }),
        Body::Message(content()),
        Body::Joined(log::MembersJoined { members: vec![member(3)] }),
        Body::Left(log::MembersLeft { users: vec![bytes(1)], ended: false }),
        Body::Role(log::RoleSet { user: bytes(2), role: client::Role::Owner.into() }),
        Body::Read(log::MarksMoved { marks: vec![log::MovedMark { user: bytes(2), seq: 1, device: bytes(3) }] }),
    ];
    let event = |(n, body)| LoggedEvent {
        conversation: bytes(9),
        revision: n as u64 + 1,
        at_micros: 1_700_000_000_000_000,
        last_seq: 1,
        actor: bytes(1),
        client_id: bytes(5),
        request_hash: 7,
        trace: Bytes::new(),
        body: Some(body),
    };
    let events: Vec<_> = bodies.into_iter().enumerate().map(event).collect();
    let fan_out = vec![FanOutPosition { shard: 1, position: 2, sent: 1 }];
    let unchanged = vec![log::UnchangedRequest {
        conversation: bytes(9),
        actor: bytes(1),
        client_id: bytes(5),
        seq: 1,
        revision: 2,
        ..log::UnchangedRequest::default()
    }];
    let all = Record { format: 1, process: "p".into(), epoch: 1, nonce: 2, events: events.clone(), fan_out, unchanged };
    let mut gap = all.clone();
    gap.events.remove(2);
    let marker = Record { events: Vec::new(), epoch: 0, ..all.clone() };
    vec![all, gap, marker]
}

fn inboxes() -> Vec<InboxBatch> {
    let event = server_frames().into_iter().find_map(|frame| match frame.body {
        Some(server_frame::Body::Event(event)) => Some(client::Event { cursor: String::new(), ..event }),
        _ => None,
    });
    let event: Bytes = event.unwrap_or_default().encode_to_vec().into();
    let users = Bytes::copy_from_slice(&[claims().user.bytes().as_slice(), &[3; 16]].concat());
    let deliveries = [(event.clone(), users), (event, bytes(1).slice(..7))];
    let deliveries = deliveries.map(|(event, users)| Delivery { event, users, trace: Bytes::new() }).to_vec();
    let sources = vec![SourcePosition { shard: 1, previous: 2, position: 3, deliveries: 2 }];
    vec![InboxBatch { deliveries, sources, ..Default::default() }]
}
