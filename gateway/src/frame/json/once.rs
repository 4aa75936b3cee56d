//! JSON in which no member of an object stands twice: which of the two is meant is not said, and serde_json takes the last.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// A value in which each member stands once.
struct Once(Value);

struct Reader;

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader).map(Self)
    }
}

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Once(element)) = elements.next_element()? {
            all.push(element);
        }
        Ok(all.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some((name, Once(member))) = members.next_entry::<String, Once>()? {
            if all.contains_key(&name) {
                return Err(A::Error::custom(format!("`{name}` stands there twice")));
            }
            all.insert(name, member);
        }
        Ok(all.into())
    }
}

/// Reads JSON, and refuses what stands twice.
pub(super) fn read_once(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text).map(|Once(value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_any_other_json_unless_something_stands_twice() {
        for good in [r#"{"a":[1,-2,1.5,null,true,"x",{}],"b":{"a":{"a":1}},"c":1e300}"#, "7", "\"\\u00e9\"", "[[],{}]"]
        {
            assert_eq!(read_once(good).unwrap(), serde_json::from_str::<Value>(good).unwrap(), "{good}");
        }
        for twice in [r#"{"a":1,"a":1}"#, r#"{"a":null,"b":1,"\u0061":2}"#, r#"[{"b":{"a":[{"c":1,"c":2}]}}]"#] {
            assert!(read_once(twice).unwrap_err().to_string().contains("stands there twice"), "{twice}");
        }
        for broken in ["", "{", "1 2", "{\"a\"}"] {
            assert!(read_once(broken).is_err(), "{broken}");
        }
    }
}
