//! Libraries beyond kro's own, for definitions that ask for them. Without them a definition works with kro too.

use super::{Group, Row, add, math, sets};
use crate::api::keys::hub::CEL_LIBRARIES;
use std::collections::BTreeMap;
use std::sync::LazyLock;

const TABLES: [(&str, &[Row]); 2] = [("math", math::ROWS), ("sets", sets::ROWS)];

/// Which libraries an expression may use beside kro's; the default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Libraries {
    math: bool,
    sets: bool,
}

impl Libraries {
    /// Reads a list such as `math,sets`; the error names the libraries that there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut found = Self::default();
        for name in text.split(',').map(str::trim).filter(|n| !n.is_empty()) {
            match name {
                "math" => found.math = true,
                "sets" => found.sets = true,
                _ => {
                    let known = TABLES.map(|(name, _)| name).join(", ");
                    return Err(format!("there is no CEL library {name:?}: known are {known}"));
                }
            }
        }
        Ok(found)
    }

    pub(in crate::cel) fn has(self, library: &str) -> bool {
        match library {
            "math" => self.math,
            "sets" => self.sets,
            _ => false,
        }
    }

    /// The function of this name, if its library is asked for.
    pub(in crate::cel) fn find(self, name: &str) -> Option<&'static Group> {
        let (library, _) = name.split_once('.')?;
        if self.has(library) { groups().get(name) } else { None }
    }
}

pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    TABLES.into_iter().flat_map(|(_, rows)| rows)
}

/// Each library's name and its functions.
pub(super) fn sections() -> impl Iterator<Item = (&'static str, impl Iterator<Item = &'static Group>)> {
    TABLES.into_iter().map(|(name, _)| {
        let own = groups().values().filter(move |g| g.name.split_once('.').is_some_and(|(l, _)| l == name));
        (name, own)
    })
}

fn groups() -> &'static BTreeMap<&'static str, Group> {
    static GROUPS: LazyLock<BTreeMap<&'static str, Group>> = LazyLock::new(|| {
        let mut groups = BTreeMap::new();
        for row in rows() {
            add(&mut groups, row);
        }
        groups
    });
    &GROUPS
}

/// How to get the library, or the library of the function, that has this name.
pub(in crate::cel) fn opt_in_help(name: &str) -> Option<String> {
    let (library, function) = match name.split_once('.') {
        Some((library, function)) => (library, Some(function)),
        None => (name, None),
    };
    let (_, rows) = TABLES.iter().find(|(n, _)| *n == library)?;
    let known = |f: &str| matches!(f, "greatest" | "least") || rows.iter().any(|row| row.name == name);
    function.is_none_or(known).then(|| {
        format!(
            "kro has no library '{library}'; to use it here, annotate the ResourceGraphDefinition with \
             {CEL_LIBRARIES}: \"{library}\""
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::{Budget, Decls, Program, Scope};
    use serde_json::json;

    fn answer(source: &str, libraries: Libraries) -> String {
        match Program::compile_typed_with(source, &Decls::new(), libraries) {
            Err(problems) => problems[0].to_string().lines().next().unwrap().to_owned(),
            Ok((program, t)) => match program.eval(&Scope::new(), &Budget::default()) {
                Ok(value) => format!("{value} : {t}"),
                Err(error) => format!("{error} : {t}"),
            },
        }
    }

    #[test]
    fn names_are_read() {
        assert_eq!(Libraries::parse(""), Ok(Libraries::default()));
        assert_eq!(Libraries::parse(" math, sets"), Ok(Libraries { math: true, sets: true }));
        let message = Libraries::parse("math,proto").unwrap_err();
        assert_eq!(message, "there is no CEL library \"proto\": known are math, sets");
    }

    #[test]
    fn nothing_is_there_unasked() {
        let help = "kro has no library 'math'; to use it here, annotate the ResourceGraphDefinition with \
                    hub.kro.run/cel-libraries: \"math\"";
        let problems = Program::compile_typed("math.greatest(1, 2)", &Decls::new()).unwrap_err();
        assert_eq!(problems[0].message, "undeclared reference to 'math' (in container '')");
        assert_eq!(problems[0].help.as_deref(), Some(help));
        let error = Program::compile("math.abs(1)").unwrap_err();
        assert_eq!(error.help.as_deref(), Some(help));
        let sets = Libraries::parse("sets").unwrap();
        let error = Program::compile_with("math.abs(1)", sets).unwrap_err();
        assert_eq!(error.help.as_deref(), Some(help));
        let mut decls = Decls::new();
        decls.declare("math", crate::cel::Type::Dyn);
        let (program, _) = Program::compile_typed("math.abs", &decls).unwrap();
        let mut scope = Scope::new();
        scope.bind("math", &json!({"abs": 1}));
        assert_eq!(program.eval(&scope, &Budget::default()), Ok(json!(1)), "a variable may have the name");
    }

    #[test]
    fn functions() {
        let both = Libraries::parse("math,sets").unwrap();
        for (source, want) in [
            ("math.greatest(1)", "1 : int"),
            ("math.greatest(1, 2.5)", "2.5 : dyn"),
            ("math.greatest(3, 1, 2)", "3 : int"),
            ("math.greatest([1.5, -2.0])", "1.5 : double"),
            ("math.least(1u, 2, 0.5)", "0.5 : dyn"),
            ("math.least(2, 1)", "1 : int"),
            ("math.least(dyn('a'), 1)", "no such overload: math.@min(string, int) : dyn"),
            ("math.greatest()", "ERROR: <input>:1:1: math.greatest() requires at least one argument"),
            ("math.greatest('a')", "ERROR: <input>:1:15: math.greatest() invalid single argument value"),
            (
                "math.greatest(1, 'a')",
                "ERROR: <input>:1:18: math.greatest() simple literal arguments must be numeric",
            ),
            ("math.greatest([])", "ERROR: <input>:1:15: math.greatest() invalid single argument value"),
            ("math.ceil(1.2)", "2 : double"),
            ("math.floor(-1.2)", "-2 : double"),
            ("math.round(-1.5)", "-2 : double"),
            ("math.trunc(-1.7)", "-1 : double"),
            ("math.abs(-3)", "3 : int"),
            ("math.abs(-9223372036854775807 - 1)", "integer overflow : int"),
            ("math.sign(-0.5)", "-1 : double"),
            ("math.sign(0u)", "0 : uint"),
            ("math.isNaN(0.0 / 0.0)", "true : bool"),
            ("math.isInf(1.0 / 0.0)", "true : bool"),
            ("math.isFinite(1.0)", "true : bool"),
            ("math.sqrt(81)", "9 : double"),
            ("math.bitAnd(6, 3)", "2 : int"),
            ("math.bitOr(6u, 3u)", "7 : uint"),
            ("math.bitXor(6, 3)", "5 : int"),
            ("math.bitNot(1)", "-2 : int"),
            ("math.bitShiftLeft(1, 3)", "8 : int"),
            ("math.bitShiftLeft(1, 64)", "0 : int"),
            ("math.bitShiftRight(-1024, 3)", "2305843009213693824 : int"),
            ("math.bitShiftRight(1, -1)", "math.bitShiftRight() negative offset : int"),
            ("math.nothing(1)", "ERROR: <input>:1:1: undeclared reference to 'math' (in container '')"),
            ("sets.contains([1, 2, 3], [3, 1])", "true : bool"),
            ("sets.contains([1], [2])", "false : bool"),
            ("sets.equivalent([1, 2], [2, 1, 1])", "true : bool"),
            ("sets.intersects([1, 2], [2, 3])", "true : bool"),
            ("sets.intersects([1, 2], [])", "false : bool"),
            (
                "sets.contains([1], ['a'])",
                "ERROR: <input>:1:14: found no matching overload for 'sets.contains' applied to \
                 '(list(int), list(string))'",
            ),
        ] {
            assert_eq!(answer(source, both), want, "{source}");
        }
    }
}
