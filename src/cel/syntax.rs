//! The syntax tree that is checked and evaluated, and its making.
//!
//! The crate `cel` parses. It does not expand macros: they become nodes of their own here, with the positions of the
//! author's text. Local variables are resolved to slots, and functions to their rows in the registry. So an
//! evaluation looks up names only for the variables of its scope.

use super::error::CompileError;
use super::library::{self, Group, Libraries};
use super::messages::{self, Message};
use super::suggest;
use super::types::Type;
use super::value::Val;
use cel::common::ast::{
    CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SourceInfo, StructExpr, operators,
};
use std::sync::{Arc, OnceLock};

/// Longest source of one expression, in bytes.
pub const MAX_SOURCE: usize = 8 << 10;
/// Most nodes of one expression.
pub(super) const MAX_NODES: usize = 4096;
/// Deepest nesting; chains of operators nest too (`1 + 1 + …`).
pub(super) const MAX_DEPTH: usize = 256;
/// Nesting of parentheses, lists and maps that the parser takes.
pub(super) const MAX_PARSER_NESTING: u16 = 96;

const TOO_DEEP: &str = "expression is nested too deeply";

/// A node with its byte offset in the source.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: usize,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Literal(Val),
    /// A variable of a macro.
    Local {
        slot: usize,
        name: Arc<str>,
    },
    /// A variable of the scope, or the name of a type.
    Free(Arc<str>),
    Select {
        operand: Box<Node>,
        field: Arc<str>,
        optional: bool,
    },
    /// `has(operand.field)`
    Test {
        operand: Box<Node>,
        field: Arc<str>,
    },
    Index {
        operand: Box<Node>,
        key: Box<Node>,
        optional: bool,
    },
    /// Elements; `true` for `?element`.
    List(Vec<(Node, bool)>),
    Map(Vec<Entry>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Conditional(Box<Node>, Box<Node>, Box<Node>),
    /// A call. With `member`, the first argument stands before the dot.
    Call {
        function: &'static Group,
        member: bool,
        args: Vec<Node>,
    },
    /// A call that is wrong whatever the types are; never evaluated.
    Wrong {
        /// `a.b` if the function may be meant as `a.b.f`.
        prefix: Option<String>,
        name: String,
        target: Option<Box<Node>>,
        args: Vec<Node>,
    },
    Fold(Box<Fold>),
    /// `cel.bind(name, init, body)`
    Bind {
        slot: usize,
        init: Box<Node>,
        /// Levels of `init`.
        height: usize,
        body: Box<Node>,
    },
    /// `google.protobuf.Duration{seconds: 1}`
    Message {
        message: &'static Message,
        fields: Vec<Field>,
    },
    /// `target.optMap(name, body)`; with `flat`, the body gives the optional.
    OptMap {
        slot: usize,
        target: Box<Node>,
        body: Box<Node>,
        flat: bool,
    },
    /// `list.sum()`. The sum of an empty list is the zero of the element type, which only the checker knows.
    Sum {
        function: &'static Group,
        list: Box<Node>,
        zero: OnceLock<Val>,
    },
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Node,
    pub(super) value: Node,
    pub(super) optional: bool,
}

/// A field of a message literal.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) at: usize,
    pub(super) name: &'static str,
    pub(super) value: Node,
    pub(super) optional: bool,
}

/// A macro that walks over a list or map.
#[derive(Debug)]
pub(super) struct Fold {
    pub(super) op: FoldOp,
    pub(super) range: Node,
    /// One or two variables, in this slot and the next.
    pub(super) slot: usize,
    pub(super) names: Vec<Arc<str>>,
    pub(super) filter: Option<Node>,
    pub(super) body: Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FoldOp {
    All,
    Exists,
    ExistsOne,
    /// `map` and `transformList`: a list of bodies.
    Collect,
    Filter,
    /// `transformMap`: the same keys, bodies as values.
    TransformMap,
    /// `transformMapEntry`: each body is a map, and the maps are merged.
    TransformMapEntry,
    SortBy,
}

/// Parses one expression, in which every function is known.
pub(super) fn parse(source: &str, libraries: Libraries) -> Result<Node, CompileError> {
    let (node, unknown) = parse_leniently(source, libraries)?;
    unknown.map_or(Ok(node), Err)
}

/// Parses one expression. Unknown functions become [`Kind::Wrong`]; the first of them is returned too.
pub(super) fn parse_leniently(
    source: &str,
    libraries: Libraries,
) -> Result<(Node, Option<CompileError>), CompileError> {
    if source.len() > MAX_SOURCE {
        let message = format!("expression is longer than {} KiB", MAX_SOURCE >> 10);
        return Err(CompileError::new("", 0, message));
    }
    let parser = cel::Env::default().parser().enable_ident_escape_syntax(true);
    let parsed = parser.max_recursion_depth(MAX_PARSER_NESTING).parse_with_source_info(source);
    let (tree, info) = parsed.map_err(|errors| {
        // Messages about a tree that the parser could not complete mean nothing to authors.
        let told = errors.errors.iter().find(|e| !e.msg.starts_with("Incomplete "));
        match told.or(errors.errors.first()) {
            Some(e) => parse_error(source, e),
            None => CompileError::new(source, 0, "syntax error"),
        }
    })?;
    measure(&tree, &info, source)?;
    let mut lowering = Lowering { source, info: &info, libraries, locals: Vec::new(), unknown: None };
    let node = lowering.node(&tree)?;
    Ok((node, lowering.unknown))
}

fn parse_error(source: &str, error: &cel::ParseError) -> CompileError {
    let line = usize::try_from(error.pos.0).unwrap_or(1).saturating_sub(1);
    let column = usize::try_from(error.pos.1).unwrap_or(1).saturating_sub(1);
    let start: usize = source.split_inclusive('\n').take(line).map(str::len).sum();
    let within = source.get(start..).unwrap_or_default().char_indices().nth(column);
    let offset = within.map_or(source.len(), |(i, _)| start + i);
    if error.msg.contains("Recursion limit") {
        return CompileError::new(source, 0, TOO_DEEP);
    }
    if error.msg.starts_with("Incomplete ") {
        return CompileError::new(source, offset, "Syntax error: the expression is incomplete");
    }
    // A number that is too large begins at its sign, unless that is an operator.
    let offset = match error.msg.as_str() {
        "invalid int literal" | "invalid double literal" => number_start(source, offset),
        _ => offset,
    };
    // For a literal that can not be read, the parser quotes what it has read of it.
    let message = match error.msg.as_str() {
        "unsupported ident kind" => "Syntax error: a name is missing",
        text if text.contains("InvalidUnicode") => "invalid unicode code point",
        text if text.starts_with("invalid string literal") || text.starts_with("invalid bytes literal") => {
            "unable to unescape string"
        }
        text => text,
    };
    CompileError::new(source, offset, message)
}

fn number_start(source: &str, digits: usize) -> usize {
    let before = source.get(..digits).and_then(|before| before.strip_suffix('-'));
    let operand = |c: char| c.is_alphanumeric() || "_)]}\"'`.-".contains(c);
    match before {
        Some(before) if !before.trim_end().ends_with(operand) => before.len(),
        _ => digits,
    }
}

/// Refuses a tree that is too large or too deep for the recursion that follows.
fn measure(tree: &IdedExpr, info: &SourceInfo, source: &str) -> Result<(), CompileError> {
    let mut open = vec![(tree, 1_usize)];
    let mut nodes = 0;
    while let Some((node, depth)) = open.pop() {
        nodes += 1;
        let refuse = |what: &str| Err(CompileError::new(source, offset(info, node.id), what));
        if nodes > MAX_NODES {
            return refuse("expression is too large");
        }
        if depth > MAX_DEPTH {
            return refuse(TOO_DEEP);
        }
        open.extend(children(node).into_iter().map(|child| (child, depth + 1)));
    }
    Ok(())
}

/// Levels of a tree.
fn height(tree: &IdedExpr) -> usize {
    let mut highest = 0;
    let mut open = vec![(tree, 1)];
    while let Some((node, depth)) = open.pop() {
        highest = highest.max(depth);
        open.extend(children(node).into_iter().map(|child| (child, depth + 1)));
    }
    highest
}

fn children(node: &IdedExpr) -> Vec<&IdedExpr> {
    match &node.expr {
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::Select(select) => vec![&*select.operand],
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map.entries.iter().flat_map(|entry| parts(&entry.expr)).collect(),
        Expr::Struct(object) => object.entries.iter().flat_map(|entry| parts(&entry.expr)).collect(),
        _ => Vec::new(),
    }
}

fn parts(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
        EntryExpr::StructField(field) => vec![&field.value],
    }
}

fn offset(info: &SourceInfo, id: u64) -> usize {
    info.offset_for(id).map_or(0, |(start, _)| start as usize)
}

struct Lowering<'a> {
    source: &'a str,
    info: &'a SourceInfo,
    libraries: Libraries,
    locals: Vec<Arc<str>>,
    unknown: Option<CompileError>,
}

impl Lowering<'_> {
    fn error(&self, id: u64, message: impl Into<String>) -> CompileError {
        CompileError::new(self.source, offset(self.info, id), message)
    }

    fn boxed(&mut self, node: &IdedExpr) -> Result<Box<Node>, CompileError> {
        self.node(node).map(Box::new)
    }

    fn nodes(&mut self, nodes: &[IdedExpr]) -> Result<Vec<Node>, CompileError> {
        nodes.iter().map(|n| self.node(n)).collect()
    }

    fn node(&mut self, node: &IdedExpr) -> Result<Node, CompileError> {
        let kind = match &node.expr {
            Expr::Literal(literal) => Kind::Literal(constant(literal)),
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) => match self.constant_name(node)? {
                Some(constant) => Kind::Literal(constant),
                None => Kind::Select {
                    operand: self.boxed(&select.operand)?,
                    field: Arc::from(select.field.as_str()),
                    optional: false,
                },
            },
            Expr::List(list) => {
                let elements = self.nodes(&list.elements)?;
                let optional = |i| list.optional_indices.contains(&i);
                Kind::List(elements.into_iter().enumerate().map(|(i, e)| (e, optional(i))).collect())
            }
            Expr::Map(map) => {
                let mut entries = Vec::with_capacity(map.entries.len());
                for entry in &map.entries {
                    let EntryExpr::MapEntry(e) = &entry.expr else {
                        return Err(self.error(entry.id, "unsupported map entry"));
                    };
                    entries.push(Entry {
                        key: self.node(&e.key)?,
                        value: self.node(&e.value)?,
                        optional: e.optional,
                    });
                }
                Kind::Map(entries)
            }
            Expr::Struct(object) => self.message(node.id, object)?,
            Expr::Call(call) => self.call(node.id, call)?,
            Expr::Comprehension(_) | Expr::Unspecified => {
                return Err(self.error(node.id, "unsupported expression"));
            }
        };
        let mut at = offset(self.info, node.id);
        // A negative number begins at its sign.
        if let Kind::Literal(Val::Int(_) | Val::Double(_)) = kind
            && let Some(before) = at.checked_sub(1)
            && self.source.as_bytes().get(before) == Some(&b'-')
            && is_negative(&kind)
        {
            at = before;
        }
        Ok(Node { at, kind })
    }

    /// A literal of one of protobuf's own messages.
    fn message(&mut self, id: u64, object: &StructExpr) -> Result<Kind, CompileError> {
        let name = object.type_name.strip_prefix('.').unwrap_or(&object.type_name);
        let Some(message) = messages::find(name) else {
            let what = match Type::named(name) {
                Some(_) => format!("'{name}' is not a message type"),
                None => format!("undeclared reference to '{name}' (in container '')"),
            };
            return Err(self.error(id, what));
        };
        let mut fields: Vec<Field> = Vec::with_capacity(object.entries.len());
        for entry in &object.entries {
            let EntryExpr::StructField(field) = &entry.expr else { continue };
            let at = offset(self.info, entry.id);
            let Some(name) = message.field_name(&field.field) else {
                let known = message.fields.iter().map(|(name, _)| *name);
                let near =
                    suggest::closest(&field.field, known).map(|near| format!("did you mean '{near}'?"));
                return Err(self.error(entry.id, format!("undefined field '{}'", field.field)).help(near));
            };
            let value = self.node(&field.value)?;
            // If a field is given twice, the last one counts.
            fields.retain(|field| field.name != name);
            fields.push(Field { at, name, value, optional: field.optional });
        }
        Ok(Kind::Message { message, fields })
    }

    fn variable(&self, name: &str) -> Kind {
        match self.locals.iter().rposition(|local| local.as_ref() == name) {
            Some(slot) => Kind::Local { slot, name: Arc::from(name) },
            // A leading dot means the outermost scope; there is only one.
            None => Kind::Free(Arc::from(name.strip_prefix('.').unwrap_or(name))),
        }
    }

    fn call(&mut self, id: u64, call: &CallExpr) -> Result<Kind, CompileError> {
        if let Some(kind) = self.operator(call)? {
            return Ok(kind);
        }
        if let Some(kind) = self.macro_call(call)? {
            return Ok(kind);
        }
        if let Some(kind) = self.new_condition(call)? {
            return Ok(kind);
        }
        let name = call.func_name.as_str();
        let Some(target) = &call.target else {
            let name = name.strip_prefix('.').unwrap_or(name);
            let args = self.nodes(&call.args)?;
            return Ok(match library::find(name) {
                Some(function) if function.has_global() => Kind::Call { function, member: false, args },
                Some(_) => {
                    let error = self.error(id, format!("'{name}' is a method"));
                    self.found(error.help(Some(format!("call it on its first argument: x.{name}(…)"))));
                    Kind::Wrong { prefix: None, name: name.to_owned(), target: None, args }
                }
                None => {
                    self.found(self.undeclared(id, name));
                    Kind::Wrong { prefix: None, name: name.to_owned(), target: None, args }
                }
            });
        };
        let prefix = self.qualified(target);
        let full = prefix.as_ref().map(|p| format!("{p}.{name}"));
        let optional = |name| library::find(name).or_else(|| self.libraries.find(name));
        if let Some(function) = full.as_deref().and_then(optional).filter(|f| f.has_global()) {
            return Ok(Kind::Call { function, member: false, args: self.nodes(&call.args)? });
        }
        let target = self.node(target)?;
        let mut args = self.nodes(&call.args)?;
        if let Some(function) = library::find(name).filter(|f| f.has_member()) {
            if name == "sum" && args.is_empty() {
                return Ok(Kind::Sum { function, list: Box::new(target), zero: OnceLock::new() });
            }
            args.insert(0, target);
            return Ok(Kind::Call { function, member: true, args });
        }
        let error = match (full, &prefix, library::find(name)) {
            (Some(full), ..) if library::opt_in_help(&full).is_some() => {
                self.undeclared(id, name).help(library::opt_in_help(&full))
            }
            (Some(full), Some(prefix), _) if library::is_namespace(prefix) => self.undeclared(id, &full),
            (_, _, Some(_)) => self
                .error(id, format!("'{name}' is not a method"))
                .help(Some(format!("call it as {name}(…)"))),
            _ => self.undeclared(id, name),
        };
        self.found(error);
        Ok(Kind::Wrong { prefix, name: name.to_owned(), target: Some(Box::new(target)), args })
    }

    fn found(&mut self, error: CompileError) {
        self.unknown.get_or_insert(error);
    }

    fn undeclared(&self, id: u64, name: &str) -> CompileError {
        let help = library::closest(name).map(|near| format!("did you mean '{near}'?"));
        self.error(id, format!("undeclared reference to '{name}' (in container '')")).help(help)
    }

    /// Types, and a number, whose names have dots.
    fn constant_name(&self, node: &IdedExpr) -> Result<Option<Val>, CompileError> {
        const NAMES: [&str; 8] = [
            "google.protobuf.Duration",
            "google.protobuf.Empty",
            "google.protobuf.Timestamp",
            "kubernetes.Quantity",
            "kubernetes.Semver",
            "kubernetes.URL",
            "net.CIDR",
            "net.IP",
        ];
        let Some(name) = self.qualified(node) else { return Ok(None) };
        if name == "google.protobuf.NullValue.NULL_VALUE" {
            return Ok(Some(Val::Int(0)));
        }
        if NAMES.contains(&name.as_str()) {
            return Ok(Some(Val::Type(Arc::from(name))));
        }
        match messages::find(&name) {
            // Values of these messages are numbers, texts, lists and maps, and have their types.
            Some(_) => Err(self.error(node.id, format!("reference to undefined type: {name}"))),
            None => Ok(None),
        }
    }

    /// `a.b` of `a.b.f()`, unless `a` is a local variable.
    fn qualified(&self, target: &IdedExpr) -> Option<String> {
        match &target.expr {
            Expr::Ident(name) => {
                let local = self.locals.iter().any(|l| l.as_ref() == name);
                (!local).then(|| name.strip_prefix('.').unwrap_or(name).to_owned())
            }
            Expr::Select(select) if !select.test => {
                Some(format!("{}.{}", self.qualified(&select.operand)?, select.field))
            }
            _ => None,
        }
    }

    /// Operators that are not functions: they decide which of their operands are evaluated.
    fn operator(&mut self, call: &CallExpr) -> Result<Option<Kind>, CompileError> {
        Ok(Some(match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_AND, [a, b]) => Kind::And(self.boxed(a)?, self.boxed(b)?),
            (operators::LOGICAL_OR, [a, b]) => Kind::Or(self.boxed(a)?, self.boxed(b)?),
            (operators::CONDITIONAL, [c, a, b]) => {
                Kind::Conditional(self.boxed(c)?, self.boxed(a)?, self.boxed(b)?)
            }
            (operators::INDEX, [a, b]) => {
                Kind::Index { operand: self.boxed(a)?, key: self.boxed(b)?, optional: false }
            }
            (operators::OPT_INDEX, [a, b]) => {
                Kind::Index { operand: self.boxed(a)?, key: self.boxed(b)?, optional: true }
            }
            (operators::OPT_SELECT, [a, b]) => {
                let Expr::Literal(LiteralValue::String(field)) = &b.expr else { return Ok(None) };
                let field = Arc::from(field.inner());
                Kind::Select { operand: self.boxed(a)?, field, optional: true }
            }
            _ => return Ok(None),
        }))
    }

    fn macro_call(&mut self, call: &CallExpr) -> Result<Option<Kind>, CompileError> {
        let name = call.func_name.as_str();
        let Some(target) = &call.target else {
            let ("has", [arg]) = (name, call.args.as_slice()) else { return Ok(None) };
            let Expr::Select(select) = &arg.expr else {
                return Err(self.error(arg.id, "invalid argument to has() macro"));
            };
            let operand = self.boxed(&select.operand)?;
            return Ok(Some(Kind::Test { operand, field: Arc::from(select.field.as_str()) }));
        };
        let is_cel = matches!(&target.expr, Expr::Ident(n) if n == "cel");
        if self.libraries.has("math") && matches!(&target.expr, Expr::Ident(n) if n == "math") {
            return match name {
                "greatest" => self.extreme(target.id, name, "math.@max", &call.args),
                "least" => self.extreme(target.id, name, "math.@min", &call.args),
                _ => Ok(None),
            };
        }
        Ok(Some(match (name, call.args.as_slice()) {
            ("bind", [var, init, body]) if is_cel => {
                if !matches!(&var.expr, Expr::Ident(name) if !name.starts_with('.')) {
                    return Err(self.error(var.id, "cel.bind() variable names must be simple identifiers"));
                }
                let name = self.name(var)?;
                let height = height(init);
                let init = self.boxed(init)?;
                let slot = self.locals.len();
                let body = self.within(std::slice::from_ref(&name), |me| me.boxed(body))?;
                Kind::Bind { slot, init, height, body }
            }
            ("optMap" | "optFlatMap", [var, body]) => {
                let name_of_var = self.name(var)?;
                let target = self.boxed(target)?;
                let slot = self.locals.len();
                let body = self.within(std::slice::from_ref(&name_of_var), |me| me.boxed(body))?;
                Kind::OptMap { slot, target, body, flat: name == "optFlatMap" }
            }
            ("all", [v, body]) => self.fold(FoldOp::All, target, &[v], Inner { filter: None, body })?,
            ("exists", [v, body]) => self.fold(FoldOp::Exists, target, &[v], Inner { filter: None, body })?,
            // kro knows only this spelling of the macro with one variable.
            ("exists_one", [v, body]) => {
                self.fold(FoldOp::ExistsOne, target, &[v], Inner { filter: None, body })?
            }
            ("map", [v, body]) => self.fold(FoldOp::Collect, target, &[v], Inner { filter: None, body })?,
            ("map", [v, filter, body]) => {
                self.fold(FoldOp::Collect, target, &[v], Inner { filter: Some(filter), body })?
            }
            ("filter", [v, body]) => self.fold(FoldOp::Filter, target, &[v], Inner { filter: None, body })?,
            ("sortBy", [_, _]) if matches!(target.expr, Expr::Literal(_) | Expr::Map(_)) => {
                let message = "sortBy can only be applied to a list, identifier, comprehension, call or select expression";
                return Err(self.error(target.id, message));
            }
            ("sortBy", [v, body]) => self.fold(FoldOp::SortBy, target, &[v], Inner { filter: None, body })?,
            ("all", [k, v, body]) => self.fold(FoldOp::All, target, &[k, v], Inner { filter: None, body })?,
            ("exists", [k, v, body]) => {
                self.fold(FoldOp::Exists, target, &[k, v], Inner { filter: None, body })?
            }
            ("exists_one" | "existsOne", [k, v, body]) => {
                self.fold(FoldOp::ExistsOne, target, &[k, v], Inner { filter: None, body })?
            }
            ("transformList", [k, v, rest @ ..]) => {
                let Some(inner) = Inner::of(rest) else { return Ok(None) };
                self.fold(FoldOp::Collect, target, &[k, v], inner)?
            }
            ("transformMap", [k, v, rest @ ..]) => {
                let Some(inner) = Inner::of(rest) else { return Ok(None) };
                self.fold(FoldOp::TransformMap, target, &[k, v], inner)?
            }
            ("transformMapEntry", [k, v, rest @ ..]) => {
                let Some(inner) = Inner::of(rest) else { return Ok(None) };
                self.fold(FoldOp::TransformMapEntry, target, &[k, v], inner)?
            }
            _ => return Ok(None),
        }))
    }

    /// `math.greatest` and `math.least` of any number of arguments. Literals among them must be numbers.
    fn extreme(
        &mut self,
        at: u64,
        name: &str,
        function: &str,
        args: &[IdedExpr],
    ) -> Result<Option<Kind>, CompileError> {
        let Some(function) = self.libraries.find(function) else { return Ok(None) };
        let may_be_number = |arg: &IdedExpr| match &arg.expr {
            Expr::Literal(literal) => {
                matches!(constant(literal), Val::Int(_) | Val::Uint(_) | Val::Double(_))
            }
            Expr::List(_) | Expr::Map(_) | Expr::Struct(_) => false,
            _ => true,
        };
        let numbers = |arg: &IdedExpr| match &arg.expr {
            Expr::List(list) => !list.elements.is_empty() && list.elements.iter().all(may_be_number),
            _ => may_be_number(arg),
        };
        match args {
            [] => return Err(self.error(at, format!("math.{name}() requires at least one argument"))),
            [one] if !numbers(one) => {
                return Err(self.error(one.id, format!("math.{name}() invalid single argument value")));
            }
            [_] => {}
            _ => {
                if let Some(wrong) = args.iter().find(|arg| !may_be_number(arg)) {
                    let message = format!("math.{name}() simple literal arguments must be numeric");
                    return Err(self.error(wrong.id, message));
                }
            }
        }
        let mut args = self.nodes(args)?;
        if args.len() > 2 {
            let items = args.into_iter().map(|arg| (arg, false)).collect();
            args = vec![Node { at: offset(self.info, at), kind: Kind::List(items) }];
        }
        Ok(Some(Kind::Call { function, member: false, args }))
    }

    /// `runtime.newCondition({type: …, status: …})`: its keys are names, not variables.
    fn new_condition(&mut self, call: &CallExpr) -> Result<Option<Kind>, CompileError> {
        const NAME: &str = "runtime.newCondition";
        const KEYS: [&str; 4] = ["type", "status", "reason", "message"];
        let target = call.target.as_ref().and_then(|t| self.qualified(t));
        let (Some("runtime"), "newCondition", [arg]) =
            (target.as_deref(), call.func_name.as_str(), call.args.as_slice())
        else {
            return Ok(None);
        };
        let Some(function) = library::find(NAME) else { return Ok(None) };
        let Expr::Map(map) = &arg.expr else {
            return Err(self.error(arg.id, format!("{NAME}: argument must be a map literal")));
        };
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        for entry in &map.entries {
            let EntryExpr::MapEntry(e) = &entry.expr else { continue };
            let Expr::Ident(key) = &e.key.expr else {
                let message = format!(
                    "{NAME}: keys must be bare identifiers (type, status, reason, message); quoted or computed keys \
                     are not allowed"
                );
                return Err(self.error(e.key.id, message));
            };
            if !KEYS.contains(&key.as_str()) {
                let message =
                    format!("{NAME}: unknown key \"{key}\" (allowed: type, status, reason, message)");
                return Err(self.error(e.key.id, message));
            }
            if seen.contains(&key.as_str()) {
                return Err(self.error(e.key.id, format!("{NAME}: duplicate key \"{key}\"")));
            }
            seen.push(key);
            let at = offset(self.info, e.key.id);
            let key = Node { at, kind: Kind::Literal(Val::string(key)) };
            entries.push(Entry { key, value: self.node(&e.value)?, optional: e.optional });
        }
        for required in ["type", "status"] {
            if !seen.contains(&required) {
                return Err(self.error(arg.id, format!("{NAME}: '{required}' is required")));
            }
        }
        let arg = Node { at: offset(self.info, arg.id), kind: Kind::Map(entries) };
        Ok(Some(Kind::Call { function, member: false, args: vec![arg] }))
    }

    fn fold(
        &mut self,
        op: FoldOp,
        range: &IdedExpr,
        vars: &[&IdedExpr],
        Inner { filter, body }: Inner,
    ) -> Result<Kind, CompileError> {
        let names = vars.iter().map(|v| self.name(v)).collect::<Result<Vec<_>, _>>()?;
        if let [a, b] = names.as_slice()
            && a == b
        {
            let id = vars.last().map_or(0, |v| v.id);
            return Err(self.error(id, format!("duplicate variable name: {a}")));
        }
        let range = self.node(range)?;
        let slot = self.locals.len();
        let (filter, body) = self.within(&names, |me| {
            let filter = filter.map(|f| me.node(f)).transpose()?;
            Ok((filter, me.node(body)?))
        })?;
        Ok(Kind::Fold(Box::new(Fold { op, range, slot, names, filter, body })))
    }

    fn within<T>(
        &mut self,
        names: &[Arc<str>],
        inner: impl FnOnce(&mut Self) -> Result<T, CompileError>,
    ) -> Result<T, CompileError> {
        let outer = self.locals.len();
        self.locals.extend(names.iter().cloned());
        let result = inner(self);
        self.locals.truncate(outer);
        result
    }

    fn name(&self, var: &IdedExpr) -> Result<Arc<str>, CompileError> {
        match &var.expr {
            Expr::Ident(name) if !name.starts_with('.') => Ok(Arc::from(name.as_str())),
            _ => Err(self.error(var.id, "argument is not an identifier")),
        }
    }
}

fn is_negative(kind: &Kind) -> bool {
    match kind {
        Kind::Literal(Val::Int(i)) => *i < 0,
        Kind::Literal(Val::Double(d)) => d.is_sign_negative(),
        _ => false,
    }
}

/// What a macro evaluates for each element, where the filter holds, if there is one.
#[derive(Clone, Copy)]
struct Inner<'e> {
    filter: Option<&'e IdedExpr>,
    body: &'e IdedExpr,
}

impl<'e> Inner<'e> {
    fn of(rest: &'e [IdedExpr]) -> Option<Self> {
        match rest {
            [body] => Some(Self { filter: None, body }),
            [filter, body] => Some(Self { filter: Some(filter), body }),
            _ => None,
        }
    }
}

fn constant(literal: &LiteralValue) -> Val {
    match literal {
        LiteralValue::Boolean(b) => Val::Bool((*b).into_inner()),
        LiteralValue::Bytes(b) => Val::Bytes(Arc::from(b.inner())),
        LiteralValue::Double(d) => Val::Double((*d).into_inner()),
        LiteralValue::Int(i) => Val::Int((*i).into_inner()),
        LiteralValue::Null => Val::Null,
        LiteralValue::String(s) => Val::string(s.inner()),
        LiteralValue::UInt(u) => Val::Uint((*u).into_inner()),
    }
}

/// Calls `visit` for the node and everything below it.
pub(super) fn walk<'a>(node: &'a Node, visit: &mut impl FnMut(&'a Node)) {
    visit(node);
    match &node.kind {
        Kind::Literal(_) | Kind::Local { .. } | Kind::Free(_) => {}
        Kind::Select { operand, .. } | Kind::Test { operand, .. } => walk(operand, visit),
        Kind::Index { operand, key, .. } => {
            walk(operand, visit);
            walk(key, visit);
        }
        Kind::List(items) => items.iter().for_each(|(item, _)| walk(item, visit)),
        Kind::Map(entries) => {
            for entry in entries {
                walk(&entry.key, visit);
                walk(&entry.value, visit);
            }
        }
        Kind::And(a, b) | Kind::Or(a, b) => {
            walk(a, visit);
            walk(b, visit);
        }
        Kind::Conditional(c, a, b) => {
            walk(c, visit);
            walk(a, visit);
            walk(b, visit);
        }
        Kind::Call { args, .. } => args.iter().for_each(|arg| walk(arg, visit)),
        Kind::Message { fields, .. } => fields.iter().for_each(|field| walk(&field.value, visit)),
        Kind::Wrong { target, args, .. } => {
            target.iter().for_each(|t| walk(t, visit));
            args.iter().for_each(|arg| walk(arg, visit));
        }
        Kind::Fold(fold) => {
            walk(&fold.range, visit);
            fold.filter.iter().for_each(|f| walk(f, visit));
            walk(&fold.body, visit);
        }
        Kind::Bind { init, body, .. } => {
            walk(init, visit);
            walk(body, visit);
        }
        Kind::OptMap { target, body, .. } => {
            walk(target, visit);
            walk(body, visit);
        }
        Kind::Sum { list, .. } => walk(list, visit),
    }
}
