//! Values as proto3's JSON mapping has them: a whole number may be written 1.0 or 1e0, and null is as good as left out.

use serde_json::{Number, Value};

/// The app's own words: what stands in it is kept as it came.
const DATA: &str = "data";
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

/// A member that is null is as good as left out, however deep it stands; the app's own words are kept as they came, and
/// nothing in place of an element is no element.
pub fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.iter_mut().filter(|(name, _)| *name != DATA).for_each(|(_, member)| drop_nulls(member));
        }
        Value::Array(elements) => elements.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn null_is_left_out_however_deep_it_stands() {
        let mut value = json!({"a": null, "b": {"c": null, "d": [{"e": null}, null, 0]}, "data": {"f": null}});
        drop_nulls(&mut value);
        assert_eq!(value, json!({"b": {"d": [{}, null, 0]}, "data": {"f": null}}));
    }

    #[test]
    fn whole_numbers_however_they_are_written() {
        let mut value = json!({"a": [1.0, 7e3, -2.0, 7.5, 1e30, "1.0", 3], "data": {"b": 1.0}});
        make_whole(&mut value);
        assert_eq!(value.to_string(), r#"{"a":[1,7000,-2,7.5,1e+30,"1.0",3],"data":{"b":1.0}}"#);
    }
}
