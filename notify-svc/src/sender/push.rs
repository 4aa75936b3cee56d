//! Something to tell a device, and what it has taken the place of.

use super::Kept;
use crate::{
    notice::Notice,
    store::{Late, SEVERAL, Subscription, Where, newest_mention, stand_for},
    words::{Language, Shown},
};
use madang_mesh::{shard::Shard, trace::Context};
use madang_proto::{
    client::v1::PushType,
    id::{ConversationId, UserId},
};
use std::{sync::Arc, time::Instant};

/// Something to tell a device.
#[derive(Debug, Clone)]
pub struct Push {
    /// The device.
    pub to: Arc<Subscription>,
    /// A message, or that it was read.
    pub kind: PushType,
    /// Where.
    pub conversation: ConversationId,
    /// The shard of its log.
    pub shard: Shard,
    /// Which message, or up to which one.
    pub seq: u64,
    /// The event.
    pub revision: u64,
    /// Who wrote it.
    pub sender: Option<UserId>,
    /// The newest message that names the user, of this one and those that it stands for; 0: none does.
    pub mentioned: u64,
    /// When that was, ms since 1970.
    pub at_ms: i64,
    /// The group's name; empty: it is direct.
    pub group: String,
    /// The sender's name; empty: unknown.
    pub name: String,
    /// What is shown.
    pub shown: Shown,
    /// Of how many messages the device was not told yet, this one among them. 0: that something was read, 1: a message,
    /// [`SEVERAL`]: it has taken the place of others.
    pub messages: u32,
    /// Up to which message something says that was read, in whose place this one has come: the device is told of that if it is
    /// not told of this one. 0: nothing does.
    pub read: u64,
    /// The sum of what is unread.
    pub badge: u64,
    /// How often its provider was asked, and did not take it.
    pub tries: u32,
    /// When it was found that the user is to be told.
    pub checked: Instant,
    /// The trace of the message that it tells of.
    pub trace: Option<Context>,
}

impl Push {
    pub(super) fn whom(&self) -> Where {
        (self.to.user, self.to.device, self.conversation)
    }

    /// It takes the place of an older one of its conversation.
    pub(crate) fn follow(&mut self, older: Replaced) {
        self.mentioned = newest_mention(self.messages, self.mentioned, older.mentioned);
        self.messages = stand_for(self.messages, older.messages);
        self.read = self.read.max(older.read);
    }

    /// What one is to know that takes its place.
    pub(super) fn replaced(&self) -> Replaced {
        let read = if self.kind == PushType::Read { self.seq } else { self.read };
        Replaced { messages: self.messages, mentioned: self.mentioned, read }
    }

    /// What tells the same device that everything up to a message was read.
    pub(super) fn clears(&self, seq: u64, now: i64) -> Self {
        Self {
            kind: PushType::Read,
            seq,
            revision: 0,
            sender: None,
            mentioned: 0,
            messages: 0,
            read: 0,
            at_ms: now,
            name: String::new(),
            shown: Shown::Nothing,
            tries: 0,
            trace: None,
            ..self.clone()
        }
    }

    /// What its device is told if it is not told of this: that something was read, where this has taken the place of that.
    pub(crate) fn instead(&self, now: i64) -> Option<Late> {
        let is_told = self.kind == PushType::Message && self.read > 0;
        is_told.then(|| Kept::late(&self.clears(self.read, now), now))
    }

    /// It has taken the place of others, of which is told if this one is not.
    pub(crate) fn stands_for_others(&self) -> bool {
        self.messages >= SEVERAL
    }

    /// Tells of those that it has taken the place of, and shows nothing of this one.
    pub(crate) fn hide(&mut self) {
        (self.sender, self.shown) = (None, Shown::Nothing);
        self.name.clear();
    }

    pub(super) fn notice(&self) -> Notice {
        let language = Language::of(&self.to.locale);
        let name = if self.name.is_empty() { language.somebody() } else { &self.name };
        let said = self.shown.say(language);
        let preview = if self.group.is_empty() {
            (name.to_owned(), said.to_owned())
        } else {
            (self.group.clone(), format!("{name}: {said}"))
        };
        Notice {
            kind: self.kind,
            conversation: self.conversation,
            seq: self.seq,
            sender: self.sender,
            badge: self.badge,
            preview: (self.to.preview && self.kind == PushType::Message).then_some(preview),
            language,
        }
    }
}

/// What a push has taken the place of.
#[derive(Debug, Clone, Copy, Default)]
pub struct Replaced {
    /// As [`Push::messages`].
    pub messages: u32,
    /// As [`Push::mentioned`].
    pub mentioned: u64,
    /// As [`Push::read`], or up to where it says so itself.
    pub read: u64,
}

impl Replaced {
    /// This as well.
    pub fn add(&mut self, other: Self) {
        self.messages = (self.messages + other.messages).min(SEVERAL);
        self.mentioned = self.mentioned.max(other.mentioned);
        self.read = self.read.max(other.read);
    }
}
