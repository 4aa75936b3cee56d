//! `madang chat`: a terminal client over the public contract, so that two terminals can talk.

mod profile;
mod screen;

use anyhow::{Context as _, bail};
use clap::Args as Arguments;
use madang_client::{Format, Http, Session, Update, session::Options};
use madang_proto::{
    client::v1::{self as client, client_frame::Body, event},
    id::ClientId,
    reason::Refusal,
};
use profile::Profile;
use screen::Screen;
use std::{collections::HashMap, path::PathBuf, time::Duration};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    sync::mpsc,
};

/// How much of the history is shown at first.
const HISTORY: u32 = 20;

/// How to talk.
#[derive(Debug, Clone, Arguments)]
pub struct Args {
    /// Your handle (3 to 30 of `a-z`, `0-9`, `_`); signs up on first use.
    #[arg(long = "as", value_name = "NAME")]
    name: String,
    /// Whom to write to, by handle.
    #[arg(long, value_name = "NAME", conflicts_with = "group")]
    to: Option<String>,
    /// The group to write to, by its name; made if you are in none of that name.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// The server's HTTP and WebSocket door.
    #[arg(long, env = "MADANG_SERVER", default_value = "http://127.0.0.1:8080")]
    server: String,
    /// Its WebSocket door, where that is another.
    #[arg(long, env = "MADANG_GATEWAY")]
    gateway: Option<String>,
    /// Where this terminal keeps its log-ins.
    #[arg(long, env = "MADANG_CHAT_STATE")]
    state: Option<PathBuf>,
}

/// Where one writes to.
enum Target {
    User(String),
    Conversation(String),
}

struct Chat {
    http: Http,
    session: Session,
    me: String,
    token: String,
    screen: Screen,
    target: Option<Target>,
    open: String,
    /// Of each conversation, the highest revision seen.
    seen: HashMap<String, u64>,
    last_seq: u64,
    lines: mpsc::Sender<client::Send>,
}

/// Talks until Ctrl-C, `/quit` or the end of the input.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let http = Http::new(&args.server)?;
    let mut profile = Profile::open(args.state.clone(), &args.server, &args.name)?;
    let tokens = profile.log_in(&http).await?;
    let (updates, mut happened) = mpsc::unbounded_channel();
    let session = Session::start(
        Options {
            http: http.clone(),
            gateways: args.gateway.clone().into_iter().collect(),
            tokens: tokens.clone(),
            device: profile.device.clone(),
            source: None,
            format: Format::Protobuf,
            cursor: String::new(),
        },
        // A person reads it all: what waits here is bounded by what the server lets be sent.
        move |update| drop(updates.send(update)),
    );
    let (lines, queue) = mpsc::channel(64);
    let (failures, mut failed) = mpsc::channel(64);
    let sending = tokio::spawn(say(session.clone(), queue, failures));
    let mut chat = Chat {
        http,
        session,
        me: tokens.user.clone(),
        token: tokens.access_token,
        screen: Screen::default(),
        target: None,
        open: String::new(),
        seen: HashMap::new(),
        last_seq: 0,
        lines,
    };
    chat.screen.know(&tokens.user, &args.name);
    chat.overview().await?;
    match (&args.to, &args.group) {
        (Some(to), _) => chat.write_to(to).await?,
        (_, Some(group)) => chat.write_in(group).await?,
        _ => chat.screen.note("/to NAME or /group NAME says whom to write to; /add NAME adds to a group; /quit"),
    }
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            line = input.next_line() => match line.context("the terminal can't be read")? {
                Some(line) if line == "/quit" => break,
                Some(line) => if let Err(error) = chat.line(line).await {
                    chat.screen.note(&format!("{error:#}"));
                },
                None => break,
            },
            Some(update) = happened.recv() => {
                if let Update::Tokens(tokens) = &update {
                    chat.token.clone_from(&tokens.access_token);
                    profile.save(tokens.clone())?;
                }
                if let Update::Ended(why) = &update {
                    bail!("the session is over: {why}");
                }
                if let Err(error) = chat.happened(update).await {
                    chat.screen.note(&format!("{error:#}"));
                }
            }
            Some(Refusal { message, .. }) = failed.recv() => chat.screen.note(&format!("not sent: {message}")),
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    // What was typed is still sent, for a moment.
    drop(chat);
    if tokio::time::timeout(Duration::from_secs(5), sending).await.is_err() {
        bail!("the server did not answer: the last lines may not have been sent");
    }
    Ok(())
}

/// Sends lines one after the other, so that they keep their order; what may be tried again is.
async fn say(session: Session, mut lines: mpsc::Receiver<client::Send>, failures: mpsc::Sender<Refusal>) {
    while let Some(send) = lines.recv().await {
        loop {
            match session.send(send.clone()).await {
                Err(refusal) if refusal.reason.retryable() => {
                    tokio::time::sleep(Duration::from_millis(refusal.retry_after_ms.max(200))).await;
                }
                Err(refusal) => {
                    let _ = failures.send(refusal).await;
                    break;
                }
                Ok(_) => break,
            }
        }
    }
}

impl Chat {
    /// What there is: conversations and unread numbers.
    async fn overview(&mut self) -> anyhow::Result<()> {
        let all = self.http.conversations(&self.token).await?;
        for each in &all {
            if let Some(peer) = &each.peer {
                self.screen.know(&peer.user, &peer.handle);
            }
            self.screen.title(each);
            // What the list shows need not ring again; the messages of an opened one are still read.
            self.seen.insert(each.conversation.clone(), each.revision);
        }
        self.screen.overview(&all);
        Ok(())
    }

    async fn write_to(&mut self, handle: &str) -> anyhow::Result<()> {
        let found = self.http.by_handle(&self.token, handle).await?;
        let Some(user) = found else { bail!("nobody has the handle {handle}: they sign up with --as {handle}") };
        self.screen.know(&user.user, &user.handle);
        let all = self.http.conversations(&self.token).await?;
        let known = all.into_iter().find(|each| each.peer.as_ref().is_some_and(|peer| peer.user == user.user));
        match known {
            Some(known) => self.enter(&known).await?,
            None => {
                self.target = Some(Target::User(user.user));
                self.open.clear();
                self.screen.note(&format!("a first message to {handle}: just type"));
            }
        }
        Ok(())
    }

    async fn write_in(&mut self, name: &str) -> anyhow::Result<()> {
        let all = self.http.conversations(&self.token).await?;
        let group = |each: &client::Conversation| each.kind() == client::ConversationKind::Group && each.name == name;
        match all.into_iter().find(group) {
            Some(known) => self.enter(&known).await,
            None => {
                let key = uuid::Uuid::new_v4().to_string();
                let made = self.http.create_group(&self.token, name, &[], client::History::All, &key).await?;
                self.screen.note(&format!("made the group {name}; /add NAME adds people"));
                self.enter(&made.conversation).await
            }
        }
    }

    /// Opens a conversation: its newest messages, and from now on what is typed goes there.
    async fn enter(&mut self, conversation: &client::Conversation) -> anyhow::Result<()> {
        self.screen.title(conversation);
        self.open.clone_from(&conversation.conversation);
        self.target = Some(Target::Conversation(conversation.conversation.clone()));
        self.last_seq = 0;
        let page = self.http.newest(&self.token, &conversation.conversation, HISTORY).await?;
        self.show(page).await
    }

    async fn show(&mut self, page: madang_client::http::Page) -> anyhow::Result<()> {
        self.learn(page.messages.iter().map(|message| message.sender.clone())).await?;
        for message in &page.messages {
            if message.seq > self.last_seq {
                self.last_seq = message.seq;
                self.screen.message(message, message.sender == self.me);
            }
        }
        self.read().await;
        Ok(())
    }

    /// Learns the handles of people.
    async fn learn(&mut self, users: impl IntoIterator<Item = String>) -> anyhow::Result<()> {
        let mut unknown: Vec<_> = users.into_iter().filter(|user| !self.screen.knows(user)).collect();
        unknown.sort();
        unknown.dedup();
        for user in self.http.users(&self.token, &unknown).await? {
            self.screen.know(&user.user, &user.handle);
        }
        Ok(())
    }

    async fn read(&self) {
        let (session, conversation, seq) = (self.session.clone(), self.open.clone(), self.last_seq);
        if seq > 0 {
            // A mark that is not taken now is taken with the next message.
            tokio::spawn(async move { session.ask(Body::Read(client::Read { conversation, seq })).await.is_ok() });
        }
    }

    async fn line(&mut self, line: String) -> anyhow::Result<()> {
        if let Some(handle) = line.strip_prefix("/to ") {
            return self.write_to(handle.trim()).await;
        }
        if let Some(name) = line.strip_prefix("/group ") {
            return self.write_in(name.trim()).await;
        }
        if let Some(handle) = line.strip_prefix("/add ") {
            let found = self.http.by_handle(&self.token, handle.trim()).await?;
            let Some(user) = found else { bail!("nobody has the handle {}", handle.trim()) };
            return Ok(self.http.add_members(&self.token, &self.open, &[user.user]).await?);
        }
        if line.trim().is_empty() {
            return Ok(());
        }
        let client_id = ClientId::now().to_string();
        let mut said = client::Send { client_id, text: line, ..Default::default() };
        match &self.target {
            Some(Target::User(user)) => said.user.clone_from(user),
            Some(Target::Conversation(conversation)) => said.conversation.clone_from(conversation),
            None => bail!("say first whom to write to: /to NAME or /group NAME"),
        }
        if self.lines.try_send(said).is_err() {
            bail!("too much is still unsent: wait a moment, and type it again");
        }
        Ok(())
    }

    async fn happened(&mut self, update: Update) -> anyhow::Result<()> {
        match update {
            Update::Event(event) => self.event(*event).await?,
            Update::Ready(_) => self.screen.connected(true),
            Update::Lost(why) => self.screen.lost(&why),
            Update::Resync => {
                self.overview().await?;
                if !self.open.is_empty() {
                    let page = self.http.after(&self.token, &self.open, self.last_seq, 200).await?;
                    self.show(page).await?;
                }
            }
            Update::Typing(typing) if typing.conversation == self.open => {
                self.learn([typing.user.clone()]).await?;
                self.screen.typing(&typing.user);
            }
            Update::Live | Update::Typing(_) | Update::Tokens(_) | Update::Ended(_) => {}
        }
        Ok(())
    }

    async fn event(&mut self, event: client::Event) -> anyhow::Result<()> {
        let seen = self.seen.entry(event.conversation.clone()).or_default();
        if event.revision <= *seen {
            return Ok(());
        }
        *seen = event.revision;
        match event.body {
            Some(event::Body::Message(message)) => {
                self.learn([message.sender.clone()]).await?;
                let to_peer = matches!(&self.target, Some(Target::User(_))) && message.sender == self.me;
                if to_peer {
                    // The first message has made the conversation.
                    self.open.clone_from(&event.conversation);
                    self.target = Some(Target::Conversation(event.conversation.clone()));
                }
                if event.conversation != self.open {
                    self.screen.elsewhere(&event.conversation, &message);
                } else if message.seq > self.last_seq {
                    self.last_seq = message.seq;
                    self.screen.message(&message, message.sender == self.me);
                    self.read().await;
                }
            }
            Some(event::Body::Joined(joined)) => {
                let users: Vec<_> = joined.members.into_iter().map(|member| member.user).collect();
                self.learn(users.clone()).await?;
                if !self.screen.has_title(&event.conversation) {
                    let conversation = self.http.conversation(&self.token, &event.conversation).await?;
                    self.screen.title(&conversation);
                }
                self.screen.moved(&event.conversation, &users, "joined");
            }
            Some(event::Body::Left(left)) => self.screen.moved(&event.conversation, &left.users, "left"),
            _ => {}
        }
        Ok(())
    }
}
