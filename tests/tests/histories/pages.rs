//! Pages of history, on either side of any bound, against all that one may see.

use super::{
    doors::{Shown, list, number},
    play::History,
};
use serde_json::Value;

/// A page as it was answered.
#[derive(Debug, PartialEq)]
struct Page {
    messages: Vec<Shown>,
    notices: Vec<u64>,
    before: bool,
    after: bool,
}

/// What a page is asked for by.
#[derive(Debug, Clone, Copy)]
enum Bound {
    Newest,
    Before(u64),
    After(u64),
    Around(u64),
}

impl Bound {
    fn text(self) -> String {
        match self {
            Self::Newest => String::new(),
            Self::Before(seq) => format!("&before={seq}"),
            Self::After(seq) => format!("&after={seq}"),
            Self::Around(seq) => format!("&around={seq}"),
        }
    }

    /// The page of a history, whose messages are numbered without a hole from the first that one sees on.
    fn of(self, all: &Page, first: u64, notices: &[(u64, u64)], limit: usize) -> Page {
        let below = |seq: u64| all.messages.partition_point(|message| message.seq < seq);
        let count = all.messages.len();
        let (from, to) = match self {
            Self::Newest => (count.saturating_sub(limit), count),
            Self::Before(seq) => (below(seq).saturating_sub(limit), below(seq)),
            Self::After(seq) => (below(seq + 1), (below(seq + 1) + limit).min(count)),
            Self::Around(seq) => {
                let from = below(seq).saturating_sub(limit / 2);
                (from, (from + limit).min(count))
            }
        };
        let messages = all.messages[from..to].to_vec();
        let (before, after) = (from > 0, to < count);
        let low = messages.first().map_or(first, |message| message.seq);
        let high = messages.last().map(|message| message.seq);
        let within = |(_, behind): &&(u64, u64)| {
            (!before || *behind >= low) && (!after || high.is_none_or(|high| *behind <= high))
        };
        let notices = notices.iter().filter(within).map(|(revision, _)| *revision).collect();
        Page { messages, notices, before, after }
    }
}

impl History<'_> {
    async fn page(&self, who: usize, id: &str, bound: Bound, limit: usize) -> Option<(Page, Vec<(u64, u64)>)> {
        let path = format!("/v1/conversations/{id}/messages?limit={limit}{}", bound.text());
        let answer = self.doors.find(&self.people[who], &path).await?;
        let place = |notice: &Value| (number(&notice["revision"]), number(&notice["lastSeq"]));
        let notices: Vec<_> = list(&answer["notices"]).iter().map(place).collect();
        let page = Page {
            messages: list(&answer["messages"]).iter().map(Shown::of).collect(),
            notices: notices.iter().map(|(revision, _)| *revision).collect(),
            before: answer["hasBefore"] == true,
            after: answer["hasAfter"] == true,
        };
        Some((page, notices))
    }

    /// All that somebody sees of a conversation, which is in their list like this, if it is: each of it is what was made of
    /// it, and it is the same whichever way they come to it.
    pub async fn check_pages(
        &self,
        who: usize,
        id: &str,
        listed: Option<&Value>,
        allows: impl Fn(&Shown) -> bool,
    ) -> Vec<Shown> {
        let all = self.page(who, id, Bound::Newest, 200).await;
        assert_eq!(all.is_some(), listed.is_some(), "{id} is read by who is in it");
        let (Some((all, notices)), Some(listed)) = (all, listed) else { return Vec::new() };
        let (first, last) = (number(&listed["firstSeq"]), number(&listed["lastSeq"]));
        let first = first.max(number(&listed["settings"]["clearedSeq"]) + 1);
        let numbers: Vec<_> = all.messages.iter().map(|message| message.seq).collect();
        assert_eq!(numbers, (first..=last).collect::<Vec<_>>(), "{id} from its first to its last");
        for message in &all.messages {
            assert!(allows(message), "this came of nothing: {message:?} in {id}\n{:#?}", self.done().record.asked);
        }
        if let Some(newest) =
            all.messages.last().filter(|newest| number(&listed["settings"]["clearedSeq"]) < newest.seq)
        {
            let shown = Shown::of(&listed["lastMessage"]);
            let one = |shown: &Shown| (shown.seq, shown.revision, shown.deleted, shown.text.clone());
            assert_eq!(one(&shown), one(newest), "the last message of {id}");
        }
        let path = format!("/v1/conversations/{id}/changes?since=0&limit=200");
        let changes = self.doors.get(&self.people[who], &path).await;
        let mut changed: Vec<_> = list(&changes["messages"]).iter().map(Shown::of).collect();
        changed.sort_by_key(|message| message.seq);
        assert_eq!(changed, all.messages, "what has changed in {id} since ever");
        // Others in each history and conversation, each time the same.
        let limit = 1 + (last as usize + who) % 5;
        let some = first.max(1) + (last + who as u64) % (last.saturating_sub(first) + 2);
        let other = [Bound::Newest, Bound::Before(some), Bound::After(some)][(limit + who) % 3];
        for bound in [Bound::Around(some), other] {
            let (page, _) = self.page(who, id, bound, limit).await.unwrap();
            let wanted = bound.of(&all, first, &notices, limit);
            let same = page.messages == wanted.messages && (page.before, page.after) == (wanted.before, wanted.after);
            let noticed = wanted.messages.is_empty() || page.notices == wanted.notices;
            assert!(same && noticed, "{bound:?}, {limit} of {id}: {page:#?}\nwanted {wanted:#?}\nof {all:#?}");
        }
        all.messages
    }
}
