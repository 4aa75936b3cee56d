//! The port to the sessions of those whom an outside identity provider knows: it says that somebody is logged in, and here
//! is kept which session that is, and whether it has ended.

use super::{Error, Session};
use async_trait::async_trait;
use madang_proto::{
    client::v1::{Device, DeviceKind},
    id::{SessionId, UserId},
};

/// For how long a session is not noted to be used once more, in ms.
const USED_MS: i64 = 300_000;

/// A token of the provider.
#[derive(Debug, Clone, PartialEq)]
pub struct LogIn {
    /// Whose.
    pub user: UserId,
    /// Which log-in it is of.
    pub key: [u8; 32],
    /// All tokens of the log-in have this key; otherwise this token alone has.
    pub has_session: bool,
    /// When they logged in, ms since 1970; 0: nobody says.
    pub at: i64,
    /// On what, if they say hello.
    pub device: Option<Device>,
    /// Until when somebody could come with the key, ms since 1970.
    pub until: i64,
}

/// Whether somebody is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// In this session; whether the user's sessions are others than before.
    Yes(SessionId, bool),
    /// The session has ended.
    Ended(SessionId),
    /// There is no such account yet.
    Unknown,
    /// There was one.
    Deleted,
    /// The account is suspended.
    Suspended,
}

/// What a log-in is to do, when it is known where it stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Refuse(SessionId),
    /// The session is the log-in's.
    Known(SessionId),
    /// It is the session of this device, if there is one, or a new one.
    OfDevice(String),
    /// A new one.
    New,
}

impl LogIn {
    /// By what is kept of the log-in: its session, and when that ended.
    pub(super) fn step(&self, kept: Option<(SessionId, i64)>) -> Step {
        match (kept, &self.device) {
            // Who logged in after that has logged in anew.
            (Some((session, ended_at)), _) if ended_at != 0 && !(self.has_session && self.at > ended_at) => {
                Step::Refuse(session)
            }
            (Some((session, 0)), None) => Step::Known(session),
            (Some((session, 0)), Some(_)) if self.has_session => Step::Known(session),
            (_, Some(device)) if !self.has_session => Step::OfDevice(device.id.clone()),
            // What such tokens do without a device is one session of their user, whose id stands for the device.
            (_, None) if !self.has_session => Step::OfDevice(self.user.to_string()),
            (..) => Step::New,
        }
    }

    /// Whether nothing is to be written for it: its session, as it is kept, says all.
    pub(super) fn is_settled(&self, session: &Session, now: i64) -> bool {
        now < session.used_at + USED_MS && self.device.as_ref().is_none_or(|device| *device == session.device)
    }

    /// A session for it.
    pub(super) fn session(&self, now: i64) -> Session {
        let id = SessionId::new();
        let nobody = if self.has_session { id.to_string() } else { self.user.to_string() };
        let unknown = || Device { id: nobody, kind: DeviceKind::Service.into(), ..Device::default() };
        let device = self.device.clone().unwrap_or_else(unknown);
        Session { id, user: self.user, device, created_at: now, used_at: now }
    }
}

/// The log-ins.
#[async_trait]
pub trait OutsideStore: Send + Sync + 'static {
    /// Lets in who shows a token: into the session that there is, or a new one, which ends the same device's, and of more
    /// than `most` the one unused longest.
    async fn admit(&self, log_in: LogIn, most: usize, now: i64) -> Result<Admission, Error>;

    /// Forgets the log-ins with which nobody could come any more.
    async fn forget_log_ins(&self, now: i64) -> Result<(), Error>;
}
