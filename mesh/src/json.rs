//! Numbers as proto3's JSON mapping has them: a whole one may be written 1.0 or 1e0.

use serde_json::{Number, Value};

/// The app's own words: what stands in it is kept as it came.
pub const DATA: &str = "data";
/// Up to here floating-point numbers hold every whole number.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A whole number that is written with a fraction or an exponent, as one without; none: it is no such number.
#[allow(clippy::cast_possible_truncation)] // it is whole, and not too large
fn whole(number: &Number) -> Option<Number> {
    let float = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0 && float.abs() <= EXACT)?;
    Some((float as i64).into())
}

/// All numbers in a value, but in what is the app's own, as they are written without a fraction or an exponent, if they are whole.
pub fn make_whole(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.iter_mut().filter(|(name, _)| *name != DATA).for_each(|(_, member)| make_whole(member));
        }
        Value::Array(elements) => elements.iter_mut().for_each(make_whole),
        Value::Number(number) => {
            if let Some(whole) = whole(number) {
                *number = whole;
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whole_numbers_however_they_are_written() {
        let mut value = json!({"a": [1.0, 7e3, -2.0, 7.5, 1e30, "1.0", 3], "data": {"b": 1.0}});
        make_whole(&mut value);
        assert_eq!(value.to_string(), r#"{"a":[1,7000,-2,7.5,1e+30,"1.0",3],"data":{"b":1.0}}"#);
    }
}
