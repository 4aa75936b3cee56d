//! The ends of accounts. One that is deleted is gone at once, in one transaction; leaving its groups and erasing what was
//! said is a job that is taken up again wherever it was left, by whichever account-svc is there.
//!
//! A job goes through all conversations three times, leaving and erasing: at once, so that what was said is not read for longer
//! than that takes; when its sessions are closed everywhere; and when no token of the account can be good for anything any more,
//! also at a gateway that hears of no session's end; so that nothing that was said or joined meanwhile is left. Each step may be
//! done twice.

use crate::{
    accounts::{Accounts, failed},
    form,
    outside::no_password,
    store::deletions::Job,
};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use madang_mesh::{clock::now_ms, status::from_status};
use madang_proto::{
    client::v1::ConversationKind,
    group::v1::{ListMembershipsRequest, Membership, RemoveMemberRequest},
    id::{ConversationId, UserId},
    reason::{Reason, Refusal},
    store::v1::EraseRequest,
};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often it is looked for what is to be done.
const LOOK: Duration = Duration::from_secs(1);
/// How many accounts are cleaned up at once.
const AT_ONCE: usize = 8;
/// How long who has taken a job may take for a page of it, in ms; then somebody else takes it up.
const TAKEN_MS: i64 = 60_000;
/// When what could not be done is tried again, in ms.
const AGAIN_MS: i64 = 10_000;
/// How long after a round the next comes, in ms. Sessions are closed everywhere within 2 s, and what was under way then is done
/// soon; a token is good for 15 minutes at most, and a clock may be a little behind.
const ROUNDS_MS: [i64; 2] = [10_000, 16 * 60_000];
/// How many conversations are looked up at once.
const PAGE: u32 = 100;
/// How long one call may take.
const DEADLINE: Duration = Duration::from_secs(20);

fn nobody() -> Refusal {
    Refusal::new(Reason::UserNotFound, "no such account: check the id")
}

impl Accounts {
    /// Deletes an account: with its password, since a session may be in wrong hands. Who an outside provider knows has none.
    pub async fn delete(&self, user: UserId, password: String, erase: bool) -> Result<(), Refusal> {
        let hash = self.store.password(user).await.map_err(failed)?.ok_or_else(nobody)?;
        let wrong = || Refusal::new(Reason::WrongPassword, "this is not the account's password: check `password`");
        if !hash.is_empty() {
            self.may_check(user)?;
        }
        if !hash.is_empty() && !self.passwords.check(password, Some(hash.clone())).await? {
            return Err(wrong());
        }
        if self.store.delete(user, hash, erase, now_ms()).await.map_err(failed)? {
            return Ok(());
        }
        // It was changed while it was checked, against whoever deletes, or another was quicker.
        let is_there = self.store.password(user).await.map_err(failed)?.is_some();
        Err(if is_there { wrong() } else { nobody() })
    }

    /// Suspends an account, or ends that.
    pub async fn suspend(&self, user: UserId, suspended: bool) -> Result<(), Refusal> {
        let done = self.store.suspend(user, suspended, now_ms()).await.map_err(failed)?;
        if done { Ok(()) } else { Err(nobody()) }
    }

    /// Sets a password without the one before; all sessions end.
    pub async fn set_password(&self, user: UserId, password: String) -> Result<(), Refusal> {
        form::password(&password)?;
        if self.store.password(user).await.map_err(failed)?.as_deref() == Some("") {
            return Err(no_password());
        }
        let hash = self.passwords.hash(password).await?;
        let done = self.store.set_password(user, hash, None, None, now_ms()).await.map_err(failed)?;
        if done { Ok(()) } else { Err(nobody()) }
    }

    /// Does what is left to do for deleted accounts, for as long as this runs: several at once, as one may have been in
    /// thousands of conversations.
    pub(crate) async fn clean_up(&self, drain: CancellationToken) {
        let (mut under_way, mut look) = (FuturesUnordered::new(), Instant::now());
        loop {
            tokio::select! {
                () = drain.cancelled() => break,
                Some(()) = under_way.next() => {}
                () = tokio::time::sleep_until(look), if under_way.len() < AT_ONCE => {
                    let now = now_ms();
                    look = Instant::now();
                    match self.store.take_deletion(now, now + TAKEN_MS).await {
                        Ok(Some(job)) => under_way.push(self.clean_up_one(job, drain.clone())),
                        Ok(None) => look += LOOK,
                        Err(error) => {
                            tracing::warn!(%error, "deleted accounts can't be looked for; trying again");
                            look += 5 * LOOK;
                        }
                    }
                }
            }
        }
        while under_way.next().await.is_some() {}
    }

    /// Goes on with a job until its round is done, or this ends.
    async fn clean_up_one(&self, mut job: Job, drain: CancellationToken) {
        let user = job.user;
        tokio::select! {
            () = drain.cancelled() => {}
            done = self.go_on(&mut job) => {
                if let Err(refusal) = done {
                    let (reason, why) = (refusal.reason.word(), refusal.message);
                    tracing::warn!(%user, reason, why, "what a deleted account leaves can't be cleaned up; trying again");
                }
                return;
            }
        }
        // What was not noted is done once more, by whoever looks next.
        if let Err(error) = self.store.keep_deletion(job, now_ms()).await {
            tracing::warn!(%user, %error, "what a deleted account leaves is cleaned up a minute later");
        }
    }

    /// Goes on with a job to the end of its round.
    async fn go_on(&self, job: &mut Job) -> Result<(), Refusal> {
        loop {
            let request = ListMembershipsRequest {
                user: job.user.to_string(),
                after: job.place.map(|place| place.to_string()).unwrap_or_default(),
                page_size: PAGE,
                // Of all that was before this round, also what is still on its way into the database.
                within_ms: job.place.is_none().then_some(0),
            };
            let page = bounded(self.group.clone().list_memberships(request)).await;
            let page = self.or_later(job, page).await?.memberships;
            if page.is_empty() {
                break;
            }
            for each in page {
                let done = self.leave(job, &each).await;
                job.place = Some(self.or_later(job, done).await?);
                self.store.keep_deletion(job.clone(), now_ms() + TAKEN_MS).await.map_err(failed)?;
            }
        }
        // Once: from then on it is deleted, or noted as one that is to be.
        if job.round == 0 && self.pictures().is_ok() && !job.picture.is_empty() {
            let forgotten = self.forget_picture(job.picture.clone()).await;
            self.or_later(job, forgotten).await?;
        }
        if let Some(after) = usize::try_from(job.round).ok().and_then(|round| ROUNDS_MS.get(round)) {
            let next = Job { round: job.round + 1, place: None, ..job.clone() };
            return self.store.keep_deletion(next, now_ms() + after).await.map_err(failed);
        }
        self.store.finish_deletion(job.user).await.map_err(failed)
    }

    /// What came, or when the job is tried again.
    async fn or_later<T>(&self, job: &Job, result: Result<T, Refusal>) -> Result<T, Refusal> {
        if result.is_err() {
            self.store.keep_deletion(job.clone(), now_ms() + AGAIN_MS).await.map_err(failed)?;
        }
        result
    }

    /// Leaves a group, and erases what was said there; also where one was earlier.
    async fn leave(&self, job: &Job, place: &Membership) -> Result<ConversationId, Refusal> {
        let unreadable = |_| Refusal::new(Reason::Internal, "group-svc gave an id that is none");
        let conversation: ConversationId = place.conversation.parse().map_err(unreadable)?;
        let user = job.user.to_string();
        if place.present && place.kind() == ConversationKind::Group {
            let (id, member) = (place.conversation.clone(), user.clone());
            let request = RemoveMemberRequest { user: user.clone(), conversation: id, member };
            match bounded(self.group.clone().remove_member(request)).await {
                Ok(left) if !left.picture_before.is_empty() && self.pictures.is_some() => {
                    self.forget_picture(left.picture_before).await?;
                }
                Ok(_) => {}
                // They have left already.
                Err(refusal) if refusal.reason == Reason::ConversationNotFound => {}
                Err(refusal) => return Err(refusal),
            }
        }
        if job.erase {
            let mut request =
                EraseRequest { conversation: place.conversation.clone(), sender: user, place: String::new() };
            loop {
                request.place = bounded(self.messages.clone().erase(request.clone())).await?.place;
                if request.place.is_empty() {
                    break;
                }
                self.store.keep_deletion(job.clone(), now_ms() + TAKEN_MS).await.map_err(failed)?;
            }
        }
        Ok(conversation)
    }
}

async fn bounded<T>(call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>) -> Result<T, Refusal> {
    match tokio::time::timeout(DEADLINE, call).await {
        Ok(answer) => answer.map(tonic::Response::into_inner).map_err(|status| from_status(&status)),
        Err(_) => Err(Refusal::new(Reason::Timeout, "a service did not answer in time")),
    }
}
