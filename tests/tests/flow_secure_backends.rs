//! TLS to NATS, Postgres and Cassandra: with the authority that is named, and with no other. Databases that come late are waited for.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use madang_group::store::postgres::PostgresGroups;
use madang_mesh::{
    postgres::Postgres,
    process::{NatsTls, connect},
    secret::Secret,
    serve::free,
};
use madang_store::messages::{
    Error, Messages,
    cassandra::{CassandraMessages, Options, Tls},
};
use madang_tests::{secure, until};
use serde_json::Value;
use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    time::Instant,
};

fn secret(text: &str) -> Secret {
    text.parse().unwrap()
}

/// A folder of the server's own with a certificate of localhost; gives the certificate and the key.
fn certificate(folder: &Path, owner: &Path) -> (String, String) {
    let (cert, key) = secure::door(folder);
    let owner = fs::metadata(owner).unwrap().uid();
    fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    chown(&key, Some(owner), None).unwrap();
    (cert, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_who_its_certificate_says() {
    let address = std::env::var("MADANG_TEST_POSTGRES").unwrap();
    let log = PathBuf::from(std::env::var("MADANG_TEST_POSTGRES_LOG").unwrap());
    let folder = tempfile::tempdir().unwrap();
    // Whose folder it is has to be able to read the key.
    let (cert, key) = certificate(folder.path(), log.parent().unwrap());
    let mut admin = AsyncPgConnection::establish(&address).await.unwrap();
    let name = format!("t{}", uuid::Uuid::new_v4().simple());
    let set = [
        format!("CREATE DATABASE {name}"),
        format!("ALTER SYSTEM SET ssl_cert_file = '{cert}'"),
        format!("ALTER SYSTEM SET ssl_key_file = '{key}'"),
        "ALTER SYSTEM SET ssl = on".to_owned(),
        "SELECT pg_reload_conf()".to_owned(),
    ];
    for statement in set {
        admin.batch_execute(&statement).await.unwrap();
    }
    let named = address.replace("127.0.0.1", "localhost");
    let at = |address: &str, more: &str| {
        let server = address.rsplit_once('/').unwrap().0;
        secret(&format!("{server}/{name}?sslmode=verify-full&sslrootcert={more}"))
    };
    // It takes a moment until the server has read it.
    let groups = until("it shows its certificate", async || PostgresGroups::open(&at(&named, &cert)).await.ok()).await;
    let all_tls = format!(
        "DO $$ BEGIN IF NOT (SELECT count(*) > 0 AND bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE datname = '{name}') THEN RAISE EXCEPTION 'not all in TLS'; END IF; END $$"
    );
    // One that does something, so that the pool has a connection.
    madang_group::store::GroupStore::counts(&groups, vec![madang_proto::id::UserId::new()]).await.unwrap();
    admin.batch_execute(&all_tls).await.unwrap();
    let other = tempfile::tempdir().unwrap();
    let (other, _) = secure::door(other.path());
    for (what, url) in [
        ("another authority", at(&named, &other)),
        ("this machine's authorities", at(&named, "system")),
        ("another name", at(&address.replace("localhost", "127.0.0.1"), &cert)),
    ] {
        assert!(PostgresGroups::open(&url).await.is_err(), "{what}");
    }
    for name in ["ssl", "ssl_cert_file", "ssl_key_file"] {
        admin.batch_execute(&format!("ALTER SYSTEM RESET {name}")).await.unwrap();
    }
    admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_waited_for_unless_its_address_is_wrong() {
    let address = std::env::var("MADANG_TEST_POSTGRES").unwrap();
    let (_, server) = address.split_once('@').unwrap();
    let (server, _) = server.split_once('/').unwrap();
    let before = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let late = secret(&address.replace(server, &before.local_addr().unwrap().to_string()));
    let server = server.to_owned();
    let coming = async {
        // Twice there is nobody who answers.
        for _ in 0..2 {
            drop(before.accept().await.unwrap());
        }
        let (mut client, _) = before.accept().await.unwrap();
        let _ = copy_bidirectional(&mut client, &mut TcpStream::connect(&server).await.unwrap()).await;
    };
    let end = Instant::now() + Duration::from_secs(60);
    tokio::join!(async { Postgres::reached(&late, "Postgres", end).await.unwrap() }, coming);
    for wrong in ["postgres://h:none/d", "postgres://u@h/d?sslmode=verify-full&sslrootcert=/nowhere"] {
        Postgres::reached(&secret(wrong), "Postgres", end).await.unwrap_err();
    }
    assert!(Instant::now() < end, "not tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_is_who_its_certificate_says() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = secure::door(folder.path());
    let (config, port) = (folder.path().join("nats.conf"), free().unwrap().port());
    let text = format!("host: 127.0.0.1\nport: {port}\ntls {{ cert_file: \"{cert}\", key_file: \"{key}\" }}\n");
    fs::write(&config, text).unwrap();
    let mut server = tokio::process::Command::new("nats-server");
    let server = server.arg("-c").arg(&config).stderr(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    let _server = server.spawn().unwrap();
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let trusting = |ca: Option<&str>| NatsTls { nats_ca: ca.map(PathBuf::from), ..NatsTls::default() };
    let servers = secret(&format!("tls://localhost:{port}"));
    let client = connect("test", &servers, &trusting(Some(&cert))).await.unwrap();
    client.flush().await.unwrap();
    let other = tempfile::tempdir().unwrap();
    let (other, _) = secure::door(other.path());
    assert!(connect("test", &servers, &trusting(Some(&other))).await.is_err(), "another authority");
    assert!(connect("test", &servers, &trusting(None)).await.is_err(), "this machine's authorities");
    let elsewhere = secret(&format!("tls://127.0.0.1:{port}"));
    assert!(connect("test", &elsewhere, &trusting(Some(&cert))).await.is_err(), "another name");
}

/// A node of Cassandra that speaks nothing but TLS, with who shows a certificate and has a password; gives how it is started, and
/// where it will be.
async fn cassandra(folder: &Path, cert: &str, key: &str) -> (tokio::process::Command, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let planned = tokio::process::Command::new("python3")
        .args(["backends/run.py", "--plan"])
        .arg(folder)
        .current_dir(root)
        .output()
        .await
        .unwrap();
    let plan: Value = serde_json::from_slice(&planned.stdout).unwrap();
    let server = plan["servers"].as_array().unwrap().iter().find(|server| server["name"] == "cassandra").unwrap();
    let pair = folder.join("cassandra-1/both.pem");
    fs::write(&pair, [fs::read(key).unwrap(), fs::read(cert).unwrap()].concat()).unwrap();
    let guarded = format!(
        "authenticator:\n  class_name: PasswordAuthenticator\nclient_encryption_options:\n  enabled: true\n  optional: false\n  require_client_auth: true\n  \
         ssl_context_factory: {{class_name: org.apache.cassandra.security.PEMBasedSslContextFactory}}\n  \
         keystore: {}\n  truststore: {cert}\n",
        pair.display()
    );
    let config = folder.join("cassandra-1/conf/cassandra.yaml");
    fs::write(&config, fs::read_to_string(&config).unwrap() + &guarded).unwrap();
    let command: Vec<_> = server["command"].as_array().unwrap().iter().map(|part| part.as_str().unwrap()).collect();
    let log = fs::File::create(folder.join("cassandra.log")).unwrap();
    let mut start = tokio::process::Command::new(command[0]);
    start.args(&command[1..]).current_dir(root).stdout(log.try_clone().unwrap()).stderr(log).kill_on_drop(true);
    (start, format!("127.0.0.1:{}", server["port"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn cassandra_is_waited_for_is_who_its_certificate_says_and_learns_who_comes() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = tempfile::tempdir().unwrap();
    let (cert, key) = secure::door(certificates.path());
    let (mut start, address) = cassandra(folder.path(), &cert, &key).await;
    let pair = Some((PathBuf::from(&cert), PathBuf::from(&key)));
    let tls = |ca: &str, name: Option<&str>, shown: &Option<(PathBuf, PathBuf)>| {
        Some(Tls { ca: ca.into(), name: name.map(str::to_owned), shown: shown.clone() })
    };
    let with = |tls: Option<Tls>, login: Option<(&str, &str)>| Options {
        nodes: vec![address.clone()],
        datacenter: "datacenter1".into(),
        keyspace: "secured".into(),
        replicas: 1,
        credentials: login.map(|(user, password)| (user.into(), secret(password))),
        tls,
    };
    let (right, end) = (tls(&cert, Some("localhost"), &pair), Instant::now() + Duration::from_secs(200));
    // Its first user is made a while after it begins.
    let owner = Some(("cassandra", "cassandra"));
    let options = with(right.clone(), owner);
    let reaching = tokio::spawn(async move { CassandraMessages::reach(&options, end).await });
    // What is wrong of itself is not tried again.
    let nowhere = with(tls("/nowhere", Some("localhost"), &pair), owner);
    assert!(CassandraMessages::reach(&nowhere, end).await.is_err());
    assert!(!reaching.is_finished(), "nothing is there yet");
    let _server = start.spawn().unwrap();
    let messages = reaching.await.unwrap();
    let messages = messages.unwrap_or_else(|error| {
        panic!("{error}: {}", fs::read_to_string(folder.path().join("cassandra.log")).unwrap());
    });
    assert_eq!(messages.cursor(0).await.unwrap(), 0);
    for login in [Some(("cassandra", "horse")), Some(("nobody", "horse")), None] {
        let refused = CassandraMessages::open(&with(right.clone(), login)).await.err().unwrap();
        assert!(matches!(refused, Error::Denied(_)), "{refused:?}");
        assert!(!refused.to_string().contains("horse"), "{refused}");
    }
    let open = async |tls: Option<Tls>| CassandraMessages::open(&with(tls, owner)).await;
    let other = tempfile::tempdir().unwrap();
    let (other, _) = secure::door(other.path());
    let refused = [
        ("another authority", tls(&other, Some("localhost"), &pair)),
        ("this machine's authorities", tls("system", Some("localhost"), &pair)),
        ("another name", tls(&cert, None, &pair)),
        ("without a certificate", tls(&cert, Some("localhost"), &None)),
        ("without TLS", None),
    ];
    // Each tries for a while.
    let open = &open;
    let opened = refused.map(|(what, tls)| async move { (what, open(tls).await.is_ok()) });
    for (what, opened) in futures_util::future::join_all(opened).await {
        assert!(!opened, "{what}");
    }
}
