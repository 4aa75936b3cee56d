//! Bodies while they come: together they take no more than there is memory for, and none takes for ever. What a body takes is
//! counted before there is memory for it, to its address and its user, who each get but a share: whoever opens many and goes on
//! with none finds the place taken, and others do not. It is given back when the request is answered.

use crate::problem::Problem;
use axum::{
    Extension,
    body::{Body, BodyDataStream, Bytes, HttpBody as _},
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use madang_mesh::{
    door::{Address, Visitor},
    refused::Refused,
};
use madang_proto::{
    id::UserId,
    reason::{Reason, Refusal},
};
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio_stream::StreamExt as _;

/// What all bodies take at most, in bytes.
const ALL: usize = 64 << 20;
/// What of it is there for the first bytes of bodies alone: most are small, and come also while large ones fill the rest.
const FOR_SMALL: usize = 16 << 20;
/// What counts as a body's first bytes.
const SMALL: usize = 16 << 10;
/// What the bodies of an address take at most, and those of a user.
const SHARE: usize = 16 << 20;
/// For how long the rest of what is refused is read.
const LINGER: Duration = Duration::from_secs(2);
/// After how long there may be a place again, in ms.
const AGAIN_MS: u64 = 1000;

static BODIES: LazyLock<Refused> = LazyLock::new(|| {
    Refused::new(
        "bodies",
        "requests whose bodies found no room: somebody sends many large ones slowly, or there should be more api processes",
    )
});

/// To whom a body is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Holder {
    Address(Address),
    User(UserId),
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by: HashMap<Holder, usize>,
}

/// What all bodies of a process take.
#[derive(Debug, Default)]
pub(crate) struct Bodies(Mutex<Taken>);

impl Bodies {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the body of one request takes, until the last of these goes.
#[derive(Debug, Clone)]
pub(crate) struct Held(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bodies: Arc<Bodies>,
    held: Mutex<(usize, Vec<Holder>)>,
}

impl Held {
    fn new(bodies: Arc<Bodies>, address: Option<Address>) -> Self {
        let held = Mutex::new((0, address.map(Holder::Address).into_iter().collect()));
        Self(Arc::new(Inner { bodies, held }))
    }

    /// It is a user's: said before anything of it is read.
    pub fn is_of(&self, user: UserId) {
        let mut held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.0 == 0 && !held.1.contains(&Holder::User(user)) {
            held.1.push(Holder::User(user));
        }
    }

    /// Takes so much more, if there is room for it.
    fn take(&self, bytes: usize) -> Result<(), Problem> {
        let mut held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = self.0.bodies.taken();
        let all = if held.0 + bytes <= SMALL { ALL } else { ALL - FOR_SMALL };
        let has_share = |holder: &Holder| taken.by.get(holder).copied().unwrap_or(0) + bytes <= SHARE;
        if taken.all + bytes > all || !held.1.iter().all(has_share) {
            BODIES.count();
            let message = "too many large requests are being read just now: try again after retryAfterMs";
            return Err(Problem::unread(Refusal::new(Reason::Overloaded, message).after(AGAIN_MS)));
        }
        taken.all += bytes;
        for holder in &held.1 {
            *taken.by.entry(*holder).or_default() += bytes;
        }
        held.0 += bytes;
        Ok(())
    }
}

impl Inner {
    fn give_back(&self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = std::mem::take(&mut held.0);
        let mut taken = self.bodies.taken();
        taken.all -= bytes;
        for holder in &held.1 {
            if let Some(of) = taken.by.get_mut(holder) {
                *of -= bytes;
                if *of == 0 {
                    taken.by.remove(holder);
                }
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Before everything: what a request's body takes is counted from here on until it is answered.
pub(crate) async fn count(
    State(bodies): State<Arc<Bodies>>,
    visitor: Option<Extension<Visitor>>,
    mut request: Request,
    next: Next,
) -> Response {
    let held = Held::new(bodies, visitor.and_then(|Extension(visitor)| visitor.address));
    request.extensions_mut().insert(held.clone());
    let response = next.run(request).await;
    drop(held);
    response
}

/// How much of what is read, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Most {
    pub bytes: usize,
    pub too_large: &'static str,
    pub time: Duration,
    pub late: &'static str,
}

/// All of a body, within its limits.
pub(crate) async fn read(body: Body, held: &Held, most: Most) -> Result<Bytes, Problem> {
    let exact = body.size_hint().exact().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let mut parts = body.into_data_stream();
    let late = |_| Problem::unread(Refusal::new(Reason::Timeout, most.late));
    let read = tokio::time::timeout(most.time, gather(&mut parts, exact, held, most)).await.map_err(late)?;
    if read.is_err() {
        held.0.give_back();
        drop(tokio::time::timeout(LINGER, let_go(&mut parts, most.bytes)).await);
    }
    read
}

/// Reads on for a little, and keeps nothing: who is cut off while they send might never see why.
async fn let_go(parts: &mut BodyDataStream, most: usize) {
    let mut bytes = 0;
    while let Some(Ok(part)) = parts.next().await
        && bytes < most
    {
        bytes += part.len();
    }
}

/// Memory is taken as it is needed: who says that a body is large and sends nothing takes little.
async fn gather(parts: &mut BodyDataStream, exact: Option<usize>, held: &Held, most: Most) -> Result<Bytes, Problem> {
    let too_large = || Problem::unread(Refusal::new(Reason::TooLarge, most.too_large));
    if exact.is_some_and(|exact| exact > most.bytes) {
        return Err(too_large());
    }
    let mut room = exact.unwrap_or(SMALL).min(SMALL);
    held.take(room)?;
    let mut gathered = Vec::with_capacity(room);
    while let Some(part) = parts.next().await {
        let broken = |_| Problem::unread(Refusal::new(Reason::InvalidField, "the body breaks off: send all of it"));
        let part = part.map_err(broken)?;
        let length = gathered.len() + part.len();
        if length > most.bytes {
            return Err(too_large());
        }
        if length > room {
            let wanted = (2 * room).min(exact.unwrap_or(most.bytes)).max(length);
            held.take(wanted - room)?;
            gathered.reserve_exact(wanted - gathered.len());
            room = wanted;
        }
        gathered.extend_from_slice(&part);
    }
    Ok(gathered.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse as _;
    use std::convert::Infallible;
    use tokio::time::Instant;
    use tokio_stream::{StreamExt, iter, pending};

    const MOST: Most =
        Most { bytes: 5 << 20, too_large: "at most 5 MiB", time: Duration::from_secs(60), late: "not within 60 s" };

    fn user(n: u8) -> UserId {
        UserId::from_slice(&[n; 16]).unwrap()
    }

    fn of(bodies: &Arc<Bodies>, n: u8) -> Held {
        let held = Held::new(bodies.clone(), None);
        held.is_of(user(n));
        held
    }

    /// Parts that come, and nothing after them.
    fn stalled(bytes: usize) -> Body {
        let part = Ok::<_, Infallible>(Bytes::from(vec![0; bytes]));
        Body::from_stream(iter([part]).chain(pending()))
    }

    fn status(problem: Problem) -> u16 {
        problem.into_response().status().as_u16()
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_who_stalls_takes_but_a_share_and_not_for_ever() {
        let bodies = Arc::<Bodies>::default();
        let start = Instant::now();
        let reading: Vec<_> = (0..110)
            .map(|_| {
                let held = of(&bodies, 1);
                tokio::spawn(async move { read(stalled((5 << 20) - 1), &held, MOST).await.map_err(status) })
            })
            .collect();
        let held = of(&bodies, 2);
        let whole = read(Body::from(vec![1; 5 << 20]), &held, MOST).await.unwrap();
        assert_eq!(whole.len(), 5 << 20, "others are read meanwhile");
        tokio::task::yield_now().await;
        assert!(bodies.taken().by[&Holder::User(user(1))] <= SHARE);
        assert_eq!(start.elapsed(), Duration::ZERO);
        let mut answers = Vec::new();
        for each in reading {
            answers.push(each.await.unwrap().unwrap_err());
        }
        let count = |status| answers.iter().filter(|each| **each == status).count();
        assert_eq!((count(504), count(429)), (3, 107), "{answers:?}");
        assert_eq!(start.elapsed(), MOST.time);
        drop((held, whole));
        let taken = bodies.taken();
        assert!(taken.all == 0 && taken.by.is_empty(), "{taken:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn all_together_have_a_bound_and_small_ones_find_room_beside_large_ones() {
        let bodies = Arc::<Bodies>::default();
        let mut held = Vec::new();
        for n in 0..200 {
            let one = of(&bodies, n);
            let mut reading = Box::pin(read(stalled(512 << 10), &one, MOST));
            let ended =
                tokio::select! { biased; ended = &mut reading => Some(ended), () = tokio::task::yield_now() => None };
            assert!(ended.is_none_or(|ended| status(ended.unwrap_err()) == 429));
            drop(reading);
            held.push(one);
        }
        let all = bodies.taken().all;
        assert!(all > ALL - FOR_SMALL - (1 << 20) && all <= ALL, "{all}");
        let small = of(&bodies, 255);
        assert_eq!(read(Body::from("{}"), &small, MOST).await.unwrap(), "{}");
        drop(held);
        drop(small);
        assert_eq!(bodies.taken().all, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_counted_as_it_is_taken() {
        let bodies = Arc::<Bodies>::default();
        let held = of(&bodies, 1);
        let said = Body::from(vec![0; (5 << 20) + 1]);
        assert_eq!(status(read(said, &held, MOST).await.unwrap_err()), 400, "what is said to be too large is not read");
        assert_eq!(bodies.taken().all, 0);
        let parts = (0..100).map(|_| Ok::<_, Infallible>(Bytes::from(vec![7; 10_000])));
        let whole = read(Body::from_stream(iter(parts)), &held, MOST).await.unwrap();
        assert_eq!(whole, vec![7; 1_000_000]);
        let all = bodies.taken().all;
        assert!((1_000_000..2_000_000).contains(&all), "{all}");
        let parts = (0..6).map(|_| Ok::<_, Infallible>(Bytes::from(vec![7; 1 << 20])));
        assert_eq!(status(read(Body::from_stream(iter(parts)), &of(&bodies, 2), MOST).await.unwrap_err()), 400);
    }
}
