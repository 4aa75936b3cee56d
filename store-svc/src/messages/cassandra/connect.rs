//! How Cassandra is reached: by whom, over what, and in how long.

use super::{
    CassandraSession, Error,
    balancing::Balancing,
    guard::{CONNECT, Cluster, Secure},
    late,
    safe::Safe,
};
use cdrs_tokio::{
    authenticators::{NoneAuthenticatorProvider, SaslAuthenticatorProvider, StaticPasswordAuthenticatorProvider},
    cluster::{
        NodeAddress, connect_generic,
        session::{NodeDistanceEvaluatorWrapper, ReconnectionPolicyWrapper, RetryPolicyWrapper},
    },
    load_balancing::node_distance_evaluator::TopologyAwareNodeDistanceEvaluator,
    retry::{ConstantReconnectionPolicy, FallthroughRetryPolicy},
};
use madang_mesh::{secret::Secret, tls::trust::Trust};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::watch, time::timeout};

/// How to reach Cassandra.
#[derive(Clone, Default)]
pub struct Options {
    /// Some of its nodes, `HOST:PORT`.
    pub nodes: Vec<String>,
    /// The data centre of this process; its nodes alone are asked.
    pub datacenter: String,
    /// The keyspace; made if it is not there.
    pub keyspace: String,
    /// How many replicas a new keyspace has.
    pub replicas: u32,
    /// A user and a password, where the cluster wants them.
    pub credentials: Option<(String, Secret)>,
    /// TLS to the nodes, if it is spoken.
    pub tls: Option<Tls>,
}

/// Whose certificates of nodes are believed, and what is shown to them.
#[derive(Clone)]
pub struct Tls {
    /// Authorities, PEM; `system`: those of this machine.
    pub ca: PathBuf,
    /// Of whom the nodes' certificates are; none: of each one's address.
    pub name: Option<String>,
    /// A certificate to show, and its key, PEM.
    pub shown: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    pub(super) fn open(self) -> Result<Secure, Error> {
        let ca = Some(self.ca.as_path()).filter(|file| *file != Path::new("system"));
        let shown = self.shown.as_ref().map(|(cert, key)| (cert.as_path(), key.as_path()));
        let trust =
            Trust::open(ca, shown, &[]).map_err(|error| Error::Unavailable(format!("TLS to Cassandra: {error}")))?;
        Ok(Secure { trust, name: self.name })
    }
}

/// Connects.
pub(super) async fn connect(options: &Options, safe: &Arc<Safe>) -> Result<CassandraSession, Error> {
    let mut addresses = Vec::new();
    for node in &options.nodes {
        addresses.extend(NodeAddress::from(node.as_str()).resolve_address().await?);
    }
    let authenticator: Arc<dyn SaslAuthenticatorProvider + Send + Sync> = match &options.credentials {
        None => Arc::new(NoneAuthenticatorProvider),
        Some((user, password)) => Arc::new(StaticPasswordAuthenticatorProvider::new(user.as_str(), password.reveal())),
    };
    let secure = options.tls.clone().map(Tls::open).transpose()?;
    let (denied, mut told) = watch::channel(None);
    let cluster = Cluster { authenticator, secure, safe: safe.clone(), denied };
    let connecting = connect_generic(
        &cluster,
        addresses,
        Balancing::new(),
        // Retries are ours: the log comes again.
        RetryPolicyWrapper(Box::new(FallthroughRetryPolicy)),
        ReconnectionPolicyWrapper(Arc::new(ConstantReconnectionPolicy::new(Duration::from_secs(2)))),
        NodeDistanceEvaluatorWrapper(Box::new(TopologyAwareNodeDistanceEvaluator::new(options.datacenter.clone()))),
        None,
    );
    // Without a node that answers, or lets it in, it would try for ever.
    tokio::select! {
        session = timeout(2 * CONNECT, connecting) => Ok(session.map_err(late)??),
        Ok(why) = told.wait_for(Option::is_some) => Err(Error::Denied(why.clone().unwrap_or_default())),
    }
}
