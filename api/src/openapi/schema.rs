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

/// The schema that a word of the table stands for: a type, an object's name, a list of either in brackets, or, with a
/// question mark, that or null.
pub(super) fn word(word: &str) -> Value {
    if let Some(inner) = word.strip_suffix('?') {
        return or_null(&self::word(inner));
    }
    if let Some(inner) = word.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return json!({"type": "array", "items": self::word(inner)});
    }
    match word {
        "string" => json!({"type": "string"}),
        "uuid" => json!({"type": "string", "format": "uuid"}),
        "bool" => json!({"type": "boolean"}),
        "uint32" => json!({"type": "integer", "format": "uint32", "minimum": 0, "maximum": u32::MAX}),
        "uint64" => json!({"type": "string", "format": word, "pattern": "^[0-9]{1,20}$"}),
        "int64" => json!({"type": "string", "format": word, "pattern": "^-?[0-9]{1,19}$"}),
        // OpenAPI 3.1: a body of a media type that is no text needs no schema of its own.
        "image" => json!({}),
        "object" => json!({"type": "object"}),
        "map" => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        "Role" => {
            let known = values(word);
            let numbers = 1..=known.len();
            json!({"enum": known.into_iter().map(Value::from).chain(numbers.map(Value::from)).collect::<Vec<_>>()})
        }
        // A client may know more of them than this server does.
        "History" | "Notify" => {
            let known = values(word);
            let description = format!("{}, or its number; what is not known counts as none.", known.join(", "));
            json!({"type": ["string", "integer"], "description": description, "examples": known})
        }
        // More than there is counts as all there may be.
        "limit" => json!({"type": "integer", "minimum": 0}),
        "place" => {
            let pattern = "^0*[1-9][0-9]{0,19}$";
            json!({"type": ["string", "integer"], "pattern": pattern, "minimum": 1, "maximum": u64::MAX})
        }
        // What the server takes in either form, and gives as text.
        "number" => {
            json!({"type": ["string", "integer"], "pattern": "^[0-9]{1,20}$", "minimum": 0, "maximum": u64::MAX})
        }
        name => reference(name),
    }
}

fn or_null(schema: &Value) -> Value {
    json!({"anyOf": [schema, {"type": "null"}]})
}

/// Says of an object that a field of it may be null, which is as if it were left out.
pub(super) fn allow_nulls(object: &mut Value) {
    for (_, property) in object["properties"].as_object_mut().into_iter().flatten() {
        *property = or_null(property);
    }
}

/// The schema of a part of a path, by its name.
pub(super) fn of_part(name: &str) -> Value {
    match name {
        "code" => json!({"type": "string", "minLength": 1}),
        "session" => json!({"anyOf": [word("uuid"), {"const": "current"}]}),
        _ => word("uuid"),
    }
}

/// An object that has exactly one of these fields, and no or null ones besides.
pub(super) fn with_one_of(mut object: Value, fields: &[&str]) -> Value {
    object["oneOf"] =
        fields.iter().map(|field| json!({"required": [field], "properties": {*field: {"type": "object"}}})).collect();
    object
}

/// The names of an enum's values but for the one that says nothing.
fn values(name: &str) -> Vec<String> {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap_or_default();
    let of_clients = set.file.iter().filter(|file| file.package() == PACKAGE);
    let found = of_clients.flat_map(|file| &file.enum_type).find(|each| each.name() == name);
    let values = found.iter().flat_map(|each| &each.value).filter(|value| value.number() != 0);
    values.map(|value| value.name().to_owned()).collect()
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
