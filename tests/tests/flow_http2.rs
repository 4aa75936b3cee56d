//! HTTP/2 used against the gRPC port, byte by byte: the connection ends, and others are served.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use madang_solo::serve::Running;
use madang_tests::start;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// POST http://test/ in HPACK.
const REQUEST: &[u8] = &[0x83, 0x86, 0x84, 0x41, 4, b't', b'e', b's', b't'];

async fn begin(server: &Running) -> TcpStream {
    let mut stream = TcpStream::connect(server.grpc).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&frame(4, 0, 0, &[])).await.unwrap();
    stream
}

/// Writes what `next` makes until the server closes the connection; false: it took 32 MiB of it.
async fn flood(server: &Running, mut next: impl FnMut(u32) -> Vec<u8>) -> bool {
    let (mut reader, mut writer) = begin(server).await.into_split();
    let mut reading = tokio::spawn(async move { tokio::io::copy(&mut reader, &mut tokio::io::sink()).await });
    let (mut sent, mut number) = (0, 0);
    while sent < 32 << 20 {
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

/// A well-behaved request is answered: something comes on its stream.
async fn is_served(server: &Running) {
    let mut stream = begin(server).await;
    stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, REQUEST)).await.unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await.unwrap();
        if (head[3], head[8]) == (HEADERS, 1) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_end_the_connection_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    is_served(&server).await;
    let reset = |n: u32| {
        let stream = 2 * n - 1;
        [frame(HEADERS, END_HEADERS, stream, REQUEST), frame(3, 0, stream, &8_u32.to_be_bytes())].concat()
    };
    assert!(flood(&server, reset).await, "rapid resets");
    // A header block without an end: a literal header each time, never indexed.
    let header = [&[0x10, 1, b'x', 0x7f, 0xe1, 0x3e][..], &[b'a'; 8128]].concat();
    let endless = |n: u32| if n == 1 { frame(HEADERS, 0, 1, REQUEST) } else { frame(9, 0, 1, &header) };
    assert!(flood(&server, endless).await, "CONTINUATION without end");
    let empty = |n: u32| if n == 1 { frame(HEADERS, END_HEADERS, 1, REQUEST) } else { frame(0, 0, 1, &[]) };
    assert!(flood(&server, empty).await, "empty DATA frames without end");
    let settings = |_: u32| frame(4, 0, 0, &[]);
    let _ = flood(&server, settings).await;
    let pings = |_: u32| frame(6, 0, 0, &[0; 8]);
    let _ = flood(&server, pings).await;
    is_served(&server).await;
    server.stop().await;
}
