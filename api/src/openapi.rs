//! The OpenAPI 3.1 document of this door: a table of endpoints, with the objects of `madang.client.v1` described from the
//! very descriptors and comments that the code is generated from.

mod account;
mod endpoints;
mod own;
mod schema;

use crate::once;
use endpoints::{ENDPOINTS, Endpoint};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// The document, as it is served.
pub static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_string());

/// The files that pictures are taken from.
const IMAGES: &[&str] = &["image/jpeg", "image/png", "image/webp"];

fn all() -> impl Iterator<Item = &'static Endpoint> {
    ENDPOINTS.iter().chain(own::ENDPOINTS).chain(account::ENDPOINTS)
}

fn document() -> Value {
    let mut paths = Map::new();
    let mut schemas = schema::of_messages();
    // The one message that is a body as it is.
    schemas.entry("Send").and_modify(schema::allow_nulls);
    for (name, value) in endpoints::objects().into_iter().chain(own::objects()).chain(account::objects()) {
        schemas.insert(name.to_owned(), value);
    }
    for endpoint in all() {
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        path[endpoint.method] = operation(endpoint);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Madang", "version": env!("CARGO_PKG_VERSION"), "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "What client apps ask for. What is live goes over the WebSocket at /v1/connect, whose frames are in /v1/client.proto.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "responses": {"Problem": {
                "description": "Why it was not done; retry if `retryable`.",
                "content": {"application/problem+json": {"schema": schema::reference("Problem")}},
            }},
        },
        "security": [{"token": []}],
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let named = endpoint.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = named
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": schema::of_part(name)}))
        .collect();
    for (name, word, text) in endpoint.query {
        let schema = if *word == "uint64" { schema::word("number") } else { schema::word(word) };
        parameters.push(json!({"name": name, "in": "query", "description": text, "schema": schema}));
    }
    // Every POST that gives no tokens.
    if endpoint.method == "post" && !endpoint.open && once::heeds_key(endpoint.path) {
        let text = "The same key again, within 24 h, is the same request.";
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "description": text, "schema": {"type": "string", "maxLength": 255},
        }));
    }
    let (status, answer, text) = endpoint.answer;
    let mut response = json!({"description": text});
    if !answer.is_empty() {
        response["content"] = json!({endpoint.media: {"schema": schema::word(answer)}});
    }
    let mut responses = Map::from_iter([(status.to_owned(), response)]);
    for status in problems(endpoint) {
        responses.insert(status.to_owned(), json!({"$ref": "#/components/responses/Problem"}));
    }
    let mut operation = json!({
        "operationId": endpoint.id, "summary": endpoint.summary, "parameters": parameters, "responses": responses,
    });
    if !endpoint.body.is_empty() {
        let schema = schema::word(endpoint.body);
        // A file is sent as it is.
        let media = if endpoint.body == "image" { IMAGES } else { &["application/json"] };
        let content: Map<_, _> = media.iter().map(|media| ((*media).to_owned(), json!({"schema": schema}))).collect();
        operation["requestBody"] = json!({"required": true, "content": content});
    }
    if endpoint.open {
        operation["security"] = json!([]);
    }
    operation
}

/// The statuses of refusals that an endpoint can give; any other is a fault.
fn problems(endpoint: &Endpoint) -> impl Iterator<Item = &'static str> {
    let named = endpoint.path.contains('{');
    let changes = endpoint.method != "get";
    let asks = named || changes || !endpoint.query.is_empty();
    // An invite may be of no use any more, and a direct conversation has none.
    let may_be_over = changes || endpoint.path.contains("/invites");
    let goes_back = endpoint.query.iter().any(|(name, ..)| *name == "since") || endpoint.path == "/v1/changes";
    [
        ("400", asks),
        ("401", !endpoint.open || changes),
        ("403", true),
        ("404", named || changes),
        ("409", may_be_over),
        ("410", goes_back),
        ("429", true),
        ("503", true),
        ("504", true),
    ]
    .into_iter()
    .filter_map(|(status, is)| is.then_some(status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    found.insert(reference.clone());
                }
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_is_there_and_every_operation_has_its_own_name() {
        let document = document();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.contains("#/components/schemas/Message"));
        for reference in found {
            assert!(document.pointer(&reference[1..]).is_some(), "{reference} is not there");
        }
        let ids: BTreeSet<_> = all().map(|endpoint| endpoint.id).collect();
        assert_eq!(ids.len(), all().count());
        let message = &document["components"]["schemas"]["Message"];
        assert_eq!(message["properties"]["seq"]["format"], "uint64");
        assert!(message["properties"]["text"]["description"].is_string(), "{message}");
        assert_eq!(message["properties"]["text"]["type"], "string");
        assert_eq!(document["components"]["schemas"]["Send"]["properties"]["text"]["anyOf"][1]["type"], "null");
    }
}
