//! Which of a service's processes takes a call: of two at random the one that answers sooner and has less to do
//! (power of two choices over a peak-sensitive moving average, as in Finagle and linkerd). One that can't be reached is
//! left out until a connection of nobody's call reaches it; never the last. tower's balancer belongs to one task, through
//! whose queue each call would go, and can't keep the last one in; its arithmetic is the same.

use super::{caused_by, host, port, reach};
use crate::{metrics, refused::Refused};
use futures_util::{FutureExt as _, future::BoxFuture};
use http::{Request, Response, Uri};
use prometheus::IntCounter;
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, LazyLock, Mutex, PoisonError, RwLock, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use tonic::{body::Body, transport};
use tower::{BoxError, Service, ServiceExt as _};

/// How fast what was measured is forgotten.
const DECAY: Duration = Duration::from_secs(10);
/// What is believed of one that was never asked.
const FIRST: f64 = 0.03;
/// What one that refuses counts as having taken: who refuses at once must not look fast.
const REFUSES: f64 = 0.5;
/// How long one that can't be reached is left out before it is tried: first, and at most; it doubles with each call that fails.
const OUT: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(15);
/// How often a name is looked up again: a process that goes serves on for longer than that and what DNS remembers
/// (`preStopSeconds`: 5 s of CoreDNS, these 2, and one until Kubernetes has told it).
const LOOK_UP: Duration = Duration::from_secs(2);
/// The same where one of its processes can't be reached, at most.
const LOOK_UP_SOON: Duration = Duration::from_millis(250);
/// How many processes of a service are known, at most.
const MOST: usize = 256;

static OUTS: LazyLock<IntCounter> = LazyLock::new(|| {
    metrics::counter("madang_mesh_ejections_total", "How many times a process that can't be reached was left out.")
});
static CROWDED: LazyLock<Refused> = LazyLock::new(|| {
    Refused::new("endpoints", "a service's name has over 256 addresses, and the rest are not used: use several names")
});

struct Load {
    /// How long it takes to answer, in seconds.
    takes: f64,
    at: Instant,
    /// Of calls, since one was answered.
    failures: u32,
    out: bool,
    /// Somebody tries, by itself, whether it can be reached again.
    watched: bool,
}

/// A process of the service.
pub(super) struct End {
    address: String,
    /// Where connections to it are tried; none: it is within this process.
    place: Option<Uri>,
    channel: transport::Channel,
    load: Mutex<Load>,
    waiting: AtomicUsize,
}

impl End {
    pub fn new(address: String, channel: transport::Channel) -> Arc<Self> {
        let load = Load { takes: FIRST, at: Instant::now(), failures: 0, out: false, watched: false };
        let place = address.parse::<Uri>().ok().filter(|place| place.scheme_str() != Some("inproc"));
        Arc::new(Self { address, place, channel, load: Mutex::new(load), waiting: AtomicUsize::new(0) })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Load> {
        self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_out(&self) -> bool {
        self.lock().out
    }

    #[allow(clippy::cast_precision_loss)] // how many wait
    fn cost(&self, now: Instant) -> f64 {
        let load = self.lock();
        let rest = (-(now - load.at).as_secs_f64() / DECAY.as_secs_f64()).exp();
        load.takes * rest.max(0.001) * (self.waiting.load(Ordering::Relaxed) + 1) as f64
    }

    /// A peak counts at once, what is better only with time.
    fn took(&self, seconds: f64) {
        let (mut load, now) = (self.lock(), Instant::now());
        let rest = (-(now - load.at).as_secs_f64() / DECAY.as_secs_f64()).exp();
        load.takes = if seconds > load.takes { seconds } else { load.takes * rest + seconds * (1.0 - rest) };
        load.at = now;
    }

    fn reached(&self) {
        let mut load = self.lock();
        (load.failures, load.out) = (0, false);
    }

    /// Leaves it out until it can be reached: a node that is gone answers nobody, and a call that tried it would wait
    /// for as long as connecting may take.
    fn failed(self: &Arc<Self>) {
        let mut load = self.lock();
        load.failures += 1;
        let rest = OUT.saturating_mul(1 << (load.failures - 1).min(10)).min(LONGEST);
        load.out = true;
        if !std::mem::replace(&mut load.watched, true) {
            OUTS.inc();
            tokio::spawn(watch(Arc::downgrade(self), rest));
        }
    }

    /// What trying it gave; whether it is left out no more.
    fn returns(&self, answers: bool) -> bool {
        let mut load = self.lock();
        load.out &= !answers;
        load.watched = load.out;
        !load.out
    }

    /// Whether connections are taken there.
    async fn answers(&self) -> bool {
        // Within the process there is but one, which is never left out.
        let Some(place) = &self.place else { return true };
        reach(place, port(place)).await.is_ok()
    }
}

/// Tries, by itself, one that can't be reached, until it can be.
async fn watch(end: Weak<End>, mut rest: Duration) {
    loop {
        sleep(rest).await;
        rest = (rest * 2).min(LONGEST);
        let Some(end) = end.upgrade() else { return };
        // One that a call has reached meanwhile is not tried.
        let answers = !end.is_out() || end.answers().await;
        if end.returns(answers) {
            return;
        }
    }
}

/// A call that is under way: also one that is given up has taken its time.
struct UnderWay {
    end: Arc<End>,
    begun: Instant,
    refused: bool,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.end.waiting.fetch_sub(1, Ordering::Relaxed);
        let took = self.begun.elapsed().as_secs_f64();
        self.end.took(if self.refused { took.max(REFUSES) } else { took });
    }
}

/// The processes of a service.
#[derive(Clone)]
pub struct Balance {
    ends: Arc<RwLock<Vec<Arc<End>>>>,
    /// One of them can't be reached: it may not be one of them any more.
    changed: Arc<Notify>,
}

impl Balance {
    pub(super) fn new(ends: Vec<Arc<End>>) -> Self {
        Self { ends: Arc::new(RwLock::new(ends)), changed: Arc::default() }
    }

    /// Follows what names stand for, as long as anybody uses this: a headless service has an address for each process.
    pub(super) fn follow(
        &self,
        names: Vec<Uri>,
        connect: impl Fn(&str, &Uri) -> Option<transport::Channel> + Send + Sync + 'static,
    ) {
        let (ends, changed) = (Arc::downgrade(&self.ends), self.changed.clone());
        tokio::spawn(async move {
            let mut several = false;
            while ends.strong_count() > 0 {
                if let Some(found) = look_up(&names).await {
                    // A name's only address is what its channel looks up by itself, whenever it connects.
                    several |= found.len() > names.len();
                    if several {
                        update(&ends, &found, &connect);
                    }
                }
                sleep(LOOK_UP_SOON).await;
                let _ = timeout(LOOK_UP - LOOK_UP_SOON, changed.notified()).await;
            }
        });
    }

    fn pick(&self) -> Option<Arc<End>> {
        let ends = self.ends.read().unwrap_or_else(PoisonError::into_inner);
        if ends.len() < 2 {
            return ends.first().cloned();
        }
        let mut able: Vec<&Arc<End>> = ends.iter().filter(|end| !end.is_out()).collect();
        if able.is_empty() {
            able = ends.iter().collect();
        }
        let first = rand::random_range(0..able.len());
        if able.len() == 1 {
            return Some(able[first].clone());
        }
        let second = (first + rand::random_range(1..able.len())) % able.len();
        let (one, other, now) = (able[first], able[second], Instant::now());
        Some(if one.cost(now) <= other.cost(now) { one } else { other }.clone())
    }
}

/// Every address of every name, and how each is connected to; none where a name has none just now: a service is not
/// taken for gone because its name can't be looked up.
async fn look_up(names: &[Uri]) -> Option<Vec<(SocketAddr, Uri)>> {
    let mut found = BTreeSet::new();
    for (index, name) in names.iter().enumerate() {
        let (host, port) = (host(name), port(name));
        match tokio::net::lookup_host((host, port)).await {
            Ok(addresses) => found.extend(addresses.map(|address| (address, index))),
            Err(error) => {
                tracing::debug!(host, %error, "a service's name can't be looked up");
                return None;
            }
        }
    }
    if found.len() > MOST {
        CROWDED.count();
    }
    let found: Vec<_> = found.into_iter().take(MOST).map(|(address, index)| (address, names[index].clone())).collect();
    (!found.is_empty()).then_some(found)
}

fn update(
    ends: &Weak<RwLock<Vec<Arc<End>>>>,
    found: &[(SocketAddr, Uri)],
    connect: &impl Fn(&str, &Uri) -> Option<transport::Channel>,
) {
    let Some(ends) = ends.upgrade() else { return };
    let old = ends.read().unwrap_or_else(PoisonError::into_inner).clone();
    let new = found.iter().filter_map(|(address, name)| {
        let address = format!("{}://{address}", name.scheme_str().unwrap_or("http"));
        if let Some(same) = old.iter().find(|end| end.address == address) {
            return Some(same.clone());
        }
        let channel = connect(&address, name)?;
        Some(End::new(address, channel))
    });
    let new: Vec<_> = new.collect();
    if !new.is_empty() {
        *ends.write().unwrap_or_else(PoisonError::into_inner) = new;
    }
}

impl Service<Request<Body>> for Balance {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(end) = self.pick() else {
            return async { Err("the service has no address".into()) }.boxed();
        };
        end.waiting.fetch_add(1, Ordering::Relaxed);
        let changed = self.changed.clone();
        let under_way = UnderWay { end: end.clone(), begun: Instant::now(), refused: false };
        async move {
            let mut under_way = under_way;
            let answer = end.channel.clone().oneshot(request).await;
            match &answer {
                Ok(response) => {
                    let status = response.headers().get("grpc-status");
                    under_way.refused = status.is_some_and(|status| status == "14" || status == "8");
                    end.reached();
                }
                // It is slow, which is counted; and may be reached all the same.
                Err(error) if caused_by::<tonic::TimeoutExpired>(error) => {}
                Err(_) => {
                    under_way.refused = true;
                    end.failed();
                    changed.notify_one();
                }
            }
            answer.map_err(Into::into)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(count: usize) -> Balance {
        let channel = || transport::Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
        Balance::new((0..count).map(|n| End::new(n.to_string(), channel())).collect())
    }

    fn share(of: &Balance, address: &str) -> usize {
        (0..1000).filter(|_| of.pick().unwrap().address == address).count()
    }

    fn end(of: &Balance, index: usize) -> Arc<End> {
        of.ends.read().unwrap()[index].clone()
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_slow_gets_less_until_that_is_forgotten() {
        let balance = ends(3);
        end(&balance, 0).took(1.0);
        assert_eq!(share(&balance, "0"), 0);
        tokio::time::advance(Duration::from_secs(60)).await;
        (1..3).for_each(|n| end(&balance, n).took(0.01));
        assert!(share(&balance, "0") > 100);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_much_to_do_gets_less() {
        let balance = ends(2);
        end(&balance, 1).waiting.fetch_add(10, Ordering::Relaxed);
        assert_eq!(share(&balance, "1"), 0);
    }

    #[tokio::test]
    async fn who_cannot_be_reached_is_left_out_until_it_can_be_but_never_the_last() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let channel = transport::Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
        let at = |address: String| End::new(address, channel.clone());
        let (gone, here) = (at("http://127.0.0.1:1".into()), at(format!("http://{}", listener.local_addr().unwrap())));
        let other = at("other".into());
        let balance = Balance::new(vec![gone.clone(), here.clone(), other.clone()]);
        gone.failed();
        here.failed();
        assert_eq!((share(&balance, &gone.address), share(&balance, &here.address)), (0, 0));
        let _tried = listener.accept().await.unwrap();
        while share(&balance, &here.address) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(share(&balance, &gone.address), 0, "nobody's call tries it");
        here.failed();
        other.failed();
        assert!(balance.pick().is_some());
        gone.reached();
        assert_eq!(share(&balance, &gone.address), 1000, "a call has reached it");
    }
}
