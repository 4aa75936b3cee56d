//! All that somebody is shown of their conversations, over HTTP and page by page, as it comes: to be held against what they
//! are shown later.

use crate::PATIENCE;
use madang_client::Http;
use madang_loadgen::people::Person;
use serde_json::{Value, json};
use std::time::Duration;

/// A call over HTTP, again while it may be made again; the reason if it is refused.
pub async fn call(http: &Http, who: &Person, method: &str, path: &str, body: Option<Value>) -> Result<Value, String> {
    let token = Some(who.tokens.access_token.as_str());
    let answered = async {
        loop {
            match http.call(method, path, token, body.clone(), None).await {
                Err(error) if error.retryable() => tokio::time::sleep(Duration::from_millis(50)).await,
                other => return other.map_err(|error| error.reason().to_owned()),
            }
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.unwrap_or_else(|_| panic!("not in time: {path}"))
}

/// All pages of something, each asked for by the one before.
async fn pages(http: &Http, who: &Person, first: String, next: impl Fn(&Value) -> Option<String>) -> Vec<Value> {
    let (mut pages, mut path) = (Vec::new(), Some(first));
    while let Some(asked) = path {
        match call(http, who, "GET", &asked, None).await {
            Ok(page) => {
                path = next(&page);
                pages.push(page);
            }
            Err(reason) => return vec![json!(reason)],
        }
    }
    pages
}

/// Of a conversation, at a revision or later: itself, who is in it and has read what, its history, and what changed.
pub async fn conversation(http: &Http, who: &Person, id: &str, at_least: u64) -> Value {
    let (all, new) = (format!("/v1/conversations/{id}"), format!("atLeast={at_least}"));
    let one = call(http, who, "GET", &format!("{all}?{new}"), None).await;
    let members = call(http, who, "GET", &format!("{all}/members?{new}"), None).await;
    let after = |seq: &str| format!("{all}/messages?limit=7&{new}&after={seq}");
    let history = pages(http, who, after("0"), |page| {
        let last = page["messages"].as_array().unwrap().last()?["seq"].as_str().unwrap();
        (page["hasAfter"] == true).then(|| after(last))
    });
    let since = |revision: &str| format!("{all}/changes?limit=7&{new}&since={revision}");
    let changes =
        pages(http, who, since("0"), |page| (page["more"] == true).then(|| since(page["revision"].as_str().unwrap())));
    json!({"one": one, "members": members, "history": history.await, "changes": changes.await})
}

/// The conversations that they are in, but for one, with what is unread of each; and whether the badge says as much.
pub async fn list(http: &Http, who: &Person, except: &str) -> Value {
    let next = |page: &Value| {
        let token = page["nextPageToken"].as_str().filter(|token| !token.is_empty())?;
        Some(format!("/v1/conversations?limit=2&pageToken={token}"))
    };
    let pages = pages(http, who, "/v1/conversations?limit=2".into(), next).await;
    let all = pages.iter().flat_map(|page| page["conversations"].as_array().unwrap());
    let unread: u64 = all.clone().map(|each| number(&each["unread"])).sum();
    let badge = number(&pages.last().unwrap()["badge"]);
    json!({"list": all.filter(|each| each["conversation"] != except).collect::<Vec<_>>(), "badge": badge == unread})
}

/// A 64-bit number, as JSON has it.
#[must_use]
pub fn number(value: &Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}

/// Somebody who has no account any more is shown by their id alone.
pub fn forget(value: &mut Value, user: &str) {
    match value {
        Value::Object(fields) => {
            if fields.contains_key("handle") && fields["user"] == user {
                fields.retain(|name, _| name == "user");
            }
            fields.values_mut().for_each(|each| forget(each, user));
        }
        Value::Array(all) => all.iter_mut().for_each(|each| forget(each, user)),
        _ => {}
    }
}
