//! Selectors of labels and of fields.

use crate::status::Refusal;
use serde_json::Value;

#[derive(Clone, Debug, Default)]
pub(crate) struct Selectors {
    labels: Vec<Requirement>,
    /// Field, value, whether it has to be equal.
    fields: Vec<(String, String, bool)>,
}

#[derive(Clone, Debug)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    Greater,
    Less,
}

impl Selectors {
    pub fn parse(custom: bool, labels: &str, fields: &str) -> Result<Self, Refusal> {
        let labels = Parser::new(labels)
            .all()
            .map_err(|why| Refusal::bad_request(&format!("unable to parse requirement: {why}")))?;
        let mut parsed = Vec::new();
        for term in fields.split(',').filter(|t| !t.is_empty()) {
            let split = |by: &str| term.split_once(by).map(|(a, b)| (a.to_owned(), b.to_owned()));
            let (field, value, equal) = match (split("!="), split("=="), split("=")) {
                (Some((f, v)), ..) => (f, v, false),
                (_, Some((f, v)), _) | (_, _, Some((f, v))) => (f, v, true),
                _ => {
                    let why = format!("invalid selector: '{fields}'; can't understand '{term}'");
                    return Err(Refusal::bad_request(&why));
                }
            };
            if !matches!(field.as_str(), "metadata.name" | "metadata.namespace") {
                let why = if custom {
                    format!("field label not supported: {field}")
                } else {
                    format!(
                        "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                    )
                };
                return Err(Refusal::bad_request(&why));
            }
            parsed.push((field, value, equal));
        }
        Ok(Self { labels, fields: parsed })
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub fn match_object(&self, object: &Value) -> bool {
        let metadata = object.get("metadata");
        let labels = metadata.and_then(|m| m.get("labels"));
        let label = |key: &str| labels.and_then(|l| l.get(key)).and_then(Value::as_str);
        let fits = |r: &Requirement| {
            let found = label(&r.key);
            let known = || found.is_some_and(|f| r.values.iter().any(|v| v == f));
            let number = |text: &str| text.parse::<i64>().ok();
            let compare = |less: bool| {
                let pair = found.and_then(number).zip(r.values.first().and_then(|v| number(v)));
                pair.is_some_and(|(a, b)| if less { a < b } else { a > b })
            };
            match r.operator {
                Operator::In => known(),
                Operator::NotIn => !known(),
                Operator::Exists => found.is_some(),
                Operator::DoesNotExist => found.is_none(),
                Operator::Greater => compare(false),
                Operator::Less => compare(true),
            }
        };
        self.labels.iter().all(fits)
            && self.fields.iter().all(|(field, value, equal)| {
                let name = field.strip_prefix("metadata.").unwrap_or_default();
                let found = metadata.and_then(|m| m.get(name)).and_then(Value::as_str).unwrap_or_default();
                (found == value) == *equal
            })
    }
}

struct Parser {
    tokens: Vec<String>,
    next: usize,
}

impl Parser {
    fn new(text: &str) -> Self {
        let mut tokens: Vec<String> = Vec::new();
        let mut word = String::new();
        let mut letters = text.chars().peekable();
        let end = |word: &mut String, tokens: &mut Vec<String>| {
            if !word.is_empty() {
                tokens.push(std::mem::take(word));
            }
        };
        while let Some(c) = letters.next() {
            match c {
                ' ' | '\t' | '\n' => end(&mut word, &mut tokens),
                '(' | ')' | ',' | '<' | '>' => {
                    end(&mut word, &mut tokens);
                    tokens.push(c.to_string());
                }
                '=' | '!' => {
                    end(&mut word, &mut tokens);
                    let double = letters.next_if_eq(&'=').is_some();
                    tokens.push(if double { format!("{c}=") } else { c.to_string() });
                }
                _ => word.push(c),
            }
        }
        end(&mut word, &mut tokens);
        Self { tokens, next: 0 }
    }

    fn peek(&self) -> &str {
        self.tokens.get(self.next).map_or("", String::as_str)
    }

    fn take(&mut self) -> String {
        self.next += 1;
        self.tokens.get(self.next - 1).cloned().unwrap_or_default()
    }

    fn all(mut self) -> Result<Vec<Requirement>, String> {
        let mut found = Vec::new();
        while self.next < self.tokens.len() {
            found.push(self.one()?);
            match self.take().as_str() {
                "" => break,
                "," if self.next < self.tokens.len() => {}
                "," => return Err("found '', expected: identifier after ','".into()),
                other => return Err(format!("found '{other}', expected: ',' or 'end of string'")),
            }
        }
        Ok(found)
    }

    fn one(&mut self) -> Result<Requirement, String> {
        let absent = self.peek() == "!" && !self.take().is_empty();
        let key = self.take();
        if matches!(key.as_str(), "" | "," | "(" | ")" | "=" | "==" | "!=") {
            return Err(format!("found '{key}', expected: !, identifier, or 'end of string'"));
        }
        let plain = |operator| Ok(Requirement { key: key.clone(), operator, values: Vec::new() });
        if absent {
            return plain(Operator::DoesNotExist);
        }
        let operator = match self.peek() {
            "" | "," => return plain(Operator::Exists),
            "in" => Operator::In,
            "notin" => Operator::NotIn,
            "=" | "==" => Operator::In,
            "!=" => Operator::NotIn,
            ">" => Operator::Greater,
            "<" => Operator::Less,
            other => {
                return Err(format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt"));
            }
        };
        let word = self.take();
        if word != "in" && word != "notin" {
            let value = if matches!(self.peek(), "" | ",") { String::new() } else { self.take() };
            return Ok(Requirement { key, operator, values: vec![value] });
        }
        let open = self.take();
        if open != "(" {
            return Err(format!("found '{open}', expected: '('"));
        }
        let mut values = Vec::new();
        loop {
            let value = self.take();
            match value.as_str() {
                ")" if values.is_empty() => {
                    values.push(String::new());
                    break;
                }
                "" | "(" => return Err(format!("found '{value}', expected: ',', ')' or identifier")),
                _ => values.push(value),
            }
            match self.take().as_str() {
                ")" => break,
                "," => {}
                other => return Err(format!("found '{other}', expected: ',' or ')'")),
            }
        }
        Ok(Requirement { key, operator, values })
    }
}

#[cfg(test)]
mod tests {
    use super::Selectors;
    use serde_json::json;

    #[test]
    fn labels_are_selected_as_kubernetes_does() {
        let object = json!({"metadata": {"name": "n", "labels": {"a": "1", "b": "x"}}});
        let cases = [
            ("a=1", true),
            ("a==1,b!=y", true),
            ("a in (1, 2),b", true),
            ("a notin (1)", false),
            ("!c", true),
            ("c", false),
            ("c notin (x)", true),
            ("a>0", true),
            ("a<1", false),
            ("", true),
        ];
        for (labels, want) in cases {
            assert_eq!(Selectors::parse(false, labels, "").unwrap().match_object(&object), want, "{labels}");
        }
        for wrong in ["a in (b", "a in b", "a,", "=b"] {
            assert!(Selectors::parse(false, wrong, "").is_err(), "{wrong}");
        }
        assert!(Selectors::parse(false, "", "metadata.name=n").unwrap().match_object(&object));
        assert!(!Selectors::parse(false, "", "metadata.name!=n").unwrap().match_object(&object));
    }
}
