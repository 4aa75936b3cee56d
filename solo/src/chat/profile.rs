//! What a terminal keeps of somebody: a device, a password that nobody types, and tokens; readable by its owner alone.

use anyhow::{Context as _, bail};
use madang_client::{
    Http,
    http::{self, Tokens},
};
use madang_proto::client::v1::{Device, DeviceKind};
use serde::{Deserialize, Serialize};
use std::{fs, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::PathBuf};
use uuid::Uuid;

#[derive(Serialize, Deserialize)]
struct Saved {
    device: String,
    password: String,
    tokens: Option<Tokens>,
}

/// Somebody on a server, as this terminal knows them.
pub struct Profile {
    file: PathBuf,
    handle: String,
    saved: Saved,
    /// This terminal.
    pub device: Device,
}

impl Profile {
    /// Opens it, or begins a new one.
    pub fn open(folder: Option<PathBuf>, server: &str, handle: &str) -> anyhow::Result<Self> {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let handle = handle.to_lowercase();
        if !(3..=30).contains(&handle.len()) || !handle.chars().all(good) {
            bail!("`{handle}` is no handle: 3 to 30 of a-z, 0-9 and _");
        }
        let folder = match folder {
            Some(folder) => folder,
            None => match (std::env::var_os("XDG_STATE_HOME"), std::env::var_os("HOME")) {
                (Some(state), _) => PathBuf::from(state).join("madang"),
                (_, Some(home)) => PathBuf::from(home).join(".local/state/madang"),
                _ => bail!("no home folder: say with --state where the log-in is kept"),
            },
        };
        fs::create_dir_all(&folder).with_context(|| format!("can't make the folder {}", folder.display()))?;
        let server = server.trim_start_matches("http://").replace(['/', ':'], "_");
        let file = folder.join(format!("{server}-{handle}.json"));
        let saved = match fs::read(&file) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged: remove it", file.display()))?
            }
            Err(_) => {
                let (device, password) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
                Saved { device, password, tokens: None }
            }
        };
        let device = Device {
            id: saved.device.clone(),
            kind: DeviceKind::Desktop.into(),
            name: "terminal".into(),
            app: concat!("madang-chat/", env!("CARGO_PKG_VERSION")).into(),
        };
        Ok(Self { file, handle, saved, device })
    }

    /// Tokens that are good for a while: refreshed, by a log-in, or by signing up.
    pub async fn log_in(&mut self, http: &Http) -> anyhow::Result<Tokens> {
        if let Some(tokens) = self.saved.tokens.clone() {
            match http.refresh(&tokens.refresh_token).await {
                Ok(tokens) => return self.save(tokens),
                Err(error) if error.retryable() => return Err(error.into()),
                Err(_) => {}
            }
        }
        let (handle, password) = (self.handle.clone(), self.saved.password.clone());
        let tokens = match http.sign_up(&handle, &password, &handle, &self.device).await {
            Err(error) if error.reason() == "HANDLE_TAKEN" => {
                match http.log_in(&handle, &password, &self.device).await {
                    Err(http::Error::Refused(_)) => bail!(
                        "{handle} is taken on this server, and this terminal does not know the password: choose another name"
                    ),
                    other => other?,
                }
            }
            other => other?,
        };
        self.save(tokens)
    }

    /// Keeps new tokens.
    pub fn save(&mut self, tokens: Tokens) -> anyhow::Result<Tokens> {
        self.saved.tokens = Some(tokens.clone());
        let new = self.file.with_extension("new");
        let write = || {
            let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
            file.write_all(&serde_json::to_vec(&self.saved)?)?;
            fs::rename(&new, &self.file)
        };
        write().with_context(|| format!("can't write {}", self.file.display()))?;
        Ok(tokens)
    }
}
