//! Pushes that fail in every way, with all that is said in the log: whom they were for, what they are known by and what
//! they are signed with is in none of it, also where the other end says it back; that they failed, by whom and how, is.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use base64::{Engine as _, engine::general_purpose::STANDARD};
use madang_proto::notify::v1::Outcome;
use madang_tests::{
    abrupt::{Abrupt, Way},
    client::sign_up,
    device::{Device, Doors},
    log::Log,
    notify::Notify,
    proxy::Proxy,
    push::{Answer, PushServer, Taken},
    vendors,
};
use rcgen::KeyPair;
use serde_json::json;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

/// All that a request is known by.
fn secrets(taken: &Taken) -> Vec<String> {
    let words = ["authorization", "madang-signature"].map(|name| taken.header(name));
    let mut secrets: Vec<_> = words.iter().flat_map(|text| text.split([' ', '.', ','])).map(str::to_owned).collect();
    if taken.path == "/token" {
        let form = String::from_utf8(taken.body.to_vec()).unwrap();
        secrets.extend(form.rsplit('=').next().unwrap().split('.').map(str::to_owned));
    }
    secrets
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_of_a_push_is_in_the_log_however_it_fails() {
    let log = Log::keep(madang_mesh::telemetry::filter_of("debug").unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (push, abrupt) = (PushServer::start(folder.path()).await, Abrupt::start(folder.path()).await);
    let stranger = PushServer::start(folder.path()).await;
    let both = [std::fs::read_to_string(&push.ca).unwrap(), std::fs::read_to_string(&abrupt.ca).unwrap()].concat();
    std::fs::write(&push.ca, both).unwrap();
    let proxy = Proxy::before(push.url.strip_prefix("https://").unwrap()).await;
    let url = format!("https://{}", proxy.address);
    let key = KeyPair::generate().unwrap();
    let flags = [vendors::apple(folder.path(), &key, &url), vendors::google(folder.path(), &url)].concat();
    let server = vendors::start(folder.path(), &push.ca, &flags).await;
    let ann = sign_up(&server, "ann").await;
    let mut people = Vec::new();
    let (device_token, registration) = ("5ec7e7".repeat(11), "cho:APA91b_secret_registration");
    let hook =
        |at: &str, secret: &str| json!({"webhook": {"url": format!("{at}/hook_secret?k=v_secret"), "secret": secret}});
    let (secret, other) = ("whsec_secret_0123456789", "whsec_secret_9876543210");
    for body in [
        json!({"apns": {"token": device_token}}),
        json!({"fcm": {"token": registration}}),
        hook(&url, secret),
        hook(&abrupt.url, other),
        hook(&stranger.url.replace("127.0.0.1", "localhost"), other),
        // Nobody listens there.
        hook("https://127.0.0.1:1", other),
        // It has no address.
        hook("https://nobody.invalid", other),
    ] {
        let person = sign_up(&server, &format!("person{}", people.len())).await;
        assert_eq!(vendors::register(&server, &person, body).await, 204);
        people.push(person.id);
    }
    let web = Device::sign_up(Doors::of(&server), "web_secret", "DEVICE_KIND_WEB").await;
    let subscription = web.browser.subscription(&format!("{url}/send_secret"));
    web.register(json!({"webPush": subscription})).await;
    people.push(web.person.id.clone());
    // Each refuses with all that it knows, in a body and a place that it was not asked for.
    let known = Arc::new(Mutex::new(BTreeSet::new()));
    let learned = known.clone();
    push.answer(move |taken| {
        let secrets = secrets(taken);
        learned.lock().unwrap().extend(secrets.iter().cloned());
        let status = match taken.path.split('/').nth(1).unwrap() {
            "token" => return vendors::well(taken, "ya29_secret"),
            // Apple, and Google: they do not believe our token.
            "3" => 403,
            "v1" => 401,
            _ => 503,
        };
        let said = format!("{} {} {}", taken.path, secrets.join(" "), String::from_utf8_lossy(&taken.body));
        let headers = vec![("location", format!("{}?{}", taken.path, secrets.join("&")))];
        Answer { headers, body: json!({"error": said, "reason": said}).to_string(), ..Answer::status(status) }
    });
    abrupt.next(Way::Half(500, vec![("location", "https://x/hook_secret".into())], format!("hook_secret {other}")));
    abrupt.next(Way::Unanswered);
    let reports = Notify::of(&server, folder.path());
    let say = async |whom: &str| {
        vendors::say(&server, &ann, whom, "verbatim_secret").await;
    };
    for person in &people {
        say(person).await;
    }
    for (person, status) in people.iter().zip([403, 401, 503, 500, 0, 0, 0, 503]) {
        let report = reports.wait(person, 1, Outcome::Later).await;
        assert_eq!(report.status, status, "{report:?}");
    }
    proxy.cut();
    for person in &people[..3] {
        say(person).await;
        assert_eq!(reports.wait(person, 2, Outcome::Later).await.status, 0);
    }
    server.stop().await;

    let log = log.text();
    let said = |provider: &str, host: &str, why: &str| {
        let line = format!("provider=\"{provider}\" host=\"{host}\" why={why}");
        assert!(log.lines().any(|each| each.contains(&line)), "{line}: {log}");
    };
    said("webhook", "localhost", "its certificate is not trusted");
    said("webhook", "127.0.0.1", "the connection was refused");
    said("webhook", "nobody.invalid", "the name has no address");
    // At which point is chance.
    said("apns", "127.0.0.1", "");
    said("fcm", "127.0.0.1", "");
    let mut secrets: BTreeSet<String> = known.lock().unwrap().clone();
    assert!(secrets.iter().filter(|each| each.len() > 60).count() > 5, "tokens and signatures came: {secrets:?}");
    secrets.extend([device_token, "_secret".into(), "APA91b".into()]);
    // What is in files, by its lines and as it is encoded.
    let pem = key.serialize_pem();
    secrets.extend([vendors::RSA, &pem].iter().flat_map(|text| text.lines()).map(str::to_owned));
    secrets.extend([STANDARD.encode(secret), STANDARD.encode(other)]);
    secrets.extend(["p256dh", "auth"].map(|name| subscription["keys"][name].as_str().unwrap().to_owned()));
    for secret in secrets {
        // The words of schemes and the time are none.
        if secret.len() < 6 || ["Bearer", "bearer"].contains(&secret.as_str()) || secret.starts_with("t=1") {
            continue;
        }
        let line = log.lines().find(|line| line.contains(&secret));
        assert_eq!(line, None, "{secret:?} is in the log");
    }
}
