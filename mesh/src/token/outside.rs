//! Tokens of an outside identity provider: what they say, and who may have what they were told of them for a moment.
//! account-svc alone knows whose account and session such a token is of (docs/adr/0015-outside-identity-providers.md).

use super::{Claims, form::Form, keys::Keys};
use madang_proto::{account::v1::AdmitOutsideRequest, client::v1::Device};
use prost::Message as _;
use ring::digest::{SHA256, digest};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How many seconds the provider's clock may be ahead.
const LEEWAY: i64 = 60;
/// The longest `sub` and `sid`, in bytes.
const LONGEST: usize = 255;
/// How many answers are kept at most.
const KEPT: usize = 100_000;

/// An outside provider.
#[derive(Debug, Default)]
pub(super) struct Provider {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// None: it has not given any yet.
    pub keys: Keys,
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, &parts.concat()).as_ref());
    hash
}

/// What a token of an outside provider says, for account-svc; none: it is not good.
pub(super) fn read(token: &str, form: &Form<'_>, keys: &Keys, now: i64) -> Option<AdmitOutsideRequest> {
    let expires_at = form.check(keys, now, LEEWAY)?;
    let good = |text: &&str| (1..=LONGEST).contains(&text.len()) && !text.chars().any(char::is_control);
    let subject = form.text("sub").filter(good)?;
    let sid = form.text("sid").filter(good);
    // The signature is left out: of one token there may be several (ECDSA), which are of one log-in.
    let signed = token.rsplit_once('.')?.0;
    let log_in = sid.map_or_else(|| hash(&[b"token\n", signed.as_bytes()]), |sid| hash(&[b"sid\n", sid.as_bytes()]));
    Some(AdmitOutsideRequest {
        subject: subject.to_owned(),
        log_in: log_in.to_vec(),
        has_session: sid.is_some(),
        logged_in_at: form.number("auth_time").unwrap_or_default(),
        expires_at,
        handle: form.text("preferred_username").unwrap_or_default().to_owned(),
        name: form.text("name").unwrap_or_default().to_owned(),
        device: None,
    })
}

/// Answers of account-svc that hold for a moment.
#[derive(Default)]
pub(super) struct Admitted(Mutex<HashMap<[u8; 32], (Claims, Instant)>>);

impl Admitted {
    /// What an answer is kept under.
    pub fn key(token: &str, device: Option<&Device>) -> [u8; 32] {
        let device = device.map(Device::encode_to_vec);
        let said: [u8; 1] = [device.is_some().into()];
        hash(&[&said, token.as_bytes(), b"\n", &device.unwrap_or_default()])
    }

    pub fn get(&self, key: &[u8; 32], now: Instant) -> Option<Claims> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(key).filter(|(_, until)| now < *until).map(|(claims, _)| *claims)
    }

    pub fn keep(&self, key: [u8; 32], claims: Claims, now: Instant, keep: Duration) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.retain(|_, (_, until)| now < *until);
            if kept.len() >= KEPT {
                // They are asked for again.
                kept.clear();
            }
        }
        kept.insert(key, (claims, now + keep));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use madang_proto::id::{SessionId, UserId};

    #[test]
    fn answers_are_kept_for_their_time_and_so_many() {
        let (admitted, now) = (Admitted::default(), Instant::now());
        let claims = Claims { user: UserId::new(), session: SessionId::new(), expires_at: 1 };
        let device = Device::default();
        let (one, two) = (Admitted::key("a", None), Admitted::key("a", Some(&device)));
        assert_ne!(one, two, "a device of which nothing is said is one nevertheless");
        admitted.keep(one, claims, now, Duration::from_secs(1));
        assert_eq!((admitted.get(&one, now), admitted.get(&two, now)), (Some(claims), None));
        assert_eq!(admitted.get(&one, now + Duration::from_secs(1)), None);
        for n in 0..KEPT {
            admitted.keep(hash(&[&n.to_le_bytes()]), claims, now, Duration::from_secs(9));
        }
        assert!(admitted.0.lock().unwrap().len() <= KEPT);
    }
}
