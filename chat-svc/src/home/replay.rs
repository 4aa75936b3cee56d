//! Becoming a home: append the marker, whose position is the epoch; replay the log from where the slower of group-svc
//! and store-svc stands up to it, on top of group-svc's rows; give the fan-out what the home before had not published; then
//! serve.

mod again;

use super::{
    Home, World, lost,
    pressure::{Checkpoint, Pressure},
};
use crate::{
    event,
    fan_out::Committed,
    retry,
    room::{Room, passages::Passages},
    shelf,
};
use futures_util::StreamExt;
use madang_mesh::{
    clock::now_micros,
    log::{Entry, Position},
    shard::Shard,
};
use madang_proto::{
    id::{ConversationId, UserId},
    log::v1::{FanOutPosition, LoggedEvent, Record},
    record,
};
use prost::Message as _;
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

/// How long readers that have just started may take to say where they stand; after that the log is read from its
/// first record, which is always right and only slower.
const WAIT: Duration = Duration::from_secs(3);

/// How many records are read back at once, looking for one that says how far the fan-out has come.
const BACK: u64 = 64;

/// A record of the log.
struct Logged {
    position: Position,
    at_micros: i64,
    record: Record,
}

/// Becomes the home.
pub async fn take_over(shard: Shard, world: World, before: Option<shelf::Ask>) -> Result<Home, String> {
    let said = |error: madang_mesh::log::Error| error.to_string();
    world.log.create(shard).await.map_err(said)?;
    lost::check(&world, shard).await?;
    let nonce = rand::random();
    let marker = Record { format: world.format, process: world.process.clone(), nonce, ..Record::default() };
    let epoch = world.log.append(shard, marker.encode_to_vec().into(), None).await.map_err(said)?;
    if let Some(before) = before
        && let Some(left) = before(epoch).await
    {
        let rooms = left.rooms();
        if let Some(home) = Home::go_on(shard, world.clone(), epoch, left) {
            tracing::info!(shard, epoch, rooms, "home, by what the one before has left");
            return Ok(home);
        }
    }
    let first = world.log.bounds(shard).await.map_err(said)?.first;
    let passed = if epoch == first { epoch - 1 } else { passed(&world, shard).await };
    let mut from = (passed + 1).max(first).min(epoch);
    let mut records = read(&world, shard, from, epoch).await?;
    // The log is never trimmed past the fan-out: where no record that is kept says how far it has come, it had nothing to do.
    while fanned_out(&records).is_none() && from > first {
        let earlier = from.saturating_sub(BACK).max(first);
        extend_back(&world, shard, earlier, &mut records).await?;
        from = earlier;
    }
    let mut reached = fanned_out(&records).unwrap_or_default();
    from = again::send(&world, shard, (first, from), &mut records, &mut reached).await?;
    let lowest = reached.iter().map(|each| each.position).min().map_or(epoch, |position| position + 1).max(first);
    if lowest < from {
        extend_back(&world, shard, lowest, &mut records).await?;
        from = lowest;
    }
    let horizon_ms = records.first().map_or_else(now_micros, |logged| logged.at_micros) / 1000;
    let (rooms, commits) = replay(shard, &world, &records, lowest, horizon_ms).await?;
    world.fan_out.catch_up(shard, &reached, epoch, commits).await;
    tracing::info!(shard, epoch, from, rooms = rooms.len(), "home");
    let pressure = Pressure::new(passed.min(epoch), grew(&records, passed));
    let mut home = Home::new(shard, world, epoch, pressure, horizon_ms);
    for (conversation, room) in rooms {
        home.keep(conversation, room);
    }
    Ok(home)
}

/// How the log grew after a position.
fn grew(records: &[Logged], passed: Position) -> Vec<Checkpoint> {
    let mut checkpoints: Vec<Checkpoint> = Vec::new();
    let mut bytes = 0;
    for logged in records.iter().filter(|logged| logged.position >= passed) {
        let at_ms = logged.at_micros / 1000;
        bytes += logged.record.encoded_len() as u64;
        if checkpoints.last().is_none_or(|last| at_ms - last.at_ms >= 2000) {
            checkpoints.push(Checkpoint { position: logged.position, at_ms, bytes });
        }
    }
    checkpoints
}

/// How far the fan-out had come with each destination when the newest record that says so was written.
fn fanned_out(records: &[Logged]) -> Option<Vec<FanOutPosition>> {
    records.iter().rev().map(|logged| &logged.record.fan_out).find(|head| !head.is_empty()).cloned()
}

async fn extend_back(world: &World, shard: Shard, from: Position, records: &mut Vec<Logged>) -> Result<(), String> {
    let Some(next) = records.first().map(|logged| logged.position) else { return Ok(()) };
    let mut earlier = read(world, shard, from, next - 1).await?;
    earlier.append(records);
    *records = earlier;
    Ok(())
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

async fn read(world: &World, shard: Shard, from: Position, to: Position) -> Result<Vec<Logged>, String> {
    let mut stream = world.log.read(shard, from).await.map_err(|error| error.to_string())?;
    let mut records = Vec::new();
    for expected in from..=to {
        let entry = stream.next().await.ok_or("the log ended before the marker")?.map_err(|error| error.to_string())?;
        let Entry { position, at_micros, payload } = entry;
        if position != expected {
            return Err(format!("position {expected} is missing: the log gave {position}"));
        }
        let record = record::read(payload).map_err(|error| format!("position {position}: {error}"))?;
        records.push(Logged { position, at_micros, record });
    }
    Ok(records)
}

/// The rooms as the log leaves them, and what their members are to be sent of it.
async fn replay(
    shard: Shard,
    world: &World,
    records: &[Logged],
    unsent_from: Position,
    horizon_ms: i64,
) -> Result<(HashMap<ConversationId, Room>, Vec<Committed>), String> {
    let id = |event: &LoggedEvent| ConversationId::from_slice(&event.conversation).map_err(|error| error.to_string());
    let events = || records.iter().flat_map(|logged| &logged.record.events);
    let ids: HashSet<_> = events().map(id).collect::<Result<_, _>>()?;
    let ids: Vec<_> = ids.into_iter().collect();
    // Who left before all of it is nobody to whom anything of it is sent.
    let left_from = records.first().map_or(Position::MAX, |logged| logged.position);
    let rows = world.sources.rooms(&ids, left_from).await.map_err(|refusal| refusal.message)?;
    let mut rooms: HashMap<_, _> = rows.iter().map(|(id, row)| (*id, Room::loaded(row, horizon_ms))).collect();
    let mut commits = Vec::new();
    let mut passages: HashMap<ConversationId, Passages> = HashMap::new();
    for event in events() {
        passages.entry(id(event)?).or_default().note(event);
    }
    for logged in records {
        let mut deliveries = Vec::with_capacity(logged.record.events.len());
        for event in &logged.record.events {
            let conversation = id(event)?;
            let room = rooms.entry(conversation).or_insert_with(|| Room::begun(crate::room::nothing(event)));
            let row = rows.get(&conversation).filter(|row| event.revision <= row.revision);
            let before = room.state.members.present();
            if !room.replay(event) {
                return Err(format!(
                    "{conversation} has revision {} and the log goes on at {}",
                    room.state.revision, event.revision
                ));
            }
            if let Some((key, used)) = retry::used(event) {
                room.seen.note(key, used);
            }
            room.last_position = logged.position;
            if logged.position < unsent_from {
                continue;
            }
            let passed = passages.entry(conversation).or_default();
            let recipients: BTreeSet<_> = match row {
                _ if event.revision == 0 => UserId::from_slice(&event.actor).into_iter().collect(),
                Some(row) => passed.recipients(row, event.revision),
                None => before.iter().chain(&*room.state.members.present()).copied().collect(),
            };
            // What they have cleared since is not shown again either.
            let hidden = |user: &UserId| {
                let joined = match row {
                    Some(row) => passed.joined_seq(row, user, event.revision),
                    None => room.state.members.get(user).map(|member| member.joined_seq),
                };
                room.state.hidden_upto(user, joined.unwrap_or(0))
            };
            let recipients = recipients.into_iter().collect();
            let (recipients, blind) = crate::room::split_blind(recipients, event, hidden);
            deliveries.extend(event::outgoing(event, recipients, blind));
        }
        for (conversation, key, used) in retry::all_unchanged(&logged.record) {
            // Of one that these records don't change it is found where it is looked for.
            if let Some(room) = rooms.get_mut(&conversation) {
                room.seen.note_at(logged.at_micros / 1000, key, used);
            }
        }
        if !deliveries.is_empty() {
            commits.push(Committed { shard, position: logged.position, deliveries });
        }
    }
    Ok((rooms, commits))
}
