//! What a client sends before it has its `ready`, in the same message as its hello or behind it: kept as it came, and taken
//! in order once `ready` is sent, which is always the first thing that a client hears. Bounded.

use super::{Connection, End, no_home, requests::HELD, wire::cut};
use crate::refusals;
use axum::extract::ws::Message;
use std::collections::VecDeque;

/// Messages that wait for `ready`.
#[derive(Default)]
pub(super) struct Early {
    /// Each with how many of its frames have been taken.
    messages: VecDeque<(Message, usize)>,
    bytes: usize,
}

fn size(message: &Message) -> usize {
    match message {
        Message::Text(text) => text.len(),
        Message::Binary(bytes) => bytes.len(),
        _ => 0,
    }
}

impl Early {
    /// With what came with the hello; its frames are cut again when it is their turn, for as bytes they take the least.
    pub fn new(hello: Option<Message>) -> Self {
        let mut early = Self::default();
        if let Some(message) = hello {
            early.bytes = size(&message);
            early.messages.push_back((message, 1));
        }
        early
    }

    /// Keeps one more, of at most so many bytes together; or gives it back.
    fn keep(&mut self, message: Message, bytes: usize) -> Result<(), Message> {
        let size = size(&message);
        if self.messages.len() >= HELD || self.bytes + size > bytes {
            return Err(message);
        }
        self.bytes += size;
        self.messages.push_back((message, 0));
        Ok(())
    }
}

impl Connection {
    /// Keeps a message for later; what there is no room for is refused.
    pub(super) async fn keep(&mut self, message: Message) -> Result<(), End> {
        let Err(message) = self.early.keep(message, self.shared.settings.queue_bytes) else { return Ok(()) };
        for each in cut(message, self.encoding)? {
            refusals::HELD.count();
            let id = each.map_or_else(|(id, _)| id, |frame| frame.id);
            self.refuse(id, &no_home()).await?;
        }
        Ok(())
    }

    /// Takes what was kept, once `ready` has been sent.
    pub(super) async fn take_kept(&mut self) -> Result<(), End> {
        if self.ready {
            for (message, taken) in std::mem::take(&mut self.early).messages {
                for each in cut(message, self.encoding)?.into_iter().skip(taken) {
                    self.take(each).await?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_kept_up_to_a_number_and_a_size() {
        let message = |n: usize| Message::Binary(vec![0; n].into());
        let mut early = Early::new(Some(message(40)));
        assert!(early.keep(message(61), 100).is_err() && early.keep(message(60), 100).is_ok());
        assert!(early.keep(Message::Text("a".into()), 100).is_err());
        assert_eq!(early.messages.iter().map(|(_, taken)| *taken).collect::<Vec<_>>(), [1, 0]);
        let mut early = Early::new(None);
        assert!((0..HELD).all(|_| early.keep(message(1), 1000).is_ok()) && early.keep(message(1), 1000).is_err());
    }
}
