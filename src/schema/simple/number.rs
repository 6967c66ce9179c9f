//! Numbers and booleans in markers, read as kro reads them and written as JSON.

use serde_json::{Number, Value, json};

/// A base-10 integer of 64 bits, with an optional sign.
pub fn integer(text: &str) -> Option<i64> {
    // Rust and Go agree on the form: a sign and digits, nothing else.
    text.parse().ok()
}

/// A decimal number; what is whole is written without a fraction, as the API server writes it.
pub fn float(text: &str) -> Option<Value> {
    if let Some(whole) = integer(text) {
        return Some(json!(whole));
    }
    let number: f64 = text.parse().ok().filter(|n: &f64| n.is_finite())?;
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        return Some(json!(number as i64));
    }
    Number::from_f64(number).map(Value::Number)
}

/// The words that kro takes for a boolean.
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_valid_json() {
        let table = [
            ("3", Some(json!(3))),
            ("+3", Some(json!(3))),
            ("-0", Some(json!(0))),
            ("0.50", Some(json!(0.5))),
            (".5", Some(json!(0.5))),
            ("10.0", Some(json!(10))),
            ("1e3", Some(json!(1000))),
            ("1e300", Some(json!(1e300))),
            ("1e999", None),
            ("inf", None),
            ("NaN", None),
            ("", None),
            ("1_000", None),
            ("three", None),
        ];
        for (text, expected) in table {
            assert_eq!(float(text), expected, "{text}");
        }
        assert_eq!(integer("9223372036854775808"), None);
        assert_eq!(integer("1.0"), None);
        assert_eq!(
            (boolean("True"), boolean("f"), boolean("yes"), boolean("tRUE")),
            (Some(true), Some(false), None, None)
        );
    }
}
