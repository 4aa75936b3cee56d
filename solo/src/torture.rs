//! `madang torture`: a cluster on this machine, every process and every link of which is this program's to break: three
//! nats-servers, Cassandra, Postgres, three chat-svc and two of each other service. Wiring; what is done to it, and who
//! judges, is in `loadgen`.

use crate::{certs, dev, services};
use anyhow::{Context as _, bail, ensure};
use madang_loadgen::torture::{
    self,
    cluster::{ANYBODY, Cluster},
    link::{self, Link, Target},
    server::{Kind, Program, Ready, Server},
};
use madang_mesh::{serve::free, telemetry};
use rustix::process::Signal;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};
use tokio::process::Command;

/// How many of which service, and whom each calls.
const SERVICES: [(&str, Kind, u8, &[&str]); 7] = [
    ("account", Kind::Account, 2, &["store", "group", "chat"]),
    ("store", Kind::Store, 2, &["group", "chat"]),
    ("group", Kind::Group, 2, &["account", "chat"]),
    ("chat", Kind::Chat, 3, &["store", "group", "account"]),
    ("notify", Kind::Notify, 2, &["account", "group", "chat"]),
    ("gateway", Kind::Gateway, 2, &["account", "chat"]),
    ("api", Kind::Api, 2, &["account", "group", "store", "chat", "notify"]),
];

/// What `madang torture` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where data and logs are; what an earlier run left there is removed.
    #[arg(long, default_value = ".torture")]
    folder: PathBuf,
    /// What prepares nats-server, Cassandra and Postgres, and says how they are started: in Madang's source folder, and run
    /// there.
    #[arg(long, env = "MADANG_BACKENDS", default_value = dev::BACKENDS)]
    backends: PathBuf,
    /// Services call each other over TLS.
    #[arg(long)]
    tls: bool,
    /// How many nodes of Cassandra, each with all rows: 1 or 3. Three are called directly, so that no link to them breaks.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=3))]
    nodes: u16,
    #[command(flatten)]
    torture: torture::Args,
}

/// What `run.py --plan` says.
#[derive(Deserialize)]
struct Backends {
    servers: Vec<Backend>,
    links: Vec<Route>,
}

#[derive(Deserialize)]
struct Backend {
    name: String,
    command: Vec<String>,
    log: PathBuf,
    /// Where it listens, if not on 127.0.0.1.
    host: Option<IpAddr>,
    port: u16,
    monitor: Option<u16>,
}

impl Backend {
    fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host.unwrap_or(Ipv4Addr::LOCALHOST.into()), self.port)
    }
}

/// How one nats-server reaches another.
#[derive(Deserialize)]
struct Route {
    from: String,
    to: String,
    port: u16,
    target: u16,
}

fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// Runs it; false: a promise was broken, which has been said.
pub async fn run(args: Args) -> anyhow::Result<bool> {
    let missing =
        "run this in Madang's source folder, or name it with --backends: it prepares the backends as the tests do";
    ensure!(args.backends.exists(), "{} is not here; {missing}", args.backends.display());
    services::binaries()?;
    let cluster = lay_out(&args).await?;
    tokio::select! {
        kept = torture::run(args.torture, cluster) => Ok(kept?),
        // What was started ends with the cluster.
        () = telemetry::shutdown_signal() => bail!("told to stop"),
    }
}

/// Prepares the folder, and describes all that will run.
async fn lay_out(args: &Args) -> anyhow::Result<Cluster> {
    let Args { folder, backends, tls, nodes, .. } = args;
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => std::fs::create_dir_all(folder)?,
    }
    let folder = folder.canonicalize()?;
    let mut command = Command::new("python3");
    let planned = command
        .arg(backends)
        .arg("--plan")
        .arg(&folder)
        .arg(nodes.to_string())
        .output()
        .await
        .context("can't start python3")?;
    let said = String::from_utf8_lossy(&planned.stderr);
    ensure!(planned.status.success(), "the backends could not be prepared:\n{said}");
    let backends: Backends = serde_json::from_slice(&planned.stdout)?;
    let own = backends.servers.iter().flat_map(|server| [Some(server.port), server.monitor]).flatten();
    let taken = own.chain(backends.links.iter().flat_map(|route| [route.port, route.target])).collect();
    let certificates = if *tls { Some(certs::make(&folder)?) } else { None };
    let mut plan = Plan { folder, certificates, backends: Vec::new(), servers: Vec::new(), links: Vec::new(), taken };
    for route in &backends.links {
        plan.link(&route.from, &route.to, local(route.port), vec![always(local(route.target))]).await?;
    }
    for backend in backends.servers {
        plan.backend(backend);
    }
    plan.services().await
}

/// A target that is called whether or not it is ready.
fn always(address: SocketAddr) -> Target {
    Target { address, ready: Arc::new(true.into()), way: link::way() }
}

/// A service's process, before it is started: where it will listen.
#[derive(Clone)]
struct Place {
    name: String,
    service: &'static str,
    kind: Kind,
    calls: &'static [&'static str],
    grpc: Target,
    admin: SocketAddr,
    http: Target,
}

/// An address that is free and that none of the backends will have.
fn unused(taken: &BTreeSet<u16>) -> anyhow::Result<SocketAddr> {
    loop {
        let address = free()?;
        if !taken.contains(&address.port()) {
            return Ok(address);
        }
    }
}

fn places(taken: &BTreeSet<u16>) -> anyhow::Result<Vec<Place>> {
    let mut places = Vec::new();
    for (service, kind, count, calls) in SERVICES {
        for n in 1..=count {
            let (ready, way) = (Arc::<AtomicBool>::default(), link::way());
            let grpc = Target { address: unused(taken)?, ready, way };
            let http = Target { address: unused(taken)?, ..grpc.clone() };
            places.push(Place {
                name: format!("{service}-{n}"),
                service,
                kind,
                calls,
                grpc,
                admin: unused(taken)?,
                http,
            });
        }
    }
    Ok(places)
}

struct Plan {
    folder: PathBuf,
    /// Where certificates are, if there are any.
    certificates: Option<PathBuf>,
    backends: Vec<(Kind, String, SocketAddr)>,
    servers: Vec<Arc<Server>>,
    links: Vec<Link>,
    /// Ports that backends have, or will have.
    taken: BTreeSet<u16>,
}

impl Plan {
    /// A link from a process to another, or to those of a kind; gives where it is called.
    async fn link(&mut self, from: &str, to: &str, at: SocketAddr, targets: Vec<Target>) -> anyhow::Result<SocketAddr> {
        let link = Link::open(from, to, at, targets).await?;
        let address = link.address;
        self.links.push(link);
        Ok(address)
    }

    fn backend(&mut self, backend: Backend) {
        let kind = match backend.name.as_str() {
            "postgres" => Kind::Postgres,
            name if name.starts_with("cassandra") => Kind::Cassandra,
            _ => Kind::Nats,
        };
        let ready = match backend.monitor {
            Some(port) => Ready::Says(local(port), "/healthz"),
            None => Ready::Listens(backend.address()),
        };
        // Postgres waits for its clients to go when it is asked politely.
        let end = if kind == Kind::Postgres { Signal::INT } else { Signal::TERM };
        let address = backend.address();
        let Backend { name, command, log, .. } = backend;
        self.backends.push((kind, name.clone(), address));
        let program = Program { name, kind, command, variables: BTreeMap::new(), log, ready, end };
        self.servers.push(Server::new(program, Arc::default()));
    }

    /// Links from a process to each backend of a kind; gives where they are called, separated by commas.
    async fn backend_links(&mut self, from: &str, kind: Kind) -> anyhow::Result<String> {
        let mut addresses = Vec::new();
        for (_, name, address) in self.backends.clone().into_iter().filter(|(of, ..)| *of == kind) {
            addresses.push(self.link(from, &name, local(0), vec![always(address)]).await?.to_string());
        }
        Ok(addresses.join(","))
    }

    fn count(&self, kind: Kind) -> usize {
        self.backends.iter().filter(|(of, ..)| *of == kind).count()
    }

    async fn service(&mut self, place: &Place, all: &[Place]) -> anyhow::Result<()> {
        let name = place.name.as_str();
        let nats = self.backend_links(name, Kind::Nats).await?;
        let (mut cassandra, mut postgres) = (String::new(), String::new());
        if place.kind == Kind::Store {
            let nodes: Vec<_> = self.backends.iter().filter(|(kind, ..)| *kind == Kind::Cassandra).collect();
            cassandra = match nodes[..] {
                // Drivers learn the addresses of a ring's nodes from the nodes.
                [_, _, ..] => nodes.iter().map(|(.., address)| address.to_string()).collect::<Vec<_>>().join(","),
                _ => self.backend_links(name, Kind::Cassandra).await?,
            };
        }
        if matches!(place.kind, Kind::Group | Kind::Account | Kind::Notify) {
            postgres = format!("postgres://app@{}/postgres", self.backend_links(name, Kind::Postgres).await?);
        }
        let scheme = services::scheme(self.certificates.as_deref());
        let mut urls = BTreeMap::new();
        for called in services::CALLED {
            let targets: Vec<_> = all.iter().filter(|of| of.service == called).map(|of| of.grpc.clone()).collect();
            let address = match targets.first() {
                Some(first) if !place.calls.contains(&called) => first.address,
                _ => self.link(name, called, local(0), targets).await?,
            };
            urls.insert(called, format!("{scheme}://{address}"));
        }
        let mut variables =
            services::variables(&nats, &cassandra, &postgres, |called| urls.get(called).cloned().unwrap_or_default());
        // By this address it is called as this very process.
        let told = self.link(ANYBODY, name, local(0), vec![place.grpc.clone()]).await?;
        for (name, value) in [
            ("GRPC", place.grpc.address.to_string()),
            ("ADMIN", place.admin.to_string()),
            ("HTTP", place.http.address.to_string()),
            ("ADVERTISE", format!("{scheme}://{told}")),
            ("NATS_REPLICAS", "3".into()),
            ("DRAIN_WINDOW", "0".into()),
            // Hundreds sign up at once.
            ("ARGON2_KIB", "8".into()),
            ("CASSANDRA_REPLICAS", self.count(Kind::Cassandra).to_string()),
        ] {
            variables.insert(format!("MADANG_{name}"), value);
        }
        let certificates = self.certificates.iter().flat_map(|folder| certs::variables(folder, place.service));
        variables.extend(certificates);
        let program = Program {
            name: place.name.clone(),
            kind: place.kind,
            command: vec![services::binary(place.service)?.to_string_lossy().into_owned()],
            variables,
            log: self.folder.join(format!("{name}.log")),
            ready: Ready::Says(place.admin, "/readyz"),
            end: Signal::TERM,
        };
        self.servers.push(Server::new(program, place.grpc.ready.clone()));
        Ok(())
    }

    async fn services(mut self) -> anyhow::Result<Cluster> {
        let places = places(&self.taken)?;
        for place in &places {
            self.service(place, &places).await?;
        }
        let doors = |kind| places.iter().filter(move |place| place.kind == kind).map(|place| place.http.clone());
        let (gateways, apis) = (doors(Kind::Gateway).collect(), doors(Kind::Api).collect());
        let gateway = self.link("client", "gateway", local(0), gateways).await?;
        let api = self.link("client", "api", local(0), apis).await?;
        let (api, gateway) = (format!("http://{api}"), format!("http://{gateway}"));
        let ways = places.into_iter().map(|place| (place.name, place.grpc.way)).collect();
        Ok(Cluster { servers: self.servers, links: self.links, ways, api, gateway })
    }
}
