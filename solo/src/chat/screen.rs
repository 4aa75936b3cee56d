//! What the terminal shows. Others' words are shown without control characters, which could steer the terminal.

use madang_proto::client::v1::{Conversation, ConversationKind, Message};
use std::{
    collections::HashMap,
    io::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};

/// The terminal.
#[derive(Default)]
pub struct Screen {
    names: HashMap<String, String>,
    titles: HashMap<String, String>,
    connected: Option<bool>,
}

fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

fn print(line: &str) {
    // Who closed the terminal does not read it.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// How long ago, in a few letters.
fn ago(at_ms: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let seconds = i64::try_from(now).unwrap_or(i64::MAX).saturating_sub(at_ms) / 1000;
    match seconds {
        ..60 => "now".into(),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

impl Screen {
    /// Remembers a name.
    pub fn know(&mut self, user: &str, name: &str) {
        self.names.insert(user.into(), clean(name));
    }

    /// Whether a name is known.
    pub fn knows(&self, user: &str) -> bool {
        self.names.contains_key(user)
    }

    fn name(&self, user: &str) -> &str {
        self.names.get(user).map_or("somebody", String::as_str)
    }

    /// Remembers what a conversation is called.
    pub fn title(&mut self, of: &Conversation) {
        let title = match (&of.peer, of.kind()) {
            (Some(peer), ConversationKind::Direct) => peer.handle.clone(),
            _ => of.name.clone(),
        };
        self.titles.insert(of.conversation.clone(), clean(&title));
    }

    /// Whether it is known what a conversation is called.
    pub fn has_title(&self, conversation: &str) -> bool {
        self.titles.contains_key(conversation)
    }

    /// All conversations, with what is unread.
    pub fn overview(&self, all: &[Conversation]) {
        for each in all {
            let title = self.titles.get(&each.conversation).map_or("", String::as_str);
            let unread = if each.unread > 0 { format!(" ({} unread)", each.unread) } else { String::new() };
            let last = each.last_message.as_ref().map_or(String::new(), |last| format!(": {}", clean(&last.text)));
            let line: String = format!("  {title}{unread}{last}").chars().take(100).collect();
            print(&line.replace('\n', " "));
        }
    }

    /// Something to know.
    pub fn note(&self, text: &str) {
        print(&format!("* {}", clean(text)));
    }

    /// The connection stands.
    pub fn connected(&mut self, now: bool) {
        if self.connected.replace(now) == Some(false) {
            self.note("connected again");
        }
    }

    /// The connection is lost.
    pub fn lost(&mut self, why: &str) {
        if self.connected.replace(false) != Some(false) {
            self.note(&format!("{why}; what you type is sent when it is back"));
        }
    }

    /// A message of the conversation that is open.
    pub fn message(&self, message: &Message, own: bool) {
        let arrow = if own { ">" } else { ":" };
        let text = if message.deleted { "(deleted)".into() } else { clean(&message.text) };
        print(&format!("[{}] {}{arrow} {text}", ago(message.at), self.name(&message.sender)));
    }

    /// A message of another conversation.
    pub fn elsewhere(&self, conversation: &str, message: &Message) {
        let title = self.titles.get(conversation).map_or("elsewhere", String::as_str);
        let line: String = clean(&message.text).chars().take(100).collect();
        self.note(&format!("({title}) {}: {line}", self.name(&message.sender)));
    }

    /// Somebody writes.
    pub fn typing(&self, user: &str) {
        self.note(&format!("{} is typing", self.name(user)));
    }

    /// People came or went.
    pub fn moved(&self, conversation: &str, users: &[String], what: &str) {
        let title = self.titles.get(conversation).map_or("a conversation", String::as_str);
        let names: Vec<_> = users.iter().map(|user| self.name(user)).collect();
        self.note(&format!("{} {what} {title}", names.join(", ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\u{9b}c\r한\n👋🏽"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}한\n👋🏽");
    }
}
