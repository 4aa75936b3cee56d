//! A push as it is kept for later: what is not found again from its subscription, room and people.

use super::Push;
use crate::{
    amended::Changes,
    store::{self, Late, SEVERAL, Subscription, Subscriptions},
    words::{Attached, Shown},
};
use madang_mesh::{shard::Shard, trace::Context};
use madang_proto::{
    client::v1::PushType,
    id::{ConversationId, UserId},
};
use prost::Message;
use std::{collections::HashSet, sync::Arc, time::Instant};

/// A push in the database.
#[derive(Clone, PartialEq, Message)]
pub struct Kept {
    #[prost(enumeration = "PushType", tag = "1")]
    kind: i32,
    #[prost(uint64, tag = "2")]
    seq: u64,
    #[prost(uint64, tag = "3")]
    revision: u64,
    #[prost(bytes = "vec", tag = "4")]
    sender: Vec<u8>,
    #[prost(bool, tag = "5")]
    mention: bool,
    #[prost(int64, tag = "6")]
    at_ms: i64,
    #[prost(string, tag = "7")]
    group: String,
    #[prost(string, tag = "8")]
    name: String,
    /// Of a text; empty: of what is attached.
    #[prost(string, tag = "9")]
    text: String,
    /// 1: a picture, 2: a video, 3: a sound, 4: a file; 0: none.
    #[prost(uint32, tag = "10")]
    attached: u32,
    #[prost(uint32, tag = "11")]
    tries: u32,
    /// The trace that it belongs to, if it is sampled.
    #[prost(bytes = "vec", tag = "12")]
    trace: Vec<u8>,
    /// Up to which message something says that was read, in whose place it has come; 0: nothing does.
    #[prost(uint64, tag = "13")]
    read: u64,
}

const ATTACHED: [Attached; 4] = [Attached::Picture, Attached::Video, Attached::Sound, Attached::File];

/// How it is kept what a message shows.
fn parts(shown: &Shown) -> (String, u32) {
    match shown {
        Shown::Text(text) => (text.clone(), 0),
        Shown::Attached(kind) => {
            let place = (1..).zip(ATTACHED).find(|(_, each)| each == kind);
            (String::new(), place.map_or(0, |(place, _)| place))
        }
        Shown::Nothing => (String::new(), 0),
    }
}

impl Kept {
    /// A push that is due at a time, ms since 1970.
    #[must_use]
    pub fn late(push: &Push, due_at: i64) -> Late {
        // Without `preview` nothing of it is shown: so neither what was said is kept, nor by whom, nor where.
        let (group, name, (text, attached)) = if push.to.preview {
            (push.group.clone(), push.name.clone(), parts(&push.shown))
        } else {
            Default::default()
        };
        let kept = Self {
            kind: push.kind.into(),
            seq: push.seq,
            revision: push.revision,
            sender: push.sender.map(|sender| sender.bytes().to_vec()).unwrap_or_default(),
            mention: push.mentioned == push.seq,
            at_ms: push.at_ms,
            group,
            name,
            text,
            attached,
            tries: push.tries,
            trace: push.trace.map(|context| context.bytes().to_vec()).unwrap_or_default(),
            read: push.read,
        };
        let whom = (push.to.user, push.to.device, push.conversation);
        let (messages, mentioned) = (push.messages, push.mentioned);
        Late { whom, seq: push.seq, shard: push.shard, due_at, messages, mentioned, push: kept.encode_to_vec() }
    }

    /// Changes what is kept of a shard as its messages were.
    pub async fn change(store: &dyn Subscriptions, shard: Shard, changes: &Changes) -> Result<(), store::Error> {
        let conversations: HashSet<ConversationId> = changes.keys().map(|(conversation, _)| *conversation).collect();
        let late = store.late_of(shard, conversations.into_iter().collect()).await?;
        let changed = late.into_iter().filter_map(|late| {
            let now = Self::changed(&late, changes)?;
            Some((late, now))
        });
        store.change(changed.collect()).await
    }

    /// What is to be kept instead of a push whose message was changed; nothing, where it was taken back and stands for nothing
    /// else. None: it is not of such a message, or shows nothing of it.
    #[must_use]
    pub fn changed(late: &Late, changes: &Changes) -> Option<Option<Vec<u8>>> {
        let kept = Self::decode(&late.push[..]).ok().filter(|kept| kept.kind() == PushType::Message)?;
        let Some(shown) = changes.get(&(late.whom.2, kept.seq))? else {
            let read = kept.read;
            let others = Self { sender: Vec::new(), name: String::new(), text: String::new(), attached: 0, ..kept };
            let cleared = Self { kind: PushType::Read.into(), seq: read, revision: 0, read: 0, ..others.clone() };
            return Some(match (late.messages >= SEVERAL, read > 0) {
                (true, _) => Some(others.encode_to_vec()),
                (false, true) => Some(cleared.encode_to_vec()),
                (false, false) => None,
            });
        };
        if kept.text.is_empty() && kept.attached == 0 {
            return None;
        }
        let (text, attached) = parts(shown);
        Some(Some(Self { text, attached, ..kept }.encode_to_vec()))
    }

    /// The push that was kept, to where its device is notified now; none: it can't be read. Who is to be told is to be
    /// found again.
    #[must_use]
    pub fn push(late: &Late, to: Arc<Subscription>, checked: Instant) -> Option<Push> {
        let kept = Self::decode(&late.push[..]).ok()?;
        let kind = kept.kind();
        let attached = (kept.attached as usize).checked_sub(1).and_then(|at| ATTACHED.get(at));
        let shown = match attached {
            _ if !kept.text.is_empty() => Shown::Text(kept.text.clone()),
            Some(kind) => Shown::Attached(*kind),
            None => Shown::Nothing,
        };
        Some(Push {
            to,
            kind,
            conversation: late.whom.2,
            shard: late.shard,
            seq: kept.seq,
            revision: kept.revision,
            sender: UserId::from_slice(&kept.sender).ok(),
            // A version that had no such column has said it of this message alone.
            mentioned: if kept.mention { kept.seq } else { late.mentioned },
            read: kept.read,
            at_ms: kept.at_ms,
            group: kept.group,
            name: kept.name,
            shown,
            // Of one that has become this since its message was taken back, the row says otherwise.
            messages: if kind == PushType::Read { 0 } else { late.messages },
            badge: 0,
            tries: kept.tries,
            checked,
            trace: Context::from_bytes(&kept.trace),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use madang_proto::id::DeviceId;

    #[test]
    fn what_is_kept_changes_with_its_message_and_goes_with_it() {
        let here = ConversationId::new();
        let kept = |seq, text: &str, kind: PushType| {
            let kept = Kept { seq, text: text.into(), kind: kind.into(), name: "ann".into(), ..Kept::default() };
            let whom = (UserId::new(), DeviceId::new(), here);
            Late { whom, seq, shard: 0, due_at: 0, messages: 1, mentioned: 0, push: kept.encode_to_vec() }
        };
        let changes = Changes::from([
            ((here, 1), Some(Shown::Text("as it is".into()))),
            ((here, 2), None),
            ((here, 3), Some(Shown::Attached(Attached::Sound))),
        ]);
        let changed = |late: Late| {
            let now = Kept::changed(&late, &changes)?;
            Some(now.map(|push| {
                let Kept { seq, name, text, attached, .. } = Kept::decode(&push[..]).unwrap();
                (seq, name, text, attached)
            }))
        };
        let as_it_was = |seq| changed(kept(seq, "as it was", PushType::Message));
        assert_eq!(as_it_was(1), Some(Some((1, "ann".into(), "as it is".into(), 0))));
        assert_eq!(as_it_was(2), Some(None));
        let of_several = Late { messages: SEVERAL, ..kept(2, "as it was", PushType::Message) };
        assert_eq!(
            changed(of_several),
            Some(Some((2, String::new(), String::new(), 0))),
            "of the others, nothing is known"
        );
        let in_its_place =
            Kept { seq: 2, read: 1, text: "as it was".into(), kind: PushType::Message.into(), ..Kept::default() };
        let cleared =
            Kept::changed(&Late { push: in_its_place.encode_to_vec(), ..kept(2, "", PushType::Message) }, &changes);
        let cleared = Kept::decode(&cleared.unwrap().unwrap()[..]).unwrap();
        assert_eq!(
            (cleared.kind(), cleared.seq, &*cleared.text),
            (PushType::Read, 1, ""),
            "what it had taken the place of"
        );
        assert_eq!(as_it_was(3), Some(Some((3, "ann".into(), String::new(), 3))));
        assert_eq!(as_it_was(4), None, "another message");
        assert_eq!(changed(kept(1, "", PushType::Message)), None, "nothing is shown of it, and nothing is to be");
        assert_eq!(changed(kept(2, "", PushType::Message)), Some(None));
        assert_eq!(changed(kept(2, "", PushType::Read)), None, "that it was read is so all the same");
    }
}
