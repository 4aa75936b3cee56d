//! `docs/grpc-reference.md` is what the `.proto` files and their comments say, and who may call what.
//! `UPDATE=1 cargo test --workspace --test reference` renews it.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use madang_proto::access::{Access, rule};
use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    ServiceDescriptorProto,
    field_descriptor_proto::{Label, Type},
};
use std::{collections::HashMap, fmt::Write as _, fs, path::Path};

/// The numbers of these fields in descriptors, of which the paths to comments are made.
const MESSAGES: i32 = 4;
const ENUMS: i32 = 5;
const SERVICES: i32 = 6;
/// Of a message's field, a service's method and an enum's value.
const PART: i32 = 2;

const HEAD: &str = "# gRPC reference

Made from `proto/madang/*/v1/*.proto` by `UPDATE=1 cargo test --workspace --test reference`; change those. How to call it:
[grpc.md](grpc.md). Who may: *services* are internal services that are known, where the deployment grants it; the others are Madang's own.
";

/// A file's comments, by their paths, each on one line.
struct Comments(HashMap<Vec<i32>, String>);

impl Comments {
    fn of(file: &FileDescriptorProto) -> Self {
        let locations = file.source_code_info.iter().flat_map(|info| &info.location);
        let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
        Self(locations.filter_map(|at| Some((at.path.clone(), line(at.leading_comments.as_deref()?)))).collect())
    }

    fn at(&self, path: &[i32]) -> &str {
        self.0.get(path).map_or("", String::as_str)
    }
}

/// A type's own name, linked if it is one of the contract's.
fn linked(name: &str) -> String {
    let full = name.trim_start_matches('.');
    let short = full.rsplit('.').next().unwrap_or(full);
    if full.starts_with("madang.") { format!("[{short}](#{})", anchor(full)) } else { short.to_owned() }
}

fn anchor(full: &str) -> String {
    full.replace('.', "").to_lowercase()
}

/// Who may call what is at a path.
fn callers(path: &str) -> String {
    let Some(rule) = rule(path) else { return "nobody".to_owned() };
    let outside = (rule.access == Access::Outside).then_some("services");
    outside.into_iter().chain(rule.callers.iter().map(|own| own.name())).collect::<Vec<_>>().join(", ")
}

fn of_service(out: &mut String, package: &str, service: &ServiceDescriptorProto, comments: &Comments, at: &[i32]) {
    let full = format!("{package}.{}", service.name());
    writeln!(out, "\n### {full}\n\n{}\n\n| RPC | takes, gives | who | what |\n|---|---|---|---|", comments.at(at))
        .unwrap();
    for (number, method) in (0..).zip(&service.method) {
        let stream = |is: bool| if is { "stream of " } else { "" };
        let (takes, gives) = (linked(method.input_type()), linked(method.output_type()));
        let who = callers(&format!("/{full}/{}", method.name()));
        let text = comments.at(&[at, &[PART, number]].concat());
        let (many_in, many_out) = (stream(method.client_streaming()), stream(method.server_streaming()));
        writeln!(out, "| `{}` | {many_in}{takes}, {many_out}{gives} | {who} | {text} |", method.name()).unwrap();
    }
}

/// A field's type; of a map, that of its entries.
fn type_of(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let short = field.type_name().rsplit('.').next().unwrap_or_default();
    let entry = message.nested_type.iter().find(|nested| {
        nested.name() == short && nested.options.as_ref().is_some_and(prost_types::MessageOptions::map_entry)
    });
    if let Some(entry) = entry {
        return format!("map of {} to {}", type_of(entry, &entry.field[0]), type_of(entry, &entry.field[1]));
    }
    let one = match field.r#type() {
        Type::Message | Type::Enum | Type::Group => linked(field.type_name()),
        plain => plain.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    };
    match (field.label(), field.proto3_optional(), field.oneof_index) {
        (Label::Repeated, ..) => format!("repeated {one}"),
        (_, true, _) => format!("optional {one}"),
        (_, false, Some(index)) => format!("{one}, or another `{}`", message.oneof_decl[index as usize].name()),
        _ => one,
    }
}

fn of_message(out: &mut String, package: &str, message: &DescriptorProto, comments: &Comments, at: &[i32]) {
    writeln!(out, "\n#### {package}.{}\n\n{}", message.name(), comments.at(at)).unwrap();
    if !message.field.is_empty() {
        writeln!(out, "\n| field | type | what |\n|---|---|---|").unwrap();
    }
    for (number, field) in (0..).zip(&message.field) {
        let text = comments.at(&[at, &[PART, number]].concat());
        writeln!(out, "| `{}` = {} | {} | {text} |", field.name(), field.number(), type_of(message, field)).unwrap();
    }
}

fn of_enum(out: &mut String, package: &str, each: &EnumDescriptorProto, comments: &Comments, at: &[i32]) {
    let name = each.name();
    writeln!(out, "\n#### {package}.{name}\n\n{}\n\n| value | what |\n|---|---|", comments.at(at)).unwrap();
    for (number, value) in (0..).zip(&each.value) {
        let text = comments.at(&[at, &[PART, number]].concat());
        writeln!(out, "| `{}` = {} | {text} |", value.name(), value.number()).unwrap();
    }
}

fn reference() -> String {
    let set = FileDescriptorSet::decode(madang_proto::DESCRIPTORS).unwrap();
    let mut out = HEAD.to_owned();
    for file in &set.file {
        let (package, comments) = (file.package(), Comments::of(file));
        writeln!(out, "\n## {package}").unwrap();
        for (number, service) in (0..).zip(&file.service) {
            of_service(&mut out, package, service, &comments, &[SERVICES, number]);
        }
        for (number, message) in (0..).zip(&file.message_type) {
            of_message(&mut out, package, message, &comments, &[MESSAGES, number]);
        }
        for (number, each) in (0..).zip(&file.enum_type) {
            of_enum(&mut out, package, each, &comments, &[ENUMS, number]);
        }
    }
    out
}

#[test]
fn the_reference_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/grpc-reference.md");
    let fresh = reference();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &fresh).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == fresh,
        "docs/grpc-reference.md is stale: run UPDATE=1 cargo test --workspace --test reference"
    );
}
