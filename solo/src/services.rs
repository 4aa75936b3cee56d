//! The services as processes of their own: their binaries, and what they are told. Whoever runs a cluster on one
//! machine, to use it or to torture it, starts them from this.

use anyhow::bail;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// All services.
pub const ALL: [&str; 7] = ["account", "store", "group", "chat", "notify", "gateway", "api"];
/// Those that others are told of.
pub const CALLED: [&str; 5] = ["account", "store", "group", "chat", "notify"];

/// How addresses of services begin where there are certificates, or are none.
pub fn scheme(certificates: Option<&Path>) -> &'static str {
    if certificates.is_some() { "https" } else { "http" }
}

/// Where a service's binary is: beside this program.
pub fn binary(service: &str) -> anyhow::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(format!("madang-{service}")))
}

/// Says which binaries of services are missing beside this one.
pub fn binaries() -> anyhow::Result<()> {
    for service in ALL {
        let path = binary(service)?;
        if !path.exists() {
            let release = if cfg!(debug_assertions) { "" } else { " --release" };
            bail!("{} is missing: cargo build{release} --workspace --bins", path.display());
        }
    }
    Ok(())
}

/// What a service is told, as variables: where its backends are, and where those are whom it calls.
pub fn variables(
    nats: &str,
    cassandra: &str,
    postgres: &str,
    url: impl Fn(&str) -> String,
) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> =
        CALLED.map(|service| (format!("MADANG_{}_URL", service.to_uppercase()), url(service))).into();
    for (setting, backend) in [
        ("NATS", nats),
        ("CASSANDRA", cassandra),
        ("GROUP_POSTGRES", postgres),
        ("ACCOUNT_POSTGRES", postgres),
        ("NOTIFY_POSTGRES", postgres),
    ] {
        all.insert(format!("MADANG_{setting}"), backend.to_owned());
    }
    all
}
