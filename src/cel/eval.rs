//! Evaluation of a tree.
//!
//! Recursion is bounded by the depth limit of the parser, 256 levels, which fit on the 2 MiB stack of a test thread, and by
//! [`MAX_WAITING`]; callers run expressions on threads of 16 MiB. Every node costs a step of the budget before it is
//! looked at, so no loop can run past it.

use super::budget::Budget;
use super::error::Fault;
use super::inspect::TYPE_NAMES;
use super::library;
use super::scope::Scope;
use super::syntax::{Entry, Fold, FoldOp, Kind, MAX_DEPTH, Node};
use super::value::{Map, Val};
use std::sync::Arc;

/// The most levels of bound expressions (`cel.bind`) that wait for each other, all together. They come on top of the
/// tree's own levels.
const MAX_WAITING: usize = MAX_DEPTH;

pub(super) struct Evaluation<'a> {
    scope: &'a Scope<'a>,
    budget: &'a Budget,
    /// The macro variables that are in sight, by slot.
    locals: Vec<Local<'a>>,
    /// Levels of the bound expressions that are being evaluated.
    waiting: usize,
}

/// What a variable of a macro stands for.
enum Local<'a> {
    Value(Val),
    /// A bound expression and its height. It is evaluated at the variable's first use, and never if there is none.
    Bound(&'a Node, usize),
    Failed(Fault),
}

type Out = Result<Val, Fault>;

impl<'a> Evaluation<'a> {
    pub(super) fn new(scope: &'a Scope<'a>, budget: &'a Budget) -> Self {
        Self { scope, budget, locals: Vec::new(), waiting: 0 }
    }

    pub(super) fn eval(&mut self, node: &'a Node) -> Out {
        self.budget.step()?;
        match &node.kind {
            Kind::Literal(value) => Ok(value.clone()),
            Kind::Local { slot, name } => self.local(*slot, name),
            Kind::Free(name) => self.variable(name),
            Kind::Select { operand, field, optional } => {
                let value = self.eval(operand)?;
                self.select(&value, field, *optional)
            }
            Kind::Test { operand, field } => {
                let value = self.eval(operand)?;
                test(&value, field)
            }
            Kind::Index { operand, key, optional } => {
                let value = self.eval(operand)?;
                let at = self.eval(key)?;
                index(&value, &at, *optional, matches!(key.kind, Kind::Literal(_)))
            }
            Kind::List(items) => self.list(items),
            Kind::Map(entries) => self.map(entries),
            Kind::And(a, b) => self.logic(a, b, "_&&_", false),
            Kind::Or(a, b) => self.logic(a, b, "_||_", true),
            Kind::Conditional(condition, yes, no) => match self.eval(condition)? {
                Val::Bool(true) => self.eval(yes),
                Val::Bool(false) => self.eval(no),
                other => Err(Fault::overload("_?_:_", [&other])),
            },
            Kind::Call { function, member, args } => self.call(function, *member, args),
            Kind::Sum { function, list, zero } => match (self.eval(list)?, zero.get()) {
                (Val::List(items), Some(zero)) if items.is_empty() => Ok(zero.clone()),
                (list, _) => function.call(true, &[list], self.budget),
            },
            Kind::Wrong { name, .. } => {
                Err(Fault::NoSuchOverload { function: name.clone(), types: Vec::new() })
            }
            Kind::Fold(fold) => self.fold(fold),
            Kind::Bind { slot, init, height, body } => {
                self.locals.truncate(*slot);
                self.locals.push(Local::Bound(init, *height));
                let result = self.eval(body);
                self.locals.truncate(*slot);
                result
            }
            Kind::Message { message, fields } => {
                let mut values = Vec::with_capacity(fields.len());
                for field in fields {
                    match (self.eval(&field.value)?, field.optional) {
                        (value, false) => values.push((field.name, value)),
                        (Val::Optional(Some(inner)), true) => values.push((field.name, (*inner).clone())),
                        (Val::Optional(None), true) => {}
                        (other, true) => {
                            let name = other.type_name();
                            return Err(Fault::invalid(format!(
                                "cannot initialize optional entry from {name}"
                            )));
                        }
                    }
                }
                message.build(values, self.budget)
            }
            Kind::OptMap { slot, target, body, flat, .. } => match self.eval(target)? {
                Val::Optional(None) => Ok(Val::NONE),
                Val::Optional(Some(inner)) => {
                    let value = self.with(*slot, [Some((*inner).clone()), None], |me| me.eval(body))?;
                    match value {
                        value if !flat => Ok(Val::some(value)),
                        optional @ Val::Optional(_) => Ok(optional),
                        other => Err(Fault::overload("optFlatMap", [&other])),
                    }
                }
                other => Err(Fault::overload(if *flat { "optFlatMap" } else { "optMap" }, [&other])),
            },
        }
    }

    fn local(&mut self, slot: usize, name: &str) -> Out {
        let (init, height) = match self.locals.get(slot) {
            Some(Local::Value(value)) => return Ok(value.clone()),
            Some(Local::Failed(fault)) => return Err(fault.clone()),
            Some(Local::Bound(init, height)) => (*init, *height),
            None => return Err(Fault::NoSuchAttribute(name.to_owned())),
        };
        if self.waiting + height > MAX_WAITING {
            return Err(Fault::Exhausted("nesting of cel.bind"));
        }
        // The bound expression sees the variables that were in sight where it stands, not those where it is used.
        let inner = self.locals.split_off(slot);
        self.waiting += height;
        let value = self.eval(init);
        self.waiting -= height;
        self.locals.truncate(slot);
        self.locals.extend(inner);
        if let Some(local) = self.locals.get_mut(slot) {
            *local = match &value {
                Ok(value) => Local::Value(value.clone()),
                Err(fault) => Local::Failed(fault.clone()),
            };
        }
        value
    }

    fn variable(&self, name: &str) -> Out {
        if let Some(value) = self.scope.get(name) {
            return Ok(value.clone());
        }
        if TYPE_NAMES.contains(&name) {
            return Ok(Val::Type(Arc::from(name)));
        }
        Err(Fault::NoSuchAttribute(name.to_owned()))
    }

    /// Evaluates with values in one or two slots.
    fn with(&mut self, slot: usize, values: [Option<Val>; 2], inner: impl FnOnce(&mut Self) -> Out) -> Out {
        self.locals.truncate(slot);
        self.locals.extend(values.into_iter().flatten().map(Local::Value));
        let result = inner(self);
        self.locals.truncate(slot);
        result
    }

    fn call(&mut self, function: &library::Group, member: bool, args: &'a [Node]) -> Out {
        match args {
            [a] => {
                let args = [self.eval(a)?];
                function.call(member, &args, self.budget)
            }
            [a, b] if function.lazy => match self.eval(a)? {
                // The argument of `or` is not evaluated where a value is there, so its data may be absent.
                Val::Optional(Some(inner)) if function.name == "orValue" => Ok((*inner).clone()),
                present @ Val::Optional(Some(_)) => Ok(present),
                absent => {
                    let args = [absent, self.eval(b)?];
                    function.call(member, &args, self.budget)
                }
            },
            [a, b] => {
                let args = [self.eval(a)?, self.eval(b)?];
                function.call(member, &args, self.budget)
            }
            args => {
                let args = args.iter().map(|a| self.eval(a)).collect::<Result<Vec<_>, _>>()?;
                function.call(member, &args, self.budget)
            }
        }
    }

    /// `&&` and `||`: one side that decides (`decisive`) makes an error of the other side irrelevant.
    fn logic(&mut self, a: &'a Node, b: &'a Node, name: &str, decisive: bool) -> Out {
        let left = truth(self.eval(a), name);
        match left {
            Ok(value) if value == decisive => return Ok(Val::Bool(decisive)),
            Err(Fault::Exhausted(_)) => return left.map(Val::Bool),
            _ => {}
        }
        let right = truth(self.eval(b), name);
        match (left, right) {
            (_, Ok(value)) if value == decisive => Ok(Val::Bool(decisive)),
            (_, Err(fault @ Fault::Exhausted(_))) | (Err(fault), _) | (_, Err(fault)) => Err(fault),
            _ => Ok(Val::Bool(!decisive)),
        }
    }

    fn select(&self, value: &Val, field: &str, optional: bool) -> Out {
        match value {
            Val::Optional(None) => Ok(Val::NONE),
            Val::Optional(Some(inner)) => self.select(inner, field, true),
            Val::Map(map) => match (map.field(field), optional) {
                (Some(found), false) => Ok(found.clone()),
                (Some(found), true) => Ok(Val::some(found.clone())),
                (None, false) => Err(Fault::NoSuchKey(Some(field.to_owned()))),
                (None, true) => Ok(Val::NONE),
            },
            _ if optional => Ok(Val::NONE),
            Val::List(_) => Err(Fault::invalid("unsupported index type 'string' in list")),
            _ => Err(Fault::NoSuchKey(Some(field.to_owned()))),
        }
    }

    fn list(&mut self, items: &'a [(Node, bool)]) -> Out {
        let mut out = Vec::with_capacity(items.len());
        for (item, optional) in items {
            match (self.eval(item)?, optional) {
                (value, false) => out.push(value),
                (Val::Optional(Some(inner)), true) => out.push((*inner).clone()),
                (Val::Optional(None), true) => {}
                (other, true) => {
                    let name = other.type_name();
                    return Err(Fault::invalid(format!(
                        "cannot initialize optional list element from {name}"
                    )));
                }
            }
        }
        Ok(Val::list(out))
    }

    fn map(&mut self, entries: &'a [Entry]) -> Out {
        let mut map = Map::default();
        for entry in entries {
            let key = self.eval(&entry.key)?;
            match (self.eval(&entry.value)?, entry.optional) {
                (value, false) => map.insert(key, value)?,
                (Val::Optional(Some(inner)), true) => map.insert(key, (*inner).clone())?,
                (Val::Optional(None), true) => {}
                (other, true) => {
                    let name = other.type_name();
                    return Err(Fault::invalid(format!("cannot initialize optional entry from {name}")));
                }
            }
        }
        Ok(Val::map(map))
    }

    /// The elements to walk over: one or two values for each.
    fn items(&self, range: &Val, two: bool) -> Result<Vec<[Option<Val>; 2]>, Fault> {
        match range {
            Val::List(items) => {
                self.budget.items(items.len())?;
                let items = items.iter().enumerate();
                Ok(items
                    .map(|(i, v)| {
                        if two {
                            [Some(Val::Int(i as i64)), Some(v.clone())]
                        } else {
                            [Some(v.clone()), None]
                        }
                    })
                    .collect())
            }
            Val::Map(map) => {
                self.budget.items(map.len())?;
                Ok(map.iter().map(|(k, v)| [Some(k), two.then(|| v.clone())]).collect())
            }
            other => Err(Fault::invalid(format!("got '{}', expected iterable type", other.type_name()))),
        }
    }

    fn fold(&mut self, fold: &'a Fold) -> Out {
        let range = self.eval(&fold.range)?;
        let items = self.items(&range, fold.names.len() == 2)?;
        match fold.op {
            FoldOp::All => self.quantifier(fold, items, "_&&_", false),
            FoldOp::Exists => self.quantifier(fold, items, "_||_", true),
            FoldOp::ExistsOne => {
                let mut count = 0;
                for item in items {
                    let holds = self.with(fold.slot, item, |me| me.eval(&fold.body));
                    count += usize::from(truth(holds, "_?_:_")?);
                }
                Ok(Val::Bool(count == 1))
            }
            FoldOp::Filter => {
                let mut out = Vec::new();
                for item in items {
                    let kept = item[0].clone();
                    if truth(self.with(fold.slot, item, |me| me.eval(&fold.body)), "_?_:_")? {
                        out.extend(kept);
                    }
                }
                Ok(Val::list(out))
            }
            FoldOp::Collect => {
                let mut out = Vec::new();
                for item in items {
                    out.extend(self.body(fold, item)?);
                }
                Ok(Val::list(out))
            }
            FoldOp::TransformMap => {
                let mut out = Map::default();
                for item in items {
                    let key = item[0].clone();
                    if let (Some(value), Some(key)) = (self.body(fold, item)?, key) {
                        out.insert(key, value)?;
                    }
                }
                Ok(Val::map(out))
            }
            FoldOp::TransformMapEntry => {
                let mut out = Map::default();
                for item in items {
                    match self.body(fold, item)? {
                        None => {}
                        Some(Val::Map(entries)) => {
                            self.budget.items(entries.len())?;
                            for (key, value) in entries.iter() {
                                if out.get(&key).is_some() {
                                    return Err(Fault::invalid("transformMapEntry: the same key twice"));
                                }
                                out.insert(key, value.clone())?;
                            }
                        }
                        Some(other) => return Err(Fault::overload("transformMapEntry", [&other])),
                    }
                }
                Ok(Val::map(out))
            }
            FoldOp::SortBy => {
                let mut keyed = Vec::new();
                for item in items {
                    let value = item[0].clone();
                    if let (Some(key), Some(value)) = (self.body(fold, item)?, value) {
                        keyed.push((key, value));
                    }
                }
                library::sort_by_key(keyed, self.budget)
            }
        }
    }

    /// The body's value for an item, `None` if the filter leaves the item out.
    fn body(&mut self, fold: &'a Fold, item: [Option<Val>; 2]) -> Result<Option<Val>, Fault> {
        self.locals.truncate(fold.slot);
        self.locals.extend(item.into_iter().flatten().map(Local::Value));
        if let Some(filter) = &fold.filter
            && !truth(self.eval(filter), "_?_:_")?
        {
            self.locals.truncate(fold.slot);
            return Ok(None);
        }
        let value = self.eval(&fold.body);
        self.locals.truncate(fold.slot);
        value.map(Some)
    }

    /// `all` and `exists`: an item that decides makes errors of other items irrelevant.
    fn quantifier(
        &mut self,
        fold: &'a Fold,
        items: Vec<[Option<Val>; 2]>,
        name: &str,
        decisive: bool,
    ) -> Out {
        let mut failed = None;
        for item in items {
            match truth(self.with(fold.slot, item, |me| me.eval(&fold.body)), name) {
                Ok(value) if value == decisive => return Ok(Val::Bool(decisive)),
                Ok(_) => {}
                Err(fault @ Fault::Exhausted(_)) => return Err(fault),
                Err(fault) => failed = failed.or(Some(fault)),
            }
        }
        failed.map_or(Ok(Val::Bool(!decisive)), Err)
    }
}

fn truth(value: Out, name: &str) -> Result<bool, Fault> {
    match value? {
        Val::Bool(b) => Ok(b),
        other => Err(Fault::overload(name, [&other])),
    }
}

fn test(value: &Val, field: &str) -> Out {
    match value {
        Val::Optional(Some(inner)) => test(inner, field),
        Val::Map(map) => Ok(Val::Bool(map.field(field).is_some())),
        Val::List(_) => Err(Fault::invalid("unsupported index type 'string' in list")),
        _ => Ok(Val::Bool(false)),
    }
}

fn index(value: &Val, key: &Val, optional: bool, literal: bool) -> Out {
    let is_key = matches!(key, Val::Bool(_) | Val::Int(_) | Val::Uint(_) | Val::Double(_) | Val::String(_));
    if !is_key && !matches!(value, Val::Optional(_) | Val::List(_)) {
        return Err(Fault::invalid(format!("invalid qualifier type: {}", key.type_name())));
    }
    let found = match (value, key) {
        (Val::Optional(None), _) => return Ok(Val::NONE),
        (Val::Optional(Some(inner)), _) => return index(inner, key, true, literal),
        (Val::Map(map), _) => map.get(key).cloned().ok_or_else(|| {
            Fault::NoSuchKey(match key {
                Val::String(name) if literal => Some(name.to_string()),
                Val::Int(i) if literal => Some(i.to_string()),
                _ => None,
            })
        }),
        (Val::List(items), key) => {
            let at = match key {
                Val::Int(i) => Some(*i),
                Val::Uint(u) => Some(i64::try_from(*u).unwrap_or(i64::MAX)),
                Val::Double(d) => super::value::exact_int(*d),
                _ => None,
            };
            let Some(at) = at else {
                let name = key.type_name();
                return Err(Fault::invalid(format!("unsupported index type '{name}' in list")));
            };
            let item = usize::try_from(at).ok().and_then(|at| items.get(at)).cloned();
            item.ok_or(Fault::IndexOutOfBounds(literal.then_some(at)))
        }
        _ => Err(Fault::NoSuchKey(None)),
    };
    match found {
        Ok(found) if optional => Ok(Val::some(found)),
        Err(Fault::NoSuchKey(_) | Fault::IndexOutOfBounds(_)) if optional => Ok(Val::NONE),
        other => other,
    }
}
