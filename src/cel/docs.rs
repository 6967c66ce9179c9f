//! The functions of the language, for documentation and completion. They are read from the rows that check and
//! evaluate use.

use super::budget::{EXPRESSION_STEPS, MAX_SIZE, REGEX_BYTES, TOTAL_STEPS};
use super::library::{self, Function};
use super::syntax::{MAX_DEPTH, MAX_NODES, MAX_PARSER_NESTING, MAX_SOURCE};
use super::types::Type;

/// Functions of one library.
pub struct Section {
    /// As a heading.
    pub title: &'static str,
    /// Only kro has them.
    pub kro_only: bool,
    /// Its functions and macros, each overload by itself.
    pub functions: Vec<Form>,
}

/// One overload, or a macro, as it is written.
#[derive(Clone, Debug)]
pub struct Form {
    /// `charAt`, `json.marshal`
    pub name: &'static str,
    /// `string.charAt(int)`
    pub form: String,
    /// `string`; empty for a macro, whose result depends on what it is given.
    pub result: String,
    /// What it does, in one line.
    pub doc: &'static str,
    /// The type before the dot; `None` for a function that is called by its name alone.
    pub receiver: Option<Type>,
}

impl Form {
    /// Whether it may be called on a value of this type.
    pub fn takes(&self, t: &Type) -> bool {
        let (t, want) = match (t, &self.receiver) {
            (Type::Struct(_), Some(Type::Map(..))) => return true,
            (_, None) => return false,
            (t, Some(want)) => (t, want),
        };
        let open = |t: &Type| matches!(t, Type::Dyn | Type::Param(_) | Type::Var(_) | Type::Error);
        match (want, t) {
            (Type::Opaque(a), Type::Opaque(b)) => a == b,
            (want, t) => open(want) || open(t) || std::mem::discriminant(want) == std::mem::discriminant(t),
        }
    }
}

/// All functions, library by library.
pub fn sections() -> Vec<Section> {
    library::sections()
        .map(|(title, names)| {
            let groups = names.into_iter().filter_map(library::find);
            let functions = groups.flat_map(|g| &g.overloads).filter(|f| !f.dynamic).map(form).collect();
            Section { title, kro_only: title == library::KRO, functions }
        })
        .collect()
}

/// The libraries that a definition has to ask for.
pub fn opt_in() -> Vec<Section> {
    library::opt_in()
        .map(|(title, groups)| {
            let functions = groups.flat_map(|g| &g.overloads).filter(|f| !f.dynamic).map(form).collect();
            Section { title, kro_only: false, functions }
        })
        .collect()
}

fn form(f: &Function) -> Form {
    let args: Vec<String> = f.args.iter().map(Type::in_message).collect();
    let form = match (f.name, args.as_slice()) {
        ("@in", [a, b]) => format!("{a} in {b}"),
        (name, [a]) if name.ends_with('_') => format!("{}{a}", name.trim_end_matches('_')),
        (name, [a, b]) if name.starts_with('_') => format!("{a} {} {b}", name.trim_matches('_')),
        (name, [first, rest @ ..]) if f.member => format!("{first}.{name}({})", rest.join(", ")),
        (name, args) => format!("{name}({})", args.join(", ")),
    };
    let receiver = f.args.first().filter(|_| f.member).cloned();
    Form { name: f.name, form, result: f.result.in_message(), doc: f.doc, receiver }
}

/// Macros: their arguments are expressions, evaluated for each element or not at all.
pub fn macros() -> Vec<Form> {
    let any = || Some(Type::Dyn);
    let optional = || Some(Type::optional(Type::Dyn));
    let rows: [(&'static str, &str, Option<Type>, &'static str); 19] = [
        ("has", "has(e.field)", None, "Whether a field is there."),
        (
            "cel.bind",
            "cel.bind(x, value, expr)",
            None,
            "The expression, with a name for a value that is computed if it is used.",
        ),
        ("all", "range.all(x, test)", any(), "Whether the test holds for every element, or key of a map."),
        ("all", "range.all(k, v, test)", any(), "The same, with index and element, or key and value."),
        ("exists", "range.exists(x, test)", any(), "Whether the test holds for an element."),
        ("exists", "range.exists(k, v, test)", any(), "The same with two variables."),
        ("exists_one", "range.exists_one(x, test)", any(), "Whether the test holds for exactly one element."),
        ("existsOne", "range.existsOne(k, v, test)", any(), "The same with two variables."),
        ("map", "range.map(x, expr)", any(), "A list of the expression for every element."),
        ("map", "range.map(x, test, expr)", any(), "The same for the elements that the test holds for."),
        ("filter", "range.filter(x, test)", any(), "The elements that the test holds for."),
        ("sortBy", "list.sortBy(x, key)", any(), "The list in the order of the key."),
        ("transformList", "range.transformList(k, v, expr)", any(), "As map, with two variables."),
        (
            "transformList",
            "range.transformList(k, v, test, expr)",
            any(),
            "The same for the elements that the test holds for.",
        ),
        ("transformMap", "range.transformMap(k, v, expr)", any(), "A map with the same keys and new values."),
        (
            "transformMap",
            "range.transformMap(k, v, test, expr)",
            any(),
            "The same for the entries that the test holds for.",
        ),
        (
            "transformMapEntry",
            "range.transformMapEntry(k, v, {key: value})",
            any(),
            "A map of the entries that the expression gives.",
        ),
        ("optMap", "optional.optMap(x, expr)", optional(), "The expression of the value, if there is one."),
        (
            "optFlatMap",
            "optional.optFlatMap(x, expr)",
            optional(),
            "The same for an expression that is optional.",
        ),
    ];
    rows.into_iter()
        .map(|(name, form, receiver, doc)| Form {
            name,
            form: form.to_owned(),
            result: String::new(),
            doc,
            receiver,
        })
        .collect()
}

/// The limits of an expression: how much, and of what.
pub fn limits() -> Vec<(String, &'static str)> {
    let kib = |bytes: usize| format!("{} KiB", bytes >> 10);
    vec![
        (kib(MAX_SOURCE), "source of one expression"),
        (MAX_NODES.to_string(), "nodes of its syntax tree"),
        (MAX_DEPTH.to_string(), "depth of that tree; a chain of operators nests too"),
        (MAX_DEPTH.to_string(), "levels of the values of `cel.bind` that wait for each other"),
        (MAX_PARSER_NESTING.to_string(), "nesting of parentheses, lists and maps"),
        (
            grouped(EXPRESSION_STEPS),
            "steps of one evaluation: a node, an element, 16 bytes of text cost one each",
        ),
        (grouped(TOTAL_STEPS), "steps of all evaluations of one reconcile"),
        (grouped(MAX_SIZE as u64), "bytes of a string, elements of a list, made by a function"),
        (kib(REGEX_BYTES), "compiled size of a regular expression; no repetition above 1000"),
    ]
}

fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_macro_is_told() {
        let told: std::collections::BTreeSet<&str> = macros().iter().map(|m| m.name).collect();
        assert_eq!(told, library::MACROS.into_iter().collect());
    }

    #[test]
    fn every_function_is_told_as_it_is_written() {
        let forms: Vec<Form> = sections().into_iter().flat_map(|s| s.functions).collect();
        let has = |form: &str, result: &str| forms.iter().any(|f| f.form == form && f.result == result);
        assert!(has("int + int", "int"));
        assert!(has("!bool", "bool"));
        assert!(has("A in list(A)", "bool"));
        assert!(has("string.charAt(int)", "string"));
        assert!(has("json.marshal(dyn)", "string"));
        let told: std::collections::BTreeSet<&str> = forms.iter().map(|f| f.name).collect();
        assert_eq!(told, library::all().keys().copied().collect());
    }

    #[test]
    fn receivers() {
        let takes = |name: &str, t: &Type| {
            let forms = sections().into_iter().flat_map(|s| s.functions);
            forms.filter(|f| f.name == name).any(|f| f.takes(t))
        };
        assert!(
            takes("charAt", &Type::String) && !takes("charAt", &Type::Int) && takes("charAt", &Type::Dyn)
        );
        assert!(
            takes("merge", &Type::map(Type::String, Type::Dyn)) && !takes("merge", &Type::list(Type::Int))
        );
        assert!(!takes("json.marshal", &Type::Dyn));
    }

    #[test]
    fn large_numbers() {
        assert_eq!([grouped(1), grouped(1000), grouped(1234567)], ["1", "1,000", "1,234,567"]);
    }
}
