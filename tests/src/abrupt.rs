//! A push service that breaks off: HTTP/2 by hand, over real TLS, which says GOAWAY and closes where it is told to, as
//! no server's library would.

use crate::push::certified;
use bytes::Bytes;
use serde_json::Value;
use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};
use tokio::{
    io::{self, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
/// The flag of what is the last of a stream; of SETTINGS and PING it says that they are answers.
const END: u8 = 1;
const END_HEADERS: u8 = 4;

/// What becomes of a request.
#[derive(Debug, Clone)]
pub enum Way {
    /// It was not looked at, says GOAWAY.
    Unseen,
    /// It was taken, says GOAWAY, and there is no answer.
    Unanswered,
    /// A status, some headers, and the answer breaks off; GOAWAY says why in these words.
    Half(u16, Vec<(&'static str, String)>, String),
    /// GOAWAY, and then the whole answer.
    Leaving(u16),
}

type Ways = Arc<Mutex<VecDeque<Way>>>;
type Taken = Arc<Mutex<Vec<Bytes>>>;

/// One at work.
pub struct Abrupt {
    /// Where it is: https://127.0.0.1:PORT.
    pub url: String,
    /// The certificate that it is to be trusted by, PEM.
    pub ca: PathBuf,
    ways: Ways,
    taken: Taken,
    serving: JoinHandle<()>,
}

impl Drop for Abrupt {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Abrupt {
    /// Starts one, its certificate in a folder. It answers 200.
    pub async fn start(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let (tls, ca) = certified(folder);
        let (ways, taken) = (Ways::default(), Taken::default());
        let (to, into) = (ways.clone(), taken.clone());
        let serving = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (tls, ways, taken) = (tls.clone(), to.clone(), into.clone());
                tokio::spawn(async move {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    // How it ends is what is tried.
                    let _ = serve(stream, &ways, &taken).await;
                });
            }
        });
        Self { url, ca, ways, taken, serving }
    }

    /// This becomes of the next request; of those after it, that they are answered.
    pub fn next(&self, way: Way) {
        self.ways.lock().unwrap().push_back(way);
    }

    /// The bodies of all requests that came, as JSON.
    #[must_use]
    pub fn taken(&self) -> Vec<Value> {
        self.taken.lock().unwrap().iter().map(|body| serde_json::from_slice(body).unwrap_or_default()).collect()
    }
}

async fn frame(to: &mut (impl AsyncWrite + Unpin), kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    to.write_all(&[&head, payload].concat()).await
}

/// Fields without any compression (RFC 7541, 6.2.2).
fn fields(status: u16, headers: &[(&'static str, String)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in std::iter::once((":status", status.to_string())).chain(headers.iter().cloned()) {
        block.push(0);
        for text in [name, &value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}

async fn go_away(to: &mut (impl AsyncWrite + Unpin), last: u32, code: u32, why: &str) -> io::Result<()> {
    frame(to, GOAWAY, 0, 0, &[&last.to_be_bytes(), &code.to_be_bytes(), why.as_bytes()].concat()).await
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, ways: &Ways, taken: &Taken) -> io::Result<()> {
    stream.read_exact(&mut [0; 24]).await?;
    frame(&mut stream, SETTINGS, 0, 0, &[]).await?;
    let mut bodies = BTreeMap::<u32, Vec<u8>>::new();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let id = u32::from_be_bytes(id);
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload).await?;
        match kind {
            SETTINGS | PING if flags & END == 0 => {
                frame(&mut stream, kind, END, 0, &payload[..if kind == PING { 8 } else { 0 }]).await?
            }
            DATA => bodies.entry(id).or_default().extend(payload),
            _ => {}
        }
        if !matches!(kind, DATA | HEADERS) || flags & END == 0 {
            continue;
        }
        taken.lock().unwrap().push(bodies.remove(&id).unwrap_or_default().into());
        let way = ways.lock().unwrap().pop_front();
        match way {
            None => frame(&mut stream, HEADERS, END | END_HEADERS, id, &fields(200, &[])).await?,
            Some(Way::Leaving(status)) => {
                go_away(&mut stream, id, 0, "").await?;
                frame(&mut stream, HEADERS, END_HEADERS, id, &fields(status, &[])).await?;
                frame(&mut stream, DATA, END, id, b"{}").await?;
            }
            Some(Way::Unseen) => return hang_up(stream, 0, 0, "").await,
            Some(Way::Unanswered) => return hang_up(stream, id, 0, "").await,
            Some(Way::Half(status, headers, why)) => {
                frame(&mut stream, HEADERS, END_HEADERS, id, &fields(status, &headers)).await?;
                frame(&mut stream, DATA, 0, id, b"{\"reas").await?;
                return hang_up(stream, id, 2, &why).await;
            }
        }
    }
}

async fn hang_up(mut stream: impl AsyncWrite + Unpin, last: u32, code: u32, why: &str) -> io::Result<()> {
    go_away(&mut stream, last, code, why).await?;
    stream.shutdown().await
}
