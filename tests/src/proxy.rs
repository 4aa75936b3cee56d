//! A TCP proxy that can be cut, or fall silent: what stands between a cluster and a backend that a test takes away, without
//! touching the backend, which others use as well.

use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What becomes of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// All is let through.
    Open,
    /// They stay, and nothing is let through: nobody hears that the other end has gone.
    Silent,
    /// They end.
    Cut,
}

/// A proxy at work; it ends when this is dropped.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    /// Ends with the proxy.
    way: Arc<watch::Sender<Way>>,
}

impl Proxy {
    /// Before a server, `HOST:PORT`.
    pub async fn before(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let way = Arc::new(watch::Sender::new(Way::Open));
        let (mut gate, server) = (way.subscribe(), server.to_owned());
        tokio::spawn(async move {
            loop {
                let client = tokio::select! {
                    // Nobody lets anything through any more.
                    () = async { while gate.changed().await.is_ok() {} } => return,
                    client = listener.accept() => client,
                };
                let Ok((mut client, _)) = client else { continue };
                let (mut gate, server) = (gate.clone(), server.clone());
                tokio::spawn(async move {
                    let carry = async {
                        let mut to = TcpStream::connect(&server).await?;
                        copy_bidirectional(&mut client, &mut to).await
                    };
                    tokio::select! {
                        biased;
                        _ = gate.wait_for(|way| *way != Way::Open) => {}
                        // How it ends is the two ends' business.
                        _ = carry => return,
                    }
                    // What was silent once stays so, until it ends.
                    let _ = gate.wait_for(|way| *way != Way::Silent).await;
                });
            }
        });
        Self { address, way }
    }

    /// Cuts all connections, and refuses new ones.
    pub fn cut(&self) {
        self.way.send_replace(Way::Cut);
    }

    /// Lets nothing through any more, and says nothing of it.
    pub fn silence(&self) {
        self.way.send_replace(Way::Silent);
    }

    /// Lets new connections through again.
    pub fn mend(&self) {
        self.way.send_replace(Way::Open);
    }
}
