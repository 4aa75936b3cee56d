//! What a device is told, whoever carries it: fields of `madang.client.v1.Push`, in its JSON.

use crate::words::Language;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use madang_proto::{
    client::v1::PushType,
    id::{ConversationId, UserId},
};
use serde_json::{Map, Value};

/// How long a provider keeps what it can't deliver, in seconds: a day.
pub const TTL: u32 = 24 * 3600;

/// What a device is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// A message, or that it was read elsewhere.
    pub kind: PushType,
    /// Where.
    pub conversation: ConversationId,
    /// Which message, or up to which one.
    pub seq: u64,
    /// Who wrote it.
    pub sender: Option<UserId>,
    /// The sum of what is unread.
    pub badge: u64,
    /// Who wrote it, or in which group; and what. None: it is not to be shown.
    pub preview: Option<(String, String)>,
    /// The language of what the system shows by itself.
    pub language: Language,
}

impl Notice {
    /// It asks for somebody's attention.
    #[must_use]
    pub fn is_message(&self) -> bool {
        self.kind == PushType::Message
    }

    /// What stands for its conversation where newer ones take the place of older ones: at most 32 of base64url (RFC 8030).
    #[must_use]
    pub fn topic(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.conversation.bytes())
    }

    /// Its fields, as text all of them.
    #[must_use]
    pub fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        let mut put = |name: &str, value: String| fields.insert(name.to_owned(), value.into());
        put("type", self.kind.as_str_name().to_owned());
        put("conversation", self.conversation.to_string());
        put("seq", self.seq.to_string());
        put("sender", self.sender.map(|sender| sender.to_string()).unwrap_or_default());
        put("badge", self.badge.to_string());
        if let Some((title, body)) = &self.preview {
            put("title", title.clone());
            put("body", body.clone());
        }
        fields
    }

    /// With less to show: what is too long is halved, and then left out. None: there is nothing more to leave out.
    #[must_use]
    pub fn shorter(&self) -> Option<Self> {
        let (title, body) = self.preview.as_ref()?;
        let half = body.chars().count() / 2;
        let preview = (half > 0).then(|| (title.clone(), body.chars().take(half).chain(['…']).collect::<String>()));
        let preview = preview.filter(|(_, shorter)| shorter.len() < body.len());
        Some(Self { preview, ..self.clone() })
    }

    /// What `of` makes of it, shortened until it has at most so many bytes; none: it does not fit.
    pub fn fitting(&self, most: usize, of: impl Fn(&Self) -> Vec<u8>) -> Option<Vec<u8>> {
        let mut notice = self.clone();
        loop {
            let bytes = of(&notice);
            if bytes.len() <= most {
                return Some(bytes);
            }
            notice = notice.shorter()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(preview: Option<(&str, &str)>) -> Notice {
        Notice {
            kind: PushType::Message,
            conversation: ConversationId::new(),
            seq: 7,
            sender: Some(UserId::new()),
            badge: 3,
            preview: preview.map(|(title, body)| (title.into(), body.into())),
            language: Language::English,
        }
    }

    #[test]
    fn fields_are_those_of_the_contract() {
        let fields = notice(Some(("앤", "안녕"))).fields();
        assert_eq!(fields["type"], "PUSH_TYPE_MESSAGE");
        assert_eq!((&fields["seq"], &fields["badge"], &fields["title"]), (&"7".into(), &"3".into(), &"앤".into()));
        let hidden = notice(None).fields();
        assert!(!hidden.contains_key("title") && !hidden.contains_key("body"), "nothing is shown");
        assert!(notice(None).topic().len() <= 32);
    }

    #[test]
    fn what_is_too_long_shows_less_and_what_matters_stays() {
        let long = notice(Some(("앤", &"가\u{1}\"".repeat(300))));
        let of = |notice: &Notice| Value::Object(notice.fields()).to_string().into_bytes();
        for most in [170, 300, 500, 1000, 100_000] {
            let bytes = long.fitting(most, of).unwrap();
            let fields: Value = serde_json::from_slice(&bytes).unwrap();
            assert!(bytes.len() <= most && fields["seq"] == "7", "{most}: {fields}");
            assert_eq!(fields["body"].is_string(), most > 170);
        }
        assert!(long.fitting(50, of).is_none());
    }
}
