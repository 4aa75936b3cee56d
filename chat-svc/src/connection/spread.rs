//! An event's way from the inbox to the connections of its recipients: encoded once for all of them, sent once to each
//! gateway.

use super::{
    frame::frame,
    state::User,
    tail::{Place, TailEvent},
    trunk::Trunk,
};
use crate::presence::moves_people;
use madang_mesh::trace::Span;
use madang_proto::{
    chat::v1::{Downstream, downstream::Item},
    id::UserId,
};
use std::{collections::HashMap, sync::Arc};

/// One item for each trunk that has a connection of a recipient.
pub(super) fn spread(users: &mut HashMap<UserId, User>, event: &TailEvent, cursor: &str, place: Place, mut span: Span) {
    let mut trunks: Vec<(Arc<Trunk>, Vec<u64>)> = Vec::new();
    let mut moves = None;
    for user in event.users.chunks_exact(16) {
        let Ok(user) = UserId::from_slice(user) else { continue };
        let state = users.entry(user).or_default();
        state.recent.push_back(place);
        for each in &state.connections {
            if let Some(watching) = &each.watching
                && *moves.get_or_insert_with(|| moves_people(&event.event))
            {
                watching.doubt();
            }
            match trunks.iter_mut().find(|(trunk, _)| trunk.id == each.trunk.id) {
                Some((_, connections)) => connections.push(each.connection),
                None => trunks.push((each.trunk.clone(), vec![each.connection])),
            }
        }
    }
    if trunks.is_empty() {
        return;
    }
    let frame = frame(&event.event, cursor);
    span.number("madang.connections", trunks.iter().map(|(_, connections)| connections.len()).sum::<usize>());
    let trace = span.record();
    for (trunk, connections) in trunks {
        let item = Some(Item::Frame(frame.clone()));
        trunk.send(Downstream { connections, item, cursor: cursor.to_owned(), trace: trace.clone() });
    }
}
