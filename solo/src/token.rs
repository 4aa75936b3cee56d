//! Service tokens of `madang serve`: what an internal service shows on the gRPC port. A token is `NAME.MAC`, the MAC
//! being HMAC-SHA-256 of the name under a secret in the data folder, so that nothing about tokens needs to be stored.

use std::{fs, io, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

/// The file that holds the secret.
const FILE: &str = "service-secret";

/// Makes and checks service tokens.
#[derive(Clone)]
pub struct Tokens {
    key: [u8; 32],
}

impl Tokens {
    /// With the secret of a data folder, which is made if it is not there.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let file = folder.join(FILE);
        match fs::read(&file) {
            Ok(bytes) => {
                let damaged =
                    |_| io::Error::other(format!("{} is damaged: remove it, and make new tokens", file.display()));
                Ok(Self { key: <[u8; 32]>::try_from(bytes).map_err(damaged)? })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut key = [0; 32];
                key[..16].copy_from_slice(Uuid::new_v4().as_bytes());
                key[16..].copy_from_slice(Uuid::new_v4().as_bytes());
                fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&file)?.write_all(&key)?;
                Ok(Self { key })
            }
            Err(error) => Err(error),
        }
    }

    /// The token of a service.
    #[must_use]
    pub fn make(&self, name: &str) -> String {
        let mac = hmac_sha256::HMAC::mac(name.as_bytes(), self.key);
        let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{name}.{hex}")
    }

    /// The service whose token it is.
    #[must_use]
    pub fn check<'a>(&self, token: &'a str) -> Option<&'a str> {
        let (name, _) = token.rsplit_once('.')?;
        let expected = self.make(name);
        bool::from(expected.as_bytes().ct_eq(token.as_bytes())).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_tokens_are_taken() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let tokens = Tokens::open(one.path()).unwrap();
        let token = tokens.make("bot");
        assert_eq!(Tokens::open(one.path()).unwrap().check(&token), Some("bot"));
        assert_eq!(Tokens::open(other.path()).unwrap().check(&token), None);
        assert_eq!(tokens.check(&token.replace("bot", "bob")), None);
        assert_eq!(tokens.check("bot"), None);
    }
}
