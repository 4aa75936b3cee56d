//! A TCP proxy that can be cut: what stands between a cluster and a backend that a test takes away, without touching the
//! backend, which others use as well.

use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// A proxy at work; it ends when this is dropped.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it lets anything through; ends with the proxy.
    open: Arc<watch::Sender<bool>>,
}

impl Proxy {
    /// Before a server, `HOST:PORT`.
    pub async fn before(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::new(watch::Sender::new(true));
        let (mut gate, server) = (open.subscribe(), server.to_owned());
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
                    if !*gate.borrow() {
                        return;
                    }
                    let carry = async {
                        let mut to = TcpStream::connect(&server).await?;
                        copy_bidirectional(&mut client, &mut to).await
                    };
                    tokio::select! {
                        // How it ends is the two ends' business.
                        _ = carry => {}
                        _ = gate.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        Self { address, open }
    }

    /// Cuts all connections, and refuses new ones.
    pub fn cut(&self) {
        self.open.send_replace(false);
    }

    /// Lets new connections through again.
    pub fn mend(&self) {
        self.open.send_replace(true);
    }
}
