//! What each device is being told, and what waits for that: one after the other, of a conversation the newest. So much
//! waits at most: a device that is slow takes up nobody else's room.

use super::Item;
use madang_proto::id::{ConversationId, DeviceId, UserId};
use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
};
use uuid::Uuid;

/// How many wait for a device at most; the rest is kept in the database.
const WAITING: usize = 32;

/// Whose, and which.
pub(super) type Device = (UserId, DeviceId);

struct Lane {
    current: (ConversationId, u64),
    waiting: VecDeque<Item>,
}

impl Lane {
    fn new(item: &Item) -> Self {
        Self { current: (item.push.conversation, item.push.seq), waiting: VecDeque::new() }
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING
    }
}

/// What becomes of a push that is put into its device's lane.
pub(super) enum Put {
    /// It may go: nothing else is on its way there.
    Go(Item),
    /// It waits, in the place of those before it of its conversation.
    Waits(Vec<Item>),
    /// Something newer of its conversation is there.
    Older(Item),
    /// As many as may wait already.
    Full(Item),
}

/// The lanes of all devices that something is on its way to.
#[derive(Default)]
pub(super) struct Lanes(Mutex<HashMap<Device, Lane>>);

impl Lanes {
    fn lock(&self) -> MutexGuard<'_, HashMap<Device, Lane>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn put(&self, item: Item) -> Put {
        let (conversation, seq) = (item.push.conversation, item.push.seq);
        let mut lanes = self.lock();
        let lane = match lanes.entry((item.push.to.user, item.push.to.device)) {
            Entry::Occupied(lane) => lane.into_mut(),
            Entry::Vacant(lane) => {
                lane.insert(Lane::new(&item));
                return Put::Go(item);
            }
        };
        let of = |other: &Item| other.push.conversation == conversation;
        if lane.current.0 == conversation && lane.current.1 > seq
            || lane.waiting.iter().any(|other| of(other) && other.push.seq > seq)
        {
            return Put::Older(item);
        }
        let mut before = Vec::new();
        while let Some(at) = lane.waiting.iter().position(of) {
            before.extend(lane.waiting.remove(at));
        }
        if lane.is_full() {
            return Put::Full(item);
        }
        lane.waiting.push_back(item);
        Put::Waits(before)
    }

    /// What goes to a device next; if nothing does, its lane is gone.
    pub fn next(&self, device: Device) -> Option<Item> {
        let mut lanes = self.lock();
        let lane = lanes.get_mut(&device)?;
        let Some(next) = lane.waiting.pop_front() else {
            lanes.remove(&device);
            return None;
        };
        lane.current = (next.push.conversation, next.push.seq);
        Some(next)
    }

    /// Takes out what waits for a device by a registration.
    pub fn take(&self, device: Device, registration: Uuid) -> Vec<Item> {
        let mut lanes = self.lock();
        let Some(lane) = lanes.get_mut(&device) else { return Vec::new() };
        let all = lane.waiting.drain(..);
        let (taken, rest) = all.partition::<Vec<_>, _>(|item| item.push.to.id == registration);
        lane.waiting.extend(rest);
        taken
    }

    /// The devices for which as many wait as may.
    pub fn full(&self) -> Vec<Device> {
        self.lock().iter().filter(|(_, lane)| lane.is_full()).map(|(device, _)| *device).collect()
    }
}
