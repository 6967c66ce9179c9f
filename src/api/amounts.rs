//! Amounts as people write them in our objects: spans of time (`1h30m`) and numbers or percentages (`20%`).

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// A span of time in whole seconds, written as hours, minutes and seconds: `1h30m`, `10m`, `0s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub u64);

/// What the API server lets through; [`Span::parse`] reads the same.
const SPAN: &str = "^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$";

impl Span {
    pub const fn minutes(n: u64) -> Self {
        Self(n * 60)
    }

    pub fn parse(text: &str) -> Option<Self> {
        let (mut total, mut rest) = (0_u64, text);
        for (unit, seconds) in [('h', 3600), ('m', 60), ('s', 1)] {
            if let Some((number, after)) = rest.split_once(unit) {
                let fits =
                    !number.is_empty() && number.len() <= 6 && number.bytes().all(|b| b.is_ascii_digit());
                total += fits.then(|| number.parse::<u64>().ok()).flatten()? * seconds;
                rest = after;
            }
        }
        (rest.is_empty() && !text.is_empty()).then_some(Self(total))
    }

    pub fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (h, m, s) = (self.0 / 3600, self.0 / 60 % 60, self.0 % 60);
        if self.0 == 0 {
            return f.write_str("0s");
        }
        for (n, unit) in [(h, 'h'), (m, 'm'), (s, 's')] {
            if n > 0 {
                write!(f, "{n}{unit}")?;
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Span {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is no span of time such as 1h30m, 10m or 45s"))
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 2, "maxLength": 24, "pattern": SPAN})
    }
}

/// A number, or a percentage of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Amount {
    Count(u32),
    Percent(u32),
}

/// How an [`Amount`] stands in an object.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u32),
    Text(String),
}

const AMOUNT: &str = "^(100|[0-9]{1,2})%$";

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(n) => write!(f, "{n}"),
            Self::Percent(n) => write!(f, "{n}%"),
        }
    }
}

impl TryFrom<Written> for Amount {
    type Error = String;
    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Number(n) => Ok(Self::Count(n)),
            Written::Text(text) => {
                let percent = text.strip_suffix('%').filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
                let percent = percent.and_then(|n| n.parse::<u32>().ok()).filter(|n| *n <= 100);
                percent
                    .map(Self::Percent)
                    .ok_or_else(|| format!("{text:?} is neither a number nor a percentage"))
            }
        }
    }
}

impl From<Amount> for Written {
    fn from(amount: Amount) -> Self {
        match amount {
            Amount::Count(n) => Self::Number(n),
            Amount::Percent(n) => Self::Text(format!("{n}%")),
        }
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"x-kubernetes-int-or-string": true, "minimum": 0, "maximum": 1_000_000, "pattern": AMOUNT})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json, to_value};

    #[test]
    fn spans_are_read_and_written_as_people_write_them() {
        for (text, seconds) in [("0s", 0), ("10m", 600), ("1h30m", 5400), ("1h0m5s", 3605), ("90m", 5400)] {
            assert_eq!(Span::parse(text), Some(Span(seconds)), "{text}");
            assert_eq!(Span::parse(&Span(seconds).to_string()), Some(Span(seconds)), "{text}");
        }
        for text in ["", "10", "m", "1.5h", "5s10m", "-1m", "1d", "1h ", "1234567s", "+1s"] {
            assert_eq!(Span::parse(text), None, "{text}");
        }
    }

    /// Whatever the API server lets through is read.
    #[test]
    fn the_patterns_of_the_crd_and_the_readers_agree() {
        let (span, amount) = (regex::Regex::new(SPAN).unwrap(), regex::Regex::new(AMOUNT).unwrap());
        let words =
            ["", "0s", "1h", "1h1s", "1m1h", "1.5h", "9999999s", "s", "1h2m3s", "1ms", "1", " 1s", "1s1s"];
        for text in words {
            let allowed = span.is_match(text) && text.len() >= 2;
            assert_eq!(allowed, Span::parse(text).is_some(), "{text:?}");
        }
        for text in ["", "%", "0%", "100%", "101%", "7", "-1%", "20 %", "1.5%", "+5%"] {
            assert_eq!(amount.is_match(text), from_value::<Amount>(json!(text)).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn amounts_are_numbers_or_percentages() {
        let read = |value| from_value::<Amount>(value).unwrap();
        assert_eq!(read(json!(3)), Amount::Count(3));
        assert_eq!(read(json!("100%")), Amount::Percent(100));
        assert_eq!(to_value(read(json!("10%"))).unwrap(), json!("10%"));
        assert!(from_value::<Amount>(json!(-1)).is_err() && from_value::<Amount>(json!(true)).is_err());
    }
}
