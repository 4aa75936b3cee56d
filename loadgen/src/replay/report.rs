//! What came of a replay, for people and for programs.

use crate::{Error, history::Faults};
use serde::Serialize;
use std::io::Write as _;

/// What came of it.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Rooms replayed.
    pub rooms: usize,
    /// Rooms that the server did not take, for their size.
    pub refused_rooms: usize,
    /// Sockets.
    pub people: usize,
    /// Messages acknowledged.
    pub acked: u64,
    /// Messages refused, as they should be: empty, too long, with NUL.
    pub refused: u64,
    /// Messages refused that are within the limits.
    pub wrongly_refused: u64,
    /// Messages taken that are beyond the limits.
    pub wrongly_accepted: u64,
    /// New messages received, by all sockets; senders receive their own.
    pub deliveries: u64,
    /// From the first message to the last ack.
    pub send_seconds: f64,
    /// From the first message to the last delivery.
    pub seconds: f64,
    /// Acks in a second of `send_seconds`.
    pub sends_per_second: f64,
    /// Deliveries in a second of `seconds`.
    pub deliveries_per_second: f64,
    /// Median from sending to the ack.
    pub ack_p50_ms: f64,
    /// 99th percentile from sending to the ack.
    pub ack_p99_ms: f64,
    /// Median from sending to a delivery.
    pub delivery_p50_ms: f64,
    /// 99th percentile from sending to a delivery.
    pub delivery_p99_ms: f64,
    /// Connections lost and made anew.
    pub reconnects: u64,
    /// Sessions that ended for good.
    pub sessions_ended: u64,
    /// What the members' sockets show.
    pub delivered: Faults,
    /// What the histories show.
    pub history: Faults,
}

impl Report {
    /// Whether all is as it should be.
    #[must_use]
    pub fn good(&self) -> bool {
        self.delivered.none()
            && self.history.none()
            && self.wrongly_refused == 0
            && self.wrongly_accepted == 0
            && self.sessions_ended == 0
    }

    /// Prints it.
    pub fn print(&self, json: bool) -> Result<(), Error> {
        let failed = |error| Error::File("standard output".into(), error);
        let text = if json {
            serde_json::to_string_pretty(self).map_err(|error| Error::Format(error.to_string()))?
        } else {
            self.text()
        };
        writeln!(std::io::stdout(), "{text}").map_err(failed)
    }

    fn text(&self) -> String {
        let r = self;
        [
            format!("{} rooms ({} refused for their size), {} people", r.rooms, r.refused_rooms, r.people),
            format!(
                "{} messages saved, {} refused as they should be, {} wrongly refused, {} wrongly accepted",
                r.acked, r.refused, r.wrongly_refused, r.wrongly_accepted
            ),
            format!(
                "{:.0} messages/s, {:.0} deliveries/s ({} in all)",
                r.sends_per_second, r.deliveries_per_second, r.deliveries
            ),
            format!("ack      p50 {:.1} ms, p99 {:.1} ms", r.ack_p50_ms, r.ack_p99_ms),
            format!("delivery p50 {:.1} ms, p99 {:.1} ms", r.delivery_p50_ms, r.delivery_p99_ms),
            format!("delivered: {}", r.delivered),
            format!("history: {}", r.history),
            format!("{} reconnects, {} sessions ended", r.reconnects, r.sessions_ended),
            if r.good() { "all is as it should be".into() } else { "NOT as it should be".into() },
        ]
        .join("\n")
    }
}
