//! An expression as a list of tokens, for the few questions that need no more: which function is called, which operator
//! is outermost. Whether the expression is valid is not decided here.

/// One token of an expression.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'a> {
    /// A name, without its backticks.
    Name(&'a str),
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    /// An operator or bracket.
    Mark(&'a str),
}

const MARKS: [&str; 6] = ["==", "!=", "<=", ">=", "&&", "||"];

/// Splits a source into tokens; what cannot be a token is a mark of one character.
pub fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut rest = source;
    loop {
        rest = rest.trim_start();
        if let Some(comment) = rest.strip_prefix("//") {
            rest = comment.find('\n').and_then(|end| comment.get(end..)).unwrap_or_default();
            continue;
        }
        let Some(first) = rest.chars().next() else { return found };
        let (token, length) = next(rest, first);
        found.push(token);
        rest = rest.get(length..).unwrap_or_default();
    }
}

fn next(rest: &str, first: char) -> (Token<'_>, usize) {
    let part = |length: usize| rest.get(..length).unwrap_or_default();
    if let Some((bytes, length)) = text(rest) {
        return (if bytes { Token::Bytes } else { Token::Text }, length);
    }
    if first.is_ascii_alphabetic() || first == '_' {
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        return (Token::Name(part(length)), length);
    }
    if first == '`' {
        let inner = rest.get(1..).unwrap_or_default();
        let length = inner.find('`').unwrap_or(inner.len());
        return (Token::Name(inner.get(..length).unwrap_or_default()), (length + 2).min(rest.len()));
    }
    let fraction = rest.strip_prefix('.').is_some_and(|r| r.starts_with(|c: char| c.is_ascii_digit()));
    if first.is_ascii_digit() || fraction {
        return number(rest);
    }
    match MARKS.iter().find(|m| rest.starts_with(**m)) {
        Some(mark) => (Token::Mark(mark), mark.len()),
        None => (Token::Mark(part(first.len_utf8())), first.len_utf8()),
    }
}

/// A string or bytes literal: whether it is bytes, and its length.
fn text(rest: &str) -> Option<(bool, usize)> {
    let prefix = rest.find(|c: char| !c.is_ascii_alphabetic())?;
    let letters = rest.get(..prefix)?.to_ascii_lowercase();
    let (raw, bytes) = match letters.as_str() {
        "" => (false, false),
        "r" => (true, false),
        "b" => (false, true),
        "br" | "rb" => (true, true),
        _ => return None,
    };
    let body = rest.get(prefix..)?;
    let quote = body.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let triple: String = std::iter::repeat_n(quote, 3).collect();
    let (open, end) = if body.starts_with(&triple) { (3, triple.as_str()) } else { (1, triple.get(..1)?) };
    let mut at = prefix + open;
    while let Some(c) = rest.get(at..).and_then(|r| r.chars().next()) {
        if c == '\\' && !raw {
            at += 1 + rest.get(at + 1..).and_then(|r| r.chars().next()).map_or(0, char::len_utf8);
        } else if rest.get(at..).is_some_and(|r| r.starts_with(end)) {
            return Some((bytes, at + end.len()));
        } else {
            at += c.len_utf8();
        }
    }
    Some((bytes, rest.len()))
}

fn number(rest: &str) -> (Token<'_>, usize) {
    let mut length = 0;
    let mut double = false;
    let hex = rest.starts_with("0x") || rest.starts_with("0X");
    let mut before = ' ';
    for c in rest.chars() {
        let exponent = !hex && matches!(before, 'e' | 'E') && matches!(c, '+' | '-');
        if !(c.is_ascii_alphanumeric() || c == '.' || exponent) {
            break;
        }
        double |= !hex && matches!(c, '.' | 'e' | 'E');
        before = c;
        length += c.len_utf8();
    }
    let token = match before {
        'u' | 'U' => Token::Uint,
        _ if double => Token::Double,
        _ => Token::Int,
    };
    (token, length)
}

/// Whether a function of this name is called, not as a method.
pub fn calls(source: &str, function: &str) -> bool {
    let all = tokens(source);
    let mut before = None;
    all.windows(2).any(|pair| {
        let is_method = before == Some(Token::Mark("."));
        before = pair.first().copied();
        !is_method && pair == [Token::Name(function), Token::Mark("(")]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_become_tokens() {
        use Token::{Bytes, Double, Int, Mark, Name, Text, Uint};
        for (source, want) in [
            ("a.b >= 1", vec![Name("a"), Mark("."), Name("b"), Mark(">="), Int]),
            ("1.5 + 2e-3 - 3u * 0xEF", vec![Double, Mark("+"), Double, Mark("-"), Uint, Mark("*"), Int]),
            (r#""a\"b" + 'c'"#, vec![Text, Mark("+"), Text]),
            (r"r'\' + b'x' + br'\'", vec![Text, Mark("+"), Bytes, Mark("+"), Bytes]),
            ("'''it's''' // '\n!x", vec![Text, Mark("!"), Name("x")]),
            ("m.`a-b/c`", vec![Name("m"), Mark("."), Name("a-b/c")]),
            ("'open", vec![Text]),
            ("ü?", vec![Mark("ü"), Mark("?")]),
        ] {
            assert_eq!(tokens(source), want, "{source}");
        }
    }

    #[test]
    fn calls_are_told_from_names_methods_and_texts() {
        for (source, want) in [
            ("omit()", true),
            ("a ? b : omit ()", true),
            ("'omit()'", false),
            ("x.omit()", false),
            ("omit.y", false),
        ] {
            assert_eq!(calls(source, "omit"), want, "{source}");
        }
    }
}
