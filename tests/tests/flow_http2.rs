//! HTTP/2 abused against every port, byte by byte: the connection ends, or costs no more than what it sends, and others are
//! served meanwhile.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)] // a test: a panic is its failure

use madang_mesh::{
    grants::Grants,
    serve::{self, Entrance},
    tls::Tls,
};
use madang_proto::access::Service;
use madang_solo::certs;
use madang_tests::{
    secure::{self, files},
    start_with,
};
use std::{io, net::SocketAddr, path::Path, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::rustls::ClientConfig;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const CONTINUATION: u8 = 9;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// POST http://test/ in HPACK.
const REQUEST: &[u8] = &[0x83, 0x86, 0x84, 0x41, 4, b't', b'e', b's', b't'];

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A port, and how it is spoken to.
struct Port {
    name: &'static str,
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    /// HTTP/2; else HTTP/1.1 alone.
    http2: bool,
}

impl Port {
    async fn connect(&self) -> io::Result<Box<dyn Io>> {
        let stream = TcpStream::connect(self.address).await?;
        Ok(match &self.tls {
            Some(config) => Box::new(secure::connect(config, stream).await?),
            None => Box::new(stream),
        })
    }

    async fn begin(&self) -> io::Result<Box<dyn Io>> {
        let mut stream = self.connect().await?;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
        stream.write_all(&frame(4, 0, 0, &[])).await?;
        Ok(stream)
    }

    /// Writes what `next` makes until the server closes the connection; false: it took 16 MiB of it.
    async fn flood(&self, mut next: impl FnMut(u32) -> Vec<u8>) -> bool {
        let (mut reader, mut writer) = tokio::io::split(self.begin().await.unwrap());
        let mut reading = tokio::spawn(async move { tokio::io::copy(&mut reader, &mut tokio::io::sink()).await });
        let (mut sent, mut number) = (0, 0);
        while sent < 16 << 20 {
            let bytes: Vec<u8> = (0..200)
                .flat_map(|_| {
                    number += 1;
                    next(number)
                })
                .collect();
            sent += bytes.len();
            tokio::select! {
                written = writer.write_all(&bytes) => if written.is_err() { return true },
                _ = &mut reading => return true,
            }
        }
        false
    }

    /// A well-behaved request is answered. Where the flood has all of the machine, a connection may have waited for its
    /// turn for so long that it was taken for a silent one: it comes again.
    async fn serves(&self) {
        for _ in 0..10 {
            match self.answers().await {
                Ok(()) => return,
                Err(error) => println!("{}: {error}", self.name),
            }
        }
        panic!("{}: others are not served", self.name);
    }

    /// One try: something comes on the request's stream.
    async fn answers(&self) -> io::Result<()> {
        if !self.http2 {
            let mut stream = self.connect().await?;
            stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            assert!(answer.starts_with("HTTP/1.1 "), "{}: {answer}", self.name);
            return Ok(());
        }
        let mut stream = self.begin().await?;
        stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, REQUEST)).await?;
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await?;
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            stream.read_exact(&mut payload).await?;
            if (head[3], head[8]) == (HEADERS, 1) {
                return Ok(());
            }
        }
    }

    /// Floods while others are served; whether it was cut off.
    async fn withstands(&self, next: impl FnMut(u32) -> Vec<u8>) -> bool {
        let others = async {
            for _ in 0..5 {
                self.serves().await;
            }
        };
        tokio::join!(self.flood(next), others).0
    }

    /// Some bytes and then silence: the connection is closed.
    async fn tires_of(&self, bytes: &[u8]) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        // A reset or an end, after whatever it says first.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
}

/// A service that is called by others with certificates; its answers are that it has no such RPC.
async fn between_services(folder: &Path) -> SocketAddr {
    let listener = serve::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let tls = Tls::open(&files(folder, "chat"), Service::Chat).await.unwrap();
    let entrance = Entrance::secured(listener, tls, Grants::default());
    tokio::spawn(serve::grpc(Routes::default(), Some(entrance), None, CancellationToken::new()));
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_end_the_connection_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = certs::make(folder.path()).unwrap();
    let (cert, key) = secure::door(folder.path());
    let flags = ["--http-cert", &cert, "--http-key", &key];
    let server = start_with(&folder.path().join("tls"), &flags).await;
    let plain = start_with(&folder.path().join("plain"), &[]).await;
    let between = between_services(&certificates).await;
    let (anybody, gateway) = (secure::anybody(&[b"h2"]), secure::holder(&certificates, "gateway"));
    let ports = [
        Port { name: "grpc", address: server.grpc, tls: None, http2: true },
        Port { name: "grpc between services", address: between, tls: Some(gateway), http2: true },
        Port { name: "door with certificate", address: server.http, tls: Some(anybody), http2: true },
        Port { name: "door", address: plain.http, tls: None, http2: false },
        Port { name: "admin", address: server.admin, tls: None, http2: false },
    ];
    let reset = |n: u32| {
        let stream = 2 * n - 1;
        [frame(HEADERS, END_HEADERS, stream, REQUEST), frame(3, 0, stream, &8_u32.to_be_bytes())].concat()
    };
    // A header block without an end: a literal header each time, never indexed.
    let header = [&[0x10, 1, b'x', 0x7f, 0xe1, 0x3e][..], &[b'a'; 8128]].concat();
    let endless = |n: u32| if n == 1 { frame(HEADERS, 0, 1, REQUEST) } else { frame(CONTINUATION, 0, 1, &header) };
    // Requests whose heads are 32 KiB each.
    let oversized = |n: u32| {
        let block = |flags| frame(CONTINUATION, flags, 2 * n - 1, &header);
        let first = frame(HEADERS, END_STREAM, 2 * n - 1, REQUEST);
        [first, block(0), block(0), block(0), block(END_HEADERS)].concat()
    };
    let empty = |n: u32| if n == 1 { frame(HEADERS, END_HEADERS, 1, REQUEST) } else { frame(0, 0, 1, &[]) };
    for port in &ports {
        port.serves().await;
        assert!(port.withstands(reset).await, "{}: rapid resets", port.name);
        assert!(port.withstands(endless).await, "{}: CONTINUATION without end", port.name);
        assert!(port.withstands(empty).await, "{}: empty DATA frames without end", port.name);
        // Each is answered, or refused, for what it is: that the rest is served is what counts.
        port.withstands(oversized).await;
        port.withstands(|_| frame(4, 0, 0, &[])).await;
        port.withstands(|_| frame(6, 0, 0, &[0; 8])).await;
        port.serves().await;
    }
    // Slow handshakes: of TLS, or of HTTP/2.
    let slow = |port: &Port| {
        let address = port.address;
        async move {
            let port = Port { name: "", address, tls: None, http2: false };
            tokio::join!(
                port.tires_of(b""),
                port.tires_of(b"P"),
                port.tires_of(&[0x16]),
                port.tires_of(&[0x16, 3, 1, 2, 0])
            );
        }
    };
    let [a, b, c, d, e] = ports.each_ref().map(slow);
    tokio::join!(a, b, c, d, e);
    plain.stop().await;
    server.stop().await;
}
