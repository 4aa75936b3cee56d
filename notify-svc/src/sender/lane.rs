//! What each device is being told, and what waits for that: one after the other, of a conversation the newest. So much
//! waits at most: a device that is slow takes up nobody else's room. What was tried stays known until it is written what
//! has become of it: so what is kept of it, or is older, is not sent behind it.

use super::{Item, Push};
use crate::store::stand_for;
use madang_proto::{
    client::v1::PushType,
    id::{ConversationId, DeviceId, UserId},
};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};
use uuid::Uuid;

/// How many wait for a device at most; the rest is kept in the database.
const WAITING: usize = 32;

/// Whose, and which.
pub(super) type Device = (UserId, DeviceId);

/// Whom a push goes to.
pub(super) fn device(push: &Push) -> Device {
    (push.to.user, push.to.device)
}

/// Which push: of what is told of a conversation, the greatest is the newest. That a message was read comes after it.
type Which = (u64, bool);

fn which(push: &Push) -> Which {
    (push.seq, push.kind == PushType::Read)
}

#[derive(Default)]
struct Lane {
    /// Something is on its way.
    is_busy: bool,
    /// That, and what was tried before it and is not written yet. As many as are under way, at most.
    tried: Vec<(ConversationId, Which)>,
    waiting: VecDeque<Item>,
}

impl Lane {
    /// It goes now.
    fn go(&mut self, push: &Push) {
        self.is_busy = true;
        self.tried.push((push.conversation, which(push)));
    }

    /// Whether this, or something newer of its conversation, was tried or is going to be.
    fn has(&self, push: &Push) -> bool {
        let new = (push.conversation, which(push));
        let waiting = self.waiting.iter().map(|item| (item.push.conversation, which(&item.push)));
        self.tried.iter().copied().chain(waiting).any(|(conversation, which)| conversation == new.0 && which >= new.1)
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING
    }

    fn is_over(&self) -> bool {
        !self.is_busy && self.tried.is_empty()
    }
}

/// What becomes of a push that is put into its device's lane.
pub(super) enum Put {
    /// It may go: nothing else is on its way there.
    Go(Item),
    /// It waits, in the place of the one before it of its conversation.
    Waits(Option<Item>),
    /// It is there already, or something newer of its conversation is.
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

    pub fn put(&self, mut item: Item) -> Put {
        let mut lanes = self.lock();
        let lane = lanes.entry(device(&item.push)).or_default();
        if lane.has(&item.push) {
            return Put::Older(item);
        }
        if !lane.is_busy {
            lane.go(&item.push);
            return Put::Go(item);
        }
        let conversation = item.push.conversation;
        let before = lane.waiting.iter().position(|other| other.push.conversation == conversation);
        let before = before.and_then(|at| lane.waiting.remove(at));
        if let Some(before) = &before {
            item.push.messages = stand_for(item.push.messages, before.push.messages);
        }
        if lane.is_full() {
            return Put::Full(item);
        }
        lane.waiting.push_back(item);
        Put::Waits(before)
    }

    /// What goes to a device next.
    pub fn next(&self, device: Device) -> Option<Item> {
        let mut lanes = self.lock();
        let lane = lanes.get_mut(&device)?;
        let Some(next) = lane.waiting.pop_front() else {
            lane.is_busy = false;
            if lane.is_over() {
                lanes.remove(&device);
            }
            return None;
        };
        lane.go(&next.push);
        Some(next)
    }

    /// It is written what has become of a push. If nothing else is known of its device, its lane is gone.
    pub fn written(&self, push: &Push) {
        let mut lanes = self.lock();
        let Some(lane) = lanes.get_mut(&device(push)) else { return };
        // Not every push was tried: some find no room.
        if let Some(at) = lane.tried.iter().position(|tried| *tried == (push.conversation, which(push))) {
            lane.tried.swap_remove(at);
        }
        if lane.is_over() {
            lanes.remove(&device(push));
        }
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
