//! The services' processes: started in any order (they wait for each other), stopped from the doors inwards.

use super::state::{self, Process, State};
use crate::{certs, services};
use anyhow::{Context as _, bail};
use madang_mesh::{serve::free, telemetry};
use rustix::process::{Pid, Signal, kill_process};
use std::{collections::BTreeMap, fs::File, net::SocketAddr, path::Path, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// How long a service may take to be ready.
const READY: Duration = Duration::from_secs(60);
/// How long a service may take to end; it grants itself less.
const END: Duration = Duration::from_secs(30);

/// How many of what.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// How many chat-svc.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    chats: u8,
    /// How many gateways.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    gateways: u8,
    /// Services call each other over TLS, with certificates that are made anew.
    #[arg(long)]
    tls: bool,
}

impl Args {
    /// The same, as flags.
    pub fn flags(&self) -> Vec<String> {
        let counts = ["--chats".into(), self.chats.to_string(), "--gateways".into(), self.gateways.to_string()];
        counts.into_iter().chain(self.tls.then(|| "--tls".into())).collect()
    }
}

/// A service that was started.
struct Started {
    process: Process,
    child: Child,
    order: usize,
}

fn variable(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set: this is what `madang dev up` runs"))
}

/// Starts them, writes the state, waits to be told to end, stops them.
pub async fn run(folder: &Path, args: Args) -> anyhow::Result<()> {
    let backends = ["NATS", "CASSANDRA", "POSTGRES"]
        .map(|name| Ok((name.to_lowercase(), variable(&format!("MADANG_TEST_{name}"))?)))
        .into_iter()
        .collect::<anyhow::Result<BTreeMap<_, _>>>()?;
    let Some(_lock) = state::lock(folder)? else { bail!("another cluster runs in {}", folder.display()) };
    let mut started = Vec::new();
    let begun = begin(folder, &args, &backends, &mut started).await;
    if begun.is_ok() {
        let supervisor = std::process::id();
        let processes = started.iter().map(|started| started.process.clone()).collect();
        State { supervisor, launcher: std::os::unix::process::parent_id(), backends, processes }.write(folder)?;
        telemetry::shutdown_signal().await;
        end(started).await;
        return State::remove(folder);
    }
    end(started).await;
    begun
}

async fn begin(
    folder: &Path,
    args: &Args,
    backends: &BTreeMap<String, String>,
    started: &mut Vec<Started>,
) -> anyhow::Result<()> {
    let mut services: Vec<(String, &str, usize, SocketAddr)> = Vec::new();
    for (order, service, count) in [
        (2, "account", 1),
        (2, "store", 1),
        (2, "group", 1),
        (2, "notify", 1),
        (1, "chat", args.chats),
        (0, "gateway", args.gateways),
        (0, "api", 1),
    ] {
        for n in 1..=count {
            let name = if count > 1 { format!("{service}-{n}") } else { service.to_owned() };
            services.push((name, service, order, free()?));
        }
    }
    let certificates = if args.tls { Some(certs::make(folder)?) } else { None };
    let scheme = services::scheme(certificates.as_deref());
    let url = |service: &str| {
        let all = services.iter().filter(|(_, name, ..)| *name == service);
        all.map(|(.., address)| format!("{scheme}://{address}")).collect::<Vec<_>>().join(",")
    };
    let at = |name: &str| backends[name].as_str();
    let settings = services::variables(at("nats"), at("cassandra"), at("postgres"), url);
    for (name, service, order, grpc) in services.clone() {
        let log = folder.join("log").join(format!("{name}.log"));
        let mut child = Command::new(services::binary(service)?)
            .envs(&settings)
            .envs(certificates.iter().flat_map(|folder| certs::variables(folder, service)))
            .env("MADANG_GRPC", grpc.to_string())
            .env("MADANG_ADMIN", "127.0.0.1:0")
            .env("MADANG_HTTP", "127.0.0.1:0")
            .env_remove("MADANG_ADVERTISE")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            // Ended by this process, in its order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("can't start {service}"))?;
        let (pid, out) = (child.id().unwrap_or_default(), child.stdout.take().context("no standard output")?);
        let process = Process { name, pid, grpc: grpc.to_string(), admin: String::new(), http: None };
        started.push(Started { process, child, order });
        // A service waits for nobody but the backends before it is ready: they can be started one after the other.
        let last = started.last_mut().map(|started| &mut started.process).context("just pushed")?;
        let ready = timeout(READY, addresses(last, BufReader::new(out), matches!(service, "gateway" | "api"))).await;
        if !matches!(ready, Ok(Ok(()))) {
            bail!("{} did not become ready:\n{}", last.name, std::fs::read_to_string(&log)?);
        }
    }
    Ok(())
}

/// Reads the lines that a service prints when it is ready.
async fn addresses(
    process: &mut Process,
    out: BufReader<tokio::process::ChildStdout>,
    door: bool,
) -> anyhow::Result<()> {
    let mut lines = out.lines();
    while let Some(line) = lines.next_line().await? {
        match line.split_once(' ') {
            Some(("admin", address)) => address.clone_into(&mut process.admin),
            Some(("http", address)) => process.http = Some(address.to_owned()),
            _ => {}
        }
        if !process.admin.is_empty() && process.http.is_some() == door {
            return Ok(());
        }
    }
    bail!("it ended")
}

/// Stops them, the doors first.
async fn end(mut started: Vec<Started>) {
    started.sort_by_key(|started| started.order);
    for group in started.chunk_by_mut(|one, other| one.order == other.order) {
        for one in group.iter() {
            // None: it has ended, and was waited for.
            if let Some(pid) = one.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        for one in group {
            if timeout(END, one.child.wait()).await.is_err() {
                tracing::warn!(name = one.process.name, "did not end in time and is killed");
                let _ = one.child.kill().await;
            }
        }
    }
}
