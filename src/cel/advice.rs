//! Help that contains code. The code is tried before it is offered: it compiles, and gives a value of the type that
//! is needed.

use super::syntax::{self, Kind, Node};
use super::{Body, Decls, Libraries, Program, Type, check};

/// Forms that make a text of an expression's value; `@` stands for the expression.
const AS_TEXT: [&str; 5] = [
    r#"@.orValue("")"#,
    "string(@)",
    r#"@.optMap(v, string(v)).orValue("")"#,
    "json.marshal(@)",
    r#"@.optMap(v, json.marshal(v)).orValue("")"#,
];

/// The expression that makes a text of this one.
pub(super) fn as_text(node: &Node, source: &str, decls: &Decls) -> Option<String> {
    first(&AS_TEXT, node, source, decls, &|t| matches!(t.plain(), Type::String | Type::Dyn))
}

impl Program {
    /// The first of these forms whose type fits. `@` in a form stands for this expression.
    pub fn rewritten(&self, forms: &[&str], decls: &Decls, fits: impl Fn(&Type) -> bool) -> Option<String> {
        let Body::Expression(node) = &self.body else { return None };
        first(forms, node, &self.source, decls, &fits)
    }
}

fn first(
    forms: &[&str],
    node: &Node,
    source: &str,
    decls: &Decls,
    fits: &dyn Fn(&Type) -> bool,
) -> Option<String> {
    let operand = operand(node, source.trim());
    let mut written = forms.iter().map(|form| form.replacen('@', &operand, 1));
    written.find(|code| {
        let Ok(node) = syntax::parse(code, Libraries::default()) else { return false };
        check::check(code, &node, decls).is_ok_and(|t| fits(&t))
    })
}

/// The expression in a form that something may follow: in parentheses where needed.
fn operand(node: &Node, source: &str) -> String {
    let stands_alone = match &node.kind {
        Kind::Free(_) | Kind::Select { .. } | Kind::Test { .. } | Kind::Index { .. } | Kind::List(_) => true,
        Kind::Call { function, .. } => function.name.starts_with(|c: char| c.is_ascii_alphabetic()),
        _ => false,
    };
    // A comment at the end of the expression would hide what follows.
    let end = if syntax::parse(&format!("({source})"), Libraries::default()).is_ok() { "" } else { "\n" };
    if stands_alone && end.is_empty() { source.to_owned() } else { format!("({source}{end})") }
}
