//! What a client that was away reads: changes of one conversation and of many, lists since an earlier one; what is bad
//! input there, and that a conversation of others answers everywhere like one that does not exist.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use madang_group::token::Sync;
use madang_proto::id::{ClientId, ConversationId};
use madang_solo::serve::Running;
use madang_tests::{
    client::{Person, Socket, call, call_once, sign_up},
    start, until,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

async fn get(server: &Running, person: &Person, path: &str) -> (u16, Value) {
    call(server, "GET", path, &person.token, Value::Null).await
}

async fn ok(server: &Running, person: &Person, path: &str) -> Value {
    let (status, answer) = get(server, person, path).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

async fn group(server: &Running, owner: &Person, members: &[&Person]) -> String {
    let members: Vec<_> = members.iter().map(|member| &member.id).collect();
    let body = json!({"name": "away", "members": members});
    let (status, answer) = call(server, "POST", "/v1/groups", &owner.token, body).await;
    assert_eq!(status, 201, "{answer}");
    answer["conversation"].as_str().unwrap().to_owned()
}

/// Says so many things; the last one's revision.
async fn say(socket: &mut Socket, conversation: &str, texts: impl Iterator<Item = String>) -> u64 {
    let mut revision = 0;
    for (n, text) in (10..).zip(texts) {
        let send = json!({"conversation": conversation, "clientId": ClientId::now().to_string(), "text": text});
        revision = number(&socket.ask(json!({"id": n, "send": send})).await["ack"]["revision"]);
    }
    revision
}

fn number(value: &Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}

fn texts(answer: &Value) -> Vec<String> {
    let messages = answer["messages"].as_array().unwrap().iter();
    messages.map(|message| message["text"].as_str().unwrap().to_owned()).collect()
}

fn ids(list: &Value) -> Vec<String> {
    let listed = list["conversations"].as_array().unwrap().iter();
    listed.map(|each| each["conversation"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_is_in_changes() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (ann, bob, cho) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await, sign_up(&server, "cho").await);
    let room = group(&server, &ann, &[&bob]).await;
    let (mut at_ann, _) = Socket::connect(&server, &ann, "").await;
    let known = say(&mut at_ann, &room, (0..5).map(|n| format!("before {n}"))).await;

    // Bob is away: 150 messages, somebody comes, 101 more.
    say(&mut at_ann, &room, (0..150).map(|n| format!("{n}"))).await;
    let add = json!({"users": [cho.id]});
    let (status, added) = call(&server, "POST", &format!("/v1/groups/{room}/members"), &ann.token, add).await;
    assert_eq!(status, 200, "{added}");
    let newest = say(&mut at_ann, &room, (150..251).map(|n| format!("{n}"))).await;
    let wanted: Vec<String> = (0..251).map(|n| n.to_string()).collect();
    let changes = format!("/v1/conversations/{room}/changes");
    for limit in [0, 1, 7, 200, 201, 4_000_000_000_u32] {
        let (mut since, mut got, mut notices) = (known, Vec::new(), Vec::new());
        loop {
            let path = format!("{changes}?since={since}&limit={limit}&atLeast={newest}");
            let page = ok(&server, &bob, &path).await;
            let most = if limit == 0 { 50 } else { limit.min(200) as usize };
            assert!(texts(&page).len() <= most, "{limit}");
            assert!(number(&page["revision"]) > since, "each page leads on");
            since = number(&page["revision"]);
            got.extend(texts(&page));
            notices.extend(page["notices"].as_array().unwrap().clone());
            if page["more"] == false {
                break;
            }
            assert_eq!(texts(&page).len(), most);
            if limit == 1 && got.len() == 3 {
                got.extend(wanted[3..].to_vec());
                notices.push(json!({"joined": {}}));
                since = newest;
                break;
            }
        }
        assert_eq!((got, since, notices.len()), (wanted.clone(), newest, 1), "{limit}");
        assert!(notices[0]["joined"].is_object());
    }
    // Nothing since; a revision that there is not yet; all there ever was.
    for since in [newest, newest + 1, u64::MAX] {
        let none = ok(&server, &bob, &format!("{changes}?since={since}")).await;
        assert_eq!((texts(&none).len(), number(&none["revision"]), &none["more"]), (0, newest, &json!(false)));
    }
    assert_eq!(
        texts(&ok(&server, &bob, &format!("{changes}?since=0&limit=3")).await),
        ["before 0", "before 1", "before 2"]
    );
    // Who came later sees what came after.
    let late = ok(&server, &cho, &format!("{changes}?since=0&limit=200")).await;
    assert_eq!((texts(&late), late["notices"].as_array().unwrap().len()), (wanted[150..].to_vec(), 1));

    // Many at once: each at most 100; what one is not in is left out.
    let other = group(&server, &cho, &[]).await;
    let own = group(&server, &bob, &[]).await;
    let missing = ConversationId::new().to_string();
    let since = [(&room, known), (&other, 0), (&missing, 0), (&own, 0)];
    let since: Vec<_> =
        since.iter().map(|(id, revision)| json!({"conversation": id, "revision": revision.to_string()})).collect();
    let body = json!({ "since": since });
    let (status, many) = call(&server, "POST", "/v1/changes", &bob.token, body).await;
    assert_eq!(status, 200, "{many}");
    let many = many["changes"].as_array().unwrap();
    assert_eq!(many.iter().map(|each| &each["conversation"]).collect::<Vec<_>>(), [&json!(room), &json!(own)]);
    assert_eq!((texts(&many[0]), &many[0]["more"]), (wanted[..100].to_vec(), &json!(true)));
    assert_eq!((texts(&many[1]).len(), many[1]["notices"].as_array().unwrap().len()), (0, 1));

    // Who has left reads nothing any more.
    let path = format!("/v1/groups/{room}/members/{}", bob.id);
    let (status, left) = call(&server, "DELETE", &path, &bob.token, Value::Null).await;
    assert_eq!(status, 200, "{left}");
    let at_least = number(&left["revision"]);
    for path in [format!("{changes}?since={known}"), format!("{changes}?since={known}&atLeast={at_least}")] {
        let (status, answer) = get(&server, &bob, &path).await;
        assert_eq!((status, &answer["reason"]), (404, &json!("CONVERSATION_NOT_FOUND")));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_says_what_has_changed_since_another_and_misses_nothing_that_moves() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (ann, bob) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await);
    let (mut at_ann, _) = Socket::connect(&server, &ann, "").await;
    let mut rooms = Vec::new();
    for n in 0..6 {
        let room = group(&server, &ann, &[&bob]).await;
        let revision = say(&mut at_ann, &room, std::iter::once(format!("hello {n}"))).await;
        ok(&server, &bob, &format!("/v1/conversations/{room}?atLeast={revision}")).await;
        rooms.push(room);
    }
    let all = ok(&server, &bob, "/v1/conversations").await;
    assert_eq!(ids(&all), rooms.iter().rev().cloned().collect::<Vec<_>>());
    assert_eq!((&all["badge"], &all["nextPageToken"], &all["removed"]), (&json!("6"), &json!(""), &json!([])));
    assert_eq!(all["conversations"][0]["lastMessage"]["text"], "hello 5");
    let since = |list: &Value| format!("/v1/conversations?since={}", list["sync"].as_str().unwrap());
    let none = ok(&server, &bob, &since(&all)).await;
    assert_eq!((ids(&none).len(), &none["badge"]), (0, &json!("6")));

    // The list is paged one by one; what is last moves up meanwhile, before it was listed.
    let (mut seen, mut path, mut syncs) = (BTreeSet::new(), "/v1/conversations?limit=1".to_owned(), BTreeSet::new());
    loop {
        let page = ok(&server, &bob, &path).await;
        seen.extend(ids(&page));
        syncs.insert(page["sync"].as_str().unwrap().to_owned());
        if seen.len() == 3 {
            let revision = say(&mut at_ann, &rooms[0], std::iter::once("moves".to_owned())).await;
            ok(&server, &bob, &format!("/v1/conversations/{}?atLeast={revision}", rooms[0])).await;
        }
        if page["nextPageToken"] == "" {
            break;
        }
        path = format!("/v1/conversations?limit=1&pageToken={}", page["nextPageToken"].as_str().unwrap());
    }
    assert_eq!((seen, syncs.len()), (rooms.iter().cloned().collect(), 1));

    // Since the first list: that message, a new group, a mark of one's own; one was left.
    let new = group(&server, &bob, &[]).await;
    let read = json!({"seq": 1});
    let (status, ack) = call(&server, "PUT", &format!("/v1/conversations/{}/read", rooms[2]), &bob.token, read).await;
    assert_eq!(status, 200, "{ack}");
    let path = format!("/v1/groups/{}/members/{}", rooms[3], bob.id);
    assert_eq!(call(&server, "DELETE", &path, &bob.token, Value::Null).await.0, 200);
    let wanted: BTreeSet<_> = [&new, &rooms[0], &rooms[2]].into_iter().cloned().collect();
    let changed = until("a mark is saved", async || {
        let changed = ok(&server, &bob, &since(&all)).await;
        (ids(&changed).len() == 3).then_some(changed)
    })
    .await;
    assert_eq!((ids(&changed).into_iter().collect::<BTreeSet<_>>(), &changed["removed"]), (wanted, &json!([rooms[3]])));
    let marked = changed["conversations"].as_array().unwrap().iter().find(|each| each["conversation"] == *rooms[2]);
    assert_eq!((&marked.unwrap()["readSeq"], &marked.unwrap()["unread"]), (&json!("1"), &json!("0")));
    let none = ok(&server, &bob, &since(&changed)).await;
    assert_eq!((ids(&none).len(), &none["removed"]), (0, &json!([])));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_named_and_too_old_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let ann = sign_up(&server, "ann").await;
    let room = group(&server, &ann, &[]).await;
    let changes = format!("/v1/conversations/{room}/changes");
    for path in [
        changes.clone(),
        format!("{changes}?since="),
        format!("{changes}?since=-1"),
        format!("{changes}?since=x"),
        format!("{changes}?since=18446744073709551616"),
        format!("{changes}?since=1&limit=-1"),
        format!("{changes}?since=1&atLeast=x"),
        "/v1/conversations/x/changes?since=1".into(),
        "/v1/conversations?since=".into(),
        "/v1/conversations?since=x".into(),
        "/v1/conversations?pageToken=x".into(),
        format!("/v1/conversations?since={}", "A".repeat(8193)),
    ] {
        let (status, answer) = get(&server, &ann, &path).await;
        assert_eq!((status, &answer["reason"]), (400, &json!("INVALID_FIELD")), "{path}: {answer}");
        assert!(answer["detail"].as_str().unwrap().len() > 20, "it says what is wrong: {answer}");
    }
    let one = json!({"conversation": room, "revision": 1});
    for (body, expected) in [
        (json!({}), 400),
        (json!({"since": 1}), 400),
        (json!({"since": [{}]}), 400),
        (json!({"since": [{"conversation": "x", "revision": 1}]}), 400),
        (json!({"since": [{"conversation": room, "revision": -1}]}), 400),
        (json!({"since": vec![one.clone(); 101]}), 400),
        (json!({"since": vec![one.clone(); 100]}), 200),
        (json!({"since": []}), 200),
    ] {
        let (status, answer) = call(&server, "POST", "/v1/changes", &ann.token, body).await;
        assert_eq!(status, expected, "{answer}");
    }
    // A sync of 90 days ago, and one of a log that has been reset since.
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let day = 24 * 3600 * 1000;
    for (sync, expected) in [
        (Sync::new(vec![0; 8], now - 89 * day), 200),
        (Sync::new(vec![0; 8], now - 91 * day), 410),
        (Sync::new(vec![u64::MAX; 8], now), 410),
        (Sync::new(vec![0; 7], now), 410),
    ] {
        let (status, answer) = get(&server, &ann, &format!("/v1/conversations?since={}", sync.text())).await;
        assert_eq!(status, expected, "{answer}");
        if status == 410 {
            assert_eq!((&answer["code"], &answer["reason"]), (&json!("OUT_OF_RANGE"), &json!("TOO_OLD")));
        }
    }
    // A revision that does not come: 2 s, then try again.
    let path = format!("{changes}?since=0&atLeast=9");
    let (status, answer) = until("it is asked in time", async || {
        let answer = call_once(server.http, "GET", &path, &ann.token, "", Value::Null).await;
        answer.filter(|(_, answer)| answer["reason"] != "UNAVAILABLE" && answer["reason"] != "TIMEOUT")
    })
    .await;
    assert_eq!((status, &answer["reason"], &answer["retryable"]), (503, &json!("LAGGING"), &json!(true)));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_of_others_answers_like_one_that_does_not_exist() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (ann, bob, eve) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await, sign_up(&server, "eve").await);
    let foreign = group(&server, &ann, &[&bob]).await;
    let (mut at_ann, _) = Socket::connect(&server, &ann, "").await;
    say(&mut at_ann, &foreign, (0..3).map(|n| format!("secret {n}"))).await;
    let missing = ConversationId::new().to_string();
    let (mut at_eve, _) = Socket::connect(&server, &eve, "").await;
    let answers = async |id: &str| {
        let mut answers = Vec::new();
        let under = |rest: &str| format!("/v1/conversations/{id}{rest}");
        for path in [
            under(""),
            under("?atLeast=2"),
            under("/members"),
            under("/members?atLeast=2"),
            under("/messages"),
            under("/messages?before=3"),
            under("/messages?after=0"),
            under("/messages?around=2"),
            under("/messages?atLeast=2"),
            under("/changes?since=0"),
            under("/changes?since=0&atLeast=2"),
        ] {
            answers.push(get(&server, &eve, &path).await);
        }
        let client_id = ClientId::now().to_string();
        let of_group = |rest: String| format!("/v1/groups/{id}{rest}");
        for (method, path, body) in [
            ("PUT", under("/read"), json!({"seq": 1})),
            ("POST", "/v1/messages".into(), json!({"conversation": id, "clientId": client_id, "text": "x"})),
            ("POST", of_group("/members".into()), json!({"users": [eve.id]})),
            ("DELETE", of_group(format!("/members/{}", eve.id)), Value::Null),
            ("DELETE", of_group(format!("/members/{}", ann.id)), Value::Null),
        ] {
            answers.push(call(&server, method, &path, &eve.token, body).await);
        }
        assert!(
            answers.iter().all(|(status, answer)| *status == 404 && answer["reason"] == "CONVERSATION_NOT_FOUND"),
            "{answers:?}"
        );
        let body = json!({"since": [{"conversation": id, "revision": 0}]});
        answers.push(call(&server, "POST", "/v1/changes", &eve.token, body).await);
        answers
    };
    let of_foreign = answers(&foreign).await;
    assert_eq!(of_foreign, answers(&missing).await);
    assert_eq!(of_foreign.last().unwrap(), &(200, json!({"changes": []})));
    assert!(!format!("{of_foreign:?}").contains("secret"));

    let mut over_socket = Vec::new();
    for id in [&foreign, &missing] {
        let client_id = ClientId::now().to_string();
        let mut errors = Vec::new();
        for (n, frame) in [
            json!({"send": {"conversation": id, "clientId": client_id, "text": "x"}}),
            json!({"read": {"conversation": id, "seq": 1}}),
        ]
        .into_iter()
        .enumerate()
        {
            let mut frame = frame;
            frame["id"] = json!(n + 2);
            at_eve.send(frame).await;
            errors.push(at_eve.answer(n as u64 + 2).await["error"].clone());
        }
        assert!(errors.iter().all(|error| error["code"] == "NOT_FOUND"), "{errors:?}");
        over_socket.push(errors);
    }
    assert_eq!(over_socket[0], over_socket[1]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_leaves_out_no_notice_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let ann = sign_up(&server, "ann").await;
    let (_, group) = call(&server, "POST", "/v1/groups", &ann.token, json!({"name": "0"})).await;
    let c = group["conversation"].as_str().unwrap().to_owned();
    let get = async |what: String| {
        let (status, page) =
            call(&server, "GET", &format!("/v1/conversations/{c}/{what}"), &ann.token, Value::Null).await;
        assert_eq!(status, 200, "{page}");
        page
    };
    let numbers = |page: &Value| -> Vec<u64> {
        page["notices"]
            .as_array()
            .unwrap()
            .iter()
            .map(|each| each["revision"].as_str().unwrap().parse().unwrap())
            .collect()
    };
    // Four messages, with so many notices behind them: 600, 600, 1,100, none.
    let mut said = Vec::new();
    for count in [600, 600, 1100, 0] {
        let body = json!({"conversation": c, "clientId": ClientId::now().to_string(), "text": "안녕"});
        let (status, ack) = call(&server, "POST", "/v1/messages", &ann.token, body).await;
        assert_eq!(status, 200, "{ack}");
        said.push(number(&ack["revision"]));
        let renamed = (0..count).map(|n| {
            let (server, ann, path) = (&server, &ann, format!("/v1/groups/{c}"));
            async move { call(server, "PATCH", &path, &ann.token, json!({"name": format!("{count} {n}")})).await.0 }
        });
        let renamed: Vec<u16> = futures_util::StreamExt::collect(futures_util::StreamExt::buffer_unordered(
            futures_util::stream::iter(renamed),
            32,
        ))
        .await;
        assert!(renamed.iter().all(|status| *status == 200));
    }
    // All else is a notice; one who is asked again may rename it twice.
    let revision = *said.last().unwrap();
    let notices: Vec<u64> = (1..=revision).filter(|each| !said.contains(each)).collect();
    assert!(notices.len() > 600 + 600 + 1100);
    // All pages from the newest on, and what they say is elsewhere.
    let (mut found, mut before) = (Vec::new(), String::new());
    loop {
        let page = get(format!("messages?atLeast={revision}{before}")).await;
        found.extend(numbers(&page));
        if let Some(until) = page["noticesUntil"].as_str() {
            let mut since = until.to_owned();
            loop {
                let changes = get(format!("changes?since={since}")).await;
                found.extend(numbers(&changes));
                since = changes["revision"].as_str().unwrap().to_owned();
                if changes["more"] == false {
                    break;
                }
            }
        }
        let first = page["messages"][0]["seq"].as_str().unwrap().to_owned();
        if page["hasBefore"] == false {
            break;
        }
        before = format!("&before={first}");
    }
    found.retain(|each| *each <= revision);
    found.sort_unstable();
    found.dedup();
    assert_eq!(found, notices);
    // The same upwards: no page has over 1,000, and only the one in whose single gap they stand says so.
    let (mut after, mut cut) = (0, 0);
    loop {
        let page = get(format!("messages?after={after}")).await;
        assert!(numbers(&page).len() <= 1000);
        cut += usize::from(page["noticesUntil"].is_string());
        let last =
            page["messages"].as_array().unwrap().last().unwrap()["seq"].as_str().unwrap().parse::<u64>().unwrap();
        if page["hasAfter"] == false {
            break;
        }
        after = last;
    }
    assert_eq!((after, cut), (3, 1));
    server.stop().await;
}
