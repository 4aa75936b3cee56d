//! Passwords: argon2id on a bounded blocking pool, so that a storm of log-ins stalls nothing else.

use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version,
    password_hash::{SaltString, rand_core::OsRng},
};
use madang_proto::reason::{Reason, Refusal};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// How many hashes are made at once.
const AT_ONCE: usize = 2;
/// How many wait for their turn at most.
const WAITING: usize = 1024;
/// Passes over the memory (OWASP's second choice of parameters, with 19 MiB and one lane).
const PASSES: u32 = 2;

/// Hashes and checks passwords.
#[derive(Clone)]
pub struct Passwords {
    argon: Argon2<'static>,
    /// Checked when there is no such account, so that this takes as long.
    decoy: Arc<str>,
    turns: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

fn internal() -> Refusal {
    Refusal::new(Reason::Internal, "the password could not be checked: try again")
}

impl Passwords {
    /// With a cost in KiB of memory; none if argon2 takes no such cost.
    #[must_use]
    pub fn new(kib: u32) -> Option<Self> {
        let params = Params::new(kib, PASSES, 1, None).ok()?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let salt = SaltString::generate(&mut OsRng);
        let decoy = argon.hash_password(b"nobody's password", &salt).ok()?.to_string().into();
        let (turns, waiting) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::new(Semaphore::new(WAITING)));
        Some(Self { argon, decoy, turns, waiting })
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&Argon2<'_>) -> T + Send + 'static) -> Result<T, Refusal> {
        let Ok(_place) = self.waiting.try_acquire() else {
            return Err(
                Refusal::new(Reason::Overloaded, "too many log in at once: try again a little later").after(1000)
            );
        };
        let _turn = self.turns.acquire().await.map_err(|_| internal())?;
        let argon = self.argon.clone();
        tokio::task::spawn_blocking(move || work(&argon)).await.map_err(|_| internal())
    }

    /// A password's hash, with a new salt.
    pub async fn hash(&self, password: String) -> Result<String, Refusal> {
        let hash = self.run(move |argon| {
            let salt = SaltString::generate(&mut OsRng);
            argon.hash_password(password.as_bytes(), &salt).map(|hash| hash.to_string())
        });
        hash.await?.map_err(|_| internal())
    }

    /// Whether it is the password of the hash; without a hash it takes as long and is wrong.
    pub async fn check(&self, password: String, hash: Option<String>) -> Result<bool, Refusal> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.decoy.to_string());
        let right = self.run(move |argon| {
            PasswordHash::new(&hash).is_ok_and(|hash| argon.verify_password(password.as_bytes(), &hash).is_ok())
        });
        Ok(right.await? && known)
    }
}
