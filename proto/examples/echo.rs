//! A bot, as an internal service writes one: it has an account of its own, keeps a connection open, and answers what it is
//! told with the same words. What it answers is sent once, whatever breaks: the answer's `clientId` follows from the
//! message that it answers, so who hears a message twice answers it once.
//!
//! ```sh
//! MADANG_TOKEN=$(madang token create --service echo) cargo run -p madang-proto --example echo -- http://127.0.0.1:8081 echo_bot
//! ```

use futures_util::{StreamExt, stream};
use madang_proto::{
    account::v1::{GetUsersRequest, SignUpRequest, account_service_client::AccountServiceClient},
    chat::v1::{
        ClosedReason, ConnectRequest, Open, SendMessageRequest, Upstream, chat_service_client::ChatServiceClient,
        downstream, upstream,
    },
    client::v1::{Device, DeviceKind, Event, Message, Send, ServerFrame, UserKind, event, server_frame},
    id::{ConversationId, UserId},
};
use prost::Message as _;
use std::{error::Error, time::Duration};
use tonic::{Code, Request, Status, metadata::AsciiMetadataValue, transport::Channel};
use uuid::Uuid;

type Result<T> = std::result::Result<T, Box<dyn Error + std::marker::Send + Sync>>;

/// How long it waits before it connects again.
const PAUSE: Duration = Duration::from_millis(200);

/// Whom it is, and how it calls.
#[derive(Clone)]
pub struct Bot {
    /// Where gRPC is served, `http://HOST:PORT`.
    server: String,
    /// `Bearer` and the service's token.
    token: AsciiMetadataValue,
    /// Its account.
    user: UserId,
}

impl Bot {
    /// Finds the account of that handle, or makes it.
    pub async fn open(server: &str, token: &str, handle: &str) -> Result<Self> {
        let mut token: AsciiMetadataValue = format!("Bearer {token}").parse()?;
        token.set_sensitive(true);
        let mut bot = Self { server: server.to_owned(), token, user: UserId::new() };
        let mut accounts = AccountServiceClient::new(bot.channel().await?);
        let by_handle = GetUsersRequest { users: Vec::new(), handle: handle.to_owned() };
        let found = accounts.get_users(bot.request(by_handle)).await?.into_inner().users;
        let user = match found.into_iter().next() {
            Some(user) => user,
            None => {
                // Nobody logs in as the bot: its calls name it, so it needs no password and no session.
                let (handle, name, kind) = (handle.to_owned(), "Echo".to_owned(), UserKind::Bot.into());
                let account = SignUpRequest { handle, name, kind, ..SignUpRequest::default() };
                let made = accounts.sign_up(bot.request(account)).await?.into_inner();
                made.tokens.and_then(|tokens| tokens.user).ok_or("an account without a user")?
            }
        };
        bot.user = user.user.parse()?;
        Ok(bot)
    }

    /// Answers for ever: connects again whenever a connection ends, from where it was.
    pub async fn run(&self) -> Result<()> {
        let mut cursor = String::new();
        loop {
            if let Err(error) = self.listen(&mut cursor).await {
                eprintln!("connecting again: {error}");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// One connection: hears what its user is sent, until it ends.
    async fn listen(&self, cursor: &mut String) -> Result<()> {
        let mut chat = ChatServiceClient::new(self.channel().await?);
        let open = Open {
            user: self.user.to_string(),
            session: Uuid::now_v7().to_string(),
            device: Some(device()),
            resume: cursor.clone(),
            ..Open::default()
        };
        let first = ConnectRequest {
            items: vec![Upstream { connection: 1, item: Some(upstream::Item::Open(open)), ..Upstream::default() }],
        };
        // The stream of requests stays open: its end would end the connection.
        let requests = stream::once(async { first }).chain(stream::pending());
        let mut answers = chat.connect(self.request(requests)).await?.into_inner();
        while let Some(answer) = answers.next().await {
            for item in answer?.items {
                match item.item {
                    Some(downstream::Item::Frame(frame)) => {
                        if let Some(server_frame::Body::Event(event)) = ServerFrame::decode(frame)?.body {
                            self.hear(&mut chat, event).await?;
                        }
                        // Behind the answer: who stops before this hears the message once more, and answers it once.
                        if !item.cursor.is_empty() {
                            *cursor = item.cursor;
                        }
                    }
                    // In a cluster one process is the home of a user: another connection finds it sooner or later.
                    Some(downstream::Item::Closed(closed)) if closed.reason() == ClosedReason::Replaced => {
                        return Err("another bot has connected as this one".into());
                    }
                    Some(downstream::Item::Closed(_)) => return Ok(()),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    async fn hear(&self, chat: &mut ChatServiceClient<Channel>, event: Event) -> Result<()> {
        let Some(event::Body::Message(message)) = event.body else { return Ok(()) };
        if message.sender == self.user.to_string() || message.text.is_empty() {
            return Ok(());
        }
        let conversation: ConversationId = event.conversation.parse()?;
        let send = Send {
            conversation: conversation.to_string(),
            client_id: answer_id(conversation, &message).to_string(),
            text: message.text,
            reply_to: message.seq,
            ..Send::default()
        };
        loop {
            let mut request = self.request(SendMessageRequest { send: Some(send.clone()) });
            request.metadata_mut().insert("madang-user", self.user.to_string().parse()?);
            match chat.send_message(request).await {
                Ok(_) => return Ok(()),
                Err(status) if may_be_tried_again(&status) => tokio::time::sleep(PAUSE).await,
                // It was put out of the conversation meanwhile, or may not speak there.
                Err(status) => {
                    eprintln!("not answered: {}", status.message());
                    return Ok(());
                }
            }
        }
    }

    async fn channel(&self) -> Result<Channel> {
        Ok(Channel::from_shared(self.server.clone())?.connect().await?)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.token.clone());
        request
    }
}

fn device() -> Device {
    // Always the same: a bot that connects again takes the place of what is left of its last connection.
    let id = "6f0d8f0e-6a3c-4c7d-9d0e-3b1f6f1c0e11".to_owned();
    Device { id, kind: DeviceKind::Service.into(), name: "echo".into(), app: "echo 1".into() }
}

/// A UUIDv7 that follows from the message: its time, and the conversation with its number.
fn answer_id(conversation: ConversationId, message: &Message) -> Uuid {
    let mut bits = [0; 10];
    bits.copy_from_slice(&conversation.bytes()[6..]);
    for (bit, byte) in bits[2..].iter_mut().zip(message.seq.to_be_bytes()) {
        *bit ^= byte;
    }
    uuid::Builder::from_unix_timestamp_millis(message.at.unsigned_abs(), &bits).into_uuid()
}

fn may_be_tried_again(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded)
}

#[tokio::main]
#[allow(dead_code, reason = "tests take this file as a module")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(server), Some(handle)) = (arguments.next(), arguments.next()) else {
        return Err("usage: echo http://HOST:PORT HANDLE, with the service's token in MADANG_TOKEN".into());
    };
    Bot::open(&server, &std::env::var("MADANG_TOKEN")?, &handle).await?.run().await
}
