//! The functions of the language: one row each.
//!
//! A row has everything there is to know about an overload: name, signature, implementation, what it does. Evaluation,
//! type checker, suggestions and documentation all read it, so they cannot drift apart.

mod convert;
mod encoders;
mod format;
mod json;
mod kro;
mod libraries;
mod lists;
mod math;
mod net;
mod number;
mod operators;
mod optionals;
mod quantity;
mod regex;
mod semver;
mod sets;
mod strings;
mod times;
mod url;

pub(super) use encoders::padded;
pub(super) use format::{Clause, clauses};
pub(super) use json::through_json;
pub use libraries::Libraries;
pub(super) use libraries::opt_in_help;
pub(super) use lists::sort_by_key;
pub(super) use net::Cidr;
pub(super) use quantity::Quantity;
pub use quantity::same_quantity;
pub(super) use url::Url;

use super::budget::Budget;
use super::error::Fault;
use super::types::{self, Type};
use super::value::Val;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// Computes a result from arguments that fit the signature's outermost types.
type Run = fn(&Budget, &[Val]) -> Result<Val, Fault>;

/// An overload, as the tables of this folder write it.
struct Row {
    name: &'static str,
    member: bool,
    signature: &'static str,
    run: Run,
    doc: &'static str,
    dynamic: bool,
}

/// All tables, with their titles in the documentation.
const TABLES: [(&str, &[Row]); 14] = [
    ("Operators", operators::ROWS),
    ("Conversions and sizes", convert::ROWS),
    ("Text", strings::ROWS),
    ("Lists", lists::ROWS),
    ("Times and durations", times::ROWS),
    ("Optional values", optionals::ROWS),
    ("Base64", encoders::ROWS),
    ("JSON", json::ROWS),
    (KRO, kro::ROWS),
    ("Regular expressions", regex::ROWS),
    ("Quantities", quantity::ROWS),
    ("Semantic versions", semver::ROWS),
    ("IP addresses and ranges", net::ROWS),
    ("URLs", url::ROWS),
];

/// The title of the functions that only kro has.
pub(super) const KRO: &str = "kro";

/// `f(a, b)`
const fn global(name: &'static str, signature: &'static str, run: Run, doc: &'static str) -> Row {
    Row { name, member: false, signature, run, doc, dynamic: false }
}

/// `a.f(b)`; the first argument type is the one before the dot.
const fn member(name: &'static str, signature: &'static str, run: Run, doc: &'static str) -> Row {
    Row { name, member: true, signature, run, doc, dynamic: false }
}

/// An overload for arguments whose types are known at run time only. The type checker does not offer it.
const fn dynamic(name: &'static str, signature: &'static str, run: Run, doc: &'static str) -> Row {
    Row { name, member: false, signature, run, doc, dynamic: true }
}

/// One overload of a function.
pub struct Function {
    pub name: &'static str,
    /// Called as `a.f(b)`, with `a` as first argument.
    pub member: bool,
    pub args: Vec<Type>,
    pub result: Type,
    pub doc: &'static str,
    /// Only for arguments whose types are not known before they are there.
    pub dynamic: bool,
    run: Run,
}

/// All overloads of a name.
pub struct Group {
    pub name: &'static str,
    pub overloads: Vec<Function>,
    /// The function's second argument is evaluated only if the first has no value.
    pub(super) lazy: bool,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Group {
    pub(super) fn has_global(&self) -> bool {
        self.overloads.iter().any(|f| !f.member)
    }
    pub(super) fn has_member(&self) -> bool {
        self.overloads.iter().any(|f| f.member)
    }

    /// The overloads that the type checker offers.
    pub(super) fn checked(&self, member: bool) -> impl Iterator<Item = &Function> {
        self.overloads.iter().filter(move |f| f.member == member && !f.dynamic)
    }

    /// Runs the first overload that the arguments fit.
    pub(super) fn call(&self, member: bool, args: &[Val], budget: &Budget) -> Result<Val, Fault> {
        let fits = |f: &&Function| {
            f.member == member
                && f.args.len() == args.len()
                && f.args.iter().zip(args).all(|(want, value)| want.admits(value))
        };
        match self.overloads.iter().find(fits) {
            Some(function) => (function.run)(budget, args),
            None => Err(Fault::overload(self.name, args)),
        }
    }
}

/// All functions by name.
pub fn all() -> &'static BTreeMap<&'static str, Group> {
    static GROUPS: LazyLock<BTreeMap<&'static str, Group>> = LazyLock::new(|| {
        let mut groups = BTreeMap::new();
        for row in TABLES.into_iter().flat_map(|(_, rows)| rows) {
            add(&mut groups, row);
        }
        groups
    });
    &GROUPS
}

/// The tables' titles, and the names in them in the order of the alphabet.
pub(super) fn sections() -> impl Iterator<Item = (&'static str, BTreeSet<&'static str>)> {
    TABLES.into_iter().map(|(title, rows)| (title, rows.iter().map(|row| row.name).collect()))
}

/// The libraries that a definition has to ask for.
pub(super) fn opt_in() -> impl Iterator<Item = (&'static str, impl Iterator<Item = &'static Group>)> {
    libraries::sections()
}

fn add(groups: &mut BTreeMap<&'static str, Group>, row: &Row) {
    // A signature that cannot be read would lose its function; a test reads them all.
    let Some((args, result)) = types::signature(row.signature) else { return };
    let Row { name, member, doc, run, dynamic, .. } = *row;
    let lazy = matches!(name, "or" | "orValue");
    let group = groups.entry(name).or_insert_with(|| Group { name, overloads: Vec::new(), lazy });
    group.overloads.push(Function { name, member, args, result, doc, dynamic, run });
}

/// The function of this name.
pub(super) fn find(name: &str) -> Option<&'static Group> {
    all().get(name)
}

/// Whether functions are called `name.function(…)`.
pub(super) fn is_namespace(name: &str) -> bool {
    all().keys().any(|f| f.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

/// Macros, which are no functions but may be meant by a misspelt name.
pub(super) const MACROS: [&str; 14] = [
    "all",
    "cel.bind",
    "exists",
    "existsOne",
    "exists_one",
    "filter",
    "has",
    "map",
    "optFlatMap",
    "optMap",
    "sortBy",
    "transformList",
    "transformMap",
    "transformMapEntry",
];

/// The function whose name is most like this one, if any is like it.
pub(super) fn closest(name: &str) -> Option<&'static str> {
    let names =
        all().keys().copied().chain(MACROS).filter(|n| n.starts_with(|c: char| c.is_ascii_alphabetic()));
    super::suggest::closest(name, names)
}

/// The fault of an arm that cannot be reached, because the arguments fit the signature.
fn mismatch(args: &[Val]) -> Fault {
    Fault::overload("", args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signature_is_read() {
        for row in TABLES.into_iter().flat_map(|(_, rows)| rows).chain(libraries::rows()) {
            assert!(types::signature(row.signature).is_some(), "{} {}", row.name, row.signature);
            assert!(row.doc.ends_with('.'), "{} has no sentence", row.name);
        }
    }

    #[test]
    fn suggestions() {
        for (name, want) in [
            ("sise", Some("size")),
            ("startWith", Some("startsWith")),
            ("lowerascii", Some("lowerAscii")),
            ("base64.encod", Some("base64.encode")),
            ("exist", Some("exists")),
            ("completelyDifferent", None),
        ] {
            assert_eq!(closest(name), want, "{name}");
        }
    }
}
