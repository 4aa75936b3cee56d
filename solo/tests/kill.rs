//! What was acknowledged is there after the process was killed between any two instructions.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use madang_client::{Format, Http, Session, Update, session::Options};
use madang_proto::{
    client::v1::{Device, DeviceKind, Send},
    id::ClientId,
};
use std::{collections::BTreeMap, path::Path, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    sync::watch,
};

struct Server {
    child: Child,
    http: String,
    /// Stays open: who can't say where it serves ends.
    _out: Lines<BufReader<ChildStdout>>,
}

async fn serve(data: &Path) -> Server {
    let any = ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_madang"));
    command.args(["serve", "--argon2-kib", "8", "--send-rate", "0", "--data"]).arg(data).args(any);
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = out.next_line().await.unwrap().unwrap();
    Server { child, http: format!("http://{}", line.strip_prefix("http ").unwrap()), _out: out }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kill_9() {
    for _ in 0..5 {
        once(rand::random()).await;
    }
}

async fn once(seed: u64) {
    eprintln!("seed {seed}");
    let folder = tempfile::tempdir().unwrap();
    let mut server = serve(folder.path()).await;
    let http = Http::new(&server.http).unwrap();
    let device = Device { id: uuid::Uuid::new_v4().to_string(), kind: DeviceKind::Service.into(), ..Device::default() };
    let tokens = http.sign_up("ann", "correct horse", "Ann", &device).await.unwrap();
    let options = Options {
        http,
        gateways: Vec::new(),
        tokens: tokens.clone(),
        device,
        source: None,
        format: Format::Protobuf,
        cursor: String::new(),
    };
    let (told, mut lost) = watch::channel(0);
    let session = Session::start(options, move |update| {
        if let Update::Lost(_) = update {
            told.send_modify(|times| *times += 1);
        }
    });
    // A hundred senders at once; killed when so many of their messages have been acknowledged.
    let (acked, mut count) = tokio::sync::mpsc::unbounded_channel();
    for sender in 0..100 {
        let (session, acked, user) = (session.clone(), acked.clone(), tokens.user.clone());
        tokio::spawn(async move {
            for n in 0..1000 {
                let (text, client_id) = (format!("{sender} says {n}"), ClientId::now().to_string());
                let send = Send { user: user.clone(), client_id, text: text.clone(), ..Send::default() };
                let ack = loop {
                    match session.send(send.clone()).await {
                        Ok(ack) => break ack,
                        // A home that this machine held up; or the server is gone, and nobody listens any more.
                        Err(refusal) if refusal.reason.retryable() && !acked.is_closed() => {
                            tokio::time::sleep(Duration::from_millis(50)).await;
                        }
                        Err(_) => return,
                    }
                };
                if acked.send((ack.conversation, ack.seq, text)).is_err() {
                    return;
                }
            }
        });
    }
    let mut known = BTreeMap::new();
    let mut conversation = String::new();
    while known.len() < 500 + usize::try_from(seed % 1000).unwrap() {
        let (id, seq, text) = count.recv().await.unwrap();
        conversation = id;
        known.insert(seq, text);
    }
    let before = *lost.borrow();
    server.child.start_kill().unwrap();
    server.child.wait().await.unwrap();
    // All that it had said before it died has arrived by then.
    lost.wait_for(|times| *times > before).await.unwrap();
    while let Ok((_, seq, text)) = count.try_recv() {
        known.insert(seq, text);
    }
    count.close();

    let server = serve(folder.path()).await;
    let http = Http::new(&server.http).unwrap();
    let mut found = BTreeMap::new();
    let all = async {
        while !known.keys().all(|seq| found.contains_key(seq)) {
            let after = found.last_key_value().map_or(0, |(seq, _)| *seq);
            // The databases catch up with the log for a moment.
            match http.after(&tokens.access_token, &conversation, after, 200).await {
                Ok(page) => found.extend(page.messages.into_iter().map(|message| (message.seq, message.text))),
                Err(error) => assert!(error.retryable(), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // What is not there by then is lost, and named below.
    let _ = tokio::time::timeout(Duration::from_secs(90), all).await;
    for (seq, text) in &known {
        assert_eq!(found.get(seq), Some(text), "message {seq} was acknowledged");
    }
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), (1..=found.len() as u64).collect::<Vec<_>>());
}
