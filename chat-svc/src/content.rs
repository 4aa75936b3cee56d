//! What may be said: the limits of a message's content, checked where it is numbered, whichever door it came by.

use madang_proto::{
    client::v1::{Attachment, Content, Edit, Mention, Send},
    id::UserId,
    reason::{Reason, Refusal},
};
use prost::Message as _;
use std::{collections::HashMap, hash::Hasher};
use twox_hash::XxHash64;

/// The most mentions.
const MAX_MENTIONS: usize = 200;
/// The most attachments.
const MAX_ATTACHMENTS: usize = 10;
/// The most of `data`, keys and values, of a message or an attachment, in bytes.
pub const MAX_DATA: usize = 4 << 10;
/// The most of everything but the text, in bytes as encoded.
const MAX_REST: usize = 16 << 10;
/// The longest `type`.
const MAX_TYPE: usize = 64;

fn refuse(reason: Reason, field: &str, message: impl Into<String>) -> Refusal {
    Refusal::new(reason, message).of(field)
}

/// The content of a send, checked; or what is wrong with it.
pub fn of_send(send: Send, max_text: usize) -> Result<Content, Refusal> {
    let Send { text, reply_to, mentions, attachments, r#type, data, .. } = send;
    let kind = if r#type.is_empty() { "text".into() } else { r#type };
    let content = Content { text, reply_to, mentions, attachments, r#type: kind, data };
    check(&content, max_text)?;
    Ok(content)
}

/// The content of an edit, checked like a send's.
pub fn of_edit(edit: Edit, max_text: usize) -> Result<Content, Refusal> {
    let Edit { text, reply_to, mentions, attachments, r#type, data, .. } = edit;
    of_send(Send { text, reply_to, mentions, attachments, r#type, data, ..Send::default() }, max_text)
}

/// The most bytes of an emoji.
const MAX_EMOJI: usize = 64;

/// Checks an emoji: any short text, since what counts as one grows every year.
pub fn check_emoji(emoji: &str) -> Result<(), Refusal> {
    if emoji.len() > MAX_EMOJI {
        let message = format!("emoji has {} bytes; at most {MAX_EMOJI} are taken", emoji.len());
        return Err(refuse(Reason::TooLarge, "emoji", message));
    }
    if emoji.chars().all(|c| c == '\u{fe0f}') || emoji.contains('\0') {
        return Err(refuse(Reason::InvalidField, "emoji", "emoji must be one, without NUL"));
    }
    Ok(())
}

fn check(content: &Content, max_text: usize) -> Result<(), Refusal> {
    let Content { text, mentions, attachments, r#type, data, .. } = content;
    if text.len() > max_text {
        let message = format!("text has {} bytes; at most {max_text} are taken: send it in parts", text.len());
        return Err(refuse(Reason::TooLarge, "text", message));
    }
    if text.is_empty() && attachments.is_empty() && data.is_empty() {
        return Err(refuse(
            Reason::InvalidField,
            "text",
            "a message needs text, attachments or data; it has none of them",
        ));
    }
    if r#type != "text" && !(r#type.starts_with("x-") && r#type.len() <= MAX_TYPE) {
        return Err(refuse(Reason::InvalidField, "type", "type must be 'text' or begin with 'x-' (at most 64 bytes)"));
    }
    if mentions.len() > MAX_MENTIONS {
        let message = format!("{} mentions; at most {MAX_MENTIONS} are taken", mentions.len());
        return Err(refuse(Reason::TooLarge, "mentions", message));
    }
    if attachments.len() > MAX_ATTACHMENTS {
        let message = format!("{} attachments; at most {MAX_ATTACHMENTS} are taken", attachments.len());
        return Err(refuse(Reason::TooLarge, "attachments", message));
    }
    check_mentions(mentions, text)?;
    if size_of(data) > MAX_DATA {
        return Err(refuse(Reason::TooLarge, "data", "data takes at most 4 KiB, keys and values together"));
    }
    check_characters(content)?;
    let rest = content.encoded_len().saturating_sub(text.len());
    if rest > MAX_REST {
        let message = format!("the content besides its text has {rest} bytes; at most {MAX_REST} are taken");
        return Err(Refusal::new(Reason::TooLarge, message));
    }
    Ok(())
}

/// No text holds a NUL: not every client's, and not every database's, can.
fn check_characters(content: &Content) -> Result<(), Refusal> {
    let Content { text, attachments, r#type, data, .. } = content;
    let good = |text: &String| !text.contains('\0');
    let of_attachment = |Attachment { url, media_type, name, .. }: &Attachment| [url, media_type, name].map(good);
    let field = if !good(text) {
        "text"
    } else if !good(r#type) {
        "type"
    } else if attachments.iter().flat_map(of_attachment).any(|good| !good) {
        "attachments"
    } else if data.iter().any(|(key, value)| !good(key) || !good(value)) {
        "data"
    } else {
        return Ok(());
    };
    Err(refuse(Reason::InvalidField, field, format!("{field} holds a NUL character; take it out")))
}

fn check_mentions(mentions: &[Mention], text: &str) -> Result<(), Refusal> {
    if mentions.is_empty() {
        return Ok(());
    }
    let units = text.encode_utf16().count() as u64;
    for mention in mentions {
        if !mention.user.is_empty() && mention.user.parse::<UserId>().is_err() {
            return Err(refuse(
                Reason::InvalidField,
                "mentions.user",
                "mentions.user must be a user's id, or empty for everybody",
            ));
        }
        if u64::from(mention.offset) + u64::from(mention.length) > units {
            let message = format!("a mention ends after the text, which has {units} UTF-16 code units");
            return Err(refuse(Reason::InvalidField, "mentions", message));
        }
    }
    Ok(())
}

fn size_of(data: &HashMap<String, String>) -> usize {
    data.iter().map(|(key, value)| key.len() + value.len()).sum()
}

/// A hash of what was asked: equal for a retry, other for another request under the same client id. Kept in the log
/// and in the store, so its form is durable: XXH64 (seed 0) of a word for the kind of frame, the encoded content
/// without `data`, and `data` in the order of its keys.
#[must_use]
pub fn hash(kind: &str, content: &Content) -> u64 {
    let mut hasher = XxHash64::with_seed(0);
    hasher.write(kind.as_bytes());
    let part = |content: &Content| content.encode_to_vec();
    if content.data.is_empty() {
        hasher.write(&part(content));
        return hasher.finish();
    }
    let mut plain = content.clone();
    let mut data: Vec<_> = std::mem::take(&mut plain.data).into_iter().collect();
    data.sort_unstable();
    hasher.write(&part(&plain));
    for (key, value) in data {
        hasher.write(key.as_bytes());
        hasher.write(&[0]);
        hasher.write(value.as_bytes());
        hasher.write(&[0]);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest text, in bytes of UTF-8.
    const MAX_TEXT: usize = 65_536;

    fn send(text: &str) -> Send {
        Send { text: text.into(), ..Send::default() }
    }

    #[test]
    fn limits_hold_at_the_limit_and_one_past_it() {
        assert!(of_send(send(&"a".repeat(MAX_TEXT)), MAX_TEXT).is_ok());
        assert_eq!(of_send(send(&"a".repeat(MAX_TEXT + 1)), MAX_TEXT).unwrap_err().reason, Reason::TooLarge);
        assert_eq!(of_send(send(""), MAX_TEXT).unwrap_err().reason, Reason::InvalidField);
        assert_eq!(of_send(send("a\0b"), MAX_TEXT).unwrap_err().reason, Reason::InvalidField);
        let typed = |kind: &str| of_send(Send { r#type: kind.into(), ..send("a") }, MAX_TEXT);
        assert_eq!(typed("").unwrap().r#type, "text");
        assert!(typed("x-poll").is_ok() && typed("poll").is_err());
    }

    #[test]
    fn hash_does_not_depend_on_the_order_of_data() {
        let data = |pairs: [(&str, &str); 2]| Content {
            data: pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect(),
            ..Content::default()
        };
        assert_eq!(hash("send", &data([("a", "1"), ("b", "2")])), hash("send", &data([("b", "2"), ("a", "1")])));
        assert_ne!(hash("send", &data([("a", "1"), ("b", "2")])), hash("edit", &data([("a", "1"), ("b", "2")])));
    }
}
