//! What a client is told once its home has opened its link: `ready` the first time, `resync` where something may be missing.

use super::{Connection, encoded};
use bytes::Bytes;
use madang_mesh::clock::now_ms;
use madang_proto::client::v1::{Ready, Resume, Resync, server_frame};

/// What a client that hears nothing waits before it pings, in ms.
const HEARTBEAT_MS: u32 = 35_000;

impl Connection {
    pub(super) fn opened(&mut self, cursor: String, resume: Resume) -> Option<Bytes> {
        self.cursor.clone_from(&cursor);
        if std::mem::replace(&mut self.ready, true) {
            // Behind the client's back; it hears of it only if something may be missing.
            let resync = server_frame::Body::Resync(Resync { cursor });
            return (resume != Resume::Resumed).then(|| encoded(0, resync));
        }
        let ready = Ready {
            user: self.claims.user.to_string(),
            session: self.claims.session.to_string(),
            cursor,
            resume: resume.into(),
            heartbeat_ms: HEARTBEAT_MS,
            max_frame_bytes: u32::try_from(self.shared.settings.max_frame_bytes).unwrap_or(u32::MAX),
            max_in_flight: self.shared.settings.max_in_flight,
            server_time: now_ms(),
        };
        Some(encoded(self.hello_id, server_frame::Body::Ready(ready)))
    }
}
