//! One id is one message, however its sender's devices ask for it; and the sends of a crowd have one order.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)] // a test: a panic is its failure

use madang_proto::id::ClientId;
use madang_tests::{
    client::{Socket, call, send, sign_up},
    start,
};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_two_sockets_send_at_once_is_one_message() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (alice, bob) = (sign_up(&server, "alice").await, sign_up(&server, "bob").await);
    let device = |n: u128| madang_tests::client::Person {
        id: alice.id.clone(),
        token: alice.token.clone(),
        device: uuid::Uuid::from_u128(n).to_string(),
    };
    let ((mut one, _), (mut two, _)) =
        (Socket::connect(&server, &device(1), "").await, Socket::connect(&server, &device(2), "").await);
    let mut new = 0;
    for n in 0..50_u64 {
        let id = ClientId::now();
        tokio::join!(one.send(send(n + 2, &bob, "once", id)), two.send(send(n + 2, &bob, "once", id)));
        let (first, second) = tokio::join!(one.answer(n + 2), two.answer(n + 2));
        for field in ["seq", "revision", "at"] {
            assert_eq!(first["ack"][field], second["ack"][field], "{first} {second}");
        }
        assert_eq!(first["ack"]["seq"], (n + 1).to_string());
        let duplicates = [&first, &second].map(|answer| answer["ack"]["duplicate"] == json!(true));
        // None, if it was not answered in time and sent again.
        assert!(duplicates != [false, false], "both of them are new: {first} {second}");
        new += u32::from(duplicates != [true, true]);
        // The same id with another text is refused, and changes nothing.
        if n == 25 {
            one.send(send(1000, &bob, "something else", id)).await;
            let refused = one.answer(1000).await;
            assert_eq!(refused["error"]["code"], "ALREADY_EXISTS", "{refused}");
        }
    }
    assert!(new > 25, "{new} of 50 were new to anybody");
    let conversation = one.message().await["conversation"].as_str().unwrap().to_owned();
    let path = format!("/v1/conversations/{conversation}/messages?limit=200&atLeast=51");
    let (status, page) = call(&server, "GET", &path, &bob.token, Value::Null).await;
    assert_eq!(status, 200, "{page}");
    let messages = page["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 50);
    assert!(messages.iter().all(|message| message["text"] == "once"));
    server.stop().await;
}
