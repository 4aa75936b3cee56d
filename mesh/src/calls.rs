//! What is known of every call between services: its method, and until when anybody waits for it. A deadline is a
//! task's: whatever a handler asks of others ends with it, however deep.

use http::{HeaderMap, HeaderValue};
use prost_types::field_descriptor_proto::{Label, Type};
use std::{collections::HashMap, future::Future, sync::LazyLock, time::Duration};
use tokio::time::Instant;

tokio::task_local! {
    static DEADLINE: Instant;
}

/// The header of gRPC that says how long the caller waits.
const TIMEOUT: &str = "grpc-timeout";

/// What goes first when there is too much to do: who waits for it least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Who is online.
    Presence,
    /// Lists, profiles, members.
    Read,
    /// Messages of the past, and what changed.
    History,
    /// Whatever changes something.
    Change,
    /// What holds the mesh together: keys, and which sessions have ended. Log-ins must not keep a log-out from being heard of.
    Mesh,
}

/// A method of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// `/package.Service/Method`, as in the contract; `other` for one that is not in it.
    pub path: &'static str,
    /// One request, one response: only such have a deadline of their own.
    pub unary: bool,
    /// It changes nothing, so it may be sent twice. By its name, as in AIP-131 and AIP-132: `Get…`, `List…`, and their
    /// `Batch…`.
    pub safe: bool,
    /// When it is refused.
    pub priority: Priority,
    /// The number of the request's field `user`, if it has one and is one message.
    pub user: Option<u32>,
}

/// What is not in the contract: health, reflection, mistakes.
const OTHER: Method = Method { path: "other", unary: false, safe: false, priority: Priority::Change, user: None };

static METHODS: LazyLock<HashMap<&'static str, Method>> = LazyLock::new(|| {
    use prost::Message as _;
    // It was made by the compiler that made the rest of the crate.
    let set = prost_types::FileDescriptorSet::decode(madang_proto::DESCRIPTORS).unwrap_or_default();
    let mut methods = HashMap::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                // Once in a process' life, as many as the contract has.
                let path: &'static str = path.leak();
                let unary = !method.client_streaming() && !method.server_streaming();
                let what = method.name().strip_prefix("Batch").unwrap_or(method.name());
                let safe = unary && (what.starts_with("Get") || what.starts_with("List"));
                let priority = match what {
                    "GetPresence" => Priority::Presence,
                    "GetKeys" | "ClaimKey" | "SettleKey" | "ListEndedSessions" => Priority::Mesh,
                    "ListMessages" | "ListChanges" | "GetMessages" => Priority::History,
                    _ if safe => Priority::Read,
                    _ => Priority::Change,
                };
                let user = if method.client_streaming() { None } else { user(&set, method.input_type()) };
                methods.insert(path, Method { path, unary, safe, priority, user });
            }
        }
    }
    methods
});

/// The number of a message's text field `user`; by the message's full name, as in `.madang.store.v1.EraseRequest`.
fn user(set: &prost_types::FileDescriptorSet, message: &str) -> Option<u32> {
    let (package, name) = message.trim_start_matches('.').rsplit_once('.')?;
    let messages = set.file.iter().filter(|file| file.package() == package).flat_map(|file| &file.message_type);
    let mut fields = messages.filter(|message| message.name() == name).flat_map(|message| &message.field);
    let is_user = |field: &prost_types::FieldDescriptorProto| {
        (field.name(), field.r#type(), field.label()) == ("user", Type::String, Label::Optional)
    };
    u32::try_from(fields.find(|field| is_user(field))?.number()).ok()
}

impl Method {
    /// The method at a path.
    #[must_use]
    pub fn of(path: &str) -> Self {
        METHODS.get(path).copied().unwrap_or(OTHER)
    }
}

/// Until when the caller of what runs now waits; none: it has not said.
#[must_use]
pub fn deadline() -> Option<Instant> {
    DEADLINE.try_with(|deadline| *deadline).ok()
}

/// Does it, and all that it asks of others, by a deadline; the work itself is not ended then.
pub async fn by<F: Future>(deadline: Option<Instant>, work: F) -> F::Output {
    match deadline {
        Some(deadline) => DEADLINE.scope(deadline, work).await,
        None => work.await,
    }
}

/// How long the caller waits, as its header says: at most eight digits and a unit.
pub(crate) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// Says how long one waits.
pub(crate) fn set_timeout(headers: &mut HeaderMap, wait: Duration) {
    let millis = wait.as_millis().clamp(1, 99_999_999);
    if let Ok(value) = HeaderValue::from_str(&format!("{millis}m")) {
        headers.insert(TIMEOUT, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_as_in_the_contract() {
        let method = |path| Method::of(path);
        let send = method("/madang.chat.v1.ChatService/SendMessage");
        assert!(send.unary && !send.safe && send.priority == Priority::Change, "{send:?}");
        let list = method("/madang.store.v1.StoreService/BatchListChanges");
        assert!(list.unary && list.safe && list.priority == Priority::History, "{list:?}");
        assert!(!method("/madang.chat.v1.ChatService/Connect").unary);
        assert_eq!(method("/madang.chat.v1.ChatService/Nonsense"), OTHER);
        assert_eq!((send.user, list.user), (None, Some(1)), "whose call it is");
        assert_eq!(method("/madang.group.v1.GroupService/ListBadges").user, None, "those are several");
        assert_eq!(method("/madang.account.v1.AccountService/ListEndedSessions").priority, Priority::Mesh);
    }

    #[test]
    fn a_timeout_is_read_as_grpc_writes_it() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(TIMEOUT, text.parse().unwrap());
            timeout(&headers)
        };
        assert_eq!(read("2S"), Some(Duration::from_secs(2)));
        assert_eq!(read("1500m"), Some(Duration::from_millis(1500)));
        for wrong in ["", "S", "2", "123456789S", "-1S", "2x", "2é"] {
            assert_eq!(http::HeaderValue::from_str(wrong).ok().and_then(|_| read(wrong)), None, "{wrong}");
        }
        let mut headers = HeaderMap::new();
        set_timeout(&mut headers, Duration::from_micros(1));
        assert_eq!(timeout(&headers), Some(Duration::from_millis(1)));
    }
}
