//! Passwords: argon2id on a bounded blocking pool, so that a storm of log-ins stalls nothing else.

use crate::turns::{NotDone, Turns};
use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version,
    password_hash::{SaltString, rand_core::OsRng},
};
use madang_mesh::refused::Refused;
use madang_proto::reason::{Reason, Refusal};
use std::sync::{Arc, LazyLock};

/// How many hashes are made at once.
const AT_ONCE: usize = 2;
/// How many wait for their turn at most.
const WAITING: usize = 1024;
/// Passes over the memory (OWASP's second choice of parameters, with 19 MiB and one lane).
const PASSES: u32 = 2;

static REFUSED: LazyLock<Refused> = LazyLock::new(|| {
    Refused::new(
        "passwords",
        "log-ins got OVERLOADED since 1,024 wait for their passwords to be checked: a flood, or too few account-svc",
    )
});

/// Hashes and checks passwords.
#[derive(Clone)]
pub struct Passwords {
    argon: Argon2<'static>,
    /// Checked when there is no such account, so that this takes as long.
    decoy: Arc<str>,
    turns: Turns,
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
        Some(Self { argon, decoy, turns: Turns::new(AT_ONCE, WAITING) })
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&Argon2<'_>) -> T + Send + 'static) -> Result<T, Refusal> {
        let argon = self.argon.clone();
        match self.turns.take(move || work(&argon)).await {
            Ok((done, _)) => Ok(done),
            Err(NotDone::Busy) => {
                REFUSED.count();
                Err(Refusal::new(Reason::Overloaded, "too many log in at once: try again a little later").after(1000))
            }
            Err(NotDone::Failed) => Err(internal()),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn a_turn_is_over_when_its_work_is_and_not_when_nobody_waits_for_it() {
        let passwords = Passwords::new(8).unwrap();
        let (begun, begins) = mpsc::channel();
        let mut gates = Vec::new();
        for _ in 0..AT_ONCE {
            let (passwords, begun, (gate, closed)) = (passwords.clone(), begun.clone(), mpsc::channel::<()>());
            gates.push(gate);
            // It works until its gate is gone.
            let work = move |_: &Argon2<'_>| (begun.send(()).unwrap(), closed.recv().is_err());
            let asking = tokio::spawn(async move { passwords.run(work).await });
            while begins.try_recv().is_err() {
                tokio::task::yield_now().await;
            }
            asking.abort();
            assert!(asking.await.unwrap_err().is_cancelled());
        }
        assert_eq!(passwords.turns.at_once.available_permits(), 0, "they still work");
        let waits = WAITING - AT_ONCE;
        let waiting: Vec<_> = (0..waits)
            .map(|_| {
                let passwords = passwords.clone();
                tokio::spawn(async move { passwords.hash("a password".into()).await })
            })
            .collect();
        while passwords.turns.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = passwords.hash("a password".into()).await.unwrap_err();
        assert_eq!(refused.reason, Reason::Overloaded);
        waiting.iter().skip(1).for_each(tokio::task::JoinHandle::abort);
        drop(gates);
        assert!(waiting.into_iter().next().unwrap().await.unwrap().is_ok());
    }
}
