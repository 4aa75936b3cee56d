//! A link: a small TCP proxy between one process and those it calls, which can be cut, made slow or made to hang. It
//! stands where a network would: of several targets it takes one that says it is ready, as a cluster's network does.
//! What waits in it is bounded by one buffer for each direction of a connection.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

/// How much of each direction of a connection is on its way at most.
const BUFFER: usize = 16 << 10;
/// How long reaching a target may take.
const CONNECT: Duration = Duration::from_secs(2);

/// What a link does with what it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Forwards it at once.
    Pass,
    /// Forwards it after so long.
    Delay(Duration),
    /// Has dropped all connections, and drops new ones.
    Cut,
    /// Keeps connections, takes new ones, and forwards nothing: nobody is told that the other side is gone.
    Stall,
}

impl Mode {
    fn rank(self) -> u8 {
        match self {
            Mode::Pass => 0,
            Mode::Delay(_) => 1,
            Mode::Stall => 2,
            Mode::Cut => 3,
        }
    }

    fn passes(self) -> bool {
        matches!(self, Mode::Pass | Mode::Delay(_))
    }
}

/// Where a link leads.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its address.
    pub address: SocketAddr,
    /// Whether it wants connections.
    pub ready: Arc<AtomicBool>,
    /// What all links to it do with what they carry to it and from it.
    pub way: Way,
}

/// What several links do.
pub type Way = Arc<watch::Sender<Mode>>;

/// A way on which everything passes.
#[must_use]
pub fn way() -> Way {
    Arc::new(watch::Sender::new(Mode::Pass))
}

/// What a connection goes by: the worse of its link and of its target's way.
#[derive(Debug, Clone)]
struct Course {
    link: watch::Receiver<Mode>,
    way: watch::Receiver<Mode>,
}

impl Course {
    fn now(&mut self) -> Mode {
        let (link, way) = (*self.link.borrow_and_update(), *self.way.borrow_and_update());
        if link.rank() >= way.rank() { link } else { way }
    }

    /// Waits until something like this is so; false: it never will be.
    async fn until(&mut self, what: impl Fn(Mode) -> bool) -> bool {
        while !what(self.now()) {
            let changed = tokio::select! {
                changed = self.link.changed() => changed,
                changed = self.way.changed() => changed,
            };
            if changed.is_err() {
                return false;
            }
        }
        true
    }
}

/// A link; it carries until it is dropped.
#[derive(Debug)]
pub struct Link {
    /// The process that calls by it.
    pub from: String,
    /// What it calls.
    pub to: String,
    /// Where it is called.
    pub address: SocketAddr,
    mode: watch::Sender<Mode>,
    accepting: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.mode.send_replace(Mode::Cut);
        self.accepting.abort();
    }
}

impl Link {
    /// Opens one.
    pub async fn open(from: &str, to: &str, address: SocketAddr, targets: Vec<Target>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let mode = watch::Sender::new(Mode::Pass);
        let accepting = tokio::spawn(accept(listener, targets, mode.subscribe()));
        Ok(Self { from: from.into(), to: to.into(), address, mode, accepting })
    }

    /// Changes what it does, also to what is on its way.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn accept(listener: TcpListener, targets: Vec<Target>, mode: watch::Receiver<Mode>) {
    let (targets, next) = (Arc::new(targets), Arc::new(AtomicUsize::new(0)));
    loop {
        let Ok((near, _)) = listener.accept().await else {
            // Out of files, most likely: some will be closed.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        tokio::spawn(carry(near, targets.clone(), next.clone(), mode.clone()));
    }
}

/// The next target that is ready and can be reached, and its way.
async fn reach(targets: &[Target], next: &AtomicUsize) -> Option<(TcpStream, watch::Receiver<Mode>)> {
    let first = next.fetch_add(1, Relaxed);
    let in_turn = || (0..targets.len()).filter_map(|n| targets.get((first + n) % targets.len()));
    let ready = in_turn().filter(|target| target.ready.load(Relaxed));
    for target in ready.chain(in_turn().filter(|target| !target.ready.load(Relaxed))) {
        if *target.way.borrow() == Mode::Cut {
            continue;
        }
        if let Ok(Ok(stream)) = timeout(CONNECT, TcpStream::connect(target.address)).await {
            return Some((stream, target.way.subscribe()));
        }
    }
    None
}

async fn carry(near: TcpStream, targets: Arc<Vec<Target>>, next: Arc<AtomicUsize>, mut link: watch::Receiver<Mode>) {
    let Ok(mode) = link.wait_for(|mode| *mode != Mode::Stall).await.map(|mode| *mode) else { return };
    if mode == Mode::Cut {
        return;
    }
    let Some((far, way)) = reach(&targets, &next).await else { return };
    // Without it a link would be slow by itself.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (course, (near_in, near_out), (far_in, far_out)) = (Course { link, way }, near.into_split(), far.into_split());
    let mut cut = course.clone();
    tokio::select! {
        _ = cut.until(|mode| mode == Mode::Cut) => {}
        _ = async { tokio::join!(pump(near_in, far_out, course.clone()), pump(far_in, near_out, course.clone())) } => {}
    }
}

/// Carries one direction until its end.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut course: Course) {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await;
        let Ok(count @ 1..) = read else { break };
        if let Mode::Delay(time) = course.now() {
            tokio::time::sleep(time).await;
        }
        if !course.until(Mode::passes).await {
            break;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
    // The other side may have gone already.
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers every byte with the same.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        address
    }

    fn target(address: SocketAddr, ready: bool) -> Target {
        Target { address, ready: Arc::new(AtomicBool::new(ready)), way: way() }
    }

    async fn link(targets: Vec<Target>) -> Link {
        Link::open("a", "b", "127.0.0.1:0".parse().unwrap(), targets).await.unwrap()
    }

    async fn says(stream: &mut TcpStream, byte: u8) -> io::Result<u8> {
        stream.write_u8(byte).await?;
        stream.read_u8().await
    }

    #[tokio::test]
    async fn it_passes_stalls_and_goes_on_and_a_cut_ends_what_there_is() {
        let link = link(vec![target(echo().await, true)]).await;
        let mut stream = TcpStream::connect(link.address).await.unwrap();
        assert_eq!(says(&mut stream, 1).await.unwrap(), 1);
        link.set(Mode::Stall);
        stream.write_u8(2).await.unwrap();
        assert!(timeout(Duration::from_millis(50), stream.read_u8()).await.is_err(), "it hangs, and is not closed");
        link.set(Mode::Pass);
        assert_eq!(stream.read_u8().await.unwrap(), 2);
        link.set(Mode::Cut);
        assert!(stream.read_u8().await.is_err());
        let mut refused = TcpStream::connect(link.address).await.unwrap();
        assert!(says(&mut refused, 3).await.is_err());
        link.set(Mode::Delay(Duration::from_millis(1)));
        let mut stream = TcpStream::connect(link.address).await.unwrap();
        assert_eq!(says(&mut stream, 4).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn a_target_that_is_cut_off_is_so_on_every_link_and_the_others_take_over() {
        let (one, other) = (target(echo().await, true), target(echo().await, false));
        let link = link(vec![one.clone(), other.clone()]).await;
        let mut stream = TcpStream::connect(link.address).await.unwrap();
        assert_eq!(says(&mut stream, 1).await.unwrap(), 1);
        one.way.send_replace(Mode::Cut);
        assert!(stream.read_u8().await.is_err());
        let mut stream = TcpStream::connect(link.address).await.unwrap();
        assert_eq!(says(&mut stream, 2).await.unwrap(), 2, "by the other one");
        other.way.send_replace(Mode::Cut);
        assert!(stream.read_u8().await.is_err());
    }

    #[tokio::test]
    async fn what_is_not_ready_or_not_there_is_passed_over() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let targets = vec![target(gone, true), target(mute.local_addr().unwrap(), false), target(echo().await, true)];
        let link = link(targets).await;
        for byte in 0..6 {
            let mut stream = TcpStream::connect(link.address).await.unwrap();
            assert_eq!(says(&mut stream, byte).await.unwrap(), byte);
        }
    }
}
