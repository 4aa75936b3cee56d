//! The end of somebody's account in the middle of it all: they are gone at once, and then from their groups; what they said
//! goes if that is asked for, and stays if it is not.

use super::{
    doors::{Shown, list, number},
    model::Op,
    play::{History, PEOPLE},
};
use madang_tests::until;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Who is gone.
#[derive(Clone)]
pub struct Gone {
    who: usize,
    /// With all that they said.
    erase: bool,
    /// The groups that they were in then, with the newest revision that was known.
    groups: BTreeMap<String, u64>,
}

impl History<'_> {
    pub fn is_gone(&self, who: usize) -> bool {
        self.done().gone.as_ref().is_some_and(|gone| gone.who == who)
    }

    /// Those who are still there.
    pub fn present(&self) -> Vec<usize> {
        (0..PEOPLE).filter(|who| !self.is_gone(*who)).collect()
    }

    /// Somebody, of whom nothing is under way, deletes their account.
    pub async fn end_account(&self, who: usize, erase: bool) {
        let (me, body) = (&self.people[who], json!({"password": "correct horse", "eraseMessages": erase}));
        let from = self.done().record.tick();
        let (status, answer, times) = self.doors.insist(me, "POST", "/v1/me/deletion", body).await;
        // Whoever was not answered is told that there is no such account any more.
        assert!(status == 204 || (status == 401 && times > 1), "{status} {answer}");
        let mut done = self.done();
        let groups = done.record.groups_of(&me.id);
        done.gone = Some(Gone { who, erase, groups });
        done.record.gone = Some((me.id.clone(), from));
        // Whether their blocks go with them is not said.
        for other in &self.people {
            done.record.block(&me.id, &other.id, false);
        }
    }

    /// Waits for all that follows from the end of an account, and puts it into the record.
    pub async fn ended(&self) {
        let Some(Gone { who, erase, groups }) = self.done().gone.clone() else { return };
        let (gone, since) = (&self.people[who], self.done().record.gone.clone().unwrap());
        until("nobody acts for who is gone", async || {
            let (status, _) = self.doors.ask(gone, "GET", "/v1/me", Value::Null).await;
            (status == 401).then_some(())
        })
        .await;
        let rooms = self.done().record.rooms();
        for room in &rooms {
            let mut seen = false;
            for who in self.present() {
                seen |= self.has_left(who, room, &since, groups.get(room).copied()).await;
                if erase {
                    self.is_erased(who, room, &since).await;
                }
            }
            if !seen {
                // Nobody has seen when they left.
                self.done().record.unsure.insert(room.clone());
            }
        }
    }

    /// Waits until who is gone is no more in a group that somebody sees; whether they have seen when they left, who were in it
    /// as of a revision.
    async fn has_left(&self, who: usize, room: &str, since: &(String, usize), before: Option<u64>) -> bool {
        let (person, gone) = (&self.people[who], &since.0);
        let path = format!("/v1/conversations/{room}");
        until("who is gone leaves their groups", async || {
            let Some(members) = self.doors.find(person, &format!("{path}/members")).await else { return Some(()) };
            let direct = self.done().record.now(room).direct;
            let left = list(&members["members"]).iter().all(|each| each["profile"]["user"] != gone.as_str());
            (direct || left).then_some(())
        })
        .await;
        let Some(before) = before else { return true };
        let Some(changes) = self.doors.find(person, &format!("{path}/changes?since=0&limit=200")).await else {
            return false;
        };
        let leaves = |notice: &&Value| {
            let users = notice["left"]["users"].as_array();
            number(&notice["revision"]) > before && users.is_some_and(|users| users.contains(&json!(gone)))
        };
        let mut seen = false;
        for notice in list(&changes["notices"]).iter().filter(leaves) {
            let (revision, mut done) = (number(&notice["revision"]), self.done());
            // By themselves, as nobody asked for; the others are in the record.
            let leaves = Op::Remove(gone.clone());
            if notice["left"]["by"] == gone.as_str() && !done.record.has(room, revision, |op| *op == leaves) {
                done.record.follow(since, room, leaves, (revision, 0));
            }
            seen = true;
        }
        seen
    }

    /// Waits until all that somebody sees of what who is gone has said is erased.
    async fn is_erased(&self, who: usize, room: &str, since: &(String, usize)) {
        let path = format!("/v1/conversations/{room}/messages?limit=200");
        let shown = until("what was said by who is gone is erased", async || {
            let Some(page) = self.doors.find(&self.people[who], &path).await else { return Some(Vec::new()) };
            let shown: Vec<_> = list(&page["messages"]).iter().map(Shown::of).collect();
            shown.iter().all(|each| each.sender != since.0 || each.deleted).then_some(shown)
        });
        let (shown, mut done) = (shown.await, self.done());
        for Shown { seq, revision, .. } in shown.into_iter().filter(|each| each.sender == since.0) {
            if !done.record.has(room, revision, |op| op.changes() == Some(seq)) {
                done.record.follow(since, room, Op::Erased { seq }, (revision, seq));
            }
        }
    }
}
