//! Accepting connections, at public doors and between services alike. One that is gone before it is taken is none; where
//! none can be taken at the moment it is said, and tried again after a breath.

use std::{io, net::SocketAddr, time::Duration};
use tokio::net::{TcpListener, TcpStream};

/// How long nothing is accepted after an error that will not have gone at once, such as no free descriptors.
const BREATH: Duration = Duration::from_millis(100);

fn of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// The next connection, and from where it comes. Dropped before, it has taken none.
pub(crate) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "no TCP_NODELAY");
                }
                return (stream, peer);
            }
            Err(error) if of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be accepted at the moment: are there too few file descriptors (ulimit -n)?");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}
