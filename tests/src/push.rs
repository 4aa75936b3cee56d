//! A push service of the tests' own: HTTP/2 over real TLS, which takes what it is sent, answers as it is told, and may
//! misbehave; and the browser behind it, which decrypts.

use crate::PATIENCE;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use p256::{PublicKey, SecretKey, ecdh::diffie_hellman, elliptic_curve::sec1::ToEncodedPoint};
use ring::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Salt},
    rand::{SecureRandom, SystemRandom},
};
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring as provider, pki_types::PrivateKeyDer},
};

/// A request that came.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Its path.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// It came over HTTP/2.
    pub http2: bool,
}

impl Taken {
    /// A header's text; empty: there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Its body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// How a request is answered.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The status; 0: 201.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
    /// After so long.
    pub after: Duration,
    /// Not before that is true.
    pub held: Option<watch::Receiver<bool>>,
}

impl Answer {
    /// A status, and nothing else.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }
}

type Answers = Box<dyn FnMut(&Taken) -> Answer + Send>;

struct State {
    taken: Mutex<VecDeque<Taken>>,
    came: Notify,
    answers: Mutex<Answers>,
    /// Counts up when all connections are to end.
    ends: watch::Sender<u64>,
    open: watch::Sender<usize>,
    /// How many connections it still greets; those after them it leaves without a word.
    greets: Mutex<usize>,
    /// How many wait for a word now, and how many did at most.
    unmet: watch::Sender<(usize, usize)>,
}

/// A push service at work.
pub struct PushServer {
    /// Where it is: https://127.0.0.1:PORT.
    pub url: String,
    /// The certificate that it is to be trusted by, PEM.
    pub ca: PathBuf,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

impl Drop for PushServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl PushServer {
    /// Starts one, its certificate in a folder. It takes everything.
    pub async fn start(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let (tls, ca) = certified(folder);
        let state = State {
            taken: Mutex::default(),
            came: Notify::new(),
            answers: Mutex::new(Box::new(|_| Answer::default())),
            ends: watch::Sender::new(0),
            open: watch::Sender::new(0),
            greets: Mutex::new(usize::MAX),
            unmet: watch::Sender::new((0, 0)),
        };
        let state = Arc::new(state);
        let serving = tokio::spawn(serve(listener, tls, state.clone()));
        Self { url, ca, state, serving }
    }

    /// Answers so from now on.
    pub fn answer(&self, answers: impl FnMut(&Taken) -> Answer + Send + 'static) {
        *self.state.answers.lock().unwrap() = Box::new(answers);
    }

    /// The next request that fulfils a condition; those before it stay.
    pub async fn next(&self, wanted: impl Fn(&Taken) -> bool) -> Taken {
        let found = async {
            loop {
                let came = self.state.came.notified();
                tokio::pin!(came);
                came.as_mut().enable();
                {
                    let mut taken = self.state.taken.lock().unwrap();
                    if let Some(at) = taken.iter().position(&wanted) {
                        return taken.remove(at).unwrap();
                    }
                }
                came.await;
            }
        };
        match tokio::time::timeout(PATIENCE, found).await {
            Ok(taken) => taken,
            Err(_) => panic!("no such request came; others: {:?}", self.paths()),
        }
    }

    /// The next request at a path.
    pub async fn at(&self, path: &str) -> Taken {
        self.next(|taken| taken.path == path).await
    }

    /// Ends all connections, as one that is maintained does: what is on its way is answered.
    pub fn hang_up(&self) {
        self.state.ends.send_modify(|ends| *ends += 1);
    }

    /// Waits until no connection is open.
    pub async fn quiet(&self) {
        let mut open = self.state.open.subscribe();
        // The server holds the sender.
        let _ = open.wait_for(|open| *open == 0).await;
    }

    /// Greets so many connections from now on, once there are more, and says nothing to those, not even of TLS.
    pub fn greet(&self, connections: usize) {
        *self.state.greets.lock().unwrap() = connections;
    }

    /// Waits until nobody waits for a word any more; how many did at most.
    pub async fn unmet(&self) -> usize {
        let mut unmet = self.state.unmet.subscribe();
        // The server holds the sender.
        unmet.wait_for(|(now, most)| *now == 0 && *most > 0).await.map_or(0, |unmet| unmet.1)
    }

    /// The paths of those that nobody has asked for yet.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        self.state.taken.lock().unwrap().iter().map(|taken| taken.path.clone()).collect()
    }
}

/// One that agrees on TLS and HTTP/2, and then neither reads nor says anything.
pub struct Silent {
    /// Where it is: https://127.0.0.1:PORT.
    pub url: String,
    /// The certificate that it is to be trusted by, PEM.
    pub ca: PathBuf,
}

impl Silent {
    /// Starts one, its certificate in a folder; how many have hung up on it.
    pub async fn start(folder: &Path) -> (Self, watch::Receiver<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let (tls, ca) = certified(folder);
        let (gone, hung_up) = watch::channel(0);
        tokio::spawn(async move {
            // It ends with the test.
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, gone) = (tls.clone(), gone.clone());
                tokio::spawn(async move {
                    let Ok(mut stream) = tls.accept(stream).await else { return };
                    // What is sent to it is thrown away unseen.
                    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                    gone.send_modify(|gone| *gone += 1);
                });
            }
        });
        (Self { url, ca }, hung_up)
    }
}

/// A certificate for this machine; and where it is, PEM.
pub(crate) fn certified(folder: &Path) -> (TlsAcceptor, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let ca = folder.join(format!("push-{}.pem", uuid::Uuid::new_v4()));
    std::fs::write(&ca, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut config = config.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (TlsAcceptor::from(Arc::new(config)), ca)
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, state: Arc<State>) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { return };
        let (tls, state) = (tls.clone(), state.clone());
        let greets = {
            let mut left = state.greets.lock().unwrap();
            let greets = *left;
            if greets != usize::MAX {
                *left = greets.saturating_sub(1);
            }
            greets
        };
        tokio::spawn(async move {
            if greets == 0 {
                state.unmet.send_modify(|(now, most)| (*now, *most) = (*now + 1, (*now + 1).max(*most)));
                // Until the client closes it, however it does.
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                state.unmet.send_modify(|(now, _)| *now -= 1);
                return;
            }
            if greets < usize::MAX {
                // The state holds the sender.
                let _ = state.unmet.subscribe().wait_for(|(_, most)| *most > 0).await;
            }
            let Ok(stream) = tls.accept(stream).await else { return };
            let (mut ends, answering) = (state.ends.subscribe(), state.clone());
            state.open.send_modify(|open| *open += 1);
            let service = service_fn(move |request| answer(request, answering.clone()));
            let builder = Builder::new(TokioExecutor::new());
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            tokio::pin!(connection);
            // How it ends is the client's business.
            tokio::select! {
                _ = connection.as_mut() => {}
                _ = ends.changed() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
            state.open.send_modify(|open| *open -= 1);
        });
    }
}

async fn answer(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let http2 = head.version == Version::HTTP_2;
    let taken = Taken { path: head.uri.path().to_owned(), headers: head.headers, body, http2 };
    let answer = (state.answers.lock().unwrap())(&taken);
    tokio::time::sleep(answer.after).await;
    if let Some(mut held) = answer.held {
        // A test that is over holds nothing any more.
        let _ = held.wait_for(|go| *go).await;
    }
    state.taken.lock().unwrap().push_back(taken);
    state.came.notify_waiters();
    let status = if answer.status == 0 { 201 } else { answer.status };
    let mut response = Response::builder().status(status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(answer.body.into())).unwrap())
}

/// A browser: its subscription's keys.
pub struct Browser {
    key: SecretKey,
    auth: [u8; 16],
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn derive<const N: usize>(salt: &[u8], from: &[u8], info: &[&[u8]]) -> [u8; N] {
    let mut key = [0; N];
    Salt::new(HKDF_SHA256, salt).extract(from).expand(info, Length(N)).unwrap().fill(&mut key).unwrap();
    key
}

impl Default for Browser {
    fn default() -> Self {
        let (mut seed, mut auth) = ([0; 32], [0; 16]);
        SystemRandom::new().fill(&mut seed).unwrap();
        SystemRandom::new().fill(&mut auth).unwrap();
        // Not zero, and below the order of the curve.
        seed[0] &= 0x7f;
        Self { key: SecretKey::from_slice(&seed).unwrap(), auth }
    }
}

impl Browser {
    fn public(&self) -> Vec<u8> {
        self.key.public_key().to_encoded_point(false).as_bytes().to_vec()
    }

    /// What its page registers, for an endpoint.
    #[must_use]
    pub fn subscription(&self, endpoint: &str) -> Value {
        let keys = json!({"p256dh": URL_SAFE_NO_PAD.encode(self.public()), "auth": URL_SAFE_NO_PAD.encode(self.auth)});
        json!({"endpoint": endpoint, "expirationTime": null, "keys": keys})
    }

    /// What it was told.
    #[must_use]
    pub fn decrypt(&self, body: &[u8]) -> Value {
        serde_json::from_str(&self.open(body)).unwrap()
    }

    /// The text that it was sent (RFC 8291, as a browser does it).
    #[must_use]
    pub fn open(&self, body: &[u8]) -> String {
        let (salt, rest) = body.split_at(16);
        let (size, rest) = rest.split_at(4);
        assert!(u32::from_be_bytes(size.try_into().unwrap()) >= 18);
        let (theirs, record) = rest[1..].split_at(usize::from(rest[0]));
        let shared =
            diffie_hellman(self.key.to_nonzero_scalar(), PublicKey::from_sec1_bytes(theirs).unwrap().as_affine());
        let own = self.public();
        let input: [u8; 32] = derive(&self.auth, shared.raw_secret_bytes(), &[b"WebPush: info\0", &own, theirs]);
        let key: [u8; 16] = derive(salt, &input, &[b"Content-Encoding: aes128gcm\0"]);
        let nonce: [u8; 12] = derive(salt, &input, &[b"Content-Encoding: nonce\0"]);
        let mut record = record.to_vec();
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).unwrap());
        let text = key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut record).unwrap();
        let end = text.iter().rposition(|byte| *byte != 0).unwrap();
        assert_eq!(text[end], 2, "the last record ends with 2");
        String::from_utf8(text[..end].to_vec()).unwrap()
    }
}
