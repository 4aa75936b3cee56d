//! What account-svc decides: who gets a session, and what a refresh token is still good for.

use crate::{
    form,
    keys::Keys,
    outside::no_password,
    passwords::Passwords,
    pictures::Pictures,
    provider::Provider,
    refreshes::Refreshes,
    store::{self, AccountStore, Begun, NewAccount, Renewed, Session},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use madang_mesh::{channel::Channel, clock::now_ms, operations::Operations, rate::Rate, token::Claims};
use madang_proto::{
    account::v1::{SignUpRequest, TokenSet},
    client::v1::{Device, User, UserKind},
    group::v1::group_service_client::GroupServiceClient,
    id::{SessionId, UserId},
    reason::{Reason, Refusal},
    store::v1::store_service_client::StoreServiceClient,
};
use sha2::{Digest, Sha256};
use std::{sync::Arc, time::Instant};
use tokio::sync::Semaphore;

/// How long an older refresh token works after the newer one was used, in ms.
const GRACE_MS: i64 = 60_000;

/// People and their sessions.
pub struct Accounts {
    pub(crate) store: Arc<dyn AccountStore>,
    pub(crate) passwords: Passwords,
    /// Whose password may be checked who is logged in.
    pub(crate) checks: Rate<UserId>,
    /// None: no place for pictures is configured.
    pub(crate) pictures: Option<Pictures>,
    /// The way to conversations' homes.
    pub(crate) operations: Operations,
    pub(crate) group: GroupServiceClient<Channel>,
    pub(crate) messages: StoreServiceClient<Channel>,
    /// Places for telling devices of changes.
    pub(crate) telling: Arc<Semaphore>,
    pub(crate) keys: Keys,
    /// Whose turn it is to refresh.
    pub(crate) refreshes: Refreshes,
    /// Who else says who somebody is.
    pub(crate) provider: Option<Provider>,
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
    /// Makes an account and its first session; for a bot only what of its password and its device is given.
    pub async fn sign_up(&self, new: SignUpRequest) -> Result<TokenSet, Refusal> {
        let kind = form::kind(new.kind)?;
        let is_bot = kind == UserKind::Bot;
        let handle = form::handle(&new.handle)?;
        let name = form::name(if new.name.is_empty() { &handle } else { &new.name })?;
        let password = Some(new.password).filter(|password| !(is_bot && password.is_empty()));
        password.as_deref().map(form::password).transpose()?;
        let device = if is_bot && new.device.is_none() { None } else { Some(form::device(new.device)?) };
        let taken = || Refusal::new(Reason::HandleTaken, "this handle belongs to somebody: choose another, or log in");
        if self.store.by_handle(handle.clone()).await.map_err(failed)?.is_some() {
            return Err(taken());
        }
        let password = match password {
            Some(password) => self.passwords.hash(password).await?,
            None => String::new(),
        };
        let id = UserId::new();
        let account = NewAccount { id, handle, name, password, kind, at: now_ms() };
        if !self.store.create(account).await.map_err(failed)? {
            return Err(taken());
        }
        match device {
            Some(device) => self.begin(id, device, None).await,
            None => Ok(TokenSet { user: self.user(id).await?, ..TokenSet::default() }),
        }
    }

    /// Whose handle this is, and the hash of their password; one that can't be is nobody's.
    pub(crate) async fn of_handle(&self, text: &str) -> Result<Option<(User, String)>, store::Error> {
        match form::handle(text) {
            Ok(handle) => self.store.by_handle(handle).await,
            Err(_) => Ok(None),
        }
    }

    async fn user(&self, id: UserId) -> Result<Option<User>, Refusal> {
        Ok(self.store.by_ids(vec![id]).await.map_err(failed)?.pop())
    }

    /// Begins a session.
    pub async fn log_in(&self, handle: &str, password: String, device: Option<Device>) -> Result<TokenSet, Refusal> {
        let device = form::device(device)?;
        let found = self.of_handle(handle).await.map_err(failed)?;
        let (user, hash) = found.unzip();
        // Who has none is nobody here: that takes as long, too.
        let right = self.passwords.check(password, hash.clone().filter(|hash| !hash.is_empty())).await?;
        let user: User = user.filter(|_| right).ok_or_else(wrong)?;
        // The password may have been changed while it was checked: then it was the wrong one.
        self.begin(user.user.parse().map_err(|_| wrong())?, device, hash).await
    }

    async fn begin(&self, user: UserId, device: Device, checked: Option<String>) -> Result<TokenSet, Refusal> {
        let now = now_ms();
        let session = Session { id: SessionId::new(), user, device, created_at: now, used_at: now };
        let refresh = new_refresh();
        match self.store.begin(session.clone(), hash(&refresh), self.max_devices, checked).await.map_err(failed)? {
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
        let user = self.user(user).await?;
        self.tokens(&session, user, refresh)
    }

    fn tokens(&self, session: &Session, user: Option<User>, refresh_token: String) -> Result<TokenSet, Refusal> {
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
        let (now, next) = (now_ms(), new_refresh());
        let turn = self.refreshes.turn().await?;
        let renewed = self.store.renew(hash(refresh), hash(&next), GRACE_MS, now).await.map_err(failed)?;
        drop(turn);
        match renewed {
            Renewed::Next(session, user) => self.tokens(&session, Some(user), next),
            Renewed::Unknown => Err(bad()),
            Renewed::Late(Session { id: session, user, .. }) => {
                tracing::warn!(%session, "an old refresh token was used: its session is ended");
                self.store.end(None, session, now).await.map_err(failed)?;
                self.changed(user);
                Err(bad())
            }
        }
    }

    /// Changes one's password: with the old one, since a session may be in wrong hands. The other sessions end.
    pub async fn change_password(
        &self,
        user: UserId,
        keep: SessionId,
        old: String,
        new: String,
    ) -> Result<(), Refusal> {
        form::password(&new).map_err(|refusal| refusal.of("newPassword"))?;
        let hash = self.store.password(user).await.map_err(failed)?;
        if hash.as_deref() == Some("") {
            return Err(no_password());
        }
        let wrong = || Refusal::new(Reason::WrongPassword, "this is not the account's password: check `old`");
        self.may_check(user)?;
        if !self.passwords.check(old, hash.clone()).await? {
            return Err(wrong());
        }
        let new = self.passwords.hash(new).await?;
        if !self.store.set_password(user, new, hash, Some(keep), now_ms()).await.map_err(failed)? {
            return Err(wrong());
        }
        self.changed(user);
        Ok(())
    }

    /// Whether somebody who is logged in may have their password checked once more: each check takes what log-ins wait for, and
    /// whoever has got hold of a session is not to guess.
    pub(crate) fn may_check(&self, user: UserId) -> Result<(), Refusal> {
        self.checks.take(user, Instant::now()).map_err(|ms| {
            let message = "the account's password was checked too often lately: try again after retryAfterMs";
            Refusal::new(Reason::RateLimited, message).after(ms)
        })
    }

    /// The place for pictures.
    pub(crate) fn pictures(&self) -> Result<&Pictures, Refusal> {
        let none = "pictures are not kept here: the operator sets a place for them (--pictures)";
        self.pictures.as_ref().ok_or_else(|| Refusal::new(Reason::NotConfigured, none))
    }
}

fn new_refresh() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}
