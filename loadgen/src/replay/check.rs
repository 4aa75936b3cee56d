//! Who should receive what: the plan of a replay, and the ledger that every socket writes into while events arrive.

use crate::{
    Error,
    history::{Faults, Watch},
    replay::dataset::Dataset,
};
use hdrhistogram::Histogram;
use madang_proto::{
    client::v1::{Event, event::Body},
    id::ClientId,
};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};
use uuid::Uuid;

/// One histogram for so many sockets, since each would be too large for each.
const SHARDS: usize = 8;

/// A room as it is on the server.
pub struct RoomPlan {
    /// Its place in the dataset.
    pub room: usize,
    /// Its id.
    pub conversation: String,
    /// As of which revision its members were in it.
    pub revision: u64,
    /// The client ids of its messages, in order.
    pub client_ids: Vec<String>,
    /// When each was sent, µs after the run's beginning; 0: not yet.
    pub sent_at: Vec<AtomicU64>,
}

/// What is to happen.
pub struct Plan {
    /// What is said.
    pub dataset: Dataset,
    /// The rooms that the server made.
    pub rooms: Vec<RoomPlan>,
    /// The rooms by their ids.
    pub by_id: HashMap<String, usize>,
    /// Whether a run before this one sent some of it.
    pub resumed: bool,
    /// The run's beginning.
    pub began: Instant,
    /// New messages received by all sockets.
    pub deliveries: AtomicU64,
    /// From sending to each receiving, µs.
    pub delivery: Vec<Mutex<Histogram<u64>>>,
}

/// The same client id for the same message of the same run. The place is in its last 4 bytes.
#[must_use]
pub fn client_id(started_at: u64, run: &str, room: &str, place: usize) -> String {
    let hash = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{run}\n{room}\n{place}").as_bytes());
    let mut random = [0; 10];
    random[..6].copy_from_slice(&hash.as_bytes()[..6]);
    random[6..].copy_from_slice(&u32::try_from(place).unwrap_or(u32::MAX).to_be_bytes());
    ClientId::at(started_at, random).to_string()
}

/// The place in a client id; of any other id, some number.
fn place(client_id: &str) -> Option<usize> {
    usize::from_str_radix(client_id.get(28..)?, 16).ok()
}

/// A histogram of microseconds, up to an hour.
pub fn histogram() -> Result<Histogram<u64>, Error> {
    Histogram::new_with_bounds(1, 3_600_000_000, 2).map_err(|error| Error::Format(error.to_string()))
}

impl Plan {
    /// Of rooms that were made.
    pub fn new(dataset: Dataset, rooms: Vec<RoomPlan>, resumed: bool) -> Result<Self, Error> {
        let by_id = rooms.iter().enumerate().map(|(place, room)| (room.conversation.clone(), place)).collect();
        let delivery = (0..SHARDS).map(|_| histogram().map(Mutex::new)).collect::<Result<_, _>>()?;
        Ok(Self { dataset, rooms, by_id, resumed, began: Instant::now(), deliveries: AtomicU64::new(0), delivery })
    }

    /// µs since the beginning.
    #[must_use]
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
    }
}

/// What one person's socket received.
pub struct Ledger {
    plan: Arc<Plan>,
    person: usize,
    rooms: HashMap<usize, Watch>,
    faults: Faults,
}

impl Ledger {
    /// Of a person, who is in the given rooms of the plan.
    #[must_use]
    pub fn new(plan: Arc<Plan>, person: usize, rooms: &[usize]) -> Self {
        let watch = |place: &usize| {
            let room = &plan.rooms[*place];
            (*place, Watch::new((!plan.resumed).then_some(room.revision), room.client_ids.len()))
        };
        let rooms = rooms.iter().map(watch).collect();
        Self { plan, person, rooms, faults: Faults::default() }
    }

    /// Takes an event.
    pub fn event(&mut self, event: &Event) {
        if event.revision == 0 {
            return;
        }
        let plan = &self.plan;
        let mine = plan.by_id.get(&event.conversation).and_then(|place| Some((*place, self.rooms.get_mut(place)?)));
        let Some((place_of_room, watch)) = mine else {
            self.faults.leaked += 1;
            return;
        };
        let room = &plan.rooms[place_of_room];
        let Some(Body::Message(message)) = &event.body else {
            watch.event(event.revision, None);
            return;
        };
        let found = place(&message.client_id).filter(|place| room.client_ids.get(*place) == Some(&message.client_id));
        let Some(place) = found else {
            self.faults.leaked += 1;
            watch.event(event.revision, None);
            return;
        };
        if plan.dataset.rooms[room.room].messages[place].text != message.text {
            self.faults.altered += 1;
        }
        if watch.event(event.revision, Some(place)) {
            plan.deliveries.fetch_add(1, Relaxed);
            let sent_at = room.sent_at[place].load(Relaxed);
            // Of what an earlier run sent the time is not known.
            if sent_at != 0 {
                let took = plan.now().saturating_sub(sent_at);
                let shard = &plan.delivery[self.person % SHARDS];
                shard.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(took);
            }
        }
    }

    /// Whether all that is due has come.
    #[must_use]
    pub fn complete(&self, due: &[Vec<usize>]) -> bool {
        self.rooms.iter().all(|(room, watch)| due[*room].iter().all(|place| watch.has(*place)))
    }

    /// The faults, with those of `due` that never came: for each room of the plan, the places in it.
    #[must_use]
    pub fn finish(&self, due: &[Vec<usize>]) -> Faults {
        let mut all = self.faults;
        for (room, watch) in &self.rooms {
            all.add(&watch.finish(due[*room].iter().copied()));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use madang_proto::client::v1::Message;

    fn plan() -> Arc<Plan> {
        let file = "{\"room\":\"r\",\"members\":[\"a\",\"b\"]}\n\
            {\"room\":\"r\",\"n\":0,\"user\":\"b\",\"at\":\"2026-01-01T00:00:00.000Z\",\"text\":\"x\"}\n";
        let room = RoomPlan {
            room: 0,
            conversation: "c".into(),
            revision: 1,
            client_ids: vec![client_id(1_700_000_000_000, "run", "r", 0)],
            sent_at: vec![AtomicU64::new(0)],
        };
        Arc::new(Plan::new(Dataset::parse(file.as_bytes(), 9).unwrap(), vec![room], false).unwrap())
    }

    fn event(plan: &Plan, conversation: &str, text: &str) -> Event {
        let client_id = plan.rooms[0].client_ids[0].clone();
        let message = Message { client_id, text: text.into(), seq: 1, ..Default::default() };
        Event { conversation: conversation.into(), revision: 2, body: Some(Body::Message(message)), ..Event::default() }
    }

    #[test]
    fn client_ids_are_stable_and_hold_their_place() {
        let id = client_id(1_700_000_000_000, "run", "room", 70_000);
        assert_eq!(id, client_id(1_700_000_000_000, "run", "room", 70_000));
        assert_ne!(id, client_id(1_700_000_000_000, "run", "other", 70_000));
        assert_eq!(place(&id), Some(70_000));
        assert_eq!(id.parse::<ClientId>().unwrap().at_ms(), Some(1_700_000_000_000));
    }

    #[test]
    fn a_ledger_tells_members_from_others() {
        let plan = plan();
        let mut member = Ledger::new(plan.clone(), 0, &[0]);
        assert_eq!(member.finish(&[vec![0]]).lost, 1);
        member.event(&event(&plan, "c", "x"));
        assert!(member.complete(&[vec![0]]));
        assert!(member.finish(&[vec![0]]).none());
        let mut other = Ledger::new(plan.clone(), 1, &[]);
        other.event(&event(&plan, "c", "x"));
        assert_eq!(other.finish(&[vec![0]]).leaked, 1);
        let mut altered = Ledger::new(plan.clone(), 0, &[0]);
        altered.event(&event(&plan, "c", "y"));
        assert_eq!(altered.finish(&[vec![0]]).altered, 1);
    }
}
