//! What the command says and how it ends when it can't do what it is asked.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

fn madang(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_madang"));
    command.args(arguments).current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    // What `make test` tells its tests is not meant for the command.
    for backend in ["NATS", "CASSANDRA", "POSTGRES"] {
        command.env_remove(format!("MADANG_TEST_{backend}"));
    }
    command
}

const ANY: &str = "127.0.0.1:0";

fn serve(folder: &Path, data: &Path, http: &str) -> Command {
    madang(folder, &["serve", "--data", data.to_str().unwrap(), "--http", http, "--grpc", ANY, "--admin", ANY])
}

/// Asserts that it failed, that it served nothing, and what it said.
fn refused(output: &Output, said: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains(said), "{said:?} is not in {error:?}");
    assert!(output.stdout.is_empty(), "nothing is served");
}

/// Ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_taken_port_a_bad_folder_and_a_second_process_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, data) = (folder.path(), folder.path().join("data"));
    let taken = TcpListener::bind(ANY).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refused(&serve(folder, &data, &address).output().unwrap(), &address);
    assert!(!data.exists(), "nothing is made before the ports are free");

    std::fs::write(folder.join("file"), "").unwrap();
    refused(&serve(folder, &folder.join("file/data"), ANY).output().unwrap(), "--data");

    let mut server = Server(serve(folder, &data, ANY).spawn().unwrap());
    let (mut ready, mut out) = (String::new(), BufReader::new(server.0.stdout.take().unwrap()));
    // The pipe stays open: who can't say where it serves ends.
    out.read_line(&mut ready).unwrap();
    assert!(ready.starts_with("http 127.0.0.1:"), "{ready}");
    refused(&serve(folder, &data, ANY).output().unwrap(), "another process");
}

#[test]
fn dev_says_what_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    refused(&madang(folder.path(), &["dev", "up"]).output().unwrap(), "source folder");
    refused(&madang(folder.path(), &["dev", "status"]).output().unwrap(), "not up");
    refused(&madang(folder.path(), &["dev", "services"]).output().unwrap(), "madang dev up");
    let down = madang(folder.path(), &["dev", "down"]).output().unwrap();
    assert!(down.status.success());
}
