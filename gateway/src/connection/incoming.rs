//! What a client sends after its hello: answered here, passed on to the home, held until there is one, or refused.

use super::{Connection, End, code, encoded, error, no_home, requests::Request, too_fast};
use crate::{frame::Cut, refusals};
use bytes::Bytes;
use madang_mesh::{
    token::{Claims, bad_token},
    trace::{self, Kind, Span},
};
use madang_proto::{
    chat::v1::upstream::Item,
    client::v1::{Ack, ClientFrame, Pong, client_frame::Body, server_frame},
    reason::{Reason, Refusal},
};
use prost::Message as _;
use std::time::Instant;

/// What a frame asks, as its body is called.
fn name(body: Option<&Body>) -> &'static str {
    match body {
        Some(Body::Send(_)) => "send",
        Some(Body::Edit(_)) => "edit",
        Some(Body::Delete(_)) => "delete",
        Some(Body::React(_)) => "react",
        Some(Body::Read(_)) => "read",
        Some(Body::Typing(_)) => "typing",
        Some(Body::Watch(_)) => "watch",
        Some(Body::Hello(_)) => "hello",
        Some(Body::Ping(_)) => "ping",
        None => "nothing",
    }
}

impl Connection {
    pub(super) async fn take(&mut self, mut cut: Cut) -> Result<(), End> {
        if let Ok(ClientFrame { id, body: Some(Body::Typing(_)), .. }) = &mut cut {
            // It has no answer, not even a refusal, whatever id it was given.
            *id = 0;
        }
        if let Err(ms) = self.frames.take(Instant::now()) {
            let id = cut.as_ref().map_or_else(|(id, _)| *id, |frame| frame.id);
            refusals::FRAME_RATE.count();
            return self.refuse(id, &too_fast(ms)).await;
        }
        let ClientFrame { id, body, traceparent } = match cut {
            Ok(frame) => frame,
            Err((id, refusal)) => return self.not_understood(id, &refusal).await,
        };
        match body {
            Some(Body::Ping(_)) if id == 0 => Ok(()),
            Some(Body::Ping(_)) => self.send(&[encoded(id, server_frame::Body::Pong(Pong {}))]).await,
            Some(Body::Hello(hello)) => self.again(id, &hello.token).await,
            body => match self.allow(id, body.as_ref()) {
                Ok(()) => self.pass(id, body, &traceparent).await,
                Err(refusal) => self.refuse(id, &refusal).await,
            },
        }
    }

    /// To the home; held where there is none at the moment.
    async fn pass(&mut self, id: u32, body: Option<Body>, traceparent: &str) -> Result<(), End> {
        if let Some(Body::Watch(watch)) = &body {
            self.watching = !watch.users.is_empty();
        }
        let what = name(body.as_ref());
        let span = match what {
            // Droppable, and nobody waits for it.
            "typing" | "watch" => Span::none(),
            _ => Span::root("gateway", what, Kind::Server, trace::Context::parse(traceparent)),
        };
        let number = self.requests.number(id);
        let request = Request { id, number, what, since: Instant::now(), span };
        let frame: Bytes = ClientFrame { id: number, body, traceparent: String::new() }.encode_to_vec().into();
        let taken = match self.way.opened() {
            Some(link) => {
                let sent = link.try_send(Item::Frame(frame), request.span.context());
                if sent {
                    self.requests.sent(request);
                }
                sent
            }
            None => {
                let held = self.requests.hold(request, frame, self.shared.settings.queue_bytes);
                if !held {
                    refusals::HELD.count();
                }
                held
            }
        };
        if taken { Ok(()) } else { self.answer(id, &no_home()).await }
    }

    /// Refuses what is too much; who goes on regardless is let go.
    pub(super) async fn refuse(&mut self, id: u32, refusal: &Refusal) -> Result<(), End> {
        if self.eager.once_more(Instant::now()) {
            refusals::EAGER.count();
            return Err(Some((code::RATE, "too fast, again and again")));
        }
        self.answer(id, refusal).await
    }

    /// Answers with an error, if an answer is wanted.
    async fn answer(&mut self, id: u32, refusal: &Refusal) -> Result<(), End> {
        if id == 0 { Ok(()) } else { self.send(&[error(id, refusal)]).await }
    }

    fn allow(&self, id: u32, body: Option<&Body>) -> Result<(), Refusal> {
        let (most, now) = (self.shared.settings.max_in_flight, Instant::now());
        if self.departure.is_some_and(|departure| departure.gone(now)) {
            let message = "this server is going away: reconnect, and send again with the same clientId";
            return Err(Refusal::new(Reason::Unavailable, message).after(1));
        }
        if id != 0 && self.requests.unanswered() >= most as usize {
            refusals::IN_FLIGHT.count();
            let message = format!("{most} requests are unanswered: wait for some of the answers");
            return Err(Refusal::new(Reason::TooManyInFlight, message).after(100));
        }
        if let Some(Body::Send(_)) = body {
            self.shared.rate.take(self.claims.user, now).map_err(|ms| {
                refusals::SEND_RATE.count();
                too_fast(ms)
            })?;
        }
        Ok(())
    }

    async fn not_understood(&mut self, id: u32, refusal: &Refusal) -> Result<(), End> {
        if refusal.reason == Reason::Unimplemented {
            return self.answer(id, refusal).await;
        }
        self.send(&[error(id, refusal)]).await?;
        if self.invalid.once_more(Instant::now()) {
            refusals::INVALID.count();
            Err(Some((code::PROTOCOL, "too many frames that can't be understood")))
        } else {
            Ok(())
        }
    }

    /// A newer token of the same user and session.
    async fn again(&mut self, id: u32, token: &str) -> Result<(), End> {
        let claims = self.shared.verifier.verify(token, Some(&self.device)).await;
        let same = |claims: &Claims| (claims.user, claims.session) == (self.claims.user, self.claims.session);
        let answer = match claims {
            Ok(claims) if same(&claims) => {
                self.claims = claims;
                encoded(id, server_frame::Body::Ack(Ack::default()))
            }
            Ok(_) => error(id, &bad_token()),
            Err(refusal) => error(id, &refusal),
        };
        if id == 0 { Ok(()) } else { self.send(&[answer]).await }
    }
}
