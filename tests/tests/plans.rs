//! How Postgres does what group-svc, account-svc and notify-svc ask of it: every statement of theirs as it is run, by the server's own
//! `auto_explain`, on tables that are large enough that reading one of them whole is never the cheapest. None may.
//!
//! `MADANG_PLANS_CONVERSATIONS=1000000` makes a million conversations with ten members each, and `MADANG_PLANS_OUT=FILE`
//! writes all plans there: what docs/postgres.md shows. (`MADANG_TEST_SHARED_BUFFERS=2GB` is for `tests/backends/run.py`.)
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // a test: a panic is its failure

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use madang_group::store::{
    After, GroupStore, Wanted,
    conformance::{check, check_comings, check_invites, check_lists, check_replicas, check_settings},
    postgres::PostgresGroups,
};
use madang_mesh::secret::Secret;
use madang_notify::store::postgres::PostgresSubscriptions;
use madang_proto::id::{ConversationId, UserId};
use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf, time::Instant};

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests with `make test`"))
}

/// A database of its own.
struct Database {
    name: String,
    url: Secret,
    connection: AsyncPgConnection,
}

impl Database {
    async fn new() -> Self {
        let server = variable("MADANG_TEST_POSTGRES");
        let name = format!("p{}", uuid::Uuid::new_v4().simple());
        let mut first = AsyncPgConnection::establish(&server).await.unwrap();
        first.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        let url = format!("{}/{name}", server.rsplit_once('/').unwrap().0);
        let connection = AsyncPgConnection::establish(&url).await.unwrap();
        Self { name, url: url.parse().unwrap(), connection }
    }

    async fn run(&mut self, statements: &str) {
        self.connection.batch_execute(statements).await.unwrap();
    }

    /// From now on the server writes the plan of everything that is asked of it over new connections.
    async fn explain(&mut self) {
        let name = self.name.clone();
        for setting in [
            "session_preload_libraries = 'auto_explain'",
            "auto_explain.log_min_duration = 0",
            "auto_explain.log_analyze = on",
            "auto_explain.log_timing = off",
            "auto_explain.log_nested_statements = on",
            // Neither parallel plans, which are for those who ask little and much at once.
            "max_parallel_workers_per_gather = 0",
        ] {
            self.run(&format!("ALTER DATABASE {name} SET {setting}")).await;
        }
    }
}

/// The plans of the server's log, by statement.
fn plans(after: usize) -> BTreeMap<String, String> {
    let log = PathBuf::from(variable("MADANG_TEST_POSTGRES_LOG"));
    let text = std::fs::read_to_string(log).unwrap();
    let mut plans = BTreeMap::new();
    for part in text[after..].split("plan:\n").skip(1) {
        // What belongs to it is indented by a tab.
        let lines: Vec<_> = part.lines().take_while(|line| line.starts_with('\t')).map(|line| &line[1..]).collect();
        let cost = |line: &&str| line.contains("(cost=");
        let Some(at) = lines.iter().position(cost) else { continue };
        let statement = lines[..at].join("\n");
        let Some(statement) = statement.strip_prefix("Query Text: ") else { continue };
        let statement = statement.split("\nQuery Parameters").next().unwrap_or(statement);
        // The first time, which is of somebody who is in much.
        plans.entry(statement.to_owned()).or_insert_with(|| lines[at..].join("\n"));
    }
    plans
}

fn logged() -> usize {
    std::fs::metadata(variable("MADANG_TEST_POSTGRES_LOG")).map_or(0, |log| usize::try_from(log.len()).unwrap())
}

/// No plan reads one of these tables whole.
fn check_plans(plans: &BTreeMap<String, String>, tables: &[&str]) {
    for (statement, plan) in plans {
        for table in tables {
            let whole = plan.lines().any(|line| {
                let scan = line.split("Seq Scan on ").nth(1).and_then(|rest| rest.split(' ').next());
                scan == Some(table)
            });
            assert!(!whole, "{table} is read whole:\n{statement}\n{plan}");
            let lines: Vec<_> = plan.lines().chain([""]).collect();
            let through = lines.windows(2).any(|pair| {
                let scan = pair[0].contains("Scan using ") && pair[0].contains(&format!(" on {table} "));
                scan && !pair[0].contains("never executed") && !pair[1].contains("Index Cond")
            });
            assert!(!through, "an index of {table} is read from its beginning:\n{statement}\n{plan}");
        }
    }
}

/// Writes the plans of a service, where that is wanted.
fn write_plans(of: &str, plans: &BTreeMap<String, String>) {
    let Ok(out) = std::env::var("MADANG_PLANS_OUT") else { return };
    let one = |(statement, plan): (&String, &String)| format!("```sql\n{statement}\n```\n\n```text\n{plan}\n```\n");
    std::fs::write(format!("{out}.{of}"), plans.iter().map(one).collect::<Vec<_>>().join("\n")).unwrap();
}

/// So many conversations with ten members each, and somebody who is in 10,000.
fn filled(conversations: u64) -> String {
    let users = conversations / 10;
    format!(
        r#"SET synchronous_commit = off;
        INSERT INTO conversation (conversation, shard, kind, name, picture, data, history, revision, last_seq, last_at,
            message_at, position)
        SELECT md5('c' || n)::uuid, n % 8, 2, 'name ' || n, '', '{{}}', 1, 15, 9, n, n, n FROM generate_series(1, {conversations}) n;
        INSERT INTO member (conversation, "user", role, joined_revision, joined_seq, joined_at, left_revision, read_seq, left_position)
        SELECT md5('c' || n)::uuid, md5('u' || (n * 7 + m * 13) % {users})::uuid, 3, 1, 0, n,
            CASE WHEN (n + m) % 10 = 0 THEN 4 ELSE 0 END, n % 10, n
        FROM generate_series(1, {conversations}) n, generate_series(1, 10) m ON CONFLICT DO NOTHING;
        INSERT INTO member (conversation, "user", role, joined_revision, joined_seq, joined_at, left_revision, read_seq)
        SELECT md5('c' || n)::uuid, md5('much')::uuid, 3, 1, 0, n, 0, n % 10
        FROM generate_series(1, {conversations}, {conversations} / 10000) n;
        INSERT INTO group_cursor SELECT n, {conversations} FROM generate_series(0, 7) n;
        INSERT INTO made SELECT md5('u' || n)::uuid, 'k', md5('c' || n)::uuid, 1700000000000 + n FROM generate_series(1, {users}) n;
        INSERT INTO invite SELECT sha256(n::text::bytea), 'code ' || n, md5('c' || n / 3)::uuid, md5('u' || n)::uuid, 0, 5, 1, n
        FROM generate_series(1, {users}) n;
        INSERT INTO invite_use (hash, "user", at, joined) SELECT sha256(n::text::bytea), md5('u' || n)::uuid, n, true FROM generate_series(1, {users}) n;"#
    )
}

/// How long pages of a long list take, in ms: half of them, and all but one in a hundred.
async fn timed(store: &PostgresGroups) -> (f64, f64) {
    // As md5('much')::uuid has it.
    let user: UserId = "ef56b0b0-ddb9-3c28-8589-2c06be830c68".parse().unwrap();
    let mut took = Vec::new();
    let (mut since, mut after) = (Vec::new(), After::Nothing);
    for round in 0..400 {
        let wanted = Wanted { user, since: since.clone(), after: after.clone(), limit: 51, shards: 8, now_ms: 1 };
        let begin = Instant::now();
        let page = store.list(wanted).await.unwrap();
        took.push(begin.elapsed().as_secs_f64() * 1000.0);
        if round == 0 {
            assert_eq!(page.conversations.len(), 51, "the user is in many");
            assert!(page.badge > 10_000);
        }
        // First pages mostly, as clients ask for; some deep ones, and some since an earlier list.
        let last = page.conversations.last().map(|seen| {
            let id = ConversationId::from_slice(&seen.room.conversation).unwrap();
            After::Place(seen.activity_micros, id)
        });
        (since, after) = match round % 4 {
            0 => (Vec::new(), last.unwrap_or(After::Nothing)),
            1 => (page.positions, After::Nothing),
            _ => (Vec::new(), After::Nothing),
        };
    }
    took.sort_by(f64::total_cmp);
    (took[took.len() / 2], took[took.len() * 99 / 100])
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_found_by_indexes() {
    let conversations = std::env::var("MADANG_PLANS_CONVERSATIONS").map_or(60_000, |count| count.parse().unwrap());
    let mut database = Database::new().await;
    PostgresGroups::open(&database.url).await.unwrap();
    database.run(&filled(conversations)).await;
    database.run("VACUUM ANALYZE").await;
    let store = PostgresGroups::open(&database.url).await.unwrap();
    let (half, most) = timed(&store).await;
    println!("a page of 50 of 10,000 conversations: p50 {half:.1} ms, p99 {most:.1} ms");
    drop(store);

    let before = logged();
    database.explain().await;
    let store = PostgresGroups::open(&database.url).await.unwrap();
    timed(&store).await;
    // Shards of the checks' own begin anew.
    database.run("TRUNCATE group_cursor").await;
    check(&store).await;
    database.run("TRUNCATE group_cursor").await;
    check_lists(&store).await;
    database.run("TRUNCATE group_cursor").await;
    check_settings(&store).await;
    database.run("TRUNCATE group_cursor").await;
    check_invites(&store).await;
    database.run("TRUNCATE group_cursor").await;
    check_comings(&store).await;
    database.run("TRUNCATE group_cursor").await;
    check_replicas(&store, &PostgresGroups::open(&database.url).await.unwrap()).await;
    let plans = plans(before);
    let seen = |part: &str| assert!(plans.keys().any(|statement| statement.contains(part)), "{part} was not asked");
    for part in [
        "WITH mine",
        "FOR UPDATE",
        "UNNEST",
        "invite_use",
        "INTO coming",
        "array_agg",
        "GROUP BY",
        "FILTER",
        "INSERT INTO made",
    ] {
        seen(part);
    }
    assert!(plans.len() >= 25, "{}", plans.len());
    check_plans(&plans, &["conversation", "member", "made", "invite", "invite_use", "coming"]);
    if let Ok(out) = std::env::var("MADANG_PLANS_OUT") {
        let mut text = format!("p50 {half:.1} ms, p99 {most:.1} ms\n");
        for (statement, plan) in &plans {
            writeln!(text, "\n```sql\n{statement}\n```\n\n```text\n{plan}\n```").unwrap();
        }
        std::fs::write(out, text).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_found_by_indexes() {
    let mut database = Database::new().await;
    madang_account::store::postgres::PostgresAccounts::open(&database.url).await.unwrap();
    database
        .run(
            r#"INSERT INTO account ("user", handle, name, status_message, password, created_at)
               SELECT md5('u' || n)::uuid, 'user_' || n, '', '', '', n FROM generate_series(1, 200000) n;
               INSERT INTO session (id, "user", device, kind, name, app, created_at, used_at)
               SELECT md5('s' || n)::uuid, md5('u' || n)::uuid, 'd', 1, '', '', n, n FROM generate_series(1, 200000) n;
               INSERT INTO refresh (hash, session, current, next_used_at)
               SELECT sha256(n::text::bytea), md5('s' || n)::uuid, true, 0 FROM generate_series(1, 200000) n;
               INSERT INTO block ("user", other, blocked, version, changed_at, told)
               SELECT md5('u' || n)::uuid, md5('u' || n + 1)::uuid, true, 1, n, true FROM generate_series(1, 200000) n;
               INSERT INTO deletion ("user", erase, picture, round, due_at)
               SELECT md5('u' || n)::uuid, false, '', 1, 9000000000000000 + n FROM generate_series(1, 200000) n;
               INSERT INTO outside ("user", log_in, session, ended_at, until)
               SELECT md5('u' || n)::uuid, sha256(n::text::bytea), md5('s' || n)::uuid, 0, 9000000000000000 + n
               FROM generate_series(1, 200000) n;
               INSERT INTO request ("user", key, asked, answer, busy_until, at)
               SELECT md5('u' || n)::uuid, 'k', sha256(n::text::bytea), '', 0, 9000000000000000 + n
               FROM generate_series(1, 200000) n;
               INSERT INTO picture_gone SELECT md5('p' || n), 9000000000000000 + n FROM generate_series(1, 200000) n;"#,
        )
        .await;
    database.run("VACUUM ANALYZE").await;
    let before = logged();
    database.explain().await;
    let store = madang_account::store::postgres::PostgresAccounts::open(&database.url).await.unwrap();
    madang_account::store::conformance::check(&store).await;
    let plans = plans(before);
    assert!(plans.len() >= 15, "{}", plans.len());
    check_plans(&plans, &["account", "session", "refresh", "block", "deletion", "outside", "request", "picture_gone"]);
    write_plans("accounts", &plans);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_notified_is_found_by_indexes() {
    let mut database = Database::new().await;
    PostgresSubscriptions::open(&database.url).await.unwrap();
    // Two devices each, of users who come after those of the checks; and a push kept for later for each of them.
    database
        .run(
            r#"INSERT INTO push_subscription ("user", device, id, session, kind, provider, address, place, secret, locale, preview, created_at)
               SELECT ('f' || substr(md5('u' || n / 2), 2))::uuid, md5('d' || n)::uuid, md5('i' || n)::uuid, md5('s' || n)::uuid, 1, 1, 'a',
                   sha256(n::text::bytea), '', '', true, n FROM generate_series(1, 200000) n;
               INSERT INTO push_late ("user", device, conversation, shard, due_at, push, seq, messages)
               SELECT ('f' || substr(md5('u' || n / 2), 2))::uuid, md5('d' || n)::uuid, md5('c' || n / 20)::uuid, n % 8, 9000000000000000 + n, '', n, 1
               FROM generate_series(1, 200000) n;
               INSERT INTO push_shown ("user", device, conversation, seq, at)
               SELECT ('f' || substr(md5('u' || n / 4), 2))::uuid, md5('d' || n / 2)::uuid, md5('c' || n)::uuid, n, 9000000000000000 + n
               FROM generate_series(1, 200000) n;
               INSERT INTO push_cursor SELECT n + 100, 1 FROM generate_series(0, 7) n;"#,
        )
        .await;
    database.run("VACUUM ANALYZE").await;
    let before = logged();
    database.explain().await;
    let store = PostgresSubscriptions::open(&database.url).await.unwrap();
    madang_notify::store::conformance::check(&store).await;
    let plans = plans(before);
    for part in [
        "INTO \"push_subscription\"",
        "NOT EXISTS",
        "INTO \"push_late\"",
        "INTO \"push_shown\"",
        "push_shown s",
        "push_late l",
    ] {
        assert!(plans.keys().any(|statement| statement.contains(part)), "{part} was not asked");
    }
    assert!(plans.len() >= 20, "{}", plans.len());
    check_plans(&plans, &["push_subscription", "push_late", "push_shown"]);
    write_plans("notify", &plans);
}
