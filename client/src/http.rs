//! The HTTP door: JSON calls over a few kept connections, with the server's problems as typed errors. Small on purpose:
//! a load generator shares its cores with the server, so a call costs little more than its bytes.

mod answers;

pub use answers::{Changes, Group, List, NotTaken, Page, Problem, Tokens};

use crate::way::Address;
use answers::Conversations;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use madang_proto::client::v1 as client;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How long an answer may take; the server gives up sooner.
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections kept between calls.
const KEPT: usize = 64;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The base URL is not one.
    #[error("not a server address, such as https://chat.example.com or http://127.0.0.1:8080: {0}")]
    Url(String),
    /// The server can't be reached.
    #[error("no connection to the server: {0}")]
    Connect(#[from] std::io::Error),
    /// The server's certificate won't do, or it does not speak TLS: it will not by itself.
    #[error("no TLS with the server: {0}")]
    Tls(std::io::Error),
    /// The connection broke.
    #[error("the connection to the server broke: {0}")]
    Broken(#[from] hyper::Error),
    /// No answer came in time.
    #[error("the server did not answer within {} s", PATIENCE.as_secs())]
    Timeout,
    /// The request can't be written.
    #[error("not a request: {0}")]
    Request(#[from] hyper::http::Error),
    /// The answer is not what the contract says.
    #[error("an answer that the contract does not know: {0}")]
    Answer(#[from] serde_json::Error),
    /// The server refused.
    #[error(transparent)]
    Refused(#[from] Problem),
}

impl Error {
    /// Whether the same call may be made again.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Error::Refused(problem) => problem.retryable,
            Error::Connect(_) | Error::Broken(_) | Error::Timeout => true,
            Error::Url(_) | Error::Tls(_) | Error::Request(_) | Error::Answer(_) => false,
        }
    }

    /// The fixed word of a refusal, or nothing.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Error::Refused(problem) => &problem.reason,
            _ => "",
        }
    }
}

/// A server's HTTP door. Cheap to clone; the clones share connections.
#[derive(Clone)]
pub struct Http {
    base: Arc<str>,
    at: Arc<Address>,
    source: Option<IpAddr>,
    idle: Arc<Mutex<Vec<SendRequest<Full<Bytes>>>>>,
}

impl Http {
    /// Of a server, `http://HOST:PORT` or `https://HOST`. Connects at the first call.
    pub fn new(base: &str) -> Result<Self, Error> {
        let at = Address::parse(base).ok_or_else(|| Error::Url(base.into()))?;
        Ok(Self { base: base.into(), at: at.into(), source: None, idle: Arc::default() })
    }

    /// The server's address, as given.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The same server from another local address, with connections of its own.
    #[must_use]
    pub fn from_source(&self, source: IpAddr) -> Self {
        Self { base: self.base.clone(), at: self.at.clone(), source: Some(source), idle: Arc::default() }
    }

    /// Makes an account and its first session.
    pub async fn sign_up(
        &self,
        handle: &str,
        password: &str,
        name: &str,
        device: &client::Device,
    ) -> Result<Tokens, Error> {
        let body = json!({"handle": handle, "password": password, "name": name, "device": device});
        self.tokens("/v1/accounts", body).await
    }

    /// Makes a session.
    pub async fn log_in(&self, handle: &str, password: &str, device: &client::Device) -> Result<Tokens, Error> {
        self.tokens("/v1/sessions", json!({"handle": handle, "password": password, "device": device})).await
    }

    /// The next pair of tokens.
    pub async fn refresh(&self, refresh_token: &str) -> Result<Tokens, Error> {
        self.tokens("/v1/sessions/refresh", json!({"refreshToken": refresh_token})).await
    }

    async fn tokens(&self, path: &str, body: Value) -> Result<Tokens, Error> {
        let mut tokens: Tokens = self.call("POST", path, None, Some(body), None).await?;
        tokens.obtained_at = crate::now_ms();
        Ok(tokens)
    }

    /// Makes a group of oneself and others; the same key makes it once.
    pub async fn create_group(
        &self,
        token: &str,
        name: &str,
        members: &[String],
        history: client::History,
        key: &str,
    ) -> Result<Group, Error> {
        let body = json!({"name": name, "members": members, "history": history.as_str_name()});
        let answer: Value = self.call("POST", "/v1/groups", Some(token), Some(body), Some(key)).await?;
        #[derive(Deserialize)]
        struct Refused {
            #[serde(default)]
            refused: Vec<NotTaken>,
        }
        let refused = Refused::deserialize(&answer)?.refused;
        let mut answer = answer;
        if let Some(fields) = answer.as_object_mut() {
            fields.remove("refused");
        }
        Ok(Group { conversation: serde_json::from_value(answer)?, refused })
    }

    /// Adds people to a group.
    pub async fn add_members(&self, token: &str, group: &str, users: &[String]) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            refused: Vec<NotTaken>,
        }
        let path = format!("/v1/groups/{group}/members");
        let answer: Answer = self.call("POST", &path, Some(token), Some(json!({"users": users})), None).await?;
        match answer.refused.into_iter().next() {
            None => Ok(()),
            Some(refused) => {
                let detail = "somebody could not be added to the group".into();
                Err(Problem { status: 409, reason: refused.reason, detail, ..Problem::default() }.into())
            }
        }
    }

    /// All of one's conversations, the most active first.
    pub async fn conversations(&self, token: &str) -> Result<Vec<client::Conversation>, Error> {
        Ok(self.list(token, "").await?.conversations)
    }

    /// One's conversations: all, or with an earlier list's `sync` those that have changed since. Refused with `TOO_OLD`:
    /// ask for all.
    pub async fn list(&self, token: &str, sync: &str) -> Result<List, Error> {
        let mut path = String::from("/v1/conversations?limit=200");
        if !sync.is_empty() {
            path += &format!("&since={}", escape(sync));
        }
        let mut list = List::default();
        loop {
            let page: Conversations = self.get(token, &path).await?;
            list.conversations.extend(page.conversations);
            list.removed.extend(page.removed);
            (list.badge, list.sync) = (page.badge, page.sync);
            if page.next_page_token.is_empty() {
                return Ok(list);
            }
            path = format!("/v1/conversations?limit=200&pageToken={}", escape(&page.next_page_token));
        }
    }

    /// What was sent or changed in a conversation since a revision; one page.
    pub async fn changes(&self, token: &str, conversation: &str, since: u64, limit: u32) -> Result<Changes, Error> {
        self.get(token, &format!("/v1/conversations/{conversation}/changes?since={since}&limit={limit}")).await
    }

    /// The same for many conversations, 100 a call; those that one is not in are left out.
    pub async fn many_changes(&self, token: &str, since: &[(String, u64)]) -> Result<Vec<Changes>, Error> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            changes: Vec<Changes>,
        }
        let mut all = Vec::new();
        for some in since.chunks(100) {
            let since: Vec<_> = some
                .iter()
                .map(|(conversation, revision)| json!({"conversation": conversation, "revision": revision.to_string()}))
                .collect();
            let body = Some(json!({ "since": since }));
            let answer: Answer = self.call("POST", "/v1/changes", Some(token), body, None).await?;
            all.extend(answer.changes);
        }
        Ok(all)
    }

    /// One conversation.
    pub async fn conversation(&self, token: &str, conversation: &str) -> Result<client::Conversation, Error> {
        self.get(token, &format!("/v1/conversations/{conversation}")).await
    }

    /// The newest messages.
    pub async fn newest(&self, token: &str, conversation: &str, limit: u32) -> Result<Page, Error> {
        self.get(token, &format!("/v1/conversations/{conversation}/messages?limit={limit}")).await
    }

    /// The messages above a seq.
    pub async fn after(&self, token: &str, conversation: &str, seq: u64, limit: u32) -> Result<Page, Error> {
        self.get(token, &format!("/v1/conversations/{conversation}/messages?after={seq}&limit={limit}")).await
    }

    /// Who has a handle, if anybody.
    pub async fn by_handle(&self, token: &str, handle: &str) -> Result<Option<client::User>, Error> {
        #[derive(Deserialize)]
        struct Users {
            #[serde(default)]
            users: Vec<client::User>,
        }
        let found: Users = self.get(token, &format!("/v1/users?handle={}", escape(handle))).await?;
        Ok(found.users.into_iter().next())
    }

    /// People by their ids.
    pub async fn users(&self, token: &str, ids: &[String]) -> Result<Vec<client::User>, Error> {
        #[derive(Deserialize)]
        struct Users {
            #[serde(default)]
            users: Vec<client::User>,
        }
        let mut all = Vec::new();
        for some in ids.chunks(100) {
            let found: Users = self.get(token, &format!("/v1/users?ids={}", some.join(","))).await?;
            all.extend(found.users);
        }
        Ok(all)
    }

    /// A GET with a token.
    pub async fn get<T: DeserializeOwned>(&self, token: &str, path: &str) -> Result<T, Error> {
        self.call("GET", path, Some(token), None, None).await
    }

    /// Any call of the contract.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
        key: Option<&str>,
    ) -> Result<T, Error> {
        let bytes = tokio::time::timeout(PATIENCE, self.exchange(method, path, token, body, key))
            .await
            .map_err(|_| Error::Timeout)??;
        Ok(serde_json::from_slice(if bytes.is_empty() { b"{}" } else { &bytes })?)
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
        key: Option<&str>,
    ) -> Result<Bytes, Error> {
        let mut request = hyper::Request::builder().method(method).uri(path).header("host", &self.at.authority);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let content = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                serde_json::to_vec(&body)?
            }
            None => Vec::new(),
        };
        let mut request = request.body(Full::new(Bytes::from(content)))?;
        let (sender, response) = loop {
            let mut sender = self.sender().await?;
            match sender.try_send_request(request).await {
                Ok(response) => break (sender, response),
                // A kept connection may have been closed meanwhile; what was never written is safe to write again.
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(failed.into_error().into()),
                },
            }
        };
        let status = response.status();
        let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let bytes = response.into_body().collect().await?.to_bytes();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push(sender);
        }
        drop(idle);
        if status.is_success() {
            return Ok(bytes);
        }
        let mut problem: Problem = serde_json::from_slice(&bytes).unwrap_or_default();
        problem.status = status.as_u16();
        problem.retry_after_ms = retry_after.unwrap_or(0u64).saturating_mul(1000);
        if problem.reason.is_empty() {
            problem.detail = String::from_utf8_lossy(&bytes).chars().take(200).collect();
            problem.retryable = matches!(problem.status, 429 | 502..=504);
        }
        Err(problem.into())
    }

    /// A kept connection that still stands, or a new one.
    async fn sender(&self) -> Result<SendRequest<Full<Bytes>>, Error> {
        loop {
            let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut sender) = kept else { break };
            if sender.ready().await.is_ok() {
                return Ok(sender);
            }
        }
        let stream = self.at.connect(self.source).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // How it ends shows at the next call.
            let _ = connection.await;
        });
        Ok(sender)
    }
}

/// Percent-encodes a query value.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_number_are_read() {
        let page: Page = serde_json::from_str(r#"{"messages":[],"revision":"12","hasAfter":true}"#).unwrap();
        assert_eq!((page.revision, page.has_after, page.has_before), (12, true, false));
        let page: Page = serde_json::from_str(r#"{"revision":7,"notices":[{}]}"#).unwrap();
        assert_eq!(page.revision, 7);
    }

    #[test]
    fn query_values_are_escaped() {
        assert_eq!(escape("a+b/=한"), "a%2Bb%2F%3D%ED%95%9C");
    }
}
