//! A conversation's whole history, read page by page through the HTTP door: what judges compare with what was seen.

use crate::{history::Room, people};
use madang_client::{Http, http};

/// Messages in a page.
const PAGE: u32 = 200;

/// Reads a conversation from its first message on, as somebody who may read all of it; `token` gives a fresh one for
/// each call. Calls are made again while the server says that they may.
pub async fn read(
    http: &Http,
    token: impl Fn() -> String,
    conversation: &str,
    all_visible: bool,
) -> Result<Room, http::Error> {
    let mut room = Room { conversation: conversation.into(), all_visible, ..Room::default() };
    loop {
        let after = room.messages.last().map_or(0, |message| message.seq);
        let page = people::persist(|| {
            let token = token();
            async move { http.after(&token, conversation, after, PAGE).await }
        });
        let page = page.await?;
        let more = page.has_after && !page.messages.is_empty();
        room.messages.extend(page.messages);
        room.notices.extend(page.notices);
        room.revision = page.revision;
        if !more {
            return Ok(room);
        }
    }
}
