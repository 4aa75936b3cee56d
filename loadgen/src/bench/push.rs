//! Everybody is away: groups are written to, and a push service of this process's own notes when each member is told, and
//! whether anybody is told who was a member until just before.

mod service;
mod tally;

use super::{Common, process::Usage, report};
use crate::{Error, people};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use madang_client::Http;
use madang_proto::{client::v1::History, id::ClientId};
use people::Person;
use serde_json::{Value, json};
use service::PushService;
use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};
use tally::judge;

/// A browser's keys, those of RFC 8291's example.
const KEY: &str = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";
/// How many calls that prepare are made at once.
const AT_ONCE: usize = 32;

/// How to have people told.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// How many groups are written to.
    #[arg(long, default_value_t = 100)]
    groups: usize,
    /// How many members of each are away.
    #[arg(long, default_value_t = 50)]
    members: usize,
    /// How many of each were members until just before.
    #[arg(long, default_value_t = 1)]
    removed: usize,
    /// How often each group is written to.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// So many messages a second, one group after the other; otherwise all groups are written to at once, and again when
    /// all were told.
    #[arg(long)]
    rate: Option<f64>,
    /// Where the push service is; the server must be let there (`--push-loopback`), and trust it (`--push-ca`).
    #[arg(long, default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Its certificate, PEM.
    #[arg(long)]
    certificate: PathBuf,
    /// Its key, PEM.
    #[arg(long)]
    key: PathBuf,
    /// How long to wait for what has not come yet, in seconds.
    #[arg(long, default_value_t = 60)]
    settle: u64,
    #[command(flatten)]
    common: Common,
}

/// A group, and who writes to it.
#[derive(Clone)]
struct Group {
    owner: Person,
    conversation: String,
}

/// Has people told; true: everybody was, once, and nobody else.
pub async fn run(args: &Args) -> Result<bool, Error> {
    let common = &args.common;
    let service = PushService::start(args.listen, &args.certificate, &args.key).await?;
    let http = &common.http()?[0];
    let people = common.people(http, args.groups * (1 + args.members + args.removed)).await?;
    let (owners, others) = people.split_at(args.groups);
    let (away, removed) = others.split_at(args.groups * args.members);
    // Numbers from there on are of those who are not to be told.
    subscribe(args, http, others, service.at).await?;
    let mut groups = Vec::new();
    for (number, owner) in owners.iter().enumerate() {
        let part = |all: &'_ [Person], size: usize| all[number * size..][..size].to_vec();
        groups.push((owner.clone(), part(away, args.members), part(removed, args.removed)));
    }
    let make = |(owner, members, removed)| make(http, owner, members, removed);
    let groups: Vec<Group> = stream::iter(groups).map(make).buffered(AT_ONCE).try_collect().await?;
    let before = Usage::of(&common.pid);
    let acked = match args.rate {
        Some(rate) => one_by_one(args, http, &groups, rate, &service).await?,
        None => all_at_once(args, http, &groups, &service).await?,
    };
    // What should not come may take a moment longer than what should.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let used = Usage::of(&common.pid).cpu.saturating_sub(before.cpu);
    let report = judge(&service.came(), &acked, args.members, args.rate.is_none(), used)?;
    if common.json {
        report::print_json(&report)?;
    } else {
        report::print_text(&format!(
            "{} pushes, {:.0} a second; from ack p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms; {} missing, {} doubled, {} stray; \
             {:.1} µs of the servers a push",
            report.pushes,
            report.pushes_per_second,
            report.p50_ms,
            report.p99_ms,
            report.max_ms,
            report.missing,
            report.doubled,
            report.stray,
            report.server_micros_per_push
        ))?;
    }
    Ok(report.good())
}

/// Has people told at the push service, each at the path of their number.
async fn subscribe(args: &Args, http: &Http, people: &[Person], at: SocketAddr) -> Result<(), Error> {
    let progress = args.common.bar("subscribing");
    progress.set_length(people.len() as u64);
    let subscribe = |(number, person): (usize, &Person)| {
        let keys = json!({"p256dh": KEY, "auth": AUTH});
        let body = json!({"webPush": {"endpoint": format!("https://{at}/{number}"), "keys": keys}, "preview": true});
        let (path, token) = (format!("/v1/devices/{}/push", person.device.id), person.tokens.access_token.clone());
        let progress = progress.clone();
        async move {
            people::persist(|| http.call::<Value>("PUT", &path, Some(&token), Some(body.clone()), None)).await?;
            progress.inc(1);
            Ok::<_, Error>(())
        }
    };
    stream::iter(people.iter().enumerate()).map(subscribe).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
    progress.finish_and_clear();
    Ok(())
}

/// Makes a group, and removes some of it again.
async fn make(http: &Http, owner: Person, members: Vec<Person>, removed: Vec<Person>) -> Result<Group, Error> {
    let (token, key) = (owner.tokens.access_token.clone(), uuid::Uuid::new_v4().to_string());
    let users: Vec<String> = members.iter().chain(&removed).map(|person| person.tokens.user.clone()).collect();
    let made = people::persist(|| http.create_group(&token, "bench", &users, History::All, &key)).await?;
    let conversation = made.conversation.conversation;
    for person in removed {
        let path = format!("/v1/groups/{conversation}/members/{}", person.tokens.user);
        people::persist(|| http.call::<Value>("DELETE", &path, Some(&token), None, None)).await?;
    }
    Ok(Group { owner, conversation })
}

/// Writes to a group; when that was acknowledged.
async fn write(http: &Http, group: &Group) -> Result<Instant, Error> {
    let id = ClientId::now().to_string();
    let body = json!({"conversation": group.conversation, "clientId": id, "text": "Is anybody there?"});
    let token = Some(&*group.owner.tokens.access_token);
    people::persist(|| http.call::<Value>("POST", "/v1/messages", token, Some(body.clone()), None)).await?;
    Ok(Instant::now())
}

/// Writes to all groups at once, and again when all were told.
async fn all_at_once(
    args: &Args,
    http: &Http,
    groups: &[Group],
    service: &PushService,
) -> Result<Vec<Vec<Instant>>, Error> {
    let progress = args.common.bar("telling");
    progress.set_length(args.rounds as u64);
    let mut acked = Vec::new();
    for round in 1..=args.rounds {
        let all = stream::iter(groups).map(|group| write(http, group)).buffered(args.groups.max(1));
        acked.push(all.try_collect().await?);
        service.wait(round * args.groups * args.members, Duration::from_secs(args.settle)).await;
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(acked)
}

/// Writes to the groups in turn, so many messages a second, whatever comes of those before.
async fn one_by_one(
    args: &Args,
    http: &Http,
    groups: &[Group],
    rate: f64,
    service: &PushService,
) -> Result<Vec<Vec<Instant>>, Error> {
    let progress = args.common.bar("telling");
    progress.set_length((args.rounds * groups.len()) as u64);
    let begin = tokio::time::Instant::now();
    let mut writing = Vec::new();
    for number in 0..args.rounds * groups.len() {
        tokio::time::sleep_until(begin + Duration::from_secs_f64(number as f64 / rate.max(1e-3))).await;
        let (http, group) = (http.clone(), groups[number % groups.len()].clone());
        writing.push(tokio::spawn(async move { write(&http, &group).await }));
        progress.inc(1);
    }
    let mut acked = Vec::new();
    for task in writing {
        acked.push(task.await??);
    }
    service.wait(args.rounds * args.groups * args.members, Duration::from_secs(args.settle)).await;
    progress.finish_and_clear();
    Ok(acked.chunks(groups.len().max(1)).map(<[Instant]>::to_vec).collect())
}
