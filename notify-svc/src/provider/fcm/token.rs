//! The OAuth token that Google knows us by, used until shortly before it ends. One asks for it, and all who need it wait for
//! that one answer: also where it is that there is none, which is good for a moment, so that nobody asks on and on.

use super::Account;
use crate::{
    http::Http,
    provider::{Clock, Told, Verdict, jwt::Key},
};
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use http::{HeaderMap, HeaderValue, Uri};
use madang_proto::notify::v1::Provider as Name;
use serde::Deserialize;
use serde_json::json;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the token is for.
const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
/// How long before its end a token is not used any more, in seconds.
const EARLY: i64 = 5 * 60;
/// How long nobody asks after there was none, in seconds; of the clock, which counts whole ones.
const FAILED: i64 = 1;

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: i64,
}

type Asked = Shared<BoxFuture<'static, Result<String, Told>>>;

#[derive(Default)]
struct State {
    /// The token, and until when it is used, seconds since 1970.
    kept: Option<(String, i64)>,
    /// What all wait for.
    asked: Option<Asked>,
    /// That there was none, and when, seconds since 1970.
    failed: Option<(i64, Told)>,
}

/// The tokens of a service account.
pub(super) struct Tokens {
    clock: Clock,
    http: Http,
    account: Account,
    key: Key,
    state: Mutex<State>,
}

impl Tokens {
    pub fn new(clock: Clock, http: Http, account: Account, key: Key) -> Self {
        Self { clock, http, account, key, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token; another than the one that was refused. Otherwise why not. It takes no longer than an answer may.
    pub async fn get(self: &Arc<Self>, refused: Option<&str>) -> Result<String, Told> {
        self.find(refused)?.await
    }

    fn find(self: &Arc<Self>, refused: Option<&str>) -> Result<Asked, Told> {
        let (mut state, now) = (self.lock(), (self.clock)());
        if let Some((token, until)) = &state.kept
            && now < *until
            && refused != Some(token)
        {
            return Ok(std::future::ready(Ok(token.clone())).boxed().shared());
        }
        if let Some((at, told)) = state.failed
            && (at..=at + FAILED).contains(&now)
        {
            return Err(told);
        }
        Ok(state.asked.get_or_insert_with(|| self.clone().begin()).clone())
    }

    /// Asks, whoever goes on waiting for it.
    fn begin(self: Arc<Self>) -> Asked {
        let asking = tokio::spawn(async move {
            let asked = self.ask().await;
            let mut state = self.lock();
            state.asked = None;
            match asked {
                Ok((token, until)) => {
                    (state.kept, state.failed) = (Some((token.clone(), until)), None);
                    Ok(token)
                }
                Err(told) => {
                    state.failed = Some(((self.clock)(), told));
                    Err(told)
                }
            }
        });
        // It is cut off with the process alone.
        let later = Told { verdict: Verdict::Later(None), status: 0 };
        asking.map(move |asked| asked.unwrap_or(Err(later))).boxed().shared()
    }

    async fn ask(&self) -> Result<(String, i64), Told> {
        let now = (self.clock)();
        let claims = json!({
            "iss": self.account.client_email, "scope": SCOPE, "aud": self.account.token_uri, "iat": now, "exp": now + 3600,
        });
        let assertion = self.key.sign(&self.account.private_key_id, &claims).map_err(|_| Told::never())?;
        let body = format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}");
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
        let uri: Uri = self.account.token_uri.parse().map_err(|_| Told::never())?;
        let answer = self.http.post(uri.clone(), headers, body.into_bytes()).await;
        let answer = answer.map_err(|why| Told::failed(Name::Fcm, &uri, why))?;
        let later = Told { verdict: Verdict::Later(answer.retry_after), status: answer.status.as_u16() };
        if !answer.status.is_success() {
            tracing::warn!(status = later.status, "Google gives no token for the service account");
            return Err(later);
        }
        let granted: Granted = serde_json::from_slice(&answer.body.unwrap_or_default()).map_err(|_| later)?;
        Ok((granted.access_token, now + granted.expires_in - EARLY))
    }
}
