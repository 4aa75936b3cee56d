//! Read marks that were taken and are not in the log yet. Each with the device that has read, if it is known: it is told nothing
//! of that, since it shows nothing of it any more.

use super::{Refusal, Room, not_found, slice};
use bytes::Bytes;
use madang_proto::{
    id::{DeviceId, UserId},
    log::v1::MovedMark,
};

/// Up to which message, and on which device.
pub type Pending = (u64, Option<DeviceId>);

/// As the log has it.
pub fn moved(user: &UserId, (seq, device): Pending) -> MovedMark {
    let device = device.map(|device| Bytes::copy_from_slice(device.bytes())).unwrap_or_default();
    MovedMark { user: slice(user), seq, device }
}

/// Whose it is; none: it can't be read.
pub fn pending(mark: &MovedMark) -> Option<(UserId, Pending)> {
    Some((UserId::from_slice(&mark.user).ok()?, (mark.seq, DeviceId::from_slice(&mark.device).ok())))
}

impl Room {
    /// Takes a read mark; the number that it came to, and whether that is new.
    pub fn read(&mut self, user: UserId, seq: u64, device: Option<DeviceId>) -> Result<(u64, bool), Refusal> {
        if self.state.members.get(&user).is_none() {
            return Err(not_found());
        }
        let seq = seq.min(self.state.last_seq);
        let saved = self.marks.get(&user).copied().unwrap_or(0);
        let known = saved.max(self.pending_marks.get(&user).map_or(0, |(seq, _)| *seq));
        if seq <= known {
            return Ok((seq, false));
        }
        self.pending_marks.insert(user, (seq, device));
        Ok((seq, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use madang_proto::group::v1::{RoomMember, RoomState};

    #[test]
    fn the_device_that_has_read_furthest_goes_along() {
        let (user, phone, laptop) = (UserId::new(), DeviceId::new(), DeviceId::new());
        let member = RoomMember { user: user.bytes().to_vec(), ..RoomMember::default() };
        let row = RoomState { revision: 9, last_seq: 9, members: vec![member], ..RoomState::default() };
        let mut room = Room::loaded(&row, 0);
        // As it is handed over.
        let first = |room: &Room| pending(&moved(&user, room.pending_marks[&user]));
        assert_eq!(room.read(user, 5, Some(phone)).ok(), Some((5, true)));
        assert_eq!(first(&room), Some((user, (5, Some(phone)))));
        assert_eq!(room.read(user, 4, Some(laptop)).ok(), Some((4, false)));
        assert_eq!(first(&room), Some((user, (5, Some(phone)))), "it has read no further");
        assert_eq!(room.read(user, 7, None).ok(), Some((7, true)));
        assert_eq!(first(&room), Some((user, (7, None))), "it is not known on which");
    }
}
