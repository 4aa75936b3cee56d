//! What the HTTP door says of itself is so: every documented operation is there and wants a token, unless it says not.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use madang_tests::{
    client::{call, sign_up},
    start,
};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_operation_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (status, document) = call(&server, "GET", "/v1/openapi.json", "", Value::Null).await;
    assert_eq!((status, &document["openapi"]), (200, &json!("3.1.0")));
    let id = uuid::Uuid::new_v4().to_string();
    let mut seen = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let path = ["{c}", "{user}", "{session}", "{picture}", "{device}"]
            .iter()
            .fold(path.clone(), |path, name| path.replace(name, &id));
        for (method, operation) in operations.as_object().unwrap() {
            let (status, answer) = call(&server, &method.to_uppercase(), &path, "", json!({})).await;
            let open = operation.get("security").is_some();
            assert!(
                if open { [200, 400, 404].contains(&status) } else { status == 401 },
                "{method} {path}: {status} {answer}"
            );
            seen += 1;
        }
    }
    assert!(seen >= 20, "{seen}");
    let ann = sign_up(&server, "ann").await;
    for (method, path, expected) in [
        ("GET", "/v1/blocks?pageToken=x", 400),
        ("POST", "/v1/changes", 400),
        ("GET", "/v1/nowhere", 404),
        ("DELETE", "/v1/me", 405),
    ] {
        let (status, answer) = call(&server, method, path, &ann.token, json!({})).await;
        assert_eq!((status, answer["reason"].is_string()), (expected, true), "{method} {path}: {answer}");
    }
    server.stop().await;
}
