//! Pages of history. When something is said in a group, many open it at once and ask for the same: who asks while it is being
//! read waits for that, and who asks shortly after gets it from memory. A page is that of a revision, and everybody is
//! asked about before: nobody gets one that is older than what they may see, or of what they may not.

use super::{Access, History, PAGE_BYTES, failed, near::Near};
use madang_proto::{id::ConversationId, store::v1::ListMessagesResponse};
use moka::future::Cache;
use prometheus::IntCounterVec;
use prost::Message as _;
use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};
use tonic::Status;

/// How many bytes of pages are kept.
const KEPT_BYTES: u64 = 64 << 20;
/// What one takes up besides its messages, in bytes, about.
const OVERHEAD: usize = 512;
/// For how long: what is deleted meanwhile is in memory for no longer than that.
const KEPT: Duration = Duration::from_secs(10);

static PAGES: LazyLock<Option<IntCounterVec>> = LazyLock::new(|| {
    let help =
        "pages of history, by where they are from: the store, or memory, where somebody has just asked for the same";
    prometheus::register_int_counter_vec!("madang_store_pages_total", help, &["from"]).ok()
});

/// Which page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Page {
    /// Of which conversation.
    pub id: ConversationId,
    /// What the reader may see.
    pub access: Access,
    /// As of this event, or a later one.
    pub revision: u64,
    /// Those before this one; 0: not so.
    pub before: u64,
    /// Those after this one.
    pub after: Option<u64>,
    /// Those around this one; 0: not so.
    pub around: u64,
    /// So many at most.
    pub limit: usize,
}

/// What was read of late.
#[derive(Debug)]
pub struct Pages(Cache<Page, Arc<ListMessagesResponse>>);

impl Default for Pages {
    fn default() -> Self {
        let weigh = |_: &Page, page: &Arc<ListMessagesResponse>| {
            u32::try_from(page.encoded_len() + OVERHEAD).unwrap_or(u32::MAX)
        };
        Self(Cache::builder().max_capacity(KEPT_BYTES).weigher(weigh).time_to_live(KEPT).build())
    }
}

impl Pages {
    /// A page, with nothing in it that is of its reader alone; read, if it is not there.
    pub(super) async fn get(
        &self,
        page: Page,
        read: impl Future<Output = Result<ListMessagesResponse, Status>>,
    ) -> Result<ListMessagesResponse, Status> {
        let entry = self.0.entry(page).or_try_insert_with(async { read.await.map(Arc::new) }).await;
        let entry = entry.map_err(|status: Arc<Status>| (*status).clone())?;
        if let Some(pages) = &*PAGES {
            pages.with_label_values(&[if entry.is_fresh() { "store" } else { "memory" }]).inc();
        }
        Ok(Arc::unwrap_or_clone(entry.into_value()))
    }
}

impl History {
    pub(super) async fn read(&self, page: Page) -> Result<ListMessagesResponse, Status> {
        let Page { id, access, revision, before, after, around, limit } = page;
        self.reach(id, revision).await?;
        // What is newer was sent after it was known that they are a member, or is still being written.
        let (first, end) = (access.first_seq, access.last_seq);
        let page = async |low: u64, high: u64, limit: usize, newest: bool| {
            let (low, high) = (low.max(first), high.min(end));
            if low > high { Ok(Vec::new()) } else { self.store.page(id, low, high, limit, newest).await }
        };
        let mut messages;
        let near = match after {
            Some(_) => Near::First,
            None if around > 0 => Near::Seq(around),
            None => Near::Last,
        };
        if let Some(after) = after {
            messages = page(after.min(end) + 1, end, limit, false).await.map_err(failed)?;
        } else if around > 0 {
            messages = page(0, around - 1, limit / 2, true).await.map_err(failed)?;
            let rest = limit - messages.len();
            messages.extend(page(around, end, rest, false).await.map_err(failed)?);
        } else {
            let high = if before > 0 { before - 1 } else { end };
            messages = page(0, high, limit, true).await.map_err(failed)?;
        }
        near.cut(&mut messages, PAGE_BYTES, limit);
        let (low, high) = match (messages.first(), messages.last()) {
            (Some(low), Some(high)) => (low.seq, high.seq),
            // Of an empty page: what lies on either side of its bound.
            _ if before > 0 => (before.max(first), before - 1),
            _ => {
                let bound = after.unwrap_or(around);
                (bound.max(first.saturating_sub(1)).saturating_add(1), bound)
            }
        };
        let has_before = low > first && !page(0, low - 1, 1, true).await.map_err(failed)?.is_empty();
        let has_after = high < end && !page(high + 1, end, 1, false).await.map_err(failed)?.is_empty();
        let mut answer = ListMessagesResponse { messages, revision, has_before, has_after, ..Default::default() };
        self.add_notices(id, access, (low, high), near, &mut answer).await?;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tokio::sync::Semaphore;

    fn page() -> Page {
        let access = Access { first_seq: 1, first_revision: 1, last_seq: 9 };
        Page { id: ConversationId::new(), access, revision: 9, before: 0, after: None, around: 0, limit: 50 }
    }

    /// Reads that say which one of all they are, each once it may.
    #[derive(Clone)]
    struct Reads(Arc<(AtomicU64, Semaphore)>);

    impl Reads {
        fn of(may: usize) -> Self {
            Self(Arc::new((AtomicU64::new(0), Semaphore::new(may))))
        }

        async fn next(self) -> Result<ListMessagesResponse, Status> {
            let revision = self.0.0.fetch_add(1, Ordering::SeqCst) + 1;
            self.0.1.acquire().await.unwrap().forget();
            Ok(ListMessagesResponse { revision, ..ListMessagesResponse::default() })
        }
    }

    #[tokio::test]
    async fn who_asks_for_the_same_gets_what_one_has_read() {
        let (pages, reads, page) = (Arc::new(Pages::default()), Reads::of(0), page());
        let ask = || {
            let (pages, reads) = (pages.clone(), reads.clone());
            tokio::spawn(async move { pages.get(page, reads.next()).await.unwrap().revision })
        };
        let first = ask();
        tokio::task::yield_now().await;
        let others: Vec<_> = (0..50).map(|_| ask()).collect();
        tokio::task::yield_now().await;
        // Who reads is gone: another one does.
        first.abort();
        assert!(first.await.is_err());
        reads.0.1.add_permits(100);
        for other in others {
            assert_eq!(other.await.unwrap(), 2);
        }
        assert_eq!(ask().await.unwrap(), 2);
    }

    #[tokio::test]
    async fn nobody_gets_another_page_than_the_one_asked_for() {
        let (pages, reads, page) = (Pages::default(), Reads::of(100), page());
        let access = Access { first_seq: 2, ..page.access };
        let all = [
            page,
            Page { id: ConversationId::new(), ..page },
            Page { access, ..page },
            Page { revision: 10, ..page },
            Page { before: 5, ..page },
            Page { after: Some(0), ..page },
            Page { around: 5, ..page },
            Page { limit: 51, ..page },
        ];
        for (page, read) in all.into_iter().zip(1..) {
            assert_eq!(pages.get(page, reads.clone().next()).await.unwrap().revision, read);
        }
        assert_eq!(pages.get(page, reads.next()).await.unwrap().revision, 1);
    }

    #[tokio::test]
    async fn what_could_not_be_read_is_read_again() {
        let (pages, page) = (Pages::default(), page());
        assert!(pages.get(page, async { Err(Status::unavailable("")) }).await.is_err());
        assert!(pages.get(page, Reads::of(1).next()).await.is_ok());
    }
}
