//! The WebSocket door: one connection in either subprotocol. Several frames go out as one WebSocket message whenever
//! they are ready together, which is what makes a busy connection cheap for both sides.

use crate::{
    http,
    way::{Address, Connection},
};
use bytes::{Bytes, BytesMut};
use futures_util::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use madang_proto::client::v1::{self as client, client_frame, server_frame};
use prost::Message as _;
use std::net::IpAddr;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        self, Message,
        client::IntoClientRequest as _,
        http::HeaderValue,
        protocol::{CloseFrame, WebSocketConfig},
    },
};

/// The two subprotocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `madang.v1.pb`.
    #[default]
    Protobuf,
    /// `madang.v1.json`.
    Json,
}

impl Format {
    fn subprotocol(self) -> &'static str {
        match self {
            Format::Protobuf => "madang.v1.pb",
            Format::Json => "madang.v1.json",
        }
    }
}

/// Why a connection failed or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server can't be reached.
    #[error(transparent)]
    Connect(#[from] http::Error),
    /// The WebSocket broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] Box<tungstenite::Error>),
    /// The server closed it.
    #[error("the server closed the connection: {code} {reason}")]
    Closed {
        /// The close code; 1005 or 1006 if there was none.
        code: u16,
        /// What the server said.
        reason: String,
    },
    /// The server said something that the contract does not know.
    #[error("not a frame of the contract: {0}")]
    Frame(String),
}

impl From<tungstenite::Error> for Error {
    fn from(error: tungstenite::Error) -> Self {
        match error {
            tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => {
                Error::Closed { code: 1006, reason: String::new() }
            }
            other => Error::Broken(Box::new(other)),
        }
    }
}

type Stream = WebSocketStream<Connection>;

/// An open connection.
pub struct Socket {
    stream: Stream,
    format: Format,
}

impl Socket {
    /// Connects to a server, `http://HOST:PORT` or `https://HOST`, from a given local address if one is given.
    pub async fn connect(base: &str, source: Option<IpAddr>, format: Format) -> Result<Self, Error> {
        let at = Address::parse(base).ok_or_else(|| http::Error::Url(base.into()))?;
        let connection = at.connect(source).await?;
        let url = format!("{}://{}/v1/connect", if at.tls { "wss" } else { "ws" }, at.authority);
        let mut request = url.into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(format.subprotocol()));
        // Ten thousand of these have to fit beside a server: the default buffers are 256 KiB for each.
        let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
        let (stream, _) = client_async_with_config(request, connection, Some(config)).await?;
        Ok(Self { stream, format })
    }

    /// Says who one is. Frames that came along with `ready` go into `rest`.
    pub async fn hello(
        &mut self,
        hello: client::Hello,
        rest: &mut Vec<client::ServerFrame>,
    ) -> Result<client::Ready, Error> {
        let frame = client::ClientFrame { id: 1, body: Some(client_frame::Body::Hello(hello)), ..Default::default() };
        self.send(&[frame]).await?;
        let mut frames = Vec::new();
        let mut refusal = String::new();
        loop {
            if let Err(error) = self.receive(&mut frames).await {
                return Err(match error {
                    Error::Closed { code, reason } if reason.is_empty() => Error::Closed { code, reason: refusal },
                    other => other,
                });
            }
            let mut all = frames.drain(..);
            while let Some(frame) = all.next() {
                match frame.body {
                    Some(server_frame::Body::Ready(ready)) => {
                        rest.extend(all);
                        return Ok(ready);
                    }
                    // The close that follows has the code to act on.
                    Some(server_frame::Body::Error(error)) => refusal = format!("{}: {}", error.reason, error.message),
                    _ => {}
                }
            }
        }
    }

    /// Sends frames, as one WebSocket message.
    pub async fn send(&mut self, frames: &[client::ClientFrame]) -> Result<(), Error> {
        Ok(self.stream.send(encode(self.format, frames)?).await?)
    }

    /// Sends bytes that are frames already: length-delimited in protobuf.
    pub async fn send_bytes(&mut self, bytes: Bytes) -> Result<(), Error> {
        Ok(self.stream.send(Message::Binary(bytes)).await?)
    }

    /// Waits for the next WebSocket message and adds its frames. May be dropped without losing any.
    pub async fn receive(&mut self, into: &mut Vec<client::ServerFrame>) -> Result<(), Error> {
        decode(self.format, next(&mut self.stream).await?, into)
    }

    /// Waits for the next WebSocket message and gives its bytes, for those who read only some fields.
    pub async fn receive_bytes(&mut self) -> Result<Bytes, Error> {
        Ok(next(&mut self.stream).await?.into_data())
    }

    /// Closes it as RFC 6455 wants; errors no longer matter.
    pub async fn close(mut self) {
        let _ = self.stream.close(None).await;
    }

    /// As two halves, for those who send and receive in different tasks.
    #[must_use]
    pub fn split(self) -> (Sender, Receiver) {
        let (sink, stream) = self.stream.split();
        (Sender { sink, format: self.format }, Receiver { stream, format: self.format })
    }
}

/// The half that sends.
pub struct Sender {
    sink: SplitSink<Stream, Message>,
    format: Format,
}

impl Sender {
    /// Sends frames, as one WebSocket message.
    pub async fn send(&mut self, frames: &[client::ClientFrame]) -> Result<(), Error> {
        Ok(self.sink.send(encode(self.format, frames)?).await?)
    }
}

/// The half that receives.
pub struct Receiver {
    stream: SplitStream<Stream>,
    format: Format,
}

impl Receiver {
    /// As [`Socket::receive`].
    pub async fn receive(&mut self, into: &mut Vec<client::ServerFrame>) -> Result<(), Error> {
        decode(self.format, next(&mut self.stream).await?, into)
    }
}

/// The next message with content; Pings are answered by the library.
async fn next<S>(stream: &mut S) -> Result<Message, Error>
where
    S: futures_util::Stream<Item = Result<Message, tungstenite::Error>> + Unpin,
{
    loop {
        match stream.next().await {
            Some(Ok(message @ (Message::Binary(_) | Message::Text(_)))) => return Ok(message),
            Some(Ok(Message::Close(Some(CloseFrame { code, reason })))) => {
                return Err(Error::Closed { code: code.into(), reason: reason.as_str().into() });
            }
            Some(Ok(Message::Close(None))) => return Err(Error::Closed { code: 1005, reason: String::new() }),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error.into()),
            None => return Err(Error::Closed { code: 1006, reason: String::new() }),
        }
    }
}

/// Frames as one WebSocket message.
fn encode(format: Format, frames: &[client::ClientFrame]) -> Result<Message, Error> {
    let wrong = |error: String| Error::Frame(error);
    match format {
        Format::Protobuf => {
            let mut buffer = BytesMut::with_capacity(frames.iter().map(|frame| frame.encoded_len() + 5).sum());
            for frame in frames {
                frame.encode_length_delimited(&mut buffer).map_err(|error| wrong(error.to_string()))?;
            }
            Ok(Message::Binary(buffer.freeze()))
        }
        Format::Json => {
            let lines: Result<Vec<_>, _> = frames.iter().map(serde_json::to_string).collect();
            Ok(Message::text(lines.map_err(|error| wrong(error.to_string()))?.join("\n")))
        }
    }
}

/// The frames of one WebSocket message. Unknown ones are left without a body, and JSON that is none is passed over.
fn decode(format: Format, message: Message, into: &mut Vec<client::ServerFrame>) -> Result<(), Error> {
    let mut bytes = message.into_data();
    match format {
        Format::Protobuf => {
            while !bytes.is_empty() {
                let frame = client::ServerFrame::decode_length_delimited(&mut bytes);
                into.push(frame.map_err(|error| Error::Frame(error.to_string()))?);
            }
        }
        Format::Json => {
            for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                into.push(serde_json::from_slice(line).map_err(|error| Error::Frame(error.to_string()))?);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pong(id: u32) -> client::ServerFrame {
        client::ServerFrame { id, body: Some(server_frame::Body::Pong(client::Pong {})) }
    }

    #[test]
    fn several_frames_share_a_message_in_both_formats() {
        let mut binary = Vec::new();
        for id in [1, 300] {
            binary.extend(pong(id).encode_length_delimited_to_vec());
        }
        let mut read = Vec::new();
        decode(Format::Protobuf, Message::Binary(binary.into()), &mut read).unwrap();
        assert_eq!(read, [pong(1), pong(300)]);
        let text = [pong(1), pong(2)].map(|frame| serde_json::to_string(&frame).unwrap()).join("\n");
        read.clear();
        decode(Format::Json, Message::text(text), &mut read).unwrap();
        assert_eq!(read, [pong(1), pong(2)]);
    }

    #[test]
    fn what_is_written_can_be_read_and_a_cut_frame_is_refused() {
        let send = client::Send { text: "안녕 👋🏽\u{2028}\u{85}".into(), ..Default::default() };
        let frame = client::ClientFrame { id: 3, body: Some(client_frame::Body::Send(send)), ..Default::default() };
        let bytes = encode(Format::Protobuf, std::slice::from_ref(&frame)).unwrap().into_data();
        assert_eq!(client::ClientFrame::decode_length_delimited(bytes.clone()).unwrap(), frame);
        let json = encode(Format::Json, &[frame.clone(), frame.clone()]).unwrap().into_data();
        let lines: Vec<_> = json.split(|byte| *byte == b'\n').collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(serde_json::from_slice::<client::ClientFrame>(lines[0]).unwrap(), frame);
        let cut = Message::Binary(bytes.slice(..bytes.len() - 1));
        assert!(decode(Format::Protobuf, cut, &mut Vec::new()).is_err());
    }
}
