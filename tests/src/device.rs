//! Somebody on a device that is notified, at the doors of `madang serve` or of a cluster.

use crate::{
    client::{Person, Socket, call_at, enter},
    cluster::Cluster,
    push::{Browser, PushServer},
    until,
};
use madang_proto::id::ClientId;
use madang_solo::serve::Running;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// Where client apps come in.
#[derive(Debug, Clone, Copy)]
pub struct Doors {
    /// HTTP.
    pub http: SocketAddr,
    /// WebSocket.
    pub socket: SocketAddr,
}

impl Doors {
    /// Of `madang serve`.
    #[must_use]
    pub fn of(server: &Running) -> Self {
        Self { http: server.http, socket: server.http }
    }

    /// Of a cluster: its first gateway.
    #[must_use]
    pub fn of_cluster(cluster: &Cluster) -> Self {
        let at = |url: &str| url.strip_prefix("http://").unwrap().parse().unwrap();
        Self { http: at(&cluster.api), socket: at(&cluster.gateways[0]) }
    }
}

/// Somebody on a device.
pub struct Device {
    /// Who, and on which.
    pub person: Person,
    /// The browser's keys.
    pub browser: Browser,
    /// Where at the push service it is told.
    pub path: String,
    doors: Doors,
    handle: String,
    kind: &'static str,
}

impl Device {
    /// Signs somebody up, with a handle of their own; the name is as given, with 이름.
    pub async fn sign_up(doors: Doors, name: &str, kind: &'static str) -> Self {
        let handle = format!("{name}_{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
        Self::enter(doors, "/v1/accounts", handle, format!("{name} 이름"), kind).await
    }

    /// The same person on another device.
    pub async fn another(&self, kind: &'static str) -> Self {
        Self::enter(self.doors, "/v1/sessions", self.handle.clone(), String::new(), kind).await
    }

    async fn enter(doors: Doors, path: &str, handle: String, name: String, kind: &'static str) -> Self {
        let device = uuid::Uuid::new_v4().to_string();
        let body = json!({"handle": handle, "password": "correct horse", "name": name,
            "device": {"id": device, "kind": kind}});
        let answer = enter(doors.http, path, &body).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let person = Person { id: text(&answer["user"]), token: text(&answer["accessToken"]), device };
        let path = format!("/push/{handle}/{kind}");
        Self { person, browser: Browser::default(), path, doors, handle, kind }
    }

    /// A call of theirs.
    pub async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        call_at(self.doors.http, method, path, &self.person.token, body).await
    }

    /// Is told by Web Push from now on, in Korean, with what was said.
    pub async fn subscribe(&self, push: &PushServer) {
        self.register(json!({"webPush": self.subscription(push), "locale": "ko", "preview": true})).await;
    }

    /// What the page of its browser would register.
    #[must_use]
    pub fn subscription(&self, push: &PushServer) -> Value {
        self.browser.subscription(&format!("{}{}", push.url, self.path))
    }

    /// Is told so from now on.
    pub async fn register(&self, body: Value) {
        let (status, answer) = self.call("PUT", &format!("/v1/devices/{}/push", self.person.device), body).await;
        assert_eq!(status, 204, "{answer}");
    }

    /// Connects, and has taken what there was.
    pub async fn connect(&self) -> Socket {
        let device = json!({"id": self.person.device, "kind": self.kind});
        until("a device is connected", async || {
            let mut socket = Socket::upgraded(TcpStream::connect(self.doors.socket).await.ok()?).await.ok()?;
            socket.send(json!({"id": 1, "hello": {"token": self.person.token, "device": device}})).await;
            while socket.next_or_end().await?["live"].is_null() {}
            Some(socket)
        })
        .await
    }

    /// A group of theirs with others; its id.
    pub async fn group(&self, name: &str, others: &[&Self]) -> String {
        let members: Vec<_> = others.iter().map(|other| &other.person.id).collect();
        let (status, group) = self.call("POST", "/v1/groups", json!({"name": name, "members": members})).await;
        assert_eq!(status, 201, "{group}");
        group["conversation"].as_str().unwrap().to_owned()
    }

    /// Writes a text; `to` has `user` or `conversation`, and whom it mentions.
    pub async fn say(&self, to: Value, text: &str) -> Value {
        let mut body = json!({"clientId": ClientId::now().to_string(), "text": text});
        body.as_object_mut().unwrap().extend(to.as_object().unwrap().clone());
        let (status, ack) = self.call("POST", "/v1/messages", body).await;
        assert_eq!(status, 200, "{ack}");
        ack
    }

    /// Has read up to a message.
    pub async fn read(&self, conversation: &Value, seq: &str) {
        let path = format!("/v1/conversations/{}/read", conversation.as_str().unwrap());
        assert_eq!(self.call("PUT", &path, json!({"seq": seq})).await.0, 200);
    }

    /// Where others write to.
    #[must_use]
    pub fn to(&self) -> Value {
        json!({"user": self.person.id})
    }

    /// The next that it is told.
    pub async fn told(&self, push: &PushServer) -> Value {
        self.browser.decrypt(&push.at(&self.path).await.body)
    }
}
