//! The people of a run: many accounts, made once, found again by the same run.

use crate::Error;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::ProgressBar;
use madang_client::{
    Http,
    http::{self, Tokens},
};
use madang_proto::client::v1::{Device, DeviceKind};
use std::time::Duration;
use uuid::Uuid;

/// How often a call is made before its failure counts.
const TRIES: u32 = 20;

/// Somebody with a log-in.
#[derive(Debug, Clone)]
pub struct Person {
    /// The handle: the run's word and a number.
    pub handle: String,
    /// Their log-in.
    pub tokens: Tokens,
    /// The device that logged in.
    pub device: Device,
}

/// The device of a program, always the same for the same name.
#[must_use]
pub fn device(name: &str) -> Device {
    Device {
        id: Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).to_string(),
        kind: DeviceKind::Service.into(),
        name: "madang".into(),
        app: concat!("madang/", env!("CARGO_PKG_VERSION")).into(),
    }
}

/// What protects an account that exists for one run only; whoever knows the run may log in again.
#[must_use]
pub fn password(handle: &str) -> String {
    format!("{handle}, of a run")
}

/// Makes a call again while the server says that it may.
pub async fn persist<T, F: Future<Output = Result<T, http::Error>>>(
    mut call: impl FnMut() -> F,
) -> Result<T, http::Error> {
    let mut tries = 1;
    loop {
        match call().await {
            Err(error) if error.retryable() && tries < TRIES => {
                let asked = if let http::Error::Refused(problem) = &error { problem.retry_after_ms } else { 0 };
                tokio::time::sleep(Duration::from_millis(asked.max(50 * u64::from(tries)))).await;
                tries += 1;
            }
            other => return other,
        }
    }
}

/// Signs up people numbered from 0, or logs those in who are there already.
pub async fn sign_up(
    http: &Http,
    run: &str,
    count: usize,
    concurrency: usize,
    progress: &ProgressBar,
) -> Result<Vec<Person>, Error> {
    progress.set_length(count as u64);
    let all = stream::iter(0..count).map(async |number| {
        let handle = format!("{run}_{number}");
        let (device, password) = (device(&handle), password(&handle));
        let made = persist(|| http.sign_up(&handle, &password, &handle, &device)).await;
        let tokens = match made {
            Err(error) if error.reason() == "HANDLE_TAKEN" => {
                persist(|| http.log_in(&handle, &password, &device)).await?
            }
            other => other?,
        };
        progress.inc(1);
        Ok::<_, Error>(Person { handle, tokens, device })
    });
    all.buffered(concurrency.max(1)).try_collect().await
}
