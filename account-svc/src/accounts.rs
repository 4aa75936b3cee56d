//! What account-svc decides: who gets a session, and what a refresh token is still good for.

use crate::{
    form,
    keys::Keys,
    passwords::Passwords,
    pictures::Pictures,
    store::{self, AccountStore, Begun, Session},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use madang_mesh::{channel::Channel, clock::now_ms, operations::Operations, token::Claims};
use madang_proto::{
    account::v1::TokenSet,
    client::v1::{Device, User},
    group::v1::group_service_client::GroupServiceClient,
    id::{SessionId, UserId},
    reason::{Reason, Refusal},
    store::v1::store_service_client::StoreServiceClient,
};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// How long an older refresh token works after the newer one was used, in ms.
const GRACE_MS: i64 = 60_000;

/// People and their sessions.
pub struct Accounts {
    pub(crate) store: Arc<dyn AccountStore>,
    pub(crate) passwords: Passwords,
    /// None: no place for pictures is configured.
    pub(crate) pictures: Option<Pictures>,
    /// The way to conversations' homes.
    pub(crate) operations: Operations,
    pub(crate) group: GroupServiceClient<Channel>,
    pub(crate) messages: StoreServiceClient<Channel>,
    /// Places for telling devices of changes.
    pub(crate) telling: Arc<Semaphore>,
    pub(crate) keys: Keys,
    pub(crate) issuer: String,
    pub(crate) max_devices: usize,
    pub(crate) seconds: u32,
}

pub(crate) fn failed(error: store::Error) -> Refusal {
    tracing::error!(%error, "the account store failed");
    Refusal::new(Reason::Unavailable, "accounts can't be reached: try again a little later").after(1000)
}

fn wrong() -> Refusal {
    Refusal::new(Reason::BadCredentials, "no account has this handle and password: check both")
}

fn hash(refresh: &str) -> [u8; 32] {
    Sha256::digest(refresh.as_bytes()).into()
}

impl Accounts {
    /// Makes an account and its first session.
    pub async fn sign_up(
        &self,
        handle: &str,
        password: String,
        name: &str,
        device: Option<Device>,
    ) -> Result<TokenSet, Refusal> {
        let handle = form::handle(handle)?;
        let name = form::name(if name.is_empty() { &handle } else { name })?;
        form::password(&password)?;
        let device = form::device(device)?;
        let taken = || Refusal::new(Reason::HandleTaken, "this handle belongs to somebody: choose another, or log in");
        if self.store.by_handle(handle.clone()).await.map_err(failed)?.is_some() {
            return Err(taken());
        }
        let password = self.passwords.hash(password).await?;
        let id = UserId::new();
        if !self.store.create(id, handle, name, password, now_ms()).await.map_err(failed)? {
            return Err(taken());
        }
        self.begin(id, device).await
    }

    /// Begins a session.
    pub async fn log_in(&self, handle: &str, password: String, device: Option<Device>) -> Result<TokenSet, Refusal> {
        let device = form::device(device)?;
        let found = self.store.by_handle(handle.to_ascii_lowercase()).await.map_err(failed)?;
        let (user, hash) = found.unzip();
        let right = self.passwords.check(password, hash).await?;
        let user: User = user.filter(|_| right).ok_or_else(wrong)?;
        self.begin(user.user.parse().map_err(|_| wrong())?, device).await
    }

    async fn begin(&self, user: UserId, device: Device) -> Result<TokenSet, Refusal> {
        let now = now_ms();
        let session = Session { id: SessionId::new(), user, device, created_at: now, used_at: now };
        let refresh = new_refresh();
        match self.store.begin(session.clone(), hash(&refresh), self.max_devices).await.map_err(failed)? {
            Begun::Yes(others) => {
                if others {
                    self.changed(user);
                }
            }
            Begun::NoAccount => return Err(wrong()),
            Begun::Suspended => {
                let message = "this account is suspended: ask the operator why";
                return Err(Refusal::new(Reason::Suspended, message));
            }
        }
        self.tokens(&session, refresh).await
    }

    async fn tokens(&self, session: &Session, refresh_token: String) -> Result<TokenSet, Refusal> {
        let user = self.store.by_ids(vec![session.user]).await.map_err(failed)?.pop();
        let now = now_ms() / 1000;
        let keyless = || Refusal::new(Reason::Internal, "there is no key to sign with: try again");
        let claims = Claims { user: session.user, session: session.id, expires_at: now + i64::from(self.seconds) };
        Ok(TokenSet {
            user,
            session: session.id.to_string(),
            access_token: self.keys.sign(&self.issuer, claims, now).ok_or_else(keyless)?,
            refresh_token,
            expires_in: self.seconds,
        })
    }

    /// Rotates a refresh token. The old one works until the new pair is used and 60 s longer; its use after that
    /// revokes the family, as somebody has it who should not.
    pub async fn refresh(&self, refresh: &str) -> Result<TokenSet, Refusal> {
        let bad = || Refusal::new(Reason::BadToken, "this refresh token is not good (any more): log in");
        let used = hash(refresh);
        let family = self.store.family(used).await.map_err(failed)?.ok_or_else(bad)?;
        let now = now_ms();
        if !family.current && family.next_used_at != 0 && now > family.next_used_at + GRACE_MS {
            let session = family.session.id;
            tracing::warn!(%session, "an old refresh token was used: its session is ended");
            self.store.end(None, session, now).await.map_err(failed)?;
            self.changed(family.session.user);
            return Err(bad());
        }
        let next = new_refresh();
        self.store.rotate(family.session.id, used, hash(&next), now).await.map_err(failed)?;
        self.tokens(&family.session, next).await
    }

    /// Changes one's password: with the old one, since a session may be in wrong hands. The other sessions end.
    pub async fn change_password(
        &self,
        user: UserId,
        keep: SessionId,
        old: String,
        new: String,
    ) -> Result<(), Refusal> {
        form::password(&new)?;
        let hash = self.store.password(user).await.map_err(failed)?;
        if !self.passwords.check(old, hash).await? {
            return Err(Refusal::new(Reason::WrongPassword, "this is not the account's password: check `old`"));
        }
        let hash = self.passwords.hash(new).await?;
        self.store.set_password(user, hash, Some(keep), now_ms()).await.map_err(failed)?;
        self.changed(user);
        Ok(())
    }

    /// The place for pictures.
    pub(crate) fn pictures(&self) -> Result<&Pictures, Refusal> {
        let none = "pictures are not kept here: the operator sets a place for them (--pictures)";
        self.pictures.as_ref().ok_or_else(|| Refusal::new(Reason::Unimplemented, none))
    }
}

fn new_refresh() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}
