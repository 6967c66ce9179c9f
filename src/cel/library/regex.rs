//! Finding by regular expressions.

use super::{Row, member, mismatch};
use crate::cel::budget::Budget;
use crate::cel::error::Fault;
use crate::cel::value::Val;

pub(super) const ROWS: &[Row] = &[
    member(
        "find",
        "string, string -> string",
        find,
        "The first match of a regular expression (RE2), or nothing.",
    ),
    member(
        "findAll",
        "string, string -> list(string)",
        find_all,
        "All matches of a regular expression (RE2).",
    ),
    member(
        "findAll",
        "string, string, int -> list(string)",
        find_all,
        "At most so many matches; all for a negative number.",
    ),
];

fn find(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let [Val::String(text), Val::String(pattern)] = args else { return Err(mismatch(args)) };
    let regex = budget.regex(pattern, text)?;
    Ok(Val::string(regex.find(text.as_bytes()).and_then(|m| text.get(m.range())).unwrap_or_default()))
}

fn find_all(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let [Val::String(text), Val::String(pattern), rest @ ..] = args else { return Err(mismatch(args)) };
    let most = match rest {
        [Val::Int(n)] => usize::try_from(*n).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    let regex = budget.regex(pattern, text)?;
    let mut out = Vec::new();
    for found in regex.find_iter(text.as_bytes()).take(most) {
        budget.step()?;
        out.push(Val::string(text.get(found.range()).unwrap_or_default()));
    }
    Ok(Val::list(out))
}
