//! The static types of expressions.
//!
//! The checker follows cel-go's: it gives the same overloads, result types and messages, at the same places. An
//! expression with a mistake has the error type, which fits everywhere, so that the mistake is reported once.

mod field;
mod format;
mod schema;
mod unify;

pub use super::error::CompileError as Problem;

use super::inspect::TYPE_NAMES;
use super::library::{self, Group};
use super::suggest;
use super::syntax::{Entry, Field as MessageField, Fold, FoldOp, Kind, Node};
use super::types::{self, Type};
use super::value::{Val, unescape_field};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use unify::{Bindings, instantiate};

/// The variables that an expression may use, with their types.
#[derive(Clone, Debug, Default)]
pub struct Decls {
    variables: BTreeMap<String, Type>,
    compares_numbers: bool,
}

impl Decls {
    /// No variables.
    pub fn new() -> Self {
        Self::default()
    }
    /// `<` and its like compare numbers of different types everywhere, as in the API server; in kro only below macros.
    pub fn compare_numbers(&mut self) -> &mut Self {
        self.compares_numbers = true;
        self
    }
    /// Declares a variable.
    pub fn declare(&mut self, name: &str, t: Type) -> &mut Self {
        self.variables.insert(name.to_owned(), t);
        self
    }
    /// Declares a variable whose value an OpenAPI schema describes.
    pub fn declare_schema(&mut self, name: &str, schema: &serde_json::Value) -> &mut Self {
        let t = Type::from_openapi(schema, &format!("__type_{name}")).unwrap_or(Type::Dyn);
        self.declare(name, t)
    }
    /// The type of a variable.
    pub fn get(&self, name: &str) -> Option<&Type> {
        self.variables.get(name)
    }
}

/// The type of a tree, or everything that is wrong with it, in the order of the source.
pub(super) fn check(source: &str, node: &Node, decls: &Decls) -> Result<Type, Vec<Problem>> {
    let mut checker = Checker {
        source,
        decls,
        bindings: Bindings::default(),
        locals: Vec::new(),
        problems: Vec::new(),
        scoped: decls.compares_numbers,
    };
    let found = checker.node(node);
    let found = checker.bindings.apply(&found, true);
    let mut problems = checker.problems;
    if problems.is_empty() {
        return Ok(found);
    }
    problems.sort_by_key(|p| p.offset);
    problems.dedup();
    Err(problems)
}

struct Checker<'a> {
    source: &'a str,
    decls: &'a Decls,
    bindings: Bindings,
    locals: Vec<Type>,
    problems: Vec<Problem>,
    /// Whether a macro with variables was seen. From there on cel-go compares numbers of different types, and
    /// expressions that are in use rely on it.
    scoped: bool,
}

/// Argument types and result type.
type Signature = (Vec<Type>, Type);

/// Overloads of `a[b]` and `a[?b]`, which are syntax to the evaluator.
static INDEX: LazyLock<[Vec<Signature>; 2]> = LazyLock::new(|| {
    let read = |signatures: &[&str]| signatures.iter().filter_map(|s| types::signature(s)).collect();
    [
        read(&[
            "list(A), int -> A",
            "map(A, B), A -> B",
            "optional(list(V)), int -> optional(V)",
            "optional(map(K, V)), K -> optional(V)",
        ]),
        read(&[
            "list(V), int -> optional(V)",
            "optional(list(V)), int -> optional(V)",
            "map(K, V), K -> optional(V)",
            "optional(map(K, V)), K -> optional(V)",
        ]),
    ]
});

/// Overloads of `<` and its like once `scoped` is set, in cel-go's order. An open type becomes the first type that
/// fits.
static COMPARISONS: LazyLock<Vec<Signature>> = LazyLock::new(|| {
    let pairs = [
        "bool, bool",
        "int, int",
        "int, double",
        "int, uint",
        "uint, uint",
        "uint, double",
        "uint, int",
        "double, double",
        "double, int",
        "double, uint",
        "string, string",
        "bytes, bytes",
        "timestamp, timestamp",
        "duration, duration",
    ];
    pairs.iter().filter_map(|pair| types::signature(&format!("{pair} -> bool"))).collect()
});

/// A call, for messages: where it stands, of what, and whether the first argument stands before a dot.
#[derive(Clone, Copy)]
struct Called<'n> {
    at: usize,
    name: &'n str,
    member: bool,
}

impl Checker<'_> {
    fn problem(&mut self, at: usize, message: impl Into<String>, help: Option<String>) -> Type {
        self.problems.push(Problem::new(self.source, at, message).help(help));
        Type::Error
    }

    fn known(&self, t: &Type) -> Type {
        self.bindings.apply(t, false)
    }

    fn node(&mut self, node: &Node) -> Type {
        match &node.kind {
            Kind::Literal(value) => literal(value),
            Kind::Local { slot, .. } => self.locals.get(*slot).cloned().unwrap_or(Type::Error),
            Kind::Free(name) => self.variable(node.at, name),
            Kind::Select { operand, field, optional } => {
                let operand = self.node(operand);
                self.select(node.at, &operand, field, *optional)
            }
            Kind::Test { operand, field } => {
                let operand = self.node(operand);
                self.select(node.at, &operand, field, false);
                Type::Bool
            }
            Kind::Index { operand, key, optional } => {
                let args = [self.node(operand), self.node(key)];
                let [plain, maybe] = &*INDEX;
                let (name, overloads) = if *optional { ("_[?_]", maybe) } else { ("_[_]", plain) };
                let overloads = overloads.iter().map(|(args, result)| (args.as_slice(), result));
                self.overload(Called { at: node.at, name, member: false }, overloads, &args)
            }
            Kind::List(items) => self.list(items).0,
            Kind::Map(entries) => self.map(entries),
            Kind::And(a, b) | Kind::Or(a, b) => {
                for side in [a, b] {
                    let t = self.node(side);
                    self.expect(side.at, &Type::Bool, &t);
                }
                Type::Bool
            }
            Kind::Conditional(condition, yes, no) => {
                let args = [self.node(condition), self.node(yes), self.node(no)];
                self.conditional(node.at, &args)
            }
            Kind::Call { function, member, args } => self.call_of(node.at, function, *member, args),
            Kind::Sum { function, list, zero } => {
                let list = self.node(list);
                let sum = self.call(node.at, function, true, &[list]);
                let nothing = match &sum {
                    Type::Double => Val::Double(0.0),
                    Type::Uint => Val::Uint(0),
                    Type::Duration => Val::Duration(0),
                    _ => Val::Int(0),
                };
                zero.get_or_init(|| nothing);
                sum
            }
            Kind::Message { message, fields } => {
                for field in fields {
                    self.message_field(&message.field_type(field.name), field);
                }
                message.gives()
            }
            Kind::Wrong { prefix, name, target, args } => {
                let called = Called { at: node.at, name, member: target.is_some() };
                let all: Vec<Type> = target.iter().map(|t| &**t).chain(args).map(|n| self.node(n)).collect();
                self.wrong(called, prefix.as_deref(), &all)
            }
            Kind::Fold(fold) => self.fold(node.at, fold),
            Kind::Bind { slot, init, body, .. } => {
                let init = self.node(init);
                self.within(*slot, &[init], |me| me.node(body))
            }
            Kind::OptMap { slot, target, body, flat, .. } => {
                let target = self.node(target);
                self.member_call(node.at, "hasValue", &target);
                let inner = self.member_call(node.at, "value", &target);
                let body = self.within(*slot, &[inner], |me| me.node(body));
                let body = if *flat { body } else { Type::optional(body) };
                let none = Type::optional(self.bindings.fresh());
                self.conditional(node.at, &[Type::Bool, body, none])
            }
        }
    }

    fn map(&mut self, entries: &[Entry]) -> Type {
        let (mut keys, mut values) = (None, None);
        for entry in entries {
            let key = self.node(&entry.key);
            keys = Some(self.bindings.join(keys, key));
            let value = self.node(&entry.value);
            let value = if entry.optional { self.unwrapped(entry.value.at, value) } else { value };
            values = Some(self.bindings.join(values, value));
        }
        let key = keys.unwrap_or_else(|| self.bindings.fresh());
        Type::map(key, values.unwrap_or_else(|| self.bindings.fresh()))
    }

    /// A call as it is written. What a literal list gives to `format` is held against the pattern too.
    fn call_of(&mut self, at: usize, function: &Group, member: bool, args: &[Node]) -> Type {
        if let (true, [pattern, values]) = (function.name == "format", args)
            && let Kind::List(items) = &values.kind
        {
            let pattern_type = self.node(pattern);
            let (list, types) = self.list(items);
            let types: Vec<Type> = types.iter().map(|t| self.known(t)).collect();
            self.problems.extend(format::problems(self.source, at, pattern, items, &types));
            return self.call(at, function, member, &[pattern_type, list]);
        }
        let given: Vec<Type> = args.iter().map(|arg| self.node(arg)).collect();
        self.call(at, function, member, &given)
    }

    /// A field of a message, which takes values of one type.
    fn message_field(&mut self, takes: &Type, field: &MessageField) {
        let given = self.node(&field.value);
        let given = if field.optional { self.unwrapped(field.value.at, given) } else { given };
        if !self.bindings.assign(takes, &given) {
            let text = format!(
                "expected type of field '{}' is '{}' but provided type is '{}'",
                field.name,
                takes.in_message(),
                self.known(&given).in_message()
            );
            self.problem(field.at, text, None);
        }
    }

    /// The type of a list, and those of its elements.
    fn list(&mut self, items: &[(Node, bool)]) -> (Type, Vec<Type>) {
        let mut joined = None;
        let mut types = Vec::with_capacity(items.len());
        for (item, optional) in items {
            let t = self.node(item);
            let t = if *optional { self.unwrapped(item.at, t) } else { t };
            types.push(t.clone());
            joined = Some(self.bindings.join(joined, t));
        }
        (Type::list(joined.unwrap_or_else(|| self.bindings.fresh())), types)
    }

    fn variable(&mut self, at: usize, name: &str) -> Type {
        if let Some(t) = self.decls.get(name) {
            return t.clone();
        }
        if let Some(t) = Type::named(name).filter(|_| TYPE_NAMES.contains(&name)) {
            return Type::Type(Arc::new(t));
        }
        let near = suggest::closest(name, self.decls.variables.keys().map(String::as_str));
        let help = library::opt_in_help(name).or_else(|| near.map(|near| format!("did you mean '{near}'?")));
        self.problem(at, format!("undeclared reference to '{name}' (in container '')"), help)
    }

    fn select(&mut self, at: usize, operand: &Type, field: &str, optional: bool) -> Type {
        let operand = self.known(operand);
        let (target, wrapped) = match operand {
            Type::Optional(inner) => ((*inner).clone(), true),
            other => (other, false),
        };
        let found = match &target {
            Type::Dyn | Type::Error => Type::Dyn,
            Type::Wrapper(inner) if **inner == Type::Dyn => Type::Dyn,
            Type::Var(_) => {
                self.bindings.assign(&Type::Dyn, &target);
                Type::Dyn
            }
            Type::Map(_, value) => (**value).clone(),
            Type::Opaque("kro.run.Condition") if CONDITION_FIELDS.contains(&field) => Type::String,
            Type::Opaque("kro.run.Condition") => {
                let begun = CONDITION_FIELDS.into_iter().find(|f| !field.is_empty() && f.starts_with(field));
                let help = match begun.or_else(|| suggest::closest(field, CONDITION_FIELDS)) {
                    Some(near) => format!("did you mean '{near}'?"),
                    None => format!("a condition has {}", CONDITION_FIELDS.join(", ")),
                };
                self.problem(at, format!("undefined field '{field}'"), Some(help))
            }
            Type::Struct(s) => match s.fields.get(field).or_else(|| s.fields.get(&reserved_field(field)?)) {
                Some(t) => t.clone(),
                None if s.open => Type::Dyn,
                None => {
                    let near = suggest::closest(field, s.fields.keys().map(String::as_str));
                    let escaped = || s.fields.keys().find(|k| unescape_field(k) == field).map(String::as_str);
                    let help = escaped().or(near).map(|near| format!("did you mean '{near}'?"));
                    self.problem(at, format!("undefined field '{field}'"), help)
                }
            },
            other => {
                let message = format!("type '{}' does not support field selection", other.in_message());
                self.problem(at, message, None);
                Type::Dyn
            }
        };
        if optional || wrapped { Type::optional(found) } else { found }
    }

    /// What an optional element or entry holds.
    fn unwrapped(&mut self, at: usize, t: Type) -> Type {
        match self.known(&t) {
            Type::Optional(inner) => (*inner).clone(),
            t @ (Type::Dyn | Type::Error) => t,
            other => {
                let message =
                    format!("expected type 'optional_type({0})' but found '{0}'", other.in_message());
                self.problem(at, message, None);
                other
            }
        }
    }

    fn expect(&mut self, at: usize, want: &Type, found: &Type) {
        if !self.bindings.assign(want, found) {
            let found = self.known(found).in_message();
            self.problem(at, format!("expected type '{}' but found '{found}'", want.in_message()), None);
        }
    }

    fn conditional(&mut self, at: usize, args: &[Type; 3]) -> Type {
        let t = Type::param("T");
        let want = [Type::Bool, t.clone(), t.clone()];
        self.overload(
            Called { at, name: "_?_:_", member: false },
            std::iter::once((want.as_slice(), &t)),
            args,
        )
    }

    fn member_call(&mut self, at: usize, name: &str, target: &Type) -> Type {
        match library::find(name) {
            Some(group) => self.call(at, group, true, std::slice::from_ref(target)),
            None => Type::Error,
        }
    }

    fn call(&mut self, at: usize, group: &Group, member: bool, args: &[Type]) -> Type {
        let called = Called { at, name: group.name, member };
        if self.scoped && matches!(group.name, "_<_" | "_<=_" | "_>_" | "_>=_") {
            let overloads = COMPARISONS.iter().map(|(args, result)| (args.as_slice(), result));
            return self.overload(called, overloads, args);
        }
        let overloads = group.checked(member).map(|f| (f.args.as_slice(), &f.result));
        self.overload(called, overloads, args)
    }

    /// Every overload that fits counts: if their results differ, the result is known at run time only.
    fn overload<'t>(
        &mut self,
        called: Called,
        overloads: impl Iterator<Item = (&'t [Type], &'t Type)>,
        args: &[Type],
    ) -> Type {
        let mut result: Option<Type> = None;
        for (want, gives) in overloads {
            if want.len() != args.len() {
                continue;
            }
            let (want, gives) = instantiate(want, gives, &mut self.bindings);
            if self.bindings.assign_all(args, &want) {
                let gives = self.known(&gives);
                result = Some(match result {
                    None => gives,
                    Some(before) if before == Type::Dyn || before == gives => before,
                    Some(_) => Type::Dyn,
                });
            }
        }
        result.unwrap_or_else(|| self.no_overload(called, args))
    }

    fn no_overload(&mut self, Called { at, name, member }: Called, args: &[Type]) -> Type {
        let shown: Vec<String> = args.iter().map(|t| self.bindings.apply(t, true).in_message()).collect();
        let signature = match shown.split_first() {
            Some((target, rest)) if member => format!("{target}.({})", rest.join(", ")),
            _ => format!("({})", shown.join(", ")),
        };
        let message = format!("found no matching overload for '{name}' applied to '{signature}'");
        self.problem(at, message, overload_help(name, args))
    }

    /// A call of a function that nobody knows, or of a known one in a form that it does not have.
    fn wrong(&mut self, called: Called, prefix: Option<&str>, args: &[Type]) -> Type {
        let Called { at, name, .. } = called;
        if library::find(name).is_some() {
            return self.no_overload(called, args);
        }
        let meant = prefix.map_or_else(|| name.to_owned(), |p| format!("{p}.{name}"));
        let near = || library::closest(&meant).or_else(|| library::closest(name));
        let help =
            library::opt_in_help(&meant).or_else(|| near().map(|near| format!("did you mean '{near}'?")));
        self.problem(at, format!("undeclared reference to '{name}' (in container '')"), help)
    }

    fn within<T>(&mut self, slot: usize, types: &[Type], inner: impl FnOnce(&mut Self) -> T) -> T {
        self.scoped = true;
        self.locals.truncate(slot);
        self.locals.extend_from_slice(types);
        let result = inner(self);
        self.locals.truncate(slot);
        result
    }

    /// The types of the variables of a macro: an element, or index and element; a key, or key and value.
    fn iteration(&mut self, at: usize, range: &Type, two: bool) -> [Type; 2] {
        match self.known(range) {
            Type::List(item) if two => [Type::Int, (*item).clone()],
            Type::List(item) => [(*item).clone(), Type::Error],
            Type::Map(key, value) => [(*key).clone(), (*value).clone()],
            open @ (Type::Dyn | Type::Error | Type::Var(_)) => {
                self.bindings.assign(&Type::Dyn, &open);
                [Type::Dyn, Type::Dyn]
            }
            other => {
                let message = format!(
                    "expression of type '{}' cannot be range of a comprehension (must be list, map, or dynamic)",
                    other.in_message()
                );
                self.problem(at, message, None);
                [Type::Error, Type::Error]
            }
        }
    }

    fn fold(&mut self, at: usize, fold: &Fold) -> Type {
        let range = self.node(&fold.range);
        // `sortBy` walks over a variable that stands for its target.
        let range_at = if fold.op == FoldOp::SortBy { at } else { fold.range.at };
        let variables = self.iteration(range_at, &range, fold.names.len() == 2);
        let [first, _] = variables.clone();
        let shown = variables.get(..fold.names.len()).unwrap_or_default().to_vec();
        let (filter, body) = self.within(fold.slot, &shown, |me| {
            let filter = fold.filter.as_ref().map(|f| me.node(f));
            (filter, me.node(&fold.body))
        });
        let result = match fold.op {
            FoldOp::All | FoldOp::Exists => {
                self.expect(fold.body.at, &Type::Bool, &body);
                return Type::Bool;
            }
            FoldOp::ExistsOne => {
                self.conditional(at, &[body, Type::Int, Type::Int]);
                return Type::Bool;
            }
            FoldOp::Filter => {
                let out = Type::list(first);
                return self.conditional(at, &[body, out.clone(), out]);
            }
            FoldOp::Collect => Type::list(body),
            FoldOp::TransformMap => Type::map(first, body),
            FoldOp::TransformMapEntry => {
                let entries = Type::map(self.bindings.fresh(), self.bindings.fresh());
                if !self.bindings.assign(&body, &entries) {
                    let before = Type::map(Type::Dyn, Type::Dyn);
                    self.no_overload(Called { at, name: "cel.@mapInsert", member: false }, &[before, body])
                } else {
                    entries
                }
            }
            FoldOp::SortBy => return self.sort_by(at, range, body),
        };
        match filter {
            Some(filter) => self.conditional(at, &[filter, result.clone(), result]),
            None => result,
        }
    }

    fn sort_by(&mut self, at: usize, range: Type, key: Type) -> Type {
        let key = self.known(&key).plain().clone();
        let comparable = matches!(
            key,
            Type::Bool
                | Type::Int
                | Type::Uint
                | Type::Double
                | Type::String
                | Type::Bytes
                | Type::Duration
                | Type::Timestamp
                | Type::Dyn
                | Type::Error
                | Type::Var(_)
        );
        // A list without elements takes the first type of keys.
        if matches!(key, Type::Var(_)) {
            self.bindings.assign(&key, &Type::Int);
        }
        // Otherwise keys of every type fit, each with a list of its own.
        if key == Type::Dyn && self.known(&range) == Type::Dyn {
            return Type::Dyn;
        }
        let list = Type::list(self.bindings.fresh());
        if comparable && self.bindings.assign(&range, &list) {
            return self.known(&list);
        }
        self.no_overload(
            Called { at, name: "@sortByAssociatedKeys", member: true },
            &[range, Type::list(key)],
        )
    }
}

/// The field that is named by a word of the language, written in escaped form.
fn reserved_field(name: &str) -> Option<String> {
    let word = name.strip_prefix("__")?.strip_suffix("__")?;
    Some(unescape_field(name)).filter(|real| real == word)
}

const CONDITION_FIELDS: [&str; 4] = ["type", "status", "reason", "message"];

fn literal(value: &Val) -> Type {
    match value {
        Val::Null => Type::Null,
        Val::Bool(_) => Type::Bool,
        Val::Int(_) => Type::Int,
        Val::Uint(_) => Type::Uint,
        Val::Double(_) => Type::Double,
        Val::String(_) => Type::String,
        Val::Bytes(_) => Type::Bytes,
        Val::Duration(_) => Type::Duration,
        Val::Timestamp(_) => Type::Timestamp,
        Val::List(_) => Type::list(Type::Dyn),
        Val::Map(_) => Type::map(Type::Dyn, Type::Dyn),
        Val::Optional(_) => Type::optional(Type::Dyn),
        Val::Type(name) => Type::Type(Arc::new(Type::named(name).unwrap_or(Type::Dyn))),
        Val::Opaque(o) => Type::named(o.type_name()).unwrap_or(Type::Dyn),
    }
}

/// What authors usually mean by an operator on types that it does not take.
fn overload_help(name: &str, args: &[Type]) -> Option<String> {
    let [a, b] = args else { return None };
    let number = |t: &Type| matches!(t, Type::Int | Type::Uint | Type::Double);
    match (name, a, b) {
        ("_+_", Type::String, other) | ("_+_", other, Type::String)
            if number(other) || *other == Type::Bool =>
        {
            Some("convert the other operand with string(…)".to_owned())
        }
        ("_[_]", Type::Struct(_), Type::String) => {
            Some("fields of an object are selected with a dot".to_owned())
        }
        (_, a, b) if name.starts_with('_') && number(a) && number(b) => {
            Some("convert one of the numbers with int(…) or double(…)".to_owned())
        }
        _ => None,
    }
}
