//! What was kept for later, or has waited, and is looked at again before it is sent: who is still to be told, and of what.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)] // a test: a panic is its failure

#[path = "shared/alone.rs"]
mod alone;
#[path = "shared/others.rs"]
mod others;

use alone::{Alone, SHARD, only, push, until};
use async_trait::async_trait;
use madang_mesh::{channel::Channels, clock::now_ms, log::Entry, subscription::Handler as _};
use madang_notify::{
    notice::Notice,
    provider::{Provider, Told, Verdict},
    sender::{Kept, Origin, Push, TOO_OLD},
    store::{Late, Settled, Subscription},
    ticket::Progress,
    words::Shown,
};
use madang_proto::{
    client::v1::{Content, Notify, PushType},
    id::{ConversationId, UserId},
    log::v1::{LoggedEvent, MemberSettings, Record, logged_event::Body},
    notify::v1::{Outcome, Provider as Name},
};
use others::{OTHERS, Others};
use prost::Message as _;
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// Takes everything, once it may.
struct Stub {
    go: watch::Receiver<bool>,
    sent: Arc<Mutex<Vec<Notice>>>,
}

#[async_trait]
impl Provider for Stub {
    fn host(&self, _: &Subscription) -> String {
        "stub".into()
    }

    async fn send(&self, _: &Subscription, notice: &Notice) -> Told {
        self.sent.lock().unwrap().push(notice.clone());
        // It ends with the test.
        let _ = self.go.clone().wait_for(|go| *go).await;
        Told { verdict: Verdict::Sent, status: 200 }
    }
}

struct Stage {
    alone: Alone,
    others: Others,
    go: watch::Sender<bool>,
    sent: Arc<Mutex<Vec<Notice>>>,
    log: Progress,
}

impl Stage {
    fn set() -> Self {
        let ((go, may), sent) = (watch::channel(true), Arc::<Mutex<Vec<Notice>>>::default());
        let providers = only(Name::Webhook, Stub { go: may, sent: sent.clone() });
        let (others, channels) = (Others::default(), Channels::new());
        others.serve(&channels);
        Self { alone: Alone::among(providers, channels, OTHERS), others, go, sent, log: Progress::from(0) }
    }

    /// A device of somebody who wants to hear of all.
    async fn device(&self) -> Subscription {
        let device = self.alone.device("https://stub/".to_owned() + &UserId::new().to_string()).await;
        self.others.sets(device.user, MemberSettings::default());
        device
    }

    async fn send(&self, push: Push) {
        let ticket = self.log.take(self.log.read() + 1);
        assert!(self.alone.sender.send(push, Origin::Log(ticket)).await);
    }

    async fn keep(&self, late: Late) {
        let settled = Settled { late: [(late.whom, late)].into(), ..Settled::default() };
        self.alone.store.settle(settled, now_ms()).await.unwrap();
    }

    async fn kept(&self) -> Vec<Late> {
        self.alone.store.due(SHARD, i64::MAX, usize::MAX, Vec::new()).await.unwrap()
    }

    /// What was sent: of which messages, and what it shows.
    fn sent(&self) -> Vec<(u64, String)> {
        let sent = self.sent.lock().unwrap();
        sent.iter().map(|notice| (notice.seq, notice.preview.clone().unwrap_or_default().1)).collect()
    }

    fn outcomes(&self, of: &Subscription) -> Vec<Outcome> {
        let device = of.device.to_string();
        let all = self.alone.reports.latest(100, |each| each.device == device);
        all.iter().rev().map(|each| each.outcome()).collect()
    }
}

fn mentions() -> MemberSettings {
    MemberSettings { notify: Notify::Mentions.into(), ..MemberSettings::default() }
}

/// By whom, saying what; it is looked at again, since it was found long ago.
fn said(to: &Subscription, conversation: ConversationId, seq: u64, mentions: bool) -> Push {
    let checked = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
    let mentioned = if mentions { seq } else { 0 };
    let shown = Shown::Text(format!("text {seq}"));
    Push { sender: Some(UserId::new()), name: "ann".into(), shown, mentioned, checked, ..push(to, conversation, seq) }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_can_say_who_is_to_be_told_late_pushes_stay_as_they_are_and_are_asked_after_less_and_less() {
    let stage = Stage::set();
    stage.others.set_down(true);
    let mut devices = Vec::new();
    for _ in 0..10 {
        let to = stage.device().await;
        stage.keep(Kept::late(&said(&to, ConversationId::new(), 1, false), now_ms())).await;
        devices.push(to);
    }
    assert_eq!(stage.alone.reader.cursor(SHARD).await.unwrap(), 0);
    // At first they are taken up, each once, and kept anew.
    until(async || devices.iter().all(|to| stage.outcomes(to) == [Outcome::Later])).await;
    until(async || stage.kept().await.iter().all(|late| late.due_at > now_ms() - 500)).await;
    let (kept, asked) = (stage.kept().await, stage.others.asked().len());
    let spaced = |asked: &[Instant]| asked.windows(2).any(|pair| pair[1] - pair[0] >= Duration::from_millis(1900));
    until(async || spaced(&stage.others.asked()[asked..])).await;
    assert_eq!(stage.kept().await, kept, "nothing is written of them meanwhile");
    assert!(stage.sent().is_empty());
    // What is too old by now is dropped all the same.
    let old = stage.device().await;
    let said_long_ago = Push { at_ms: now_ms() - TOO_OLD - 1, ..said(&old, ConversationId::new(), 1, false) };
    stage.keep(Kept::late(&said_long_ago, now_ms())).await;
    until(async || stage.outcomes(&old) == [Outcome::Dropped]).await;
    stage.others.set_down(false);
    until(async || stage.kept().await.is_empty()).await;
    assert_eq!(stage.sent().len(), 10);
    assert!(devices.iter().all(|to| stage.outcomes(to) == [Outcome::Later, Outcome::Sent]));
}

#[tokio::test(flavor = "multi_thread")]
async fn so_are_new_messages_and_told_once_somebody_can_say_it() {
    let stage = Stage::set();
    stage.others.set_down(true);
    let to = stage.device().await;
    assert_eq!(stage.alone.reader.cursor(SHARD).await.unwrap(), 0);
    let event = LoggedEvent {
        conversation: ConversationId::new().bytes().to_vec().into(),
        actor: UserId::new().bytes().to_vec().into(),
        revision: 2,
        last_seq: 1,
        at_micros: now_ms() * 1000,
        body: Some(Body::Message(Content { text: "안녕".into(), ..Content::default() })),
        ..LoggedEvent::default()
    };
    let record = Record { format: 1, events: vec![event], ..Record::default() };
    let entry = Entry { position: 1, at_micros: 0, payload: record.encode_to_vec().into() };
    stage.alone.reader.handle(SHARD, &[entry]).await.unwrap();
    let spaced = |asked: &[Instant]| asked.windows(2).any(|pair| pair[1] - pair[0] >= Duration::from_millis(1600));
    until(async || spaced(&stage.others.asked())).await;
    assert!(stage.others.asked().len() < 10, "it was asked less and less often");
    stage.others.set_down(false);
    until(async || stage.outcomes(&to) == [Outcome::Sent]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn that_something_was_read_takes_no_doubt_away_for_it_asks_not_everybody() {
    let stage = Stage::set();
    stage.others.set_down(true);
    let (to, other) = (stage.device().await, stage.device().await);
    let mut doubt = stage.alone.audience.doubt();
    stage.send(said(&to, ConversationId::new(), 1, false)).await;
    doubt.wait_for(|doubt| *doubt).await.unwrap();
    let read =
        Push { kind: PushType::Read, sender: None, messages: 0, ..said(&other, ConversationId::new(), 1, false) };
    stage.send(read).await;
    until(async || stage.outcomes(&other) == [Outcome::Sent]).await;
    assert!(!doubt.has_changed().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_to_be_told_any_more_goes_also_where_nobody_could_say_that_before() {
    let stage = Stage::set();
    stage.others.set_down(true);
    let (to, gone) = (stage.device().await, stage.device().await);
    for to in [&to, &gone] {
        stage.keep(Kept::late(&said(to, ConversationId::new(), 1, false), now_ms())).await;
    }
    assert_eq!(stage.alone.reader.cursor(SHARD).await.unwrap(), 0);
    until(async || [&to, &gone].iter().all(|to| stage.outcomes(to) == [Outcome::Later])).await;
    // It is in doubt now: this is asked of all that is taken up.
    stage.others.sets(gone.user, mentions());
    stage.others.set_down(false);
    until(async || stage.kept().await.is_empty()).await;
    assert_eq!(stage.outcomes(&to), [Outcome::Later, Outcome::Sent]);
    assert_eq!(stage.outcomes(&gone), [Outcome::Later, Outcome::Moot]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_names_somebody_is_told_though_a_later_one_stands_for_it_that_does_not() {
    let stage = Stage::set();
    let to = stage.device().await;
    let (here, there, busy) = (ConversationId::new(), ConversationId::new(), ConversationId::new());
    stage.go.send_replace(false);
    stage.send(said(&to, busy, 1, false)).await;
    until(async || stage.sent().len() == 1).await;
    for (conversation, seq, names) in [(here, 5, true), (here, 6, false), (there, 7, false), (there, 8, false)] {
        stage.send(said(&to, conversation, seq, names)).await;
    }
    stage.others.sets(to.user, mentions());
    // What it stands for is told, and nothing of itself, whatever it shows by now.
    stage.alone.sender.amended.note(here, 6, Some(Shown::Text("text 6, edited".into())));
    stage.go.send_replace(true);
    until(async || stage.log.done() == stage.log.read()).await;
    let hidden = |seq| (seq, "New message".to_owned());
    assert_eq!(stage.sent()[1..], [hidden(6)]);

    // The same where they were kept.
    for (conversation, seq, names) in [(here, 15, true), (here, 16, false), (there, 17, false), (there, 18, false)] {
        stage.keep(Kept::late(&said(&to, conversation, seq, names), now_ms())).await;
    }
    let of_both = |late: &Late| (late.seq, late.mentioned);
    let mut kept: Vec<_> = stage.kept().await.iter().map(of_both).collect();
    kept.sort_unstable();
    assert_eq!(kept, [(16, 15), (18, 0)]);
    assert_eq!(stage.alone.reader.cursor(SHARD).await.unwrap(), 0);
    until(async || stage.kept().await.is_empty()).await;
    assert_eq!(stage.sent()[2..], [hidden(16)]);

    // Who has read that one has not been named since.
    stage.others.sets(to.user, MemberSettings { cleared_seq: 25, ..mentions() });
    for (seq, names) in [(25, true), (26, false)] {
        stage.keep(Kept::late(&said(&to, here, seq, names), now_ms())).await;
    }
    until(async || stage.kept().await.is_empty()).await;
    assert_eq!(stage.sent().len(), 3);
}

/// On one thread, where the older one is behind the newer one before that is looked at.
#[tokio::test]
async fn what_is_not_to_be_told_of_itself_is_not_shown_with_what_has_come_behind_it() {
    let stage = Stage::set();
    let (to, here) = (stage.device().await, ConversationId::new());
    stage.others.sets(to.user, mentions());
    for (seq, names) in [(7, false), (5, true)] {
        stage.send(said(&to, here, seq, names)).await;
    }
    until(async || stage.log.done() == stage.log.read()).await;
    assert_eq!(stage.sent(), [(7, "New message".to_owned())]);

    // Nor at all, where what is behind it is not to be told either.
    for seq in [9, 8] {
        stage.send(said(&to, here, seq, false)).await;
    }
    until(async || stage.log.done() == stage.log.read()).await;
    assert_eq!(stage.sent().len(), 1);
}

/// It was changed after it was said what is kept of it, and before that was there for whoever read of the change.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_before_it_was_kept_is_kept_as_it_is() {
    let stage = Stage::set();
    let (to, gone, edited, several) =
        (stage.device().await, ConversationId::new(), ConversationId::new(), ConversationId::new());
    stage.keep(Kept::late(&said(&to, several, 1, false), i64::MAX)).await;
    stage.others.set_down(true);
    let database = rusqlite::Connection::open(stage.alone.folder.path().join("push.db")).unwrap();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    for conversation in [gone, edited, several] {
        stage.send(said(&to, conversation, 2, false)).await;
    }
    until(async || stage.outcomes(&to) == [Outcome::Later; 3]).await;
    let amended = &stage.alone.sender.amended;
    amended.note(gone, 2, None);
    amended.note(edited, 2, Some(Shown::Text("anew".into())));
    amended.note(several, 2, None);
    database.execute_batch("ROLLBACK").unwrap();
    until(async || stage.log.done() == stage.log.read()).await;
    let kept = stage.kept().await;
    let text = |late: &Late| Kept::push(late, Arc::new(to.clone()), Instant::now()).unwrap().shown;
    let mut kept: Vec<_> = kept.iter().map(|late| (late.whom.2, late.messages, text(late))).collect();
    kept.sort_by_key(|(conversation, ..)| *conversation != edited);
    assert_eq!(kept, [(edited, 1, Shown::Text("anew".into())), (several, 2, Shown::Nothing)]);
}
