//! Those whom an outside identity provider knows: the first of somebody's tokens makes their account, and a log-in there
//! is a session here (docs/adr/0015-outside-identity-providers.md).

use crate::{
    accounts::{Accounts, failed},
    form,
    store::{
        NewAccount,
        outside::{Admission, LogIn},
    },
};
use madang_mesh::{clock::now_ms, token::bad_token};
use madang_proto::{
    account::v1::{AdmitOutsideRequest, AdmitOutsideResponse},
    client::v1::{Device, UserKind},
    id::{SessionId, UserId},
    reason::{Reason, Refusal},
};
use uuid::Uuid;

/// How long after its last use a log-in is remembered, in ms: if it has ended, nobody comes back by it for so long.
const REMEMBERED_MS: i64 = 180 * 86_400_000;
/// The same for a single token, after its `exp`.
const TOKEN_MS: i64 = 120_000;
/// How long doors may keep an answer: less than they remember that a session has ended.
const KEEP_MS: u32 = 300_000;
/// The same for what a token without a session may change by saying hello.
const KEEP_LOOSE_MS: u32 = 5_000;
/// How many characters of a name are taken.
const NAME: usize = 50;

/// The handles that a new account may have: what the provider calls its owner, else something of its id.
fn handles(asked: &str, user: UserId) -> impl Iterator<Item = String> {
    let id = user.uuid().simple().to_string();
    let made = [12, 28].map(|length| format!("u_{}", &id[..length]));
    form::handle(asked).ok().into_iter().chain(made)
}

/// As much of a name as fits.
fn name(asked: &str, handle: &str) -> String {
    let short: String = asked.trim().chars().filter(|c| !c.is_control()).take(NAME).collect();
    form::name(&short).unwrap_or_else(|_| handle.to_owned())
}

impl Accounts {
    /// Lets in who shows a token of the outside provider.
    pub(crate) async fn admit(&self, request: AdmitOutsideRequest) -> Result<AdmitOutsideResponse, Refusal> {
        let without = "no outside identity provider is configured: --issuer, --jwks";
        let provider = self.provider.as_ref().ok_or_else(|| Refusal::new(Reason::NotAllowed, without))?;
        let AdmitOutsideRequest { subject, log_in, has_session, logged_in_at, expires_at, handle, name, device } =
            request;
        let invalid = |_| Refusal::new(Reason::InvalidField, "logIn must have 32 bytes").of("logIn");
        let (user, now) = (UserId::outside(&provider.issuer, &subject), now_ms());
        let ends = expires_at.saturating_mul(1000).saturating_add(TOKEN_MS);
        let log_in = LogIn {
            user,
            key: log_in.try_into().map_err(invalid)?,
            has_session,
            at: logged_in_at.saturating_mul(1000),
            until: if has_session { ends.max(now + REMEMBERED_MS) } else { ends },
            device: device.map(|device: Device| form::device(Some(device))).transpose()?,
        };
        let mut admission = self.try_admit(&log_in).await?;
        if admission == Admission::Unknown {
            self.make_outside(user, &handle, &name).await?;
            admission = self.try_admit(&log_in).await?;
        }
        let (session, ended) = match admission {
            Admission::Yes(session, changed) => {
                if changed {
                    self.changed(user);
                }
                (session, false)
            }
            Admission::Ended(session) => (session, true),
            // Any: there is none.
            Admission::Deleted => (SessionId::from(Uuid::nil()), true),
            Admission::Suspended => {
                return Err(Refusal::new(Reason::Suspended, "this account is suspended: ask the operator why"));
            }
            Admission::Unknown => return Err(bad_token()),
        };
        let loose = !has_session && log_in.device.is_none();
        let keep_ms = if loose { KEEP_LOOSE_MS } else { KEEP_MS };
        Ok(AdmitOutsideResponse { user: user.to_string(), session: session.to_string(), ended, keep_ms })
    }

    async fn try_admit(&self, log_in: &LogIn) -> Result<Admission, Refusal> {
        self.store.admit(log_in.clone(), self.max_devices, now_ms()).await.map_err(failed)
    }

    /// Makes the account of somebody who has none yet: without a password.
    async fn make_outside(&self, user: UserId, handle: &str, full: &str) -> Result<(), Refusal> {
        for handle in handles(handle, user) {
            let name = name(full, &handle);
            let password = String::new();
            let account = NewAccount { id: user, handle, name, password, kind: UserKind::Person, at: now_ms() };
            if self.store.create(account).await.map_err(failed)? {
                return Ok(());
            }
            // The handle belongs to somebody; or two tokens of theirs came at once, and the account is there.
            if !self.store.by_ids(vec![user]).await.map_err(failed)?.is_empty() {
                return Ok(());
            }
        }
        Err(Refusal::new(Reason::HandleTaken, "no handle is free for this account: try again with another name"))
    }
}

/// A password is asked for where there is none.
pub(crate) fn no_password() -> Refusal {
    let message =
        "this account has no password: it is a bot's, or an outside identity provider knows its owner; change it there";
    Refusal::new(Reason::NoPassword, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_account_is_called_as_the_provider_calls_it() {
        let user = UserId::outside("https://id.example.com", "1");
        let of = |asked| handles(asked, user).collect::<Vec<_>>();
        assert_eq!((of("Ann_1").len(), of("Ann_1")[0].as_str()), (3, "ann_1"));
        let made = of("ann@example.com");
        assert_eq!(made.len(), 2, "no address becomes a handle: {made:?}");
        assert!(made.iter().all(|handle| form::handle(handle).as_ref() == Ok(handle)), "{made:?}");
        assert_eq!(name(" 앤  ", "ann"), "앤");
        assert_eq!(name(&"가".repeat(51), "ann"), "가".repeat(50));
        assert_eq!(name("\n", "ann"), "ann");
    }
}
