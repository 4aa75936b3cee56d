//! A real Chromium, headless, with a page and its service worker: what it shows is what somebody would see. It is spoken to
//! by DevTools over pipes, and ends with them, so that none outlives its test.

use crate::PATIENCE;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::{
    collections::VecDeque, convert::Infallible, fs::File, future::ready, path::Path, process::Stdio, time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// How often it is looked whether what is shown is as wanted.
const LOOK: Duration = Duration::from_millis(20);
/// It runs as whoever runs the tests, needs no screen, and calls nobody.
const FLAGS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
];
const PAGE: &str =
    "<!doctype html><title>Madang</title><script>navigator.serviceWorker.register('/worker.js')</script>";
/// What is shown, each as [title, body, conversation].
const SHOWN: &str = "navigator.serviceWorker.ready.then((it) => it.getNotifications())
    .then((all) => all.map((each) => [each.title, each.body, each.tag]))";
/// The first notifications may get lost while the browser comes up: until one is there, and then without it.
const WARM: &str = "(async () => {
    const it = await navigator.serviceWorker.ready;
    for (;;) {
        await it.showNotification('ready?', { tag: 'ready?' });
        const all = await it.getNotifications();
        if (all.length) return all.forEach((each) => each.close());
        await new Promise((go) => setTimeout(go, 20));
    }
})()";

/// Without a desktop that keeps them, notifications that nobody has to dismiss go after some seconds.
const KEEP: &str = "{
    const show = ServiceWorkerRegistration.prototype.showNotification;
    ServiceWorkerRegistration.prototype.showNotification = function (title, options) {
        return show.call(this, title, { ...options, requireInteraction: true });
    };
}
";

/// A browser at work, with a page that may notify.
pub struct Chromium {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    origin: String,
    session: String,
    registration: String,
    asked: u64,
    events: VecDeque<Value>,
}

impl Chromium {
    /// Starts one with a profile of its own in a folder, and a page with a service worker.
    pub async fn start(folder: &Path, worker: &str) -> Self {
        let origin = serve(format!("{KEEP}{worker}")).await;
        let log = File::create(folder.join("chromium.log")).unwrap();
        let program = std::env::var("MADANG_TEST_CHROMIUM");
        let program =
            program.unwrap_or_else(|_| panic!("MADANG_TEST_CHROMIUM is not set: run the tests with `make test`"));
        let profile = format!("--user-data-dir={}", folder.join("chromium").display());
        // It reads from its descriptor 3 and writes to 4.
        let mut command = Command::new("sh");
        command
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 1>&2 </dev/null", &program, &profile, "about:blank"])
            .args(FLAGS);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let (to, from) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        let (session, registration, events) = (String::new(), String::new(), VecDeque::new());
        let mut browser = Self { process, to, from, origin, session, registration, asked: 0, events };
        browser.open().await;
        browser
    }

    async fn open(&mut self) {
        let may = json!({"origin": self.origin, "permissions": ["notifications"]});
        self.call("Browser.grantPermissions", may).await;
        let target = self.call("Target.createTarget", json!({"url": "about:blank"})).await["targetId"].clone();
        let session = self.call("Target.attachToTarget", json!({"targetId": target, "flatten": true})).await;
        session["sessionId"].as_str().unwrap().clone_into(&mut self.session);
        self.call("ServiceWorker.enable", json!({})).await;
        self.call("Page.navigate", json!({"url": format!("{}/", self.origin)})).await;
        while self.registration.is_empty() {
            let event = self.event("ServiceWorker.workerRegistrationUpdated").await;
            if let Some(id) = event["registrations"][0]["registrationId"].as_str() {
                id.clone_into(&mut self.registration);
            }
        }
        let pushes = json!({"service": "pushMessaging"});
        self.call("BackgroundService.startObserving", pushes).await;
        let record = json!({"service": "pushMessaging", "shouldRecord": true});
        self.call("BackgroundService.setRecording", record).await;
        self.evaluate(WARM).await;
    }

    /// What a script in the page gives, once it is there.
    pub async fn evaluate(&mut self, script: &str) -> Value {
        let asked = json!({"expression": script, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", asked).await;
        assert!(answer.get("exceptionDetails").is_none(), "{answer}");
        answer["result"]["value"].clone()
    }

    /// Hands the service worker what a push service has brought, and waits until it is done with that: who asks what is
    /// shown while a notification is on its way to the screen makes Chromium forget it.
    pub async fn push(&mut self, data: &str) {
        let asked = json!({"origin": self.origin, "registrationId": self.registration, "data": data});
        self.call("ServiceWorker.deliverPushMessage", asked).await;
        loop {
            let event = self.event("BackgroundService.backgroundServiceEventReceived").await;
            let event = &event["backgroundServiceEvent"];
            if event["eventName"] == "Push event completed" {
                assert_eq!(event["eventMetadata"][0]["value"], "Success", "{event}");
                return;
            }
        }
    }

    /// Waits until it shows these notifications and no others: title, body and conversation of each, in any order.
    pub async fn shows(&mut self, wanted: &[[&str; 3]]) {
        let mut wanted: Vec<Value> = wanted.iter().map(|each| json!(each)).collect();
        wanted.sort_by_key(Value::to_string);
        let mut last = Value::Null;
        let shown = async {
            loop {
                last = self.evaluate(SHOWN).await;
                let mut shown = last.as_array().unwrap().clone();
                shown.sort_by_key(Value::to_string);
                if shown == wanted {
                    return;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let in_time = timeout(PATIENCE, shown).await;
        assert!(in_time.is_ok(), "it shows {last}, not {wanted:?}");
    }

    /// Ends it.
    pub async fn stop(self) {
        let Self { mut process, to, from, .. } = self;
        drop((to, from));
        timeout(PATIENCE, process.wait()).await.unwrap().unwrap();
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let mut asked = json!({"id": self.asked, "method": method, "params": params});
        if !self.session.is_empty() {
            asked["sessionId"] = json!(self.session);
        }
        self.to.write_all(format!("{asked}\0").as_bytes()).await.unwrap();
        loop {
            let said = self.read().await;
            if said["id"] == self.asked {
                assert!(said.get("error").is_none(), "{method}: {said}");
                return said["result"].clone();
            }
            self.events.push_back(said);
        }
    }

    /// The next event of a kind: what it tells. Others before it are let go.
    async fn event(&mut self, method: &str) -> Value {
        loop {
            let said = match self.events.pop_front() {
                Some(said) => said,
                None => self.read().await,
            };
            if said["method"] == method {
                return said["params"].clone();
            }
        }
    }

    async fn read(&mut self) -> Value {
        let mut said = Vec::new();
        timeout(PATIENCE, self.from.read_until(0, &mut said)).await.unwrap().unwrap();
        assert_eq!(said.pop(), Some(0), "Chromium has ended: chromium.log in its folder says why");
        serde_json::from_slice(&said).unwrap()
    }
}

/// Serves the page and its service worker; where: browsers let pages of this machine have those without TLS.
async fn serve(worker: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let worker = Bytes::from(worker);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let worker = worker.clone();
            let answer = service_fn(move |request: Request<Incoming>| {
                let (status, kind, body) = match request.uri().path() {
                    "/" => (StatusCode::OK, "text/html", PAGE.into()),
                    "/worker.js" => (StatusCode::OK, "text/javascript", worker.clone()),
                    _ => (StatusCode::NOT_FOUND, "text/plain", Bytes::new()),
                };
                let answer = Response::builder().status(status).header("content-type", kind);
                ready(Ok::<_, Infallible>(answer.body(Full::new(body)).unwrap()))
            });
            // How it ends is the browser's business.
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    origin
}
