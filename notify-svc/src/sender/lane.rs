//! What each device is being told, and what waits for that: one after the other, of a conversation the newest. So much
//! waits at most: a device that is slow takes up nobody else's room. What was tried stays known until it is written what
//! has become of it: so what is kept of it, or is older, is not sent behind it. What a newer one is told in the place of is
//! done when that one is, and not before: after a crash both are read again, and the newer one stands for it again. So it
//! does for an older one that comes behind it, as long as it may still be told of that.

use super::{Item, Origin, Push, push::Replaced};
use crate::ticket::Tickets;
use madang_mesh::shard::Shard;
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

/// A push that was tried.
struct Tried {
    conversation: ConversationId,
    which: Which,
    /// What has come behind it, and is told by it.
    stands_for: Tickets,
    /// Of that, what it does not know of yet.
    behind: Replaced,
    /// It is not sent now: what is older goes by itself from here on.
    is_closed: bool,
}

impl Tried {
    fn is(&self, push: &Push) -> bool {
        (self.conversation, self.which) == (push.conversation, which(push))
    }
}

/// Something that is there of the conversation of a push, and at least as new.
enum Newer<'a> {
    Tried(&'a mut Tried),
    Waits(&'a mut Item),
}

impl<'a> Newer<'a> {
    /// An older one is told by it. What waits for that.
    fn tells(self, older: &Push) -> &'a mut Tickets {
        match self {
            Self::Tried(newer) => {
                if newer.which > which(older) {
                    newer.behind.add(older.replaced());
                }
                &mut newer.stands_for
            }
            Self::Waits(newer) => {
                if which(&newer.push) > which(older) {
                    newer.push.follow(older.replaced());
                }
                &mut newer.stands_for
            }
        }
    }
}

#[derive(Default)]
struct Lane {
    /// Something is on its way.
    is_busy: bool,
    /// That, and what was tried before it and is not written yet. As many as are under way, at most.
    tried: Vec<Tried>,
    waiting: VecDeque<Item>,
}

impl Lane {
    /// It goes now.
    fn go(&mut self, push: &Push) {
        self.is_busy = true;
        let (conversation, which) = (push.conversation, which(push));
        let (stands_for, behind) = (Tickets::default(), Replaced::default());
        self.tried.push(Tried { conversation, which, stands_for, behind, is_closed: false });
    }

    /// This, or something newer of its conversation, that was tried or is going to be.
    fn newer(&mut self, push: &Push) -> Option<Newer<'_>> {
        let (at, least) = (push.conversation, which(push));
        let tells = |each: &&mut Tried| {
            each.conversation == at && (each.which == least || each.which > least && !each.is_closed)
        };
        let waits = |item: &&mut Item| item.push.conversation == at && which(&item.push) >= least;
        let tried = self.tried.iter_mut().find(tells).map(Newer::Tried);
        tried.or_else(|| self.waiting.iter_mut().find(waits).map(Newer::Waits))
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
    /// It waits, or something as new of its conversation is there already. With what is not sent by itself therefore, if
    /// that is to be counted.
    There(Option<Push>),
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
        if let Some(newer) = lane.newer(&item.push) {
            // The row of one that is kept stays for what becomes of the newer one.
            let Origin::Log(ticket) = item.origin else { return Put::There(None) };
            let tickets = newer.tells(&item.push);
            tickets.add(ticket);
            tickets.append(item.stands_for);
            return Put::There(Some(item.push));
        }
        if !lane.is_busy {
            lane.go(&item.push);
            return Put::Go(item);
        }
        let conversation = item.push.conversation;
        // It comes when that would have come: who writes all the time is told of all the same.
        if let Some(place) = lane.waiting.iter_mut().find(|other| other.push.conversation == conversation) {
            item.push.follow(place.push.replaced());
            let before = std::mem::replace(place, item);
            place.stands_for.append(before.stands_for);
            if let Origin::Log(ticket) = before.origin {
                place.stands_for.add(ticket);
            }
            return Put::There(Some(before.push));
        }
        if lane.is_full() {
            return Put::Full(item);
        }
        lane.waiting.push_back(item);
        Put::There(None)
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

    /// A push is not sent, or not now: what comes from here on and is older goes by itself, and is not done with it. Whether
    /// it is to tell of something that has come behind it.
    pub fn close(&self, push: &mut Push) -> bool {
        let mut lanes = self.lock();
        let lane = lanes.get_mut(&device(push));
        let Some(tried) = lane.and_then(|lane| lane.tried.iter_mut().find(|tried| tried.is(push))) else {
            return false;
        };
        tried.is_closed = true;
        let behind = std::mem::take(&mut tried.behind);
        push.follow(behind);
        behind.messages > 0
    }

    /// It is written what has become of a push. If nothing else is known of its device, its lane is gone.
    pub fn written(&self, push: &Push) {
        let mut lanes = self.lock();
        let Some(lane) = lanes.get_mut(&device(push)) else { return };
        // Not every push was tried: some find no room.
        if let Some(at) = lane.tried.iter().position(|tried| tried.is(push)) {
            lane.tried.swap_remove(at).stands_for.done();
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

    /// Forgets what waits of a shard that another process has now.
    pub fn give_away(&self, shard: Shard) {
        for lane in self.lock().values_mut() {
            lane.waiting.retain(|item| item.push.shard != shard);
        }
    }

    /// The devices for which as many wait as may.
    pub fn full(&self) -> Vec<Device> {
        self.lock().iter().filter(|(_, lane)| lane.is_full()).map(|(device, _)| *device).collect()
    }
}
