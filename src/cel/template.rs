//! Where the expressions of a text are: `${…}`.
//!
//! The end of an expression is found as a CEL lexer would find it: braces inside strings do not count, whether the
//! string is double-quoted, single-quoted, raw or triple-quoted. (kro looks at double quotes only, which breaks
//! `${'}'}`.) A text that has an opening but no end stays literal, as in kro: scripts are full of `${VAR`.

use std::fmt;

/// A text, by what it evaluates to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// No expression: the text itself.
    Literal(String),
    /// The whole text is one expression; the result keeps its type.
    Standalone(String),
    /// Literals and expressions that make one string.
    Mixed(Vec<Part>),
}

/// A piece of a mixed text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text as it stands.
    Literal(String),
    /// The source between `${` and `}`.
    Expr(String),
}

/// `${` inside an open expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SplitError {
    /// What is wrong.
    pub message: String,
    /// Byte offset of the inner `${`.
    pub offset: usize,
}

impl fmt::Display for SplitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at character {})", self.message, self.offset + 1)
    }
}

/// Splits a text into its literals and expressions.
pub fn split(text: &str) -> Result<Text, SplitError> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find("${")) {
        let open = at + found;
        let body = open + 2;
        let Some(end) = find_end(text, body)? else { break };
        literal.push_str(text.get(at..open).unwrap_or_default());
        if !literal.is_empty() {
            parts.push(Part::Literal(std::mem::take(&mut literal)));
        }
        parts.push(Part::Expr(text.get(body..end).unwrap_or_default().to_owned()));
        at = end + 1;
    }
    literal.push_str(text.get(at..).unwrap_or_default());
    if parts.is_empty() {
        return Ok(Text::Literal(literal));
    }
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    match parts.as_slice() {
        [Part::Expr(source)] => Ok(Text::Standalone(source.clone())),
        _ => Ok(Text::Mixed(parts)),
    }
}

/// The byte offset of the brace that closes an expression whose text starts at `body`.
///
/// A quote that never closes (`${it's}`) hides the end. Then kro's rule decides, which knows double quotes only: what
/// the author meant as an expression must not pass silently as a literal.
fn find_end(text: &str, body: usize) -> Result<Option<usize>, SplitError> {
    match scan(text, body, Quotes::All)? {
        Some(end) => Ok(Some(end)),
        None => scan(text, body, Quotes::DoubleOnly),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Quotes {
    All,
    DoubleOnly,
}

fn scan(text: &str, body: usize, quotes: Quotes) -> Result<Option<usize>, SplitError> {
    let bytes = text.as_bytes();
    let at = |i: usize| bytes.get(i).copied().unwrap_or(0);
    let mut depth = 1_usize;
    let mut i = body;
    while i < bytes.len() {
        match at(i) {
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Ok(Some(i));
                }
            }
            b'$' if at(i + 1) == b'{' => {
                return Err(SplitError {
                    message: "nested expressions are not allowed unless inside string literals".into(),
                    offset: i,
                });
            }
            b'/' if quotes == Quotes::All && at(i + 1) == b'/' => {
                // A quote in a comment opens no string; its braces count, as in kro.
                while i < bytes.len() && !matches!(at(i), b'\n' | b'{' | b'}' | b'$') {
                    i += 1;
                }
                continue;
            }
            quote @ (b'"' | b'\'') if quote == b'"' || quotes == Quotes::All => {
                match string_end(bytes, body, i, quotes) {
                    Some(end) => {
                        i = end;
                        continue;
                    }
                    None => return Ok(None),
                }
            }
            _ => {}
        }
        i += 1;
    }
    Ok(None)
}

/// The offset after the string literal that opens at `open`.
fn string_end(bytes: &[u8], body: usize, open: usize, quotes: Quotes) -> Option<usize> {
    let quote = *bytes.get(open)?;
    let is = |i: usize| bytes.get(i) == Some(&quote);
    let cel = quotes == Quotes::All;
    let triple = cel && is(open + 1) && is(open + 2);
    let raw = cel && is_raw(bytes, body, open);
    let mut i = if triple { open + 3 } else { open + 1 };
    while i < bytes.len() {
        if bytes.get(i) == Some(&b'\\') && !raw {
            i += 2;
        } else if is(i) && (!triple || (is(i + 1) && is(i + 2))) {
            return Some(if triple { i + 3 } else { i + 1 });
        } else if cel && !triple && matches!(bytes.get(i), Some(b'\n' | b'\r')) {
            // A plain string does not span lines.
            return None;
        } else {
            i += 1;
        }
    }
    None
}

/// Whether the quote at `open` has the prefix `r`, `R`, `br`, … that is not the end of a longer name.
fn is_raw(bytes: &[u8], body: usize, open: usize) -> bool {
    let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let before = bytes.get(body..open).unwrap_or_default();
    let prefix_len = before.iter().rev().take_while(|b| word(b)).count();
    let prefix = before.get(before.len() - prefix_len..).unwrap_or_default();
    matches!(prefix.to_ascii_lowercase().as_slice(), b"r" | b"br" | b"rb")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `L:` literal, `S:` standalone, `M:` parts with expressions in brackets, `E:` the offset of an error.
    fn show(text: &str) -> String {
        match split(text) {
            Ok(Text::Literal(s)) => format!("L:{s}"),
            Ok(Text::Standalone(s)) => format!("S:{s}"),
            Ok(Text::Mixed(parts)) => parts.iter().fold("M:".to_owned(), |out, part| match part {
                Part::Literal(s) => format!("{out}|{s}"),
                Part::Expr(s) => format!("{out}|[{s}]"),
            }),
            Err(e) => format!("E:{}", e.offset),
        }
    }

    #[test]
    fn texts() {
        let rows = [
            ("", "L:"),
            ("plain", "L:plain"),
            ("${a.b}", "S:a.b"),
            ("${ a }", "S: a "),
            ("${a\n}", "S:a\n"),
            (" ${a}", "M:| |[a]"),
            ("${a}\n", "M:|[a]|\n"),
            ("$${a}", "M:|$|[a]"),
            ("x-${a}-${b}", "M:|x-|[a]|-|[b]"),
            ("${a}${b}", "M:|[a]|[b]"),
            ("${{\"k\": \"v\"}}", "S:{\"k\": \"v\"}"),
            ("${}", "S:"),
            // An opening without an end is text.
            ("${a", "L:${a"),
            ("echo ${HOME", "L:echo ${HOME"),
            ("${a}-${b", "M:|[a]|-${b"),
            ("$", "L:$"),
            ("${", "L:${"),
            ("$ {a}", "L:$ {a}"),
            // Strings hide braces and openings.
            ("${\"${x}\"}", "S:\"${x}\""),
            ("${\"}\"}", "S:\"}\""),
            ("${\"\\\"}\"}", "S:\"\\\"}\""),
            ("${'}'}", "S:'}'"),
            ("${'{'}", "S:'{'"),
            ("${a + '\"'}", "S:a + '\"'"),
            ("${'${x}'}", "S:'${x}'"),
            ("${'it\\'s }'}", "S:'it\\'s }'"),
            ("${'''a 'b' }'''}", "S:'''a 'b' }'''"),
            ("${\"\"\"a \"b\"\n}\"\"\"}", "S:\"\"\"a \"b\"\n}\"\"\""),
            ("${r'\\'}-${a}", "M:|[r'\\']|-|[a]"),
            ("${br\"\\\"}x", "M:|[br\"\\\"]|x"),
            ("${bar'}'}", "S:bar'}'"),
            ("${''}${\"\"}", "M:|['']|[\"\"]"),
            // Openings outside strings.
            ("${a ${b} }", "E:4"),
            ("x${a${b}}", "E:4"),
            // A quote that does not close does not turn an expression into text.
            ("${it's}", "S:it's"),
            ("${'a\n'}", "S:'a\n'"),
            // Comments may hold quotes.
            ("${a // don't\n}", "S:a // don't\n"),
            ("${a // note}", "S:a // note"),
            ("ü${a}ü", "M:|ü|[a]|ü"),
        ];
        for (text, want) in rows {
            assert_eq!(show(text), want, "{text:?}");
        }
    }

    proptest::proptest! {
        /// Nothing is lost: the parts, written out again, are the text.
        #[test]
        fn parts_make_the_text(text in "([a-z ]|\\$\\{|\\}|\\{|'|\"|\\\\|\n|r|ü){0,40}") {
            let again = match split(&text) {
                Err(_) => return Ok(()),
                Ok(Text::Literal(s)) => s,
                Ok(Text::Standalone(s)) => format!("${{{s}}}"),
                Ok(Text::Mixed(parts)) => parts.iter().map(|p| match p {
                    Part::Literal(s) => s.clone(),
                    Part::Expr(s) => format!("${{{s}}}"),
                }).collect(),
            };
            proptest::prop_assert_eq!(again, text);
        }
    }
}
