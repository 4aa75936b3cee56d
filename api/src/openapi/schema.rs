//! JSON schemas of the contract's messages, in the canonical proto3 mapping: 64-bit integers are strings, enums words.

use madang_proto::DESCRIPTORS;
use prost::Message as _;
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// The package whose messages clients meet.
const PACKAGE: &str = "madang.client.v1";
/// The number of `message_type` in a file's descriptor, in paths to comments.
const MESSAGES: i32 = 4;
/// The number of `field` in a message's.
const FIELDS: i32 = 2;

/// A reference to a schema.
pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// The schema that a word of the table stands for: a type, an object's name, or a list of either in brackets.
pub(super) fn word(word: &str) -> Value {
    if let Some(inner) = word.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return json!({"type": "array", "items": self::word(inner)});
    }
    match word {
        "string" => json!({"type": "string"}),
        "uuid" => json!({"type": "string", "format": "uuid"}),
        "bool" => json!({"type": "boolean"}),
        "uint32" => json!({"type": "integer", "format": "uint32", "minimum": 0, "maximum": u32::MAX}),
        "uint64" | "int64" => json!({"type": "string", "format": word, "pattern": "^-?[0-9]{1,20}$"}),
        // OpenAPI 3.1: a body of a media type that is no text needs no schema of its own.
        "image" => json!({}),
        "object" => json!({"type": "object"}),
        "map" => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        name => reference(name),
    }
}

/// The schemas of all messages.
pub(super) fn of_messages() -> Map<String, Value> {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap_or_default();
    let mut schemas = Map::new();
    for file in set.file.iter().filter(|file| file.package() == PACKAGE) {
        let comments = comments(file);
        let enums: HashMap<String, Vec<&str>> = file
            .enum_type
            .iter()
            .map(|each| (format!(".{PACKAGE}.{}", each.name()), each.value.iter().map(|value| value.name()).collect()))
            .collect();
        for (at, message) in (0..).zip(&file.message_type) {
            let text = |path: &[i32]| comments.get(path).copied();
            let mut properties = Map::new();
            for (number, field) in (0..).zip(&message.field) {
                let mut schema = of_field(message, field, &enums);
                // A reference stands alone in some readers: what it refers to is described itself.
                if let (Some(text), None) = (text(&[MESSAGES, at, FIELDS, number]), schema.get("$ref")) {
                    schema["description"] = text.into();
                }
                properties.insert(field.json_name().to_owned(), schema);
            }
            let mut schema = json!({"type": "object", "properties": properties});
            if let Some(text) = text(&[MESSAGES, at]) {
                schema["description"] = text.into();
            }
            schemas.insert(message.name().to_owned(), schema);
        }
    }
    schemas
}

fn comments(file: &FileDescriptorProto) -> HashMap<&[i32], &str> {
    let locations = file.source_code_info.iter().flat_map(|info| &info.location);
    locations.filter_map(|each| Some((each.path.as_slice(), each.leading_comments.as_deref()?.trim()))).collect()
}

fn of_field(message: &DescriptorProto, field: &FieldDescriptorProto, enums: &HashMap<String, Vec<&str>>) -> Value {
    let name = field.type_name().rsplit('.').next().unwrap_or_default();
    let is_map =
        |nested: &&DescriptorProto| nested.name() == name && nested.options.as_ref().is_some_and(|o| o.map_entry());
    if message.nested_type.iter().find(is_map).is_some() {
        return word("map");
    }
    let one = match field.r#type() {
        Type::String | Type::Bytes => word("string"),
        Type::Bool => word("bool"),
        Type::Uint32 | Type::Fixed32 | Type::Int32 | Type::Sint32 | Type::Sfixed32 => word("uint32"),
        Type::Uint64 | Type::Fixed64 => word("uint64"),
        Type::Int64 | Type::Sint64 | Type::Sfixed64 => word("int64"),
        Type::Double | Type::Float => json!({"type": "number"}),
        Type::Enum => json!({"type": "string", "enum": enums.get(field.type_name())}),
        Type::Message | Type::Group => reference(name),
    };
    if field.label() == Label::Repeated { json!({"type": "array", "items": one}) } else { one }
}
