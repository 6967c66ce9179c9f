//! Text. Positions count characters (code points).

use super::{Row, format, global, member, mismatch};
use crate::cel::budget::Budget;
use crate::cel::error::Fault;
use crate::cel::value::Val;

pub(super) const ROWS: &[Row] = &[
    member("contains", "string, string -> bool", contains, "Whether a text is in it."),
    member("startsWith", "string, string -> bool", starts_with, "Whether it begins with a text."),
    member("endsWith", "string, string -> bool", ends_with, "Whether it ends with a text."),
    member(
        "matches",
        "string, string -> bool",
        matches,
        "Whether a regular expression (RE2) finds something in it.",
    ),
    global(
        "matches",
        "string, string -> bool",
        matches,
        "Whether a regular expression (RE2) finds something in it.",
    ),
    member("charAt", "string, int -> string", char_at, "The character at a position; empty at the end."),
    member("indexOf", "string, string -> int", index_of, "Where a text begins in it, or -1."),
    member("indexOf", "string, string, int -> int", index_of, "The same, from a position on."),
    member(
        "lastIndexOf",
        "string, string -> int",
        last_index_of,
        "Where a text begins for the last time, or -1.",
    ),
    member("lastIndexOf", "string, string, int -> int", last_index_of, "The same, up to a position."),
    member("lowerAscii", "string -> string", lower_ascii, "ASCII letters in lower case."),
    member("upperAscii", "string -> string", upper_ascii, "ASCII letters in upper case."),
    member("replace", "string, string, string -> string", replace, "Every occurrence replaced."),
    member(
        "replace",
        "string, string, string, int -> string",
        replace,
        "At most so many occurrences replaced.",
    ),
    member("split", "string, string -> list(string)", split, "The parts between separators."),
    member("split", "string, string, int -> list(string)", split, "At most so many parts."),
    member("substring", "string, int -> string", substring, "The rest from a position on."),
    member("substring", "string, int, int -> string", substring, "From a position up to, without, another."),
    member("trim", "string -> string", trim, "Without white space at both ends."),
    member("join", "list(string) -> string", join, "All texts, one after the other."),
    member("join", "list(string), string -> string", join, "All texts, with a separator between them."),
    member("reverse", "string -> string", reverse, "The characters in the opposite order."),
    member(
        "format",
        "string, list(dyn) -> string",
        format::format,
        "Fills in %s, %d, %f, %e, %b, %o, %x, %X.",
    ),
    global("strings.quote", "string -> string", quote, "In double quotes, special characters escaped."),
];

fn two(args: &[Val]) -> Result<(&str, &str), Fault> {
    match args {
        [Val::String(a), Val::String(b), ..] => Ok((a, b)),
        _ => Err(mismatch(args)),
    }
}

fn one(args: &[Val]) -> Result<&str, Fault> {
    match args {
        [Val::String(s), ..] => Ok(s),
        _ => Err(mismatch(args)),
    }
}

fn out_of_range(what: &str) -> Fault {
    Fault::invalid(format!("{what} is out of range"))
}

fn contains(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let (text, part) = two(args)?;
    budget.text(text.len())?;
    Ok(Val::Bool(text.contains(part)))
}

fn starts_with(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let (text, part) = two(args)?;
    Ok(Val::Bool(text.starts_with(part)))
}

fn ends_with(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let (text, part) = two(args)?;
    Ok(Val::Bool(text.ends_with(part)))
}

fn matches(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let (text, pattern) = two(args)?;
    Ok(Val::Bool(budget.regex(pattern, text)?.is_match(text.as_bytes())))
}

fn char_at(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let [Val::String(text), Val::Int(at)] = args else { return Err(mismatch(args)) };
    budget.text(text.len())?;
    let count = text.chars().count();
    match usize::try_from(*at) {
        Ok(at) if at == count => Ok(Val::string("")),
        Ok(at) => {
            let found = text.chars().nth(at).ok_or_else(|| out_of_range("index"))?;
            Ok(Val::string(found.to_string()))
        }
        Err(_) => Err(out_of_range("index")),
    }
}

/// The byte offset of a character position, which may be the end.
fn byte_at(text: &str, position: usize) -> Option<usize> {
    text.char_indices().map(|(i, _)| i).chain([text.len()]).nth(position)
}

fn index_of(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let (text, part) = two(args)?;
    budget.text(text.len() * 2)?;
    let from = match args.get(2) {
        Some(Val::Int(from)) => usize::try_from(*from).map_err(|_| out_of_range("index"))?,
        _ => 0,
    };
    if part.is_empty() {
        // An empty text is found at every position, the end included.
        return Ok(Val::Int(from.min(text.chars().count()) as i64));
    }
    let found = byte_at(text, from).and_then(|start| {
        let at = start + text.get(start..)?.find(part)?;
        Some(text.get(..at)?.chars().count())
    });
    Ok(Val::Int(found.map_or(-1, |i| i as i64)))
}

fn last_index_of(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let (text, part) = two(args)?;
    budget.text(text.len() * 2)?;
    let count = text.chars().count();
    let until = match args.get(2) {
        Some(Val::Int(until)) => usize::try_from(*until).map_err(|_| out_of_range("index"))?,
        _ => count,
    };
    if part.is_empty() {
        return Ok(Val::Int(until.min(count) as i64));
    }
    // A given position beyond the last character finds nothing.
    if until > count || (until == count && args.len() > 2) {
        return Ok(Val::Int(-1));
    }
    let end = byte_at(text, until).map_or(text.len(), |at| at.saturating_add(part.len()).min(text.len()));
    // The last match that begins at or before the position ends at a whole character.
    let end = (0..=end).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    let found = text.get(..end).and_then(|t| t.rfind(part));
    Ok(Val::Int(found.and_then(|at| text.get(..at)).map_or(-1, |before| before.chars().count() as i64)))
}

fn lower_ascii(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    budget.text(one(args)?.len())?;
    Ok(Val::string(one(args)?.to_ascii_lowercase()))
}

fn upper_ascii(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    budget.text(one(args)?.len())?;
    Ok(Val::string(one(args)?.to_ascii_uppercase()))
}

fn replace(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let [Val::String(text), Val::String(old), Val::String(new), rest @ ..] = args else {
        return Err(mismatch(args));
    };
    budget.text(text.len())?;
    let most = match rest {
        [Val::Int(n)] => usize::try_from(*n).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    let count = text.matches(old.as_ref()).take(most).count();
    budget.text(text.len().saturating_add(count.saturating_mul(new.len())))?;
    Ok(Val::string(text.replacen(old.as_ref(), new, most)))
}

fn split(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let (text, separator) = two(args)?;
    budget.text(text.len())?;
    let most = match args.get(2) {
        Some(Val::Int(0)) => return Ok(Val::list(Vec::new())),
        Some(Val::Int(n)) => usize::try_from(*n).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    let parts: Vec<Val> = if separator.is_empty() {
        // An empty separator splits between all characters. The last part takes what is left.
        let cut = byte_at(text, most.saturating_sub(1)).unwrap_or(text.len());
        let (head, tail) = text.split_at_checked(cut).unwrap_or((text, ""));
        let tail = (!tail.is_empty()).then(|| Val::string(tail));
        head.chars().map(|c| Val::string(c.to_string())).chain(tail).collect()
    } else {
        text.splitn(most, separator).map(Val::string).collect()
    };
    budget.items(parts.len())?;
    Ok(Val::list(parts))
}

fn substring(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let text = one(args)?;
    budget.text(text.len())?;
    let position = |value: Option<&Val>| match value {
        Some(Val::Int(i)) => {
            let at = usize::try_from(*i).ok().and_then(|i| byte_at(text, i));
            at.map(Some).ok_or_else(|| out_of_range("index"))
        }
        _ => Ok(None),
    };
    let from = position(args.get(1))?.unwrap_or(0);
    let to = position(args.get(2))?.unwrap_or(text.len());
    let part = text
        .get(from..to)
        .ok_or_else(|| Fault::invalid("invalid substring range: the start is after the end"))?;
    Ok(Val::string(part))
}

fn trim(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let text = one(args)?;
    budget.text(text.len())?;
    Ok(Val::string(text.trim()))
}

fn join(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let [Val::List(items), rest @ ..] = args else { return Err(mismatch(args)) };
    let separator = match rest {
        [Val::String(s)] => s.as_ref(),
        _ => "",
    };
    let mut texts = Vec::with_capacity(items.len());
    let mut len = 0_usize;
    for item in items.iter() {
        let Val::String(text) = item else { return Err(Fault::overload("join", args)) };
        len = len.saturating_add(text.len()).saturating_add(separator.len());
        texts.push(text.as_ref());
    }
    budget.items(texts.len())?;
    budget.text(len)?;
    Ok(Val::string(texts.join(separator)))
}

fn reverse(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let text = one(args)?;
    budget.text(text.len())?;
    Ok(Val::string(text.chars().rev().collect::<String>()))
}

fn quote(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let text = one(args)?;
    budget.text(text.len() * 2 + 2)?;
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out.push('"');
    Ok(Val::string(out))
}
