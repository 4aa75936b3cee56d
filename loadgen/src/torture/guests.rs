//! Groups whose members come and go while things break: an owner takes people in and puts them out, and some go by
//! themselves. One change of a group at a time, so that it is known who is in it.

use super::client::{Client, To};
use crate::history::Membership;
use madang_client::http;
use madang_proto::reason::Reason;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;

/// How long is waited before a change that failed for now is asked for again.
const AGAIN: Duration = Duration::from_millis(250);

/// A group whose members come and go.
pub struct Guests {
    /// Its id.
    pub conversation: String,
    /// Who made it, and stays.
    pub owner: Arc<Client>,
    /// Who comes and goes.
    pub guests: Vec<Arc<Client>>,
    inside: Vec<bool>,
    random: StdRng,
}

/// A change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Add,
    Remove,
    Leave,
}

impl Guests {
    /// With all of them inside.
    #[must_use]
    pub fn new(conversation: String, owner: Arc<Client>, guests: Vec<Arc<Client>>, seed: u64) -> Self {
        let inside = vec![true; guests.len()];
        Self { conversation, owner, guests, inside, random: StdRng::seed_from_u64(seed) }
    }

    /// Changes somebody every `gap`, on average, until it is over; what was begun then is finished. Gives who is inside.
    pub async fn run(mut self, gap: Duration) -> Self {
        let crowd = self.owner.crowd.clone();
        loop {
            crowd.rest(gap.mul_f64(self.random.random_range(0.0..2.0))).await;
            if crowd.over() || self.guests.is_empty() {
                return self;
            }
            let place = self.random.random_range(0..self.guests.len());
            let change = match (self.inside[place], self.random.random_bool(0.5)) {
                (false, _) => Change::Add,
                (true, true) => Change::Remove,
                (true, false) => Change::Leave,
            };
            let guest = self.guests[place].clone();
            if change != Change::Add {
                // Some of what it says now comes too late.
                guest.leaves(&self.conversation);
            }
            if self.change(change, &guest).await {
                self.inside[place] = change == Change::Add;
            }
            if self.inside[place] && change == Change::Add {
                guest.enters(To { conversation: self.conversation.clone(), user: String::new() });
            }
        }
    }

    /// Makes a change until it is known to be made; false: it was refused for good.
    async fn change(&self, change: Change, guest: &Arc<Client>) -> bool {
        let crowd = &self.owner.crowd;
        let (asked, mut again) = (crowd.now(), false);
        loop {
            let answer = self.ask(change, guest).await;
            let revision = match answer {
                Ok(answer) => match taken(&answer) {
                    Ok(revision) => revision,
                    Err(why) => {
                        crowd.refused("taking somebody in", &why);
                        return false;
                    }
                },
                Err(error) if error.retryable() => {
                    again = true;
                    sleep(AGAIN).await;
                    continue;
                }
                // An earlier try has done it, and its answer was lost.
                Err(error) if again && change != Change::Add => {
                    let gone = [Reason::ConversationNotFound, Reason::UserNotFound].map(Reason::word);
                    if !gone.contains(&error.reason()) {
                        crowd.refused("a removal", &error.to_string());
                    }
                    return true;
                }
                Err(error) => {
                    crowd.refused(&format!("{change:?}"), &error.to_string());
                    return false;
                }
            };
            crowd.reached(&self.conversation, revision);
            crowd.journal().changed(Membership {
                asked,
                answered: crowd.now(),
                conversation: &self.conversation,
                user: guest.user(),
                inside: change == Change::Add,
                revision,
            });
            return true;
        }
    }

    async fn ask(&self, change: Change, guest: &Client) -> Result<Value, http::Error> {
        let members = format!("/v1/groups/{}/members", self.conversation);
        let one = format!("{members}/{}", guest.user());
        let http = self.owner.http();
        match change {
            Change::Add => {
                let body = json!({"users": [guest.user()]});
                http.call("POST", &members, Some(&self.owner.token()), Some(body), None).await
            }
            Change::Remove => http.call("DELETE", &one, Some(&self.owner.token()), None, None).await,
            Change::Leave => http.call("DELETE", &one, Some(&guest.token()), None, None).await,
        }
    }

    /// Everybody who is inside.
    pub fn members(&self) -> impl Iterator<Item = &Arc<Client>> {
        let inside = self.guests.iter().zip(&self.inside).filter(|(_, inside)| **inside).map(|(guest, _)| guest);
        std::iter::once(&self.owner).chain(inside)
    }

    /// Everybody who is not.
    pub fn outside(&self) -> impl Iterator<Item = &Arc<Client>> {
        self.guests.iter().zip(&self.inside).filter(|(_, inside)| !**inside).map(|(guest, _)| guest)
    }
}

/// As of which event a change holds, by its answer; or why it was refused.
fn taken(answer: &Value) -> Result<u64, String> {
    if let Some(reason) = answer["refused"][0]["reason"].as_str() {
        return Err(reason.into());
    }
    let revision = &answer["revision"];
    let number = revision.as_str().and_then(|text| text.parse().ok()).or(revision.as_u64());
    number.ok_or_else(|| format!("an answer without a revision: {answer}"))
}
