//! The names of people, for a while: a push that names somebody does not ask for each message.

use madang_mesh::channel::Channel;
use madang_proto::{
    account::v1::{GetUsersRequest, account_service_client::AccountServiceClient},
    id::UserId,
};
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// For how long a name is not asked again.
const GOOD: Duration = Duration::from_secs(60);
/// How many are kept; then all are forgotten.
const MOST: usize = 20_000;
/// How many are asked at once.
const AT_ONCE: usize = 1000;

/// The names of people.
pub(super) struct Names {
    account: AccountServiceClient<Channel>,
    known: Mutex<HashMap<UserId, (String, Instant)>>,
}

impl Names {
    pub fn new(account: AccountServiceClient<Channel>) -> Self {
        Self { account, known: Mutex::default() }
    }

    /// Their names. Where account-svc does not answer, those that were known last: a push without a name is better than
    /// none.
    pub async fn of(&self, users: HashSet<UserId>) -> HashMap<UserId, String> {
        let now = Instant::now();
        let fresh = |(_, at): &(String, Instant)| now - *at < GOOD;
        let unknown: Vec<String> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            users.iter().filter(|user| !known.get(user).is_some_and(fresh)).map(UserId::to_string).collect()
        };
        for some in unknown.chunks(AT_ONCE) {
            let request = GetUsersRequest { users: some.to_vec(), handle: String::new() };
            match self.account.clone().get_users(request).await {
                Ok(answer) => {
                    let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                    if known.len() + some.len() > MOST {
                        known.clear();
                    }
                    for each in answer.into_inner().users {
                        if let Ok(user) = each.user.parse() {
                            known.insert(user, (each.name, now));
                        }
                    }
                }
                Err(status) => tracing::warn!(error = status.message(), "names for notifications can't be asked"),
            }
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        users.into_iter().filter_map(|user| Some((user, known.get(&user)?.0.clone()))).collect()
    }
}
