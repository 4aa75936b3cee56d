//! Records of the log and batches of the inboxes: what readers make of them.

use bytes::Bytes;
use madang_chat::{connection, event, room};
use madang_proto::{
    client::v1::{Event, ServerFrame, server_frame},
    id::ConversationId,
    log::v1::{InboxBatch, Record},
};
use madang_store::messages::Entry;
use prost::Message as _;
use std::collections::HashMap;

/// A record, as a new home replays it and as store-svc writes it: a room goes on by one revision at a time, and what
/// members are sent names the same numbers.
pub fn records(data: &[u8]) {
    let Ok(record) = Record::decode(Bytes::copy_from_slice(data)) else { return };
    let mut rooms: HashMap<ConversationId, room::Room> = HashMap::new();
    for event in record.events {
        if let Ok(id) = ConversationId::from_slice(&event.conversation) {
            let room = rooms.entry(id).or_insert_with(|| room::Room::begun(room::nothing(&event)));
            let before = room.state.revision;
            let went_on = room.replay(&event);
            assert_eq!(went_on, event.revision <= before.saturating_add(1));
            assert_eq!(room.state.revision, if went_on { before.max(event.revision) } else { before });
            assert!(room.state.members.present().is_sorted());
        }
        let sent = Event::decode(event::encode(&event)).unwrap();
        assert_eq!((sent.revision, sent.last_seq), (event.revision, event.last_seq));
        let names = ConversationId::from_slice(&event.conversation).ok();
        match madang_store::projection::row(event) {
            Ok(Entry::Message { conversation, message, .. }) => {
                assert_eq!((Some(conversation), message.revision), (names, sent.revision));
            }
            Ok(Entry::Change { conversation, used, .. }) => {
                assert_eq!((Some(conversation), used.revision), (names, sent.revision));
            }
            Ok(Entry::Notice { conversation, event }) => {
                assert_eq!((Some(conversation), event.revision), (names, sent.revision));
            }
            Ok(Entry::Other { conversation, revision, .. }) => {
                assert_eq!((Some(conversation), revision), (names, sent.revision));
            }
            Ok(Entry::Record(_)) => unreachable!("an event makes no record"),
            Err(_) => assert!(names.is_none() || sent.body.is_none(), "not stored, though clients see it"),
        }
    }
}

/// A batch of an inbox, of which a home of users makes frames: what a client gets is the event and the cursor.
pub fn inboxes(data: &[u8]) {
    let Ok(batch) = InboxBatch::decode(Bytes::copy_from_slice(data)) else { return };
    for delivery in batch.deliveries {
        let frame = connection::frame(&delivery.event, "cursor");
        if let Ok(event) = Event::decode(delivery.event) {
            let frame = ServerFrame::decode(frame).unwrap();
            let Some(server_frame::Body::Event(sent)) = frame.body else { panic!("no event: {frame:?}") };
            assert_eq!(sent, Event { cursor: "cursor".into(), ..event });
        }
    }
}
