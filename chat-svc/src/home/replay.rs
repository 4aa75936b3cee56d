//! Becoming a home: append the marker, whose position is the epoch; replay the log from where the slower of group-svc
//! and store-svc stands up to it, on top of group-svc's rows; then serve.

use super::{Home, World, batch::FORMAT, pressure::Pressure};
use crate::{ask::now_micros, retry::Use, room::Room};
use futures_util::StreamExt;
use madang_mesh::{
    log::{Entry, Position},
    shard::Shard,
};
use madang_proto::{
    id::{ClientId, ConversationId, UserId},
    log::v1::{LoggedEvent, Record, logged_event::Body},
};
use prost::Message as _;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};
use tokio::task::JoinSet;

/// How long readers that have just started may take to say where they stand; after that the log is read from its
/// first record, which is always right and only slower.
const WAIT: Duration = Duration::from_secs(3);

/// Becomes the home.
pub async fn take_over(shard: Shard, mut world: World) -> Result<Home, String> {
    let said = |error: madang_mesh::log::Error| error.to_string();
    world.log.create(shard).await.map_err(said)?;
    let nonce = rand::random();
    let marker = Record { format: FORMAT, process: world.process.clone(), nonce, ..Record::default() };
    let epoch = world.log.append(shard, marker.encode_to_vec().into(), None).await.map_err(said)?;
    let bounds = world.log.bounds(shard).await.map_err(said)?;
    let passed = if epoch == bounds.first { epoch - 1 } else { passed(&world, shard).await };
    let from = (passed + 1).max(bounds.first).min(epoch);
    let entries = read(&world, shard, from, epoch).await?;
    let horizon_ms = entries.first().map_or_else(now_micros, |entry| entry.at_micros) / 1000;
    let rooms = replay(&mut world, &entries, horizon_ms).await?;
    tracing::info!(shard, epoch, from, rooms = rooms.len(), "home");
    Ok(Home {
        shard,
        world,
        epoch,
        last: epoch,
        rooms,
        horizon_ms,
        waiting: HashMap::new(),
        waiting_count: 0,
        ready: VecDeque::new(),
        absent: HashMap::new(),
        to_fetch: Vec::new(),
        fetches: JoinSet::new(),
        unread_marks: HashSet::new(),
        pressure: Pressure::new(from.saturating_sub(1)),
        ticks: 0,
    })
}

/// Up to where both readers have come; 0 where that can't be learned.
async fn passed(world: &World, shard: Shard) -> Position {
    let of = |reader: &'static str| async move {
        let item = world.registry.get(&format!("progress.{reader}.{shard}")).await.ok()??;
        std::str::from_utf8(&item.value?).ok()?.parse::<Position>().ok()
    };
    let both = async {
        loop {
            if let (Some(store), Some(group)) = (of("store").await, of("group").await) {
                return store.min(group);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(WAIT, both).await.unwrap_or(0)
}

async fn read(world: &World, shard: Shard, from: Position, to: Position) -> Result<Vec<Entry>, String> {
    let mut stream = world.log.read(shard, from).await.map_err(|error| error.to_string())?;
    let mut entries = Vec::new();
    for expected in from..=to {
        let entry = stream.next().await.ok_or("the log ended before the marker")?.map_err(|error| error.to_string())?;
        if entry.position != expected {
            return Err(format!("position {expected} is missing: the log gave {}", entry.position));
        }
        entries.push(entry);
    }
    Ok(entries)
}

async fn replay(
    world: &mut World,
    entries: &[Entry],
    horizon_ms: i64,
) -> Result<HashMap<ConversationId, Room>, String> {
    let mut events = Vec::new();
    for entry in entries {
        let record =
            Record::decode(entry.payload.clone()).map_err(|error| format!("position {}: {error}", entry.position))?;
        if record.format > FORMAT {
            return Err(format!(
                "position {} has format {}, this version reads {FORMAT}",
                entry.position, record.format
            ));
        }
        events.extend(record.events);
    }
    let id = |event: &LoggedEvent| ConversationId::from_slice(&event.conversation).map_err(|error| error.to_string());
    let ids: HashSet<_> = events.iter().map(id).collect::<Result<_, _>>()?;
    let ids: Vec<_> = ids.into_iter().collect();
    let rows = world.sources.rooms(&ids).await.map_err(|refusal| refusal.message)?;
    let mut rooms: HashMap<_, _> = rows.iter().map(|(id, row)| (*id, Room::loaded(row, horizon_ms))).collect();
    for event in &events {
        let conversation = id(event)?;
        let room = rooms.entry(conversation).or_insert_with(|| Room::begun(crate::room::nothing(event)));
        if !room.replay(event) {
            return Err(format!(
                "{conversation} has revision {} and the log goes on at {}",
                room.state.revision, event.revision
            ));
        }
        note(room, event);
    }
    Ok(rooms)
}

/// Takes note of the client id that the event used.
fn note(room: &mut Room, event: &LoggedEvent) {
    if let (Some(Body::Message(_)), Ok(actor), Ok(id)) =
        (&event.body, UserId::from_slice(&event.actor), ClientId::from_slice(&event.client_id))
    {
        let (hash, revision, at_micros) = (event.request_hash, event.revision, event.at_micros);
        room.seen.note((actor, id), Use { hash, seq: event.last_seq, revision, at_micros });
    }
}
