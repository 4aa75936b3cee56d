//! Back-ups of the databases and their restoring, by the tools that an operator has: `pg_dump` and `pg_restore`, `nodetool`.

use cdrs_tokio::{
    cluster::{
        NodeTcpConfigBuilder,
        session::{SessionBuilder, TcpSessionBuilder},
    },
    load_balancing::RoundRobinLoadBalancingStrategy,
};
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use futures_util::{StreamExt, stream};
use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
};
use tokio::process::Command;

/// How many programs run at once: each nodetool is a JVM.
const AT_ONCE: usize = 2;

async fn run(command: &mut Command) -> String {
    let output = command.output().await.unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", said(&output.stdout), said(&output.stderr));
    said(&output.stdout)
}

/// Saves all of a Postgres database, as of one moment, while it is used.
pub async fn dump(database: &str, file: &Path) {
    run(Command::new("pg_dump").args(["--format=custom", "--file"]).args([file, Path::new(database)])).await;
}

/// The database with all that is in it is gone, whoever was connected; there is an empty one.
pub async fn lose(database: &str) {
    let (server, name) = database.rsplit_once('/').unwrap();
    let mut connection = AsyncPgConnection::establish(&format!("{server}/postgres")).await.unwrap();
    for statement in [format!("DROP DATABASE {name} WITH (FORCE)"), format!("CREATE DATABASE {name}")] {
        connection.batch_execute(&statement).await.unwrap();
    }
}

/// Fills an empty database with what was saved: all of it at once.
pub async fn restore(database: &str, file: &Path) {
    run(Command::new("pg_restore").args(["--single-transaction", "--dbname", database]).arg(file)).await;
}

/// The messages: a keyspace of Cassandra.
pub struct Keyspace {
    /// A node.
    pub node: String,
    /// Its name.
    pub name: String,
}

impl Keyspace {
    async fn nodetool(&self, arguments: &[&str]) -> String {
        let at = std::env::var("MADANG_TEST_CASSANDRA_JMX")
            .unwrap_or_else(|_| panic!("MADANG_TEST_CASSANDRA_JMX is not set: run the tests with `make test`"));
        let (host, port) = at.split_once(':').unwrap();
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        // It writes down what it was asked, in its user's home.
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new("java");
        command.arg(format!("@{}", here.join("backends/modules.args").display()));
        command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]);
        command.arg(format!("-Duser.home={}", home.path().display()));
        command.arg("-cp").arg(here.join("../.tools/cassandra/*"));
        command.args(["org.apache.cassandra.tools.NodeTool", "-h", host, "-p", port]).args(arguments);
        run(&mut command).await
    }

    /// Each table, and the folder of its files.
    async fn tables(&self) -> Vec<(String, PathBuf)> {
        let said = self.nodetool(&["datapaths", &self.name]).await;
        let folders = said.lines().map(str::trim).filter(|line| line.starts_with('/')).map(PathBuf::from);
        let tables: Vec<_> = folders
            .map(|folder| {
                (folder.file_name().unwrap().to_str().unwrap().rsplit_once('-').unwrap().0.to_owned(), folder)
            })
            .collect();
        assert!(!tables.is_empty(), "{said}");
        tables
    }

    /// Saves all tables to a folder while they are used: each as of a moment, one soon after the other.
    pub async fn save(&self, folder: &Path) {
        self.nodetool(&["snapshot", "-t", "saved", &self.name]).await;
        for (table, from) in self.tables().await {
            let to = folder.join(&self.name).join(table);
            fs::create_dir_all(&to).unwrap();
            for file in fs::read_dir(from.join("snapshots/saved")).unwrap() {
                let file = file.unwrap();
                fs::copy(file.path(), to.join(file.file_name())).unwrap();
            }
        }
        self.nodetool(&["clearsnapshot", "-t", "saved", &self.name]).await;
    }

    /// What nodes have in memory is written to files.
    pub async fn flush(&self) {
        self.nodetool(&["flush", &self.name]).await;
    }

    /// All files are written anew, without what has been overwritten in others: as docs/operations.md has it.
    pub async fn rewrite(&self) {
        self.nodetool(&["garbagecollect", "-g", "CELL", &self.name]).await;
    }

    /// In how many files of its tables each of these texts is.
    pub async fn files_with<const N: usize>(&self, texts: [&str; N]) -> [usize; N] {
        let (mut found, mut folders) = ([0; N], Vec::new());
        folders.extend(self.tables().await.into_iter().map(|(_, folder)| folder));
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                // A file may go while it is looked at: it is one that was rewritten.
                let bytes = fs::read(&path).unwrap_or_default();
                for (found, text) in found.iter_mut().zip(texts) {
                    *found += usize::from(bytes.windows(text.len()).any(|part| part == text.as_bytes()));
                }
            }
        }
        found
    }

    /// All rows are gone.
    pub async fn lose(&self) {
        let statements: Vec<String> =
            self.tables().await.iter().map(|(table, _)| format!("TRUNCATE \"{}\".{table}", self.name)).collect();
        self.query(&statements).await.unwrap();
    }

    /// It is gone itself.
    pub async fn delete(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.query(&[format!("DROP KEYSPACE IF EXISTS \"{}\"", self.name)]).await
    }

    async fn query(&self, statements: &[String]) -> Result<(), Box<dyn Error + Send + Sync>> {
        let config = NodeTcpConfigBuilder::new().with_contact_point(self.node.as_str().into()).build().await?;
        let session = TcpSessionBuilder::new(RoundRobinLoadBalancingStrategy::new(), config).build().await?;
        for statement in statements {
            session.query(statement.as_str()).await?;
        }
        Ok(())
    }

    /// Takes in what was saved; what was saved stays.
    pub async fn restore(&self, folder: &Path) {
        let saved: Vec<_> = fs::read_dir(folder.join(&self.name)).unwrap().map(|table| table.unwrap()).collect();
        let import = |table: &fs::DirEntry| {
            let (name, path) = (table.file_name().into_string().unwrap(), table.path().display().to_string());
            async move {
                self.nodetool(&["import", "--copy-data", &self.name, &name, &path]).await;
            }
        };
        stream::iter(&saved).for_each_concurrent(AT_ONCE, import).await;
    }
}
