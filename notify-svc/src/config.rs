//! The settings of a notify-svc, and the providers that they name.

use crate::{
    http::{Http, NoRoots, Reach, trust},
    provider::{
        Providers,
        apns::Apns,
        clock,
        fcm::{BadAccount, Fcm},
        jwt::{BadKey, Key},
        web::Web,
        webhook::Webhook,
    },
    store,
    vapid::{self, Vapid},
};
use madang_mesh::secret::Secret;
use madang_proto::notify::v1::Provider;
use ring::rand::SystemRandom;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

/// How long a push service that users name may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one that the operator has an account with may.
const TRUSTED_PATIENCE: Duration = Duration::from_secs(10);

/// The settings of a notify-svc.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Config {
    /// The folder of the embedded store.
    #[arg(skip)]
    pub data: Option<PathBuf>,
    /// The Postgres database that keeps push subscriptions, postgres://USER:PASSWORD@HOST:PORT/NAME; without it, SQLite
    /// keeps them.
    #[arg(long, env = "MADANG_NOTIFY_POSTGRES", hide_env_values = true)]
    pub notify_postgres: Option<Secret>,
    /// How long a device has to show that it has a message before it is notified, in ms; gateways ask it every 500.
    #[arg(long, env = "MADANG_PUSH_WAIT_MS", default_value_t = 1500, value_parser = clap::value_parser!(u64).range(..=60_000))]
    pub push_wait_ms: u64,
    /// Where push services may complain about this deployment (VAPID's `sub`): mailto:… or https://…; some take nothing
    /// without it.
    #[arg(long, env = "MADANG_PUSH_CONTACT")]
    pub push_contact: Option<String>,
    /// Certificates that push services may have beside those that the system trusts: a file of PEM.
    #[arg(long, env = "MADANG_PUSH_CA")]
    pub push_ca: Option<PathBuf>,
    /// Lets push endpoints be on this machine: for tests.
    #[arg(long, env = "MADANG_PUSH_LOOPBACK", hide = true)]
    pub push_loopback: bool,
    /// A service account of Google that may send by Firebase: its JSON file.
    #[arg(long, env = "MADANG_FCM_ACCOUNT")]
    pub fcm_account: Option<PathBuf>,
    /// Where Firebase is.
    #[arg(long, env = "MADANG_FCM_URL", default_value = "https://fcm.googleapis.com")]
    pub fcm_url: String,
    /// A key of Apple's for push: its .p8 file.
    #[arg(long, env = "MADANG_APNS_KEY", requires_all = ["apns_key_id", "apns_team", "apns_topic"])]
    pub apns_key: Option<PathBuf>,
    /// The key's id.
    #[arg(long, env = "MADANG_APNS_KEY_ID")]
    pub apns_key_id: Option<String>,
    /// The team's id.
    #[arg(long, env = "MADANG_APNS_TEAM")]
    pub apns_team: Option<String>,
    /// The app's bundle id.
    #[arg(long, env = "MADANG_APNS_TOPIC")]
    pub apns_topic: Option<String>,
    /// Where Apple's push service is.
    #[arg(long, env = "MADANG_APNS_URL", default_value = "https://api.push.apple.com")]
    pub apns_url: String,
    /// The same, for builds for development.
    #[arg(long, env = "MADANG_APNS_SANDBOX_URL", default_value = "https://api.sandbox.push.apple.com")]
    pub apns_sandbox_url: String,
}

/// A notify-svc could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing says where subscriptions are kept.
    #[error("notify-svc needs a database: --notify-postgres")]
    NoStore,
    /// The store can't be opened.
    #[error("can't open the push subscriptions: {0}")]
    Store(#[from] store::Error),
    /// The key can't be made or used.
    #[error("the key that pushes are signed with: {0}")]
    Key(#[from] vapid::BadKey),
    /// An address of another service is none.
    #[error(transparent)]
    Address(#[from] madang_mesh::channel::InvalidAddress),
    /// What is trusted can't be read.
    #[error(transparent)]
    Trust(#[from] NoRoots),
    /// A file of the settings can't be read.
    #[error("can't read {0}: {1}")]
    File(PathBuf, std::io::Error),
    /// The account with Firebase.
    #[error("--fcm-account: {0}")]
    Fcm(#[from] BadAccount),
    /// The key of Apple's.
    #[error("--apns-key: {0}")]
    Apns(#[from] BadKey),
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|error| Error::File(path.to_owned(), error))
}

impl Config {
    /// Those who carry pushes.
    pub(crate) fn providers(&self, vapid: &Arc<Vapid>) -> Result<Providers, Error> {
        let trust = trust(self.push_ca.as_deref())?;
        let reach = if self.push_loopback { Reach::PublicOrLoopback } else { Reach::Public };
        let named = Http::new(trust.clone(), reach, PATIENCE);
        let trusted = Http::new(trust, Reach::Anywhere, TRUSTED_PATIENCE);
        let mut providers = Providers::default();
        let web = Web { http: named.clone(), vapid: vapid.clone(), random: SystemRandom::new() };
        providers.add(Provider::WebPush, web);
        providers.add(Provider::Webhook, Webhook { http: named });
        if let Some(path) = &self.fcm_account {
            providers.add(Provider::Fcm, Fcm::new(clock(), trusted.clone(), &read(path)?, &self.fcm_url)?);
        }
        if let Some(path) = &self.apns_key {
            let said = |setting: &Option<String>| setting.clone().unwrap_or_default();
            let apns = Apns {
                http: trusted,
                key: Key::ecdsa(&read(path)?)?,
                key_id: said(&self.apns_key_id),
                team: said(&self.apns_team),
                topic: said(&self.apns_topic),
                bases: [self.apns_url.clone(), self.apns_sandbox_url.clone()],
                token: Mutex::default(),
                taken: Default::default(),
                clock: clock(),
            };
            providers.add(Provider::Apns, apns);
        }
        Ok(providers)
    }
}
