//! Both stores of groups pass the same checks.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)] // a test: a panic is its failure

use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use madang_group::store::{
    After, GroupStore,
    conformance::{check, check_comings, check_invites, check_lists, check_replicas, check_settings},
    invites::{Invited, Invites, Kept, Taken, hash, new_code},
    postgres::{PostgresGroups, acquainted::ACQUAINTED, list::statement},
    sqlite::SqliteGroups,
};
use madang_mesh::secret::Secret;
use madang_proto::{
    id::{ConversationId, UserId},
    log::v1::{Created, JoinedUser, LoggedEvent, MembersJoined, MembersLeft, logged_event::Body},
};
use std::time::Duration;

#[tokio::test]
async fn sqlite() {
    let folder = tempfile::tempdir().unwrap();
    check(&SqliteGroups::open(folder.path()).unwrap()).await;
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteGroups::open(folder.path()).unwrap();
    check_lists(&store).await;
    check_replicas(&store, &store).await;
    let folder = tempfile::tempdir().unwrap();
    check_settings(&SqliteGroups::open(folder.path()).unwrap()).await;
    let folder = tempfile::tempdir().unwrap();
    check_invites(&SqliteGroups::open(folder.path()).unwrap()).await;
    let folder = tempfile::tempdir().unwrap();
    check_comings(&SqliteGroups::open(folder.path()).unwrap()).await;
}

/// A new database; its URL.
async fn database() -> Secret {
    let server = std::env::var("MADANG_TEST_POSTGRES").expect("no Postgres: run the tests with `make test`");
    let name = format!("t{}", uuid::Uuid::new_v4().simple());
    let mut connection = AsyncPgConnection::establish(&server).await.unwrap();
    connection.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    format!("{}/{name}", server.rsplit_once('/').unwrap().0).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    let url = database().await;
    // Two replicas start at once: one of them migrates.
    let (one, other) = tokio::join!(PostgresGroups::open(&url), PostgresGroups::open(&url));
    let (one, other) = (one.unwrap(), other.unwrap());
    check(&one).await;
    check_replicas(&one, &other).await;
    check_lists(&PostgresGroups::open(&database().await).await.unwrap()).await;
    check_settings(&PostgresGroups::open(&database().await).await.unwrap()).await;
    check_invites(&PostgresGroups::open(&database().await).await.unwrap()).await;
    check_comings(&PostgresGroups::open(&database().await).await.unwrap()).await;
}

/// Whoever goes away in the middle of a transaction holds up nobody for long.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_who_has_gone_away() {
    let store = PostgresGroups::open(&database().await).await.unwrap();
    let (group, by) = (ConversationId::new(), UserId::new());
    let invite = Kept { code: new_code(), conversation: group, by, expires_at: 0, max_uses: 1000, uses: 0 };
    assert_eq!(store.invite(invite.clone(), None, 1).await.unwrap(), Invited::Made);
    let take = || store.take_place(hash(&invite.code), UserId::new(), 1, 1);
    // Several connections, so that the next one to be used is not the one that was left.
    futures_util::future::join_all((0..8).map(|_| take())).await;
    for micros in (0..40).map(|n| n * 100) {
        let _ = tokio::time::timeout(Duration::from_micros(micros), take()).await;
    }
    assert_eq!(take().await.unwrap(), Taken::Place);
}

/// Who takes a place holds the invite, then the place; who comes in by it and ends the group, at that moment, waits for both. And
/// who makes an invite holds the group first.
#[tokio::test(flavor = "multi_thread")]
async fn who_takes_places_and_who_reads_the_log_hold_rows_in_one_order() {
    let url = database().await;
    let store = std::sync::Arc::new(PostgresGroups::open(&url).await.unwrap());
    // What another process does, step by step, in the order of the service's own.
    let mut other = AsyncPgConnection::establish(url.reveal()).await.unwrap();
    let (groups, invites, places) = (
        "SELECT FROM conversation FOR NO KEY UPDATE",
        "UPDATE invite SET uses = uses",
        "UPDATE invite_use SET at = at",
    );
    for (n, (first, then)) in (0..).zip([(invites, places), (groups, places), (groups, invites)]) {
        let (group, ann, bob) = (ConversationId::new(), UserId::new(), UserId::new());
        let event = |revision, body| LoggedEvent {
            conversation: group.bytes().to_vec().into(),
            revision,
            body: Some(body),
            ..LoggedEvent::default()
        };
        let member = |user: UserId| JoinedUser { user: user.bytes().to_vec().into(), role: 3 };
        let created = Body::Created(Created { kind: 2, members: vec![member(ann)], ..Created::default() });
        store.apply(0, vec![event(1, created)], 2 * n + 1).await.unwrap();
        let invite = Kept { code: new_code(), conversation: group, by: ann, expires_at: 0, max_uses: 9, uses: 0 };
        assert_eq!(store.invite(invite.clone(), None, 1).await.unwrap(), Invited::Made);
        assert_eq!(store.take_place(hash(&invite.code), bob, 1, 1).await.unwrap(), Taken::Place);
        let users = [ann, bob].map(|user| user.bytes().to_vec().into()).to_vec();
        let come = event(2, Body::Joined(MembersJoined { members: vec![member(bob)] }));
        let ended = event(3, Body::Left(MembersLeft { users, ended: true }));
        other.batch_execute(&format!("BEGIN; {first}")).await.unwrap();
        let reader = tokio::spawn({
            let store = store.clone();
            async move { store.apply(0, vec![come, ended], 2 * n + 2).await }
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        other.batch_execute(&format!("{then}; COMMIT")).await.unwrap();
        reader.await.unwrap().unwrap();
        assert_eq!(store.invites(group).await.unwrap(), []);
    }
}

#[derive(diesel::QueryableByName)]
struct Plan {
    #[diesel(sql_type = diesel::sql_types::Text)]
    #[diesel(column_name = "QUERY PLAN")]
    line: String,
}

/// A page of a list costs what the user's own conversations cost, however many there are of others.
#[tokio::test(flavor = "multi_thread")]
async fn lists_are_found_by_indexes() {
    let url = database().await;
    PostgresGroups::open(&url).await.unwrap();
    let mut connection = AsyncPgConnection::establish(url.reveal()).await.unwrap();
    // So many conversations that are not the user's that reading them all is never the cheapest, whatever ANALYZE samples.
    connection
        .batch_execute(
            r#"INSERT INTO conversation SELECT md5('c' || n)::uuid, n % 8, 2, '', '', '{}', 1, 5, 3, n, n, n
                 FROM generate_series(1, 200000) n;
               INSERT INTO member SELECT md5('c' || n)::uuid, md5('u' || (n * 7 + m) % 1000)::uuid, 3, 1, 0, n, (n % 10 = 0)::int * 4, 0, n
                 FROM generate_series(1, 20000) n, generate_series(1, 5) m ON CONFLICT DO NOTHING;
               INSERT INTO group_cursor SELECT n, 20000 FROM generate_series(0, 7) n;
               ANALYZE;"#,
        )
        .await
        .unwrap();
    let id = ConversationId::new();
    for after in [After::Nothing, After::Place(5, id), After::Moved(Some(id))] {
        let statement = [
            ("$1", "md5('u77')::uuid"),
            ("$2", "ARRAY[9,9,9,9,9,9,9,9]::bigint[]"),
            ("$3", "20001::bigint"),
            ("$4", "'00000000-0000-0000-0000-000000000000'::uuid"),
            ("$5", "51"),
            ("$6", "10001"),
            ("$7", "5::bigint"),
        ]
        .iter()
        .fold(statement(&after), |statement, (place, value)| statement.replace(place, &format!("({value})")));
        let plan: Vec<Plan> = diesel::sql_query(format!("EXPLAIN {statement}")).load(&mut connection).await.unwrap();
        let plan: Vec<String> = plan.into_iter().map(|plan| plan.line).collect();
        let plan = plan.join("\n");
        for table in ["member", "conversation"] {
            assert!(!plan.contains(&format!("Seq Scan on {table}")), "{plan}");
        }
        assert!(plan.contains("member_user") && plan.contains("member_left"), "{plan}");
    }
    let statement =
        ACQUAINTED.replace("$1", "md5('u77')::uuid").replace("$2", "ARRAY[md5('u78')::uuid, md5('u79')::uuid]");
    let plan: Vec<Plan> = diesel::sql_query(format!("EXPLAIN {statement}")).load(&mut connection).await.unwrap();
    let plan = plan.into_iter().map(|plan| plan.line).collect::<Vec<_>>().join("\n");
    assert!(!plan.contains("Seq Scan on member"), "{plan}");
}
