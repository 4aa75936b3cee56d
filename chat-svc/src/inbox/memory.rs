//! Inboxes of a single process. Only the reader of a shard keeps a tail: what comes while nobody reads is lost, which an
//! inbox may be; but for what comes before it is read at all, when a home may give it again what was sent before a restart.

use super::{Heard, Inbox, InboxEntry, Unavailable};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use madang_mesh::{clock::now_micros, shard::Shard};
use madang_proto::id::UserId;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, PoisonError},
};
use tokio::sync::{Mutex, mpsc};

/// How many entries a reader may be behind before publishers wait.
const BEHIND: usize = 256;
/// How many entries wait for the first reader at most; the oldest go first.
const UNREAD: usize = 4096;

#[derive(Default)]
struct Shelf {
    sequence: u64,
    last_micros: i64,
    readers: Vec<mpsc::Sender<Heard>>,
    /// It has been read.
    was_read: bool,
    unread: VecDeque<InboxEntry>,
}

/// Inboxes in memory.
pub struct MemoryInbox {
    began_micros: i64,
    shelves: std::sync::Mutex<HashMap<Shard, Arc<Mutex<Shelf>>>>,
}

impl Default for MemoryInbox {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryInbox {
    /// Empty ones.
    #[must_use]
    pub fn new() -> Self {
        Self { began_micros: now_micros(), shelves: std::sync::Mutex::default() }
    }

    fn shelf(&self, shard: Shard) -> Arc<Mutex<Shelf>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner).entry(shard).or_default().clone()
    }
}

#[async_trait]
impl Inbox for MemoryInbox {
    async fn create(&self, shard: Shard) -> Result<(), Unavailable> {
        self.shelf(shard);
        Ok(())
    }

    async fn publish(&self, shard: Shard, _user: Option<UserId>, payload: Bytes) -> Result<(), Unavailable> {
        let shelf = self.shelf(shard);
        let mut shelf = shelf.lock().await;
        shelf.sequence += 1;
        shelf.last_micros = now_micros().max(shelf.last_micros);
        let entry = InboxEntry { sequence: shelf.sequence, at_micros: shelf.last_micros, payload };
        if !shelf.was_read {
            shelf.unread.push_back(entry);
            if shelf.unread.len() > UNREAD {
                shelf.unread.pop_front();
            }
            return Ok(());
        }
        for reader in &shelf.readers {
            // A reader that is gone is dropped below.
            let _ = reader.send(Heard::Entry(entry.clone())).await;
        }
        shelf.readers.retain(|reader| !reader.is_closed());
        Ok(())
    }

    async fn announce(&self, shard: Shard, payload: Bytes) -> Result<(), Unavailable> {
        for reader in &self.shelf(shard).lock().await.readers {
            // Droppable.
            let _ = reader.try_send(Heard::Beacon(payload.clone()));
        }
        Ok(())
    }

    async fn since(&self, _shard: Shard) -> Result<i64, Unavailable> {
        Ok(self.began_micros)
    }

    async fn read(&self, shard: Shard) -> Result<BoxStream<'static, Heard>, Unavailable> {
        let (sender, receiver) = mpsc::channel(BEHIND);
        let shelf = self.shelf(shard);
        let mut shelf = shelf.lock().await;
        shelf.was_read = true;
        shelf.readers.push(sender);
        let unread = std::mem::take(&mut shelf.unread);
        // Nothing else is kept, so it begins at the end.
        let heard = stream::unfold((unread, receiver, true), |(mut unread, mut receiver, entries)| async move {
            if let Some(entry) = unread.pop_front() {
                return Some((Heard::Entry(entry), (unread, receiver, entries)));
            }
            if entries && receiver.is_empty() {
                return Some((Heard::End, (unread, receiver, false)));
            }
            let heard = receiver.recv().await?;
            let entries = entries || matches!(heard, Heard::Entry(_));
            Some((heard, (unread, receiver, entries)))
        });
        Ok(heard.boxed())
    }
}
