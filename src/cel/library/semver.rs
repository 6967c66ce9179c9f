//! Semantic versions.

use super::{Row, global, member, mismatch};
use crate::cel::budget::Budget;
use crate::cel::error::Fault;
use crate::cel::value::{Opaque, Val};
use semver::Version;
use std::cmp::Ordering;
use std::sync::Arc;

pub(super) const ROWS: &[Row] = &[
    global("semver", "string -> kubernetes.Semver", semver, "Reads a semantic version."),
    global("isSemver", "string -> bool", is_semver, "Whether a text is a semantic version."),
    member("major", "kubernetes.Semver -> int", major, "The first number."),
    member("minor", "kubernetes.Semver -> int", minor, "The second number."),
    member("patch", "kubernetes.Semver -> int", patch, "The third number."),
    member("isLessThan", "kubernetes.Semver, kubernetes.Semver -> bool", is_less, "Older."),
    member("isGreaterThan", "kubernetes.Semver, kubernetes.Semver -> bool", is_greater, "Newer."),
    member("compareTo", "kubernetes.Semver, kubernetes.Semver -> int", compare_to, "-1, 0 or 1."),
];

fn parse(budget: &Budget, args: &[Val]) -> Result<Option<Version>, Fault> {
    let [Val::String(text)] = args else { return Err(mismatch(args)) };
    budget.text(text.len())?;
    Ok(Version::parse(text).ok())
}

fn semver(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    match parse(budget, args)? {
        Some(version) => Ok(Val::Opaque(Arc::new(Opaque::Semver(version)))),
        None => Err(Fault::invalid("not a semantic version (MAJOR.MINOR.PATCH)")),
    }
}

fn is_semver(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::Bool(parse(budget, args)?.is_some()))
}

fn of(args: &[Val], index: usize) -> Result<&Version, Fault> {
    match args.get(index) {
        Some(Val::Opaque(o)) => match o.as_ref() {
            Opaque::Semver(v) => Ok(v),
            _ => Err(mismatch(args)),
        },
        _ => Err(mismatch(args)),
    }
}

fn number(n: u64) -> Result<Val, Fault> {
    i64::try_from(n).map(Val::Int).map_err(|_| Fault::invalid("integer overflow"))
}

fn major(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    number(of(args, 0)?.major)
}
fn minor(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    number(of(args, 0)?.minor)
}
fn patch(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    number(of(args, 0)?.patch)
}

/// Build metadata does not count.
fn order(args: &[Val]) -> Result<Ordering, Fault> {
    Ok(of(args, 0)?.cmp_precedence(of(args, 1)?))
}

fn is_less(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::Bool(order(args)?.is_lt()))
}
fn is_greater(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::Bool(order(args)?.is_gt()))
}
fn compare_to(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::Int(order(args)? as i64))
}
