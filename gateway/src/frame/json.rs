//! A client's frame in JSON. Nearly all can be read as they are written; what can't is looked at again as proto3's JSON
//! mapping has it, so that only who writes like that pays for it.

mod once;

use super::{Cut, ID, invalid, unknown};
use madang_mesh::json::{drop_nulls, make_whole};
use madang_proto::client::v1::ClientFrame;
use once::read_once;
use serde::Deserialize;
use serde_json::Value;

/// Of what else can't be read.
#[derive(Deserialize)]
struct OnlyId {
    #[serde(default)]
    id: Value,
}

/// Reads a line.
pub(super) fn read(line: &str) -> Cut {
    let frame = match serde_json::from_str::<ClientFrame>(line) {
        Ok(frame) => frame,
        Err(_) => read_again(line)?,
    };
    if frame.body.is_none() { Err(unknown(frame.id)) } else { Ok(frame) }
}

fn read_again(line: &str) -> Cut {
    let not_json = |error| (id_of_broken(line), invalid(format!("not a frame: {error}")));
    let mut value = read_once(line).map_err(not_json)?;
    drop_nulls(&mut value);
    make_whole(&mut value);
    let Value::Object(fields) = &value else { return Err((0, invalid("a frame is a JSON object"))) };
    let id = match fields.get("id") {
        None => Some(0),
        Some(value) => id(value),
    };
    let id = id.ok_or_else(|| (0, invalid(ID)))?;
    serde_json::from_value(value).map_err(|error| (id, invalid(format!("not a frame: {error}"))))
}

fn id(value: &Value) -> Option<u32> {
    match value {
        Value::Number(number) => number.as_u64().and_then(|id| u32::try_from(id).ok()),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// The id of a line with a text in it that can't be (half of a surrogate pair, which is no Unicode), or with something twice.
fn id_of_broken(line: &str) -> u32 {
    let Ok(OnlyId { id: mut number }) = serde_json::from_str(line) else { return 0 };
    make_whole(&mut number);
    id(&number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use madang_proto::{
        client::v1::{Attachment, Hello, Read, Send, client_frame::Body},
        reason::Reason,
    };

    fn body(line: &str) -> Body {
        read(line).unwrap().body.unwrap()
    }

    fn refused(line: &str) -> (u32, Reason) {
        read(line).map_err(|(id, refusal)| (id, refusal.reason)).unwrap_err()
    }

    #[test]
    fn null_is_as_good_as_left_out() {
        let hello = r#"{"id":null,"ping":null,"hello":{"token":null,"device":null,"resume":null,"future":null}}"#;
        assert_eq!(body(hello), Body::Hello(Hello::default()));
        let send = r#"{"id":7,"send":{"text":"a","replyTo":null,"mentions":null,"type":null,"data":null,
            "attachments":[{"url":"u","name":null,"size":null}]}}"#;
        let attachments = vec![Attachment { url: "u".into(), ..Attachment::default() }];
        assert_eq!(body(send), Body::Send(Send { text: "a".into(), attachments, ..Send::default() }));
        // Nothing in place of an element, or of a word of the app's own, is no default.
        for wrong in [r#""mentions":[null]"#, r#""attachments":[null]"#, r#""data":{"a":null}"#] {
            assert_eq!(refused(&format!(r#"{{"id":7,"send":{{"text":"a",{wrong}}}}}"#)), (7, Reason::InvalidFrame));
        }
        assert_eq!(refused(r#"{"id":7,"ping":null}"#), (7, Reason::Unimplemented), "nothing is asked");
        assert_eq!(refused("null"), (0, Reason::InvalidFrame));
    }

    #[test]
    fn whole_numbers_however_they_are_written() {
        for seq in ["7", "\"7\"", "7.0", "7e0", "0.7e1"] {
            let line = format!(r#"{{"id":3.0,"read":{{"conversation":"c","seq":{seq}}}}}"#);
            let expected = Body::Read(Read { conversation: "c".into(), seq: 7 });
            let frame = read(&line).unwrap();
            assert_eq!((frame.id, frame.body), (3, Some(expected)), "{line}");
        }
        for seq in ["7.5", "1e30", "-1", "-1.0", "[7]", "{}", "true"] {
            let line = format!(r#"{{"id":3,"read":{{"conversation":"c","seq":{seq}}}}}"#);
            assert_eq!(refused(&line), (3, Reason::InvalidFrame), "{line}");
        }
        for id in ["1.5", "4294967296.0", "-1e0", "{}"] {
            assert_eq!(refused(&format!(r#"{{"id":{id},"ping":{{}}}}"#)), (0, Reason::InvalidFrame), "{id}");
        }
    }

    /// Also where it is looked at again for another reason; nobody knows which of the two is meant.
    #[test]
    fn what_stands_twice_is_refused_with_the_id() {
        for twice in [
            r#"{"id":7,"send":{"user":"a","text":"one"},"send":{"user":"a","text":"two"}}"#,
            r#"{"id":7.0,"ping":{},"ping":{}}"#,
            r#"{"id":7,"ping":null,"read":{"seq":1},"read":{"seq":2}}"#,
            r#"{"id":7,"send":{"user":"a","text":"one","text":"two"}}"#,
            r#"{"id":7,"send":{"user":"a","replyTo":null,"text":"one","text":"two"}}"#,
            r#"{"id":7,"send":{"text":"a"},"read":{"seq":1}}"#,
        ] {
            assert_eq!(refused(twice), (7, Reason::InvalidFrame), "{twice}");
        }
        assert_eq!(refused(r#"{"id":7,"ping":{},"id":8}"#), (0, Reason::InvalidFrame), "which is its id?");
    }

    #[test]
    fn half_a_character_is_refused_with_the_id() {
        assert_eq!(refused(r#"{"id":7,"send":{"text":"a\ud800b"}}"#), (7, Reason::InvalidFrame));
        assert_eq!(refused(r#"{"send":{"text":"\udc00"},"id":"8"}"#), (8, Reason::InvalidFrame));
        assert_eq!(refused(r#"{"id":"\ud800","ping":{}}"#), (0, Reason::InvalidFrame));
        assert_eq!(refused(r#"{"id":7,"send":{"text":"a"#), (0, Reason::InvalidFrame), "it ends too soon");
    }
}
