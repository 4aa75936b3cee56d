//! The wire's typed words: ids are parsed once, at the edge, and are 16 bytes from there on.

use crate::reason::{Reason, Refusal};
use std::{fmt, str::FromStr};
use uuid::{Builder, Timestamp, Uuid, Variant, Version};

/// The name space of direct conversations (docs/protocol.md, "Words and numbers").
const DIRECT: Uuid = Uuid::from_u128(0xff72924e_545f_5bfa_9405_a8d8cc775e80);
/// The name space of users of an outside identity provider.
const OUTSIDE: Uuid = Uuid::from_u128(0x8fed07ce_de69_54a8_85d0_25f4ae052da7);

/// A text that is no lower-case canonical UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a UUID in lower-case canonical text, such as 0190f5d2-7c1e-7000-8000-0123456789ab")]
pub struct InvalidId;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// A new one, ascending with time.
            #[must_use]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The 16 bytes.
            #[must_use]
            pub fn bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// From exactly 16 bytes.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, InvalidId> {
                Uuid::from_slice(bytes).map(Self).map_err(|_| InvalidId)
            }

            /// The UUID inside.
            #[must_use]
            pub fn uuid(&self) -> Uuid {
                self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let id = Uuid::try_parse(text).map_err(|_| InvalidId)?;
                let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
                if &*id.hyphenated().encode_lower(&mut buffer) == text { Ok(Self(id)) } else { Err(InvalidId) }
            }
        }
    )*};
}

ids! {
    /// Somebody.
    UserId;
    /// A conversation.
    ConversationId;
    /// A device, as its app names it.
    DeviceId;
    /// One device's log-in.
    SessionId;
    /// A picture that is kept.
    PictureId;
    /// A client's own id of a message or a change: a UUIDv7.
    ClientId;
}

impl ConversationId {
    /// The direct conversation of two people; the same whoever asks. With oneself: notes to self.
    #[must_use]
    pub fn direct(one: UserId, other: UserId) -> Self {
        let (low, high) = if one <= other { (one, other) } else { (other, one) };
        let mut name = [0; 32];
        name[..16].copy_from_slice(low.bytes());
        name[16..].copy_from_slice(high.bytes());
        Self(Uuid::new_v5(&DIRECT, &name))
    }
}

impl UserId {
    /// The user of an outside identity provider.
    #[must_use]
    pub fn outside(issuer: &str, subject: &str) -> Self {
        Self(Uuid::new_v5(&OUTSIDE, format!("{issuer}\n{subject}").as_bytes()))
    }
}

impl ClientId {
    /// When the client says that it made it, in ms since 1970; none if it is no UUIDv7.
    #[must_use]
    pub fn at_ms(&self) -> Option<i64> {
        if (self.0.get_version(), self.0.get_variant()) != (Some(Version::SortRand), Variant::RFC4122) {
            return None;
        }
        let (seconds, nanos) = self.0.get_timestamp()?.to_unix();
        i64::try_from(seconds * 1000 + u64::from(nanos / 1_000_000)).ok()
    }

    /// One with a given date and content: for clients that must find the same id again, as a replay does.
    #[must_use]
    pub fn at(ms: u64, random: [u8; 10]) -> Self {
        Self(Builder::from_unix_timestamp_millis(ms, &random).into_uuid())
    }

    /// One dated now.
    #[must_use]
    pub fn now() -> Self {
        Self(Uuid::new_v7(Timestamp::now(uuid::NoContext)))
    }
}

impl PictureId {
    /// What may stand in a field `picture`: the id of one, or nothing.
    pub fn or_none(text: &str) -> Result<(), Refusal> {
        if text.is_empty() || text.parse::<Self>().is_ok() {
            return Ok(());
        }
        let message = "picture must be the id of a picture that was stored, or empty";
        Err(Refusal::new(Reason::InvalidField, message).of("picture"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_one_or_none() {
        assert!(PictureId::or_none("").is_ok() && PictureId::or_none(&PictureId::new().to_string()).is_ok());
        assert!(PictureId::or_none("zzz").is_err() && PictureId::or_none("a\0b").is_err());
    }

    #[test]
    fn direct_conversation_is_symmetric_and_stable() {
        let one: UserId = "00000000-0000-7000-8000-000000000001".parse().unwrap();
        let two: UserId = "00000000-0000-7000-8000-000000000002".parse().unwrap();
        assert_eq!(ConversationId::direct(one, two), ConversationId::direct(two, one));
        assert_ne!(ConversationId::direct(one, one), ConversationId::direct(two, one));
    }

    #[test]
    fn only_canonical_text_is_an_id() {
        assert!("00000000-0000-7000-8000-00000000000A".parse::<UserId>().is_err());
        assert!("{00000000-0000-7000-8000-00000000000a}".parse::<UserId>().is_err());
        assert!("00000000000070008000000000000001".parse::<UserId>().is_err());
        assert!("".parse::<UserId>().is_err());
    }

    #[test]
    fn client_id_tells_its_date() {
        assert_eq!(ClientId::at(1_700_000_000_123, [7; 10]).at_ms(), Some(1_700_000_000_123));
        assert_eq!(ClientId::from(Uuid::nil()).at_ms(), None);
    }
}
