//! Handing over: a home that stops leaves what it knows of its shard, and the next one goes on with it instead of
//! replaying the log. Only where nothing but the next one's marker is in the log after it: the log decides.

use super::{
    Appended, Home, World,
    memory::Share,
    moving,
    pressure::{Checkpoint, Pressure},
};
use crate::{
    ask::Ask,
    retry::{Seen, Use},
    room::{Member, Members, Room, State, marks},
};
use futures_util::{Stream, StreamExt};
use madang_mesh::{log::Position, shard::Shard};
use madang_proto::{
    chat::v1::{self as chat, TakeOverEnd, TakeOverHead, TakeOverResponse, TakeOverRooms, take_over_response::Part},
    id::{ClientId, ConversationId, UserId},
    log::v1::{FanOutPosition, MovedMark},
};
use prost::Message as _;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::Instant};

/// About how many bytes one message carries.
const PART: usize = 256 << 10;
/// How long a home that stops waits for the log to take the read marks.
const FLUSH: Duration = Duration::from_secs(1);
/// How long a home that stops waits for its fan-out: with something of it outstanding there is nothing to hand over.
const FAN_OUT: Duration = Duration::from_millis(500);

/// What a home leaves.
pub struct Left {
    /// The last position that the rooms have; all up to it has been published.
    pub position: Position,
    horizon_ms: i64,
    fan_out: Vec<FanOutPosition>,
    pressure: Pressure,
    rooms: HashMap<ConversationId, Room>,
    /// What the rooms cost is counted until they are gone.
    _share: Option<Share>,
}

impl Home {
    /// Tells all who still wait that this is not the home any more.
    pub(super) fn turn_away(&mut self, mut asks: mpsc::Receiver<Ask>) {
        asks.close();
        for ask in self.ready.drain(..).chain(self.waits.drain()) {
            (ask.answer)(Err(moving()));
        }
        while let Ok(ask) = asks.try_recv() {
            (ask.answer)(Err(moving()));
        }
    }

    /// The last thing that a home does: read marks that were taken go into the log. False: whether they did is not known.
    pub(super) async fn flush_marks(&mut self) -> Result<bool, String> {
        let end = Instant::now() + FLUSH;
        self.gather_marks(true);
        while !self.ready.is_empty() {
            let Some(flight) = self.begin() else { continue };
            let Ok(appended) = tokio::time::timeout_at(end, flight.append).await else { return Ok(false) };
            let taken = matches!(appended, Appended::At(_));
            self.finish(flight.batch, flight.since, appended)?;
            if let Some(giving) = self.delivering.take()
                && tokio::time::timeout_at(end, giving).await.is_err()
            {
                return Ok(false);
            }
            if !taken {
                // They are handed over as they are.
                break;
            }
        }
        Ok(true)
    }

    /// What the next home may go on with; none if something was not published in time.
    pub(super) async fn leave(self) -> Option<Left> {
        let since = Instant::now();
        while self.world.fan_out.lowest(self.shard) < self.last {
            if since.elapsed() > FAN_OUT {
                tracing::warn!(self.shard, "not all was published in time: the next home replays the log");
                return None;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Some(Left {
            position: self.last,
            horizon_ms: self.horizon_ms,
            fan_out: self.world.fan_out.positions(self.shard),
            pressure: self.pressure,
            rooms: self.rooms,
            _share: Some(self.share),
        })
    }

    /// Goes on with what another home has left, if the log has nothing after it but the marker.
    pub(super) fn go_on(shard: Shard, world: World, marker: Position, left: Left) -> Option<Self> {
        if left.position + 1 != marker {
            return None;
        }
        world.fan_out.resume(shard, &left.fan_out, marker);
        let mut home = Self::new(shard, world, marker, left.pressure, left.horizon_ms);
        for (conversation, room) in left.rooms {
            home.keep(conversation, room);
        }
        Some(home)
    }
}

impl Left {
    /// How many rooms there are.
    #[must_use]
    pub fn rooms(&self) -> usize {
        self.rooms.len()
    }

    /// As it goes over the wire.
    pub fn send(self) -> impl Iterator<Item = TakeOverResponse> {
        let Self { position, horizon_ms, fan_out, pressure, rooms, _share } = self;
        let of =
            |each: &Checkpoint| chat::LogCheckpoint { position: each.position, at_ms: each.at_ms, bytes: each.bytes };
        let head = TakeOverHead {
            position,
            horizon_ms,
            fan_out,
            slowest: pressure.slowest,
            stored: pressure.stored,
            checkpoints: pressure.checkpoints.iter().map(of).collect(),
        };
        let end = TakeOverEnd { rooms: rooms.len() as u64 };
        let mut rooms = rooms.into_iter();
        let parts = std::iter::from_fn(move || {
            let (mut part, mut bytes) = (TakeOverRooms::default(), 0);
            while bytes < PART
                && let Some((id, room)) = rooms.next()
            {
                let room = live(id, &room);
                bytes += room.encoded_len();
                part.rooms.push(room);
            }
            (!part.rooms.is_empty()).then_some(Part::Rooms(part))
        });
        let all = std::iter::once(Part::Head(head)).chain(parts).chain([Part::End(end)]);
        all.map(|part| TakeOverResponse { part: Some(part) })
    }

    /// From the wire; an error says what is wrong or missing.
    pub async fn receive<E: std::fmt::Display>(
        mut parts: impl Stream<Item = Result<TakeOverResponse, E>> + Unpin,
    ) -> Result<Self, String> {
        let mut next = async || {
            let part = parts.next().await.ok_or("it ended in the middle")?.map_err(|error| error.to_string())?;
            part.part.ok_or_else(|| "an empty part".to_owned())
        };
        let Part::Head(head) = next().await? else { return Err("it did not begin with its head".into()) };
        let mut rooms = HashMap::new();
        loop {
            match next().await? {
                Part::Head(_) => return Err("a second head".into()),
                Part::Rooms(part) => {
                    for each in part.rooms {
                        let (id, room) = room(each).ok_or("a room can't be read")?;
                        rooms.insert(id, room);
                    }
                }
                Part::End(end) if end.rooms == rooms.len() as u64 => break,
                Part::End(end) => return Err(format!("{} rooms of {} came", rooms.len(), end.rooms)),
            }
        }
        let of =
            |each: chat::LogCheckpoint| Checkpoint { position: each.position, at_ms: each.at_ms, bytes: each.bytes };
        let mut pressure = Pressure::new(head.slowest, head.checkpoints.into_iter().map(of));
        pressure.stored = pressure.stored.max(head.stored);
        let TakeOverHead { position, horizon_ms, fan_out, .. } = head;
        Ok(Self { position, horizon_ms, fan_out, pressure, rooms, _share: None })
    }
}

fn bytes(id: &[u8; 16]) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(id)
}

fn live(conversation: ConversationId, room: &Room) -> chat::LiveRoom {
    let state = &room.state;
    let member = |(user, member): (&UserId, &Member)| chat::LiveMember {
        user: bytes(user.bytes()),
        role: member.role.into(),
        joined_revision: member.joined_revision,
        joined_seq: member.joined_seq,
    };
    let used = |(noted_at_ms, (sender, client_id), used): (i64, &(UserId, ClientId), &Use)| chat::LiveUse {
        sender: bytes(sender.bytes()),
        client_id: bytes(client_id.bytes()),
        request_hash: used.hash,
        seq: used.seq,
        revision: used.revision,
        at_micros: used.at_micros,
        noted_at_ms,
    };
    chat::LiveRoom {
        conversation: bytes(conversation.bytes()),
        kind: state.kind.into(),
        revision: state.revision,
        last_seq: state.last_seq,
        last_at_micros: state.last_at_micros,
        members: state.members.all().map(member).collect(),
        marks: room.marks.iter().map(|(user, seq)| marks::moved(user, (*seq, None))).collect(),
        pending_marks: room.pending_marks.iter().map(|(user, pending)| marks::moved(user, *pending)).collect(),
        horizon_ms: room.seen.horizon_ms(),
        uses: room.seen.uses().map(used).collect(),
        last_position: room.last_position,
        profile: Some(state.profile.to_log()),
        settings: state
            .settings
            .iter()
            .map(|(user, set)| (user, Some(set.clone())))
            // A home of the version before takes no room that has such, but replays the log, and has all from the databases.
            .chain(
                state
                    .members
                    .all()
                    .filter(|(user, _)| state.lacks_settings(user).is_some())
                    .map(|(user, _)| (user, None)),
            )
            .map(|(user, settings)| chat::LiveSettings { user: bytes(user.bytes()), settings })
            .collect(),
        blocks: chat::Blocks::from(room.blocks).into(),
        history: state.history.into(),
    }
}

fn room(live: chat::LiveRoom) -> Option<(ConversationId, Room)> {
    let (kind, blocks, history) = (live.kind(), live.blocks(), live.history());
    let mark = |mark: &MovedMark| marks::pending(mark).map(|(user, (seq, _))| (user, seq));
    let member = |each: &chat::LiveMember| {
        let (joined_revision, joined_seq) = (each.joined_revision, each.joined_seq);
        let settled = !live.settings.iter().any(|set| set.settings.is_none() && set.user == each.user);
        let member = Member { role: each.role(), joined_revision, joined_seq, settled };
        Some((UserId::from_slice(&each.user).ok()?, member))
    };
    let used = |each: &chat::LiveUse| {
        let key = (UserId::from_slice(&each.sender).ok()?, ClientId::from_slice(&each.client_id).ok()?);
        let (hash, seq, revision, at_micros) = (each.request_hash, each.seq, each.revision, each.at_micros);
        // A home of the version before does not say it.
        let noted_at_ms = if each.noted_at_ms == 0 { at_micros / 1000 } else { each.noted_at_ms };
        Some((noted_at_ms, key, Use { hash, seq, revision, at_micros }))
    };
    let set = |each: chat::LiveSettings| Some((UserId::from_slice(&each.user).ok()?, each.settings?));
    let members = Members::of(live.members.iter().map(member).collect::<Option<_>>()?);
    // A home of the version before has some also of who is gone.
    let is_here = |user: &[u8]| UserId::from_slice(user).is_ok_and(|user| members.get(&user).is_some());
    let known = live.settings.into_iter().filter(|each| each.settings.is_some() && is_here(&each.user));
    let settings = known.map(set).collect::<Option<_>>()?;
    let marks: HashMap<_, _> = live.marks.iter().filter(|mark| is_here(&mark.user)).filter_map(mark).collect();
    let pending = live.pending_marks.iter().filter(|mark| is_here(&mark.user)).filter_map(marks::pending).collect();
    let state = State {
        kind,
        history,
        revision: live.revision,
        last_seq: live.last_seq,
        last_at_micros: live.last_at_micros,
        members: Arc::new(members),
        profile: Arc::new(live.profile.unwrap_or_default().into()),
        settings: Arc::new(settings),
    };
    let mut room = Room::begun(state);
    (room.marks, room.pending_marks) = (marks, pending);
    room.seen = Seen::of(live.horizon_ms, live.uses.iter().map(used).collect::<Option<_>>()?);
    (room.last_position, room.blocks) = (live.last_position, blocks.into());
    Some((ConversationId::from_slice(&live.conversation).ok()?, room))
}

#[cfg(test)]
mod tests {
    use super::*;
    use madang_proto::group::v1::RoomState;

    /// It has the numbers of what was before, however long ago that was.
    #[test]
    fn what_changed_nothing_is_handed_over_as_of_when_it_was_asked_for() {
        let mut before = Room::loaded(&RoomState::default(), 0);
        let key = (UserId::new(), ClientId::now());
        let used = Use { hash: 1, seq: 1, revision: 1, at_micros: 1_000 };
        before.seen.note_at(500_000, key, used);
        let (_, after) = room(live(ConversationId::new(), &before)).unwrap();
        assert_eq!(after.seen.uses().collect::<Vec<_>>(), [(500_000, &key, &used)]);
    }
}
