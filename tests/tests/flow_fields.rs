//! Every refusal of what is asked for over gRPC that is about a field names it: all RPCs that others than Madang's own services
//! may call are asked, one field after the other being nonsense.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use bytes::{BufMut, Bytes, BytesMut};
use http::Request as Call;
use http_body_util::Full;
use madang_mesh::{
    channel::{Channel, Channels},
    status::from_status,
};
use madang_proto::access::{Access, rule};
use madang_solo::token::Tokens;
use madang_tests::{
    client::{call, sign_up},
    start,
};
use prost::{
    Message as _,
    encoding::{WireType, encode_key, encode_varint},
};
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use tonic::{Code, Status, body::Body, client::GrpcService};

/// More than any list of a request takes.
const MANY: usize = 10_001;

/// A field's bytes on the wire: wrong ones, where anything can be wrong.
fn nonsense(field: &FieldDescriptorProto) -> Bytes {
    let mut bytes = BytesMut::new();
    let number = field.number.unwrap().unsigned_abs();
    let text = |bytes: &mut BytesMut, value: &[u8]| {
        encode_key(number, WireType::LengthDelimited, bytes);
        encode_varint(value.len() as u64, bytes);
        bytes.put_slice(value);
    };
    let times = if field.label() == Label::Repeated { MANY } else { 1 };
    for _ in 0..times {
        match field.r#type() {
            Type::String => text(&mut bytes, b"nonsense"),
            Type::Bytes => text(&mut bytes, b"\x00\x01\x02"),
            Type::Message => text(&mut bytes, b""),
            Type::Enum => {
                encode_key(number, WireType::Varint, &mut bytes);
                encode_varint(77, &mut bytes);
            }
            Type::Bool => {
                encode_key(number, WireType::Varint, &mut bytes);
                encode_varint(1, &mut bytes);
            }
            // Signed: -1.
            _ => {
                encode_key(number, WireType::Varint, &mut bytes);
                encode_varint(u64::MAX, &mut bytes);
            }
        }
    }
    bytes.freeze()
}

fn valid(field: &FieldDescriptorProto, value: &str) -> Bytes {
    let mut bytes = BytesMut::new();
    prost::encoding::string::encode(field.number.unwrap().unsigned_abs(), &value.to_owned(), &mut bytes);
    bytes.freeze()
}

struct Asked {
    channel: Channel,
    token: String,
    user: String,
}

impl Asked {
    async fn ask(&self, path: &str, acts: bool, message: &[u8]) -> Result<(), Status> {
        let mut body = BytesMut::new();
        body.put_u8(0);
        body.put_u32(u32::try_from(message.len()).unwrap());
        body.put_slice(message);
        let mut call = Call::post(path).header("content-type", "application/grpc").header("te", "trailers");
        call = call.header("authorization", format!("Bearer {}", self.token));
        if acts {
            call = call.header("madang-user", &self.user);
        }
        let mut channel = self.channel.clone();
        std::future::poll_fn(|context| channel.poll_ready(context)).await.unwrap();
        let answer = channel.call(call.body(Body::new(Full::new(body.freeze()))).unwrap()).await.unwrap();
        match Status::from_header_map(answer.headers()) {
            Some(status) if status.code() != Code::Ok => Err(status),
            _ => Ok(()),
        }
    }
}

/// The names of a message's fields, and of what is in it.
fn names(message: &str, all: &BTreeMap<String, DescriptorProto>, found: &mut BTreeSet<String>) {
    let Some(descriptor) = all.get(message) else { return };
    for field in &descriptor.field {
        if found.insert(field.json_name().to_owned()) && field.r#type() == Type::Message {
            names(field.type_name(), all, found);
        }
    }
    found.extend(descriptor.oneof_decl.iter().map(|oneof| oneof.name().to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_a_field_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let (ann, bob) = (sign_up(&server, "ann").await, sign_up(&server, "bob").await);
    let group = json!({"name": "마당", "members": [bob.id]});
    let (status, group) = call(&server, "POST", "/v1/groups", &ann.token, group).await;
    assert_eq!(status, 201, "{group}");
    let asked = Asked {
        channel: Channels::new().get(&format!("http://{}", server.grpc)).unwrap(),
        token: Tokens::open(folder.path()).unwrap().make("test"),
        user: ann.id.clone(),
    };
    let known = BTreeMap::from([
        ("user", ann.id.as_str()),
        ("other", &bob.id),
        ("conversation", group["conversation"].as_str().unwrap()),
        ("device", &ann.device),
    ]);
    let set = FileDescriptorSet::decode(madang_proto::DESCRIPTORS).unwrap();
    let messages: BTreeMap<String, DescriptorProto> = set
        .file
        .iter()
        .flat_map(|file| {
            file.message_type.iter().map(|each| (format!(".{}.{}", file.package(), each.name()), each.clone()))
        })
        .collect();
    let (mut refused, mut wrong) = (0, Vec::new());
    for (file, service) in set.file.iter().flat_map(|file| file.service.iter().map(move |service| (file, service))) {
        for method in service.method.iter().filter(|method| !method.client_streaming()) {
            let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
            // Ends what the others are asked about.
            let ends = ["DeleteAccount", "EndGroup", "SetSuspended", "SetPassword", "RemoveMember"];
            if rule(&path).unwrap().access == Access::Mesh || ends.contains(&method.name()) {
                continue;
            }
            let fields = &messages[method.input_type()].field;
            let acts = fields.iter().all(|field| field.name() != "user");
            let mut named = BTreeSet::new();
            names(method.input_type(), &messages, &mut named);
            for field in fields {
                let mut message = BytesMut::new();
                for other in
                    fields.iter().filter(|other| other.number != field.number && other.r#type() == Type::String)
                {
                    if let Some(value) = known.get(other.name()) {
                        message.put(valid(other, value));
                    }
                }
                message.put(nonsense(field));
                let Err(status) = asked.ask(&path, acts, &message).await else { continue };
                let refusal = from_status(&status);
                let says = format!("{path}, {}: {status:?}", field.name());
                assert!(!matches!(status.code(), Code::Internal | Code::Unknown), "{says}");
                if status.code() == Code::InvalidArgument {
                    refused += 1;
                    let first = refusal.field.split(['.', '[']).next().unwrap();
                    if !named.contains(first) {
                        wrong.push(says);
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {refused} name no field of theirs:\n{}", wrong.len(), wrong.join("\n"));
    assert!(refused > 60, "{refused}");
    server.stop().await;
}
