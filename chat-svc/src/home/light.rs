//! What a home does without numbering anything: read marks are taken, typing is passed on, what changed nothing is noted, and
//! what is known of blocks is forgotten and learned anew.

use super::{
    Home,
    batch::Batch,
    fetch::{Absent, Wanted},
};
use crate::{
    ask::{Ask, What},
    room::{Blocks, blocks, not_found},
};
use bytes::Bytes;
use madang_mesh::clock;
use madang_proto::{
    client::v1::{Ack, ServerFrame, TypingNotice, server_frame},
    id::{ConversationId, UserId},
};
use prost::Message as _;

impl Home {
    /// A request that changed nothing is one as well: sent again it gets the same answer, though something else has changed
    /// meanwhile. No event has its client id, but its record: a home that takes over finds it there.
    pub(super) fn note_unchanged(&mut self, batch: &mut Batch) {
        let now_ms = clock::now_micros() / 1000;
        for (conversation, key, used) in batch.unchanged() {
            if let Some(room) = self.rooms.get_mut(&conversation) {
                room.seen.note_at(now_ms, key, used);
            }
            self.unchanged.note(conversation, now_ms, (key, used));
        }
    }

    /// Takes a read mark.
    pub(super) fn read(&mut self, ask: Ask) {
        let What::Read(seq, device) = ask.what else { return };
        let conversation = ask.conversation;
        let answer = match (self.rooms.get_mut(&conversation), ask.actor) {
            (Some(room), Some(actor)) => room.read(actor, seq, device).map(|(seq, new)| {
                if new {
                    self.unread_marks.insert(conversation);
                }
                Ack {
                    conversation: conversation.to_string(),
                    seq,
                    revision: room.state.revision,
                    at: room.state.last_at_micros / 1000,
                    duplicate: !new,
                }
            }),
            _ => Err(not_found()),
        };
        (ask.answer)(answer);
    }

    /// Passes on that somebody is writing, but to those who have blocked them, or are blocked.
    pub(super) fn typing(&mut self, ask: Ask) {
        let conversation = ask.conversation;
        if let (Some(room), Some(actor)) = (self.rooms.get(&conversation), ask.actor)
            && room.state.members.get(&actor).is_some()
        {
            match (blocks::peer(&room.state, actor), room.blocks) {
                (Some(_), Blocks::Blocked) => {}
                (Some(peer), Blocks::Unknown) => {
                    return self.wait(ask, Some(Wanted::Blocks(conversation, (actor, peer))));
                }
                (Some(_), Blocks::None) => {
                    self.world.notices.send(&room.state.members.present(), actor, &typing(conversation, actor));
                }
                (None, _) => {
                    let members = room.state.members.present();
                    self.world.typing.tell(conversation, actor, members, typing(conversation, actor));
                }
            }
        }
        (ask.answer)(Ok(Ack::default()));
    }

    /// What is known of blocks in a direct conversation is no more good. Who was told that it is known here goes by that,
    /// so it must be the home: the answer waits for the log.
    pub(super) fn forget_blocks(&mut self, ask: Ask, other: Option<UserId>, batch: &mut Batch) {
        if let Some(room) = self.rooms.get_mut(&ask.conversation) {
            room.blocks = Blocks::Unknown;
        }
        if let Some(absent) = self.absent.get_mut(&ask.conversation) {
            absent.blocks = Blocks::Unknown;
        }
        batch.forget_blocks(&ask.conversation);
        let mut answer = ask.answer;
        if let (Some(actor), Some(other)) = (ask.actor, other) {
            self.world.typing.forget(&[actor, other]);
            let elsewhere = self.world.notices.doubt(&[actor, other]);
            if !elsewhere.is_empty() {
                // Whoever is answered may go by that, in whatever process.
                let proven = answer;
                answer = Box::new(|result| {
                    tokio::spawn(async move {
                        elsewhere.join_all().await;
                        proven(result);
                    });
                });
            }
        }
        batch.prove(answer);
    }

    /// Whether there is a block, as account-svc has it. What has changed meanwhile waits behind this.
    pub(super) fn found_blocks(&mut self, conversation: &ConversationId, blocks: Blocks) {
        match self.rooms.get_mut(conversation) {
            Some(room) => room.blocks = blocks,
            None => {
                let absent: &mut Absent = self.absent.entry(*conversation).or_default();
                absent.blocks = blocks;
            }
        }
    }
}

fn typing(conversation: ConversationId, user: UserId) -> Bytes {
    let notice = TypingNotice { conversation: conversation.to_string(), user: user.to_string() };
    ServerFrame { id: 0, body: Some(server_frame::Body::Typing(notice)) }.encode_to_vec().into()
}
