//! Answers that say less than they seem to, or break off, or do not come: a 404 is not the same from everybody, GOAWAY in
//! the middle of an answer loses no push and doubles none, and who never answers holds up nobody else.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use madang_proto::{
    id::ClientId,
    notify::v1::{Outcome, Provider},
};
use madang_solo::serve::Running;
use madang_tests::{
    abrupt::{Abrupt, Way},
    client::{Person, sign_up},
    device::{Device, Doors},
    notify::Notify,
    proxy::Proxy,
    push::{Answer, PushServer, Taken},
    vendors,
};
use rcgen::KeyPair;
use serde_json::{Value, json};
use tokio::sync::watch;

const PHONE: &str = "DEVICE_KIND_MOBILE";

async fn register(server: &Running, person: &Person, body: Value) {
    assert_eq!(vendors::register(server, person, body).await, 204);
}

async fn say(server: &Running, from: &Person, to: &str) {
    vendors::say(server, from, to, "?").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn not_found_means_a_browser_or_bot_is_gone_and_of_apple_and_google_that_we_are_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let apple = vendors::apple(folder.path(), &KeyPair::generate().unwrap(), &push.url);
    let server =
        vendors::start(folder.path(), &push.ca, &[apple, vendors::google(folder.path(), &push.url)].concat()).await;
    let ann = sign_up(&server, "ann").await;
    let web = Device::sign_up(Doors::of(&server), "web", PHONE).await;
    web.subscribe(&push).await;
    let (bot, iphone) = (sign_up(&server, "bot").await, sign_up(&server, "iphone").await);
    let (android, reset) = (sign_up(&server, "android").await, sign_up(&server, "reset").await);
    let hook = json!({"webhook": {"url": format!("{}/hook", push.url), "secret": "0123456789abcdef"}});
    register(&server, &bot, hook).await;
    register(&server, &iphone, json!({"apns": {"token": "ab".repeat(32)}})).await;
    register(&server, &android, json!({"fcm": {"token": "android:APA91b"}})).await;
    register(&server, &reset, json!({"fcm": {"token": "reset:APA91b"}})).await;
    push.answer(|taken| {
        if taken.path == "/token" {
            return vendors::well(taken, "ya29.1");
        }
        let said = if taken.path.starts_with("/3/device/") {
            json!({"reason": "BadPath"})
        } else if taken.path == "/v1/projects/madang-test/messages:send" {
            // The project is none; or it is, and the app has been removed.
            let code = if taken.json()["message"]["token"] == "reset:APA91b" { "UNREGISTERED" } else { "NOT_FOUND" };
            json!({"error": {"code": 404, "status": "NOT_FOUND", "details": [{"errorCode": code}]}})
        } else {
            Value::Null
        };
        Answer { body: said.to_string(), ..Answer::status(404) }
    });
    let reports = Notify::of(&server, folder.path());
    for (user, outcome, provider, left) in [
        (&web.person.id, Outcome::Gone, Provider::WebPush, 0),
        (&bot.id, Outcome::Gone, Provider::Webhook, 0),
        // Which the operator may mend: it is tried again.
        (&iphone.id, Outcome::Later, Provider::Apns, 1),
        (&android.id, Outcome::Later, Provider::Fcm, 1),
        (&reset.id, Outcome::Gone, Provider::Fcm, 0),
    ] {
        say(&server, &ann, user).await;
        let report = reports.wait(user, 1, outcome).await;
        assert_eq!((report.provider(), report.status), (provider, 404));
        assert!(report.tries == 1 || outcome == Outcome::Later, "{report:?}");
        assert_eq!(reports.places(user).await.len(), left, "{provider:?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_operator_has_set_wrongly_unsubscribes_nobody_and_is_sent_once_it_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let apple = vendors::apple(folder.path(), &KeyPair::generate().unwrap(), &push.url);
    let server =
        vendors::start(folder.path(), &push.ca, &[apple, vendors::google(folder.path(), &push.url)].concat()).await;
    let ann = sign_up(&server, "ann").await;
    // The topic is another app's, the address another environment's, the service account another project's; and it may
    // not send, or there is no such project.
    let (apple, google) = (Provider::Apns, Provider::Fcm);
    let mistakes = [
        ("topic", apple, 400, "DeviceTokenNotForTopic"),
        ("address", apple, 400, "BadDeviceToken"),
        ("team", apple, 403, "InvalidProviderToken"),
        ("project", google, 403, "SENDER_ID_MISMATCH"),
        ("right", google, 403, "PERMISSION_DENIED"),
        ("name", google, 404, "NOT_FOUND"),
    ];
    let mut people = Vec::new();
    for (n, (name, provider, ..)) in mistakes.iter().enumerate() {
        let person = sign_up(&server, name).await;
        let place = if *provider == apple { json!({"token": format!("{n:064x}")}) } else { json!({"token": *name}) };
        let by = if *provider == apple { "apns" } else { "fcm" };
        register(&server, &person, json!({by: place})).await;
        people.push(person);
    }
    push.answer(move |taken| {
        if taken.path == "/token" {
            return vendors::well(taken, "ya29.1");
        }
        let to = taken.json()["message"]["token"].as_str().map(str::to_owned);
        let number = taken.path.strip_prefix("/3/device/").and_then(|token| token.parse::<usize>().ok());
        let at = number.or_else(|| mistakes.iter().position(|each| Some(each.0) == to.as_deref())).unwrap();
        let (_, provider, status, reason) = mistakes[at];
        let code = json!({"error": {"code": status, "details": [{"errorCode": reason}]}});
        let body = if provider == apple { json!({"reason": reason}) } else { code };
        Answer { body: body.to_string(), ..Answer::status(status) }
    });
    let reports = Notify::of(&server, folder.path());
    for (person, (_, provider, status, reason)) in people.iter().zip(mistakes) {
        say(&server, &ann, &person.id).await;
        let report = reports.wait(&person.id, 1, Outcome::Later).await;
        assert_eq!((report.provider(), report.status), (provider, u32::from(status)), "{reason}");
    }
    push.answer(|taken| vendors::well(taken, "ya29.1"));
    for (person, (.., reason)) in people.iter().zip(mistakes) {
        assert_eq!(reports.wait(&person.id, 1, Outcome::Sent).await.status, 200, "{reason}");
        assert_eq!(reports.places(&person.id).await.len(), 1, "{reason}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_back_while_google_gives_no_token_is_not_told() {
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let flags = vendors::google(folder.path(), &push.url);
    let server = vendors::start(folder.path(), &push.ca, &flags).await;
    let doors = Doors::of(&server);
    let (ann, eve) = (Device::sign_up(doors, "ann", PHONE).await, Device::sign_up(doors, "eve", PHONE).await);
    let bob = Device::sign_up(doors, "bob", PHONE).await;
    eve.subscribe(&push).await;
    bob.register(json!({"fcm": {"token": "bob:APA91b"}, "preview": true})).await;
    let (go, held) = watch::channel(false);
    let (asked, mut asking) = watch::channel(0);
    push.answer(move |taken| {
        if taken.path.starts_with("/token") {
            asked.send_modify(|times| *times += 1);
            return Answer { held: Some(held.clone()), ..vendors::well(taken, "ya29.1") };
        }
        vendors::well(taken, "ya29.1")
    });
    let group = ann.group("yard", &[&bob, &eve]).await;
    let here = json!({"conversation": group});
    ann.say(here.clone(), "secret").await;
    asking.wait_for(|times| *times == 1).await.unwrap();
    assert_eq!(eve.told(&push).await["seq"], "1");
    let mut socket = ann.connect().await;
    let delete = json!({"conversation": group, "seq": "1", "clientId": ClientId::now().to_string()});
    socket.send(json!({"id": 2, "delete": delete})).await;
    while socket.next_or_end().await.unwrap()["ack"].is_null() {}
    // What follows it has been read: so has that.
    ann.say(here, "open").await;
    assert_eq!(eve.told(&push).await["seq"], "2");
    let reports = Notify::of(&server, folder.path());
    go.send_replace(true);
    reports.wait(&bob.person.id, 1, Outcome::Moot).await;
    reports.wait(&bob.person.id, 2, Outcome::Sent).await;
    let sent = |taken: &Taken| taken.path.ends_with(":send");
    let data = push.next(sent).await.json()["message"]["data"].clone();
    assert_eq!((&data["seq"], &data["body"]), (&json!("2"), &json!("ann 이름: open")));
    assert!(!push.paths().iter().any(|path| path.ends_with(":send")), "nothing else was");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_off_is_neither_lost_nor_doubled_nor_taken_for_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let apple = Abrupt::start(folder.path()).await;
    let flags = vendors::apple(folder.path(), &KeyPair::generate().unwrap(), &apple.url);
    let server = vendors::start(folder.path(), &apple.ca, &flags).await;
    let (ann, bob) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await);
    register(&server, &bob, json!({"apns": {"token": "ab".repeat(32)}})).await;
    let reports = Notify::of(&server, folder.path());
    let half = |status| Way::Half(status, Vec::new(), "why".into());
    let slow_down = Way::Half(429, vec![("retry-after", "2".into())], String::new());
    // What becomes of a push, how often it comes, and what status is reported of it before it is taken; 0: none came.
    let ways = [
        (Way::Unseen, 2, None),
        (Way::Unanswered, 2, Some(0)),
        // Why is in what did not come: the device may be there again.
        (half(410), 2, Some(410)),
        (half(400), 2, Some(400)),
        (half(500), 2, Some(500)),
        (slow_down, 2, Some(429)),
        // It was taken: what is missing would say nothing more.
        (half(200), 1, None),
        (Way::Leaving(200), 1, None),
    ];
    for (seq, (way, times, status)) in (1..).zip(ways) {
        apple.next(way.clone());
        say(&server, &ann, &bob.id).await;
        assert_eq!(reports.wait(&bob.id, seq, Outcome::Sent).await.status, 200, "{way:?}");
        let told: Vec<_> = reports.deliveries(&bob.id).await.into_iter().filter(|each| each.seq == seq).collect();
        let of = |outcome| told.iter().filter(move |each| each.outcome() == outcome).collect::<Vec<_>>();
        assert_eq!(of(Outcome::Sent).len(), 1, "{way:?}: {told:?}");
        if let Some(status) = status {
            let later = of(Outcome::Later);
            assert!(later.len() == 1 && later[0].status == status, "{way:?}: {told:?}");
        }
        assert!(told.iter().all(|each| matches!(each.outcome(), Outcome::Sent | Outcome::Later)), "{way:?}: {told:?}");
        let came = apple.taken().iter().filter(|body| body["seq"] == *seq.to_string()).count();
        assert_eq!(came, times, "{way:?}");
    }
    assert_eq!(reports.places(&bob.id).await.len(), 1, "the device is there");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_service_that_takes_connections_and_never_answers_holds_up_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let push = PushServer::start(folder.path()).await;
    let proxy = Proxy::before(push.url.strip_prefix("https://").unwrap()).await;
    let server = vendors::start(folder.path(), &push.ca, &[]).await;
    let doors = Doors::of(&server);
    let ann = Device::sign_up(doors, "ann", PHONE).await;
    let eve = Device::sign_up(doors, "eve", PHONE).await;
    eve.subscribe(&push).await;
    // More than it takes for their host to be left alone.
    let mut hung = Vec::new();
    for n in 0..10 {
        let device = Device::sign_up(doors, &format!("hung{n}"), PHONE).await;
        let endpoint = device.browser.subscription(&format!("https://{}{}", proxy.address, device.path));
        device.register(json!({"webPush": endpoint})).await;
        hung.push(device);
    }
    let reports = Notify::of(&server, folder.path());
    // It had a connection; nothing comes through that one any more, nor through new ones.
    ann.say(hung[0].to(), "1").await;
    assert_eq!(hung[0].told(&push).await["seq"], "1");
    reports.wait(&hung[0].person.id, 1, Outcome::Sent).await;
    proxy.silence();
    for device in &hung {
        ann.say(device.to(), "?").await;
    }
    ann.say(eve.to(), "1").await;
    assert_eq!(eve.told(&push).await["seq"], "1");
    let taken = reports.wait(&eve.person.id, 1, Outcome::Sent).await;
    for (n, device) in hung.iter().enumerate() {
        let report = reports.wait(&device.person.id, if n == 0 { 2 } else { 1 }, Outcome::Later).await;
        assert!(report.status == 0 && report.at >= taken.at, "hers did not wait for it: {report:?}, {taken:?}");
        assert!(report.took_ms < 30_000, "it is not waited for: {report:?}");
    }
    ann.say(eve.to(), "2").await;
    assert_eq!(eve.told(&push).await["seq"], "2");
    assert_eq!(push.paths(), [""; 0], "nothing came through");
    proxy.mend();
    for (n, device) in hung.iter().enumerate() {
        assert_eq!(device.told(&push).await["seq"], if n == 0 { "2" } else { "1" }, "and nothing was lost");
    }
    server.stop().await;
}
