//! What is looked at together: it may be taken in parts, since one message concerns as many as are in its group.

use super::{Job, Message, Rooms, What, is_told};
use madang_proto::{
    group::v1::RoomState,
    id::{ConversationId, DeviceId, UserId},
};
use std::collections::{HashSet, VecDeque};

/// How many may be concerned by the messages that are looked at together, unless one message concerns more: each may have
/// 16 devices, and a push for each of them is made before any is sent.
const CONCERNED: usize = 2000;

/// Which devices show something that was read since: whose, which, where, up to which message.
pub(super) type Showing = HashSet<(UserId, DeviceId, ConversationId, u64)>;

/// Jobs that are looked at together, in the order of the log, and what is known of their rooms.
pub struct Look {
    pub(super) jobs: VecDeque<Job>,
    pub(super) known: Option<Known>,
}

/// What must be known before it can be said whom jobs concern.
pub(super) struct Known {
    pub rooms: Rooms,
    pub showing: Showing,
}

impl Look {
    /// At these.
    #[must_use]
    pub fn at(jobs: Vec<Job>) -> Self {
        Self { jobs: jobs.into(), known: None }
    }

    /// Nothing is left.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Done with these, since they are too old or are told; how many of them were messages.
    pub(super) fn done(&mut self, jobs: usize) -> u64 {
        let done = self.jobs.drain(..jobs);
        done.map(|job| {
            let message = u64::from(matches!(job.what, What::Message(_)));
            job.ticket.done();
            message
        })
        .sum()
    }
}

/// Whether a device of somebody's shows something of a conversation.
pub(super) fn shows(showing: &Showing, user: UserId, at: ConversationId) -> bool {
    showing.iter().any(|(who, _, place, _)| (*who, *place) == (user, at))
}

/// The first jobs that are looked at together: how many these are, and whom they may concern, each with the place of the job
/// and whether it names them.
pub(super) fn part(
    jobs: &VecDeque<Job>,
    rooms: &Rooms,
    showing: &Showing,
    now: i64,
) -> (Vec<(usize, UserId, bool)>, usize) {
    let mut concerned = Vec::new();
    for (at, job) in jobs.iter().enumerate() {
        let before = concerned.len();
        match &job.what {
            What::Message(message) => {
                let all = rooms.get(&job.conversation).into_iter().flat_map(|room| of_message(room, message, now));
                concerned.extend(all.map(|(user, mention)| (at, user, mention)));
            }
            What::Read { user, .. } if shows(showing, *user, job.conversation) => concerned.push((at, *user, false)),
            What::Read { .. } => {}
        }
        if before > 0 && concerned.len() > CONCERNED {
            concerned.truncate(before);
            return (concerned, at);
        }
    }
    (concerned, jobs.len())
}

/// Whom a message concerns, and whether it names them.
pub(super) fn of_message<'a>(
    room: &'a RoomState,
    message: &'a Message,
    now: i64,
) -> impl Iterator<Item = (UserId, bool)> + 'a {
    room.members.iter().filter_map(move |member| {
        let user = UserId::from_slice(&member.user).ok().filter(|user| *user != message.sender)?;
        let mention = message.names_all || message.names.contains(&user);
        is_told(member, (message.revision, message.seq), mention, now).then_some((user, mention))
    })
}
