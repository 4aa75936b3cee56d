//! nats-servers of a test's own: one, or three that make a cluster; and back-ups of its streams: over the same requests as `nats account backup` and
//! `nats account restore` make, into files and from them.

use async_nats::{Client, jetstream};
use futures_util::{StreamExt, TryStreamExt};
use madang_mesh::serve::free;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path, process::Stdio, time::Duration};
use tokio::process::{Child, Command};

/// The bytes of a piece of a back-up.
const PIECE: usize = 128 << 10;

/// Starts one at an address, its data in a folder, with so much room for files and memory; it ends when what this gives is dropped.
pub async fn start(at: SocketAddr, folder: &Path, files: &str, memory: &str) -> Child {
    run(at, folder, files, memory, "").await
}

/// Starts one that lets in nobody but a user with their password.
pub async fn guarded(at: SocketAddr, folder: &Path, (user, password): (&str, &str)) -> Child {
    let users = format!("authorization {{ user: \"{user}\", password: \"{password}\" }}\n");
    run(at, folder, "10GB", "1GB", &users).await
}

/// Starts three that make a cluster, each in a folder of its own there; gives them by their names.
pub async fn three(folder: &Path) -> BTreeMap<String, (Child, SocketAddr)> {
    let routes = [(); 3].map(|()| free().unwrap());
    let all = routes.map(|route| format!("\"nats-route://{route}\"")).join(", ");
    let mut servers = BTreeMap::new();
    for (number, route) in routes.iter().enumerate() {
        let (name, at) = (format!("n{number}"), free().unwrap());
        let own = folder.join(&name);
        fs::create_dir(&own).unwrap();
        let cluster = format!("server_name: {name}\ncluster {{ name: three, listen: \"{route}\", routes: [{all}] }}\n");
        servers.insert(name, (run(at, &own, "30GB", "4GB", &cluster).await, at));
    }
    servers
}

async fn run(at: SocketAddr, folder: &Path, files: &str, memory: &str, more: &str) -> Child {
    let config = folder.join("nats.conf");
    let room = format!("max_file_store: {files}, max_memory_store: {memory}, sync_interval: always");
    let text = format!("listen: \"{at}\"\njetstream {{ store_dir: {:?}, {room} }}\n{more}", folder.join("js"));
    fs::write(&config, text).unwrap();
    let mut server = Command::new("nats-server");
    let server = server.arg("-c").arg(&config).stderr(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    let server = server.spawn().unwrap();
    while tokio::net::TcpStream::connect(at).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server
}

async fn ask(client: &Client, what: &str, request: &Value) -> Value {
    let answer = client.request(format!("$JS.API.STREAM.{what}"), request.to_string().into()).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert!(answer["error"].is_null(), "{what}: {answer}");
    answer
}

/// Saves all streams that are on disk to a folder; gives how many. What is in memory can't be saved.
pub async fn save(client: &Client, folder: &Path) -> usize {
    let streams: Vec<_> = jetstream::new(client.clone()).streams().try_collect().await.unwrap();
    let streams = streams.iter().filter(|stream| stream.config.storage == jetstream::stream::StorageType::File);
    let mut saved = 0;
    for stream in streams {
        let name = &stream.config.name;
        let inbox = client.new_inbox();
        let mut pieces = client.subscribe(inbox.clone()).await.unwrap();
        let wanted = json!({"deliver_subject": inbox, "no_consumers": false, "chunk_size": PIECE});
        let given = ask(client, &format!("SNAPSHOT.{name}"), &wanted).await;
        let mut data = Vec::new();
        while let Some(piece) = pieces.next().await.filter(|piece| !piece.payload.is_empty()) {
            data.extend_from_slice(&piece.payload);
            if let Some(reply) = piece.reply {
                client.publish(reply, "".into()).await.unwrap();
            }
        }
        fs::write(folder.join(name).with_extension("data"), data).unwrap();
        // As it is wanted again with the data.
        let what = json!({"config": given["config"], "state": given["state"]});
        fs::write(folder.join(name).with_extension("json"), what.to_string()).unwrap();
        saved += 1;
    }
    saved
}

/// Makes all streams again that were saved to a folder.
pub async fn restore(client: &Client, folder: &Path) {
    for file in fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
        if file.extension().is_none_or(|kind| kind != "json") {
            continue;
        }
        let name = file.file_stem().unwrap().to_str().unwrap();
        let wanted: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let to = ask(client, &format!("RESTORE.{name}"), &wanted).await;
        let to = to["deliver_subject"].as_str().unwrap().to_owned();
        for piece in fs::read(file.with_extension("data")).unwrap().chunks(PIECE) {
            let answer = client.request(to.clone(), piece.to_vec().into()).await.unwrap();
            assert!(answer.payload.is_empty(), "{name}: {}", String::from_utf8_lossy(&answer.payload));
        }
        let end: Value = serde_json::from_slice(&client.request(to, "".into()).await.unwrap().payload).unwrap();
        assert!(end["error"].is_null() && end["state"]["messages"] == wanted["state"]["messages"], "{name}: {end}");
    }
}
