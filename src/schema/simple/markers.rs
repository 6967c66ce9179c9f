//! Splits the text after the first `|` into markers.
//!
//! Blanks separate markers, quotes and brackets shield blanks. Quotes are double quotes; single ones mean nothing.

use super::Fault;
use super::suggest;

/// Every marker there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyword {
    Required,
    Default,
    Description,
    Minimum,
    Maximum,
    MinLength,
    MaxLength,
    Pattern,
    Enum,
    MinItems,
    MaxItems,
    UniqueItems,
    ListType,
    ListMapKey,
    Validation,
    Immutable,
}

impl Keyword {
    const ALL: [(&'static str, Self); 16] = [
        ("required", Self::Required),
        ("default", Self::Default),
        ("description", Self::Description),
        ("minimum", Self::Minimum),
        ("maximum", Self::Maximum),
        ("minLength", Self::MinLength),
        ("maxLength", Self::MaxLength),
        ("pattern", Self::Pattern),
        ("enum", Self::Enum),
        ("minItems", Self::MinItems),
        ("maxItems", Self::MaxItems),
        ("uniqueItems", Self::UniqueItems),
        ("listType", Self::ListType),
        ("listMapKey", Self::ListMapKey),
        ("validation", Self::Validation),
        ("immutable", Self::Immutable),
    ];

    fn parse(name: &str) -> Result<Self, Fault> {
        if let Some((_, key)) = Self::ALL.iter().find(|(known, _)| *known == name) {
            return Ok(*key);
        }
        let fault = Fault::new(format!("unknown marker: {name}"));
        if name.starts_with('|') {
            return Err(fault
                .help("markers are separated by blanks; only the first `|` separates them from the type"));
        }
        let known = Self::ALL.iter().map(|(known, _)| *known);
        Err(fault.help(match suggest::marker(name, known.clone()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("the markers are {}", known.collect::<Vec<_>>().join(", ")),
        }))
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, key)| *key == self).map_or("", |(name, _)| name)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Marker {
    pub key: Keyword,
    pub value: String,
}

/// The markers in written order, and what is wrong with the others. An unknown marker is skipped with its value, so
/// that the rest is judged too.
pub fn split(text: &str) -> (Vec<Marker>, Vec<Fault>) {
    let mut scan = Scan::default();
    for c in text.chars() {
        if let Err(fault) = scan.step(c) {
            scan.faults.push(fault);
            return (scan.markers, scan.faults);
        }
    }
    scan.end();
    (scan.markers, scan.faults)
}

#[derive(Default)]
struct Scan {
    markers: Vec<Marker>,
    faults: Vec<Fault>,
    /// The marker whose value is being read; the inner `None` is an unknown one.
    open: Option<Option<Keyword>>,
    buffer: String,
    quoted: bool,
    escaped: bool,
    depth: usize,
    any: bool,
}

impl Scan {
    fn step(&mut self, c: char) -> Result<(), Fault> {
        let shielded = self.quoted || self.depth > 0;
        match c {
            '=' if self.open.is_none() && !shielded => {
                let key = std::mem::take(&mut self.buffer);
                let key = key.trim();
                if key.is_empty() {
                    return Err(
                        Fault::new("empty marker key before `=`").help("markers are written as key=value")
                    );
                }
                let key = Keyword::parse(key).map_err(|fault| self.faults.push(fault)).ok();
                self.open = Some(key);
                self.any = true;
                return Ok(());
            }
            '"' if !self.escaped => self.quoted = !self.quoted,
            '\\' if self.quoted && !self.escaped => {
                self.buffer.push(c);
                self.escaped = true;
                return Ok(());
            }
            '{' | '[' if !self.quoted => self.depth += 1,
            '}' | ']' if !self.quoted => {
                self.depth = self.depth.checked_sub(1).ok_or_else(|| {
                    Fault::new(format!("unmatched closing bracket/brace `{c}`"))
                        .help("put a value that contains brackets in double quotes")
                })?;
            }
            _ if c.is_whitespace() && !shielded => {
                self.finish();
                return Ok(());
            }
            _ => {}
        }
        self.escaped = false;
        self.buffer.push(c);
        Ok(())
    }

    /// Ends the open marker. With none open the buffer stays: `key =v` is a marker.
    fn finish(&mut self) {
        let Some(key) = self.open.take() else { return };
        let value = unquote(&std::mem::take(&mut self.buffer));
        if let Some(key) = key {
            self.markers.push(Marker { key, value });
        }
    }

    fn end(&mut self) {
        if self.quoted {
            self.faults.push(
                Fault::new("unclosed quote").help("close it with a double quote; inside, write it as \\\""),
            );
            return;
        }
        if self.depth > 0 {
            self.faults.push(Fault::new("unclosed bracket/brace"));
            return;
        }
        self.finish();
        let rest = self.buffer.trim();
        if !rest.is_empty() {
            let help = match rest {
                "required" | "immutable" | "uniqueItems" => format!("write {rest}=true"),
                "optional" => "a field is optional unless it says required=true: leave the word out".to_owned(),
                _ => "markers are written as key=value, without blanks around the =; put a value that contains blanks in double quotes".to_owned(),
            };
            self.faults.push(Fault::new(format!("marker key '{rest}' without a value")).help(help));
        } else if !self.any {
            self.faults.push(Fault::new("no marker after `|`").help("leave the `|` out"));
        }
    }
}

/// The value without its surrounding quotes. In quotes `\"` and `\\` stand for the second character, any other
/// backslash stays: patterns are written as they are.
fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) else {
        return value.trim().to_owned();
    };
    let mut result = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            result.push(c);
            continue;
        }
        match chars.next() {
            Some(next @ ('"' | '\\')) => result.push(next),
            Some(next) => result.extend(['\\', next]),
            None => {}
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<(&'static str, String)> {
        let (markers, faults) = split(text);
        assert_eq!(faults, [], "{text}");
        markers.into_iter().map(|m| (m.key.name(), m.value)).collect()
    }
    fn fault(text: &str) -> String {
        let (_, faults) = split(text);
        faults.iter().map(|f| f.message.as_str()).collect::<Vec<_>>().join(" / ")
    }

    #[test]
    fn blanks_separate_and_are_shielded_by_quotes_and_brackets() {
        let table: [(&str, &[(&str, &str)]); 13] = [
            (
                r#" default="foo bar" description="d \"q\" \n x" "#,
                &[("default", "foo bar"), ("description", r#"d "q" \n x"#)],
            ),
            ("default=", &[("default", "")]),
            (r#"default={"x": 1} minItems=1"#, &[("default", r#"{"x": 1}"#), ("minItems", "1")]),
            (r#"default=["a", "b c]"]"#, &[("default", r#"["a", "b c]"]"#)]),
            ("minimum =1", &[("minimum", "1")]),
            ("min imum=1", &[("minimum", "1")]),
            ("default=a=b", &[("default", "a=b")]),
            ("default='x", &[("default", "'x")]),
            (r#"default=[a} required=true"#, &[("default", "[a}"), ("required", "true")]),
            (r#"pattern="a\\b""#, &[("pattern", r"a\b")]),
            (r#"pattern="^\d+\.x$""#, &[("pattern", r"^\d+\.x$")]),
            (r#"default="" minimum=1"#, &[("default", ""), ("minimum", "1")]),
            ("required=true\n\tdefault=x  ", &[("required", "true"), ("default", "x")]),
        ];
        for (text, expected) in table {
            let expected: Vec<_> = expected.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
            assert_eq!(values(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_marker() {
        let table = [
            ("", "no marker after `|`"),
            ("  ", "no marker after `|`"),
            ("required", "marker key 'required' without a value"),
            ("description=hello world", "marker key 'world' without a value"),
            ("minimum= 1", "marker key '1' without a value"),
            ("minimum = 1", "marker key '1' without a value"),
            ("=x", "empty marker key before `=`"),
            ("foo=1", "unknown marker: foo"),
            ("Required=true", "unknown marker: Required"),
            ("required=true | default=x", "unknown marker: |default"),
            ("default=a}", "unmatched closing bracket/brace `}`"),
            ("default={a", "unclosed bracket/brace"),
            ("default=\"x", "unclosed quote"),
            ("default=\"", "unclosed quote"),
            (r#"default="x\""#, "unclosed quote"),
            ("foo=1 bar=2", "unknown marker: foo / unknown marker: bar"),
        ];
        for (text, expected) in table {
            assert_eq!(fault(text), expected, "{text}");
        }
    }

    #[test]
    fn near_misses_get_a_suggestion() {
        for (text, near) in [
            ("Required=true", "required"),
            ("min=1", "minimum"),
            ("minlength=1", "minLength"),
            ("patern=a", "pattern"),
        ] {
            let (_, faults) = split(text);
            assert_eq!(faults[0].help.as_deref(), Some(format!("did you mean {near}?").as_str()), "{text}");
        }
        let (_, faults) = split("zzz=1");
        assert!(faults[0].help.as_deref().unwrap().starts_with("the markers are required, default"));
    }
}
