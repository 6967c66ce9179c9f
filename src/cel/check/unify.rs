//! What fits where, and what the open types turn out to be.
//!
//! Type parameters of a signature are replaced by variables. A variable is bound to the first type that it meets, and
//! later to a more general one if that fits too. A binding that would contain itself is refused.

use crate::cel::types::Type;
use std::sync::Arc;

/// What is known of the variables.
#[derive(Clone, Debug, Default)]
pub(super) struct Bindings {
    of: Vec<Option<Type>>,
}

impl Bindings {
    pub(super) fn fresh(&mut self) -> Type {
        self.of.push(None);
        Type::Var(self.of.len() - 1)
    }

    fn get(&self, var: usize) -> Option<&Type> {
        self.of.get(var).and_then(Option::as_ref)
    }

    fn set(&mut self, var: usize, t: Type) {
        if let Some(slot) = self.of.get_mut(var) {
            *slot = Some(t);
        }
    }

    /// The type with everything that is known filled in; `finally` makes `dyn` of the rest.
    pub(super) fn apply(&self, t: &Type, finally: bool) -> Type {
        let inner = |t: &Arc<Type>| Arc::new(self.apply(t, finally));
        match t {
            Type::Var(n) => match self.get(*n) {
                Some(bound) => self.apply(bound, finally),
                None if finally => Type::Dyn,
                None => t.clone(),
            },
            Type::List(t) => Type::List(inner(t)),
            Type::Map(k, v) => Type::Map(inner(k), inner(v)),
            Type::Optional(t) => Type::Optional(inner(t)),
            Type::Type(t) => Type::Type(inner(t)),
            other => other.clone(),
        }
    }

    /// Whether every type may be used where its counterpart is wanted. Bindings of variables that follow are kept
    /// only if all types fit.
    pub(super) fn assign_all(&mut self, from: &[Type], to: &[Type]) -> bool {
        if from.len() != to.len() {
            return false;
        }
        let mut attempt = self.clone();
        let fits = from.iter().zip(to).all(|(a, b)| attempt.fits(a, b));
        if fits {
            *self = attempt;
        }
        fits
    }

    pub(super) fn assign(&mut self, from: &Type, to: &Type) -> bool {
        self.assign_all(std::slice::from_ref(from), std::slice::from_ref(to))
    }

    /// The type of a list's elements when one more comes in.
    pub(super) fn join(&mut self, before: Option<Type>, next: Type) -> Type {
        match before {
            None => next,
            Some(before) if self.assign(&before, &next) => most_general(before, next),
            Some(_) => Type::Dyn,
        }
    }

    fn fits(&mut self, a: &Type, b: &Type) -> bool {
        if let Type::Var(n) = b {
            match self.bind(a, *n) {
                (true, _) => return true,
                (false, true) => return false,
                (false, false) => {}
            }
        }
        if let Type::Var(n) = a {
            return self.bind(b, *n).0;
        }
        match (a, b) {
            (Type::Dyn | Type::Error, _) | (_, Type::Dyn | Type::Error) => true,
            (Type::Null, other) | (other, Type::Null) => nullable(other),
            (Type::Wrapper(a), b) => self.fits(a, b),
            (a, Type::Wrapper(b)) => self.fits(a, b),
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => self.fits(a, b),
            (Type::Map(k, v), Type::Map(l, w)) => self.fits(k, l) && self.fits(v, w),
            (Type::Type(_) | Type::Opaque("type"), Type::Type(_) | Type::Opaque("type")) => true,
            (a, b) => a == b,
        }
    }

    /// Whether a variable can be `t`, and whether it was bound before.
    fn bind(&mut self, t: &Type, var: usize) -> (bool, bool) {
        if *t == Type::Var(var) {
            return (true, true);
        }
        let Some(bound) = self.get(var).cloned() else {
            if self.mentions(t, var) {
                return (false, false);
            }
            self.set(var, t.clone());
            return (true, false);
        };
        if bound.plain() == t.plain() {
            return (true, true);
        }
        if !self.fits(t, &bound) {
            return (false, true);
        }
        let general = most_general(t.clone(), bound);
        if !self.mentions(&general, var) {
            self.set(var, general);
        }
        (true, true)
    }

    fn mentions(&self, t: &Type, var: usize) -> bool {
        match t {
            Type::Var(n) => *n == var || self.get(*n).is_some_and(|t| self.mentions(t, var)),
            Type::List(t) | Type::Optional(t) | Type::Type(t) => self.mentions(t, var),
            Type::Map(k, v) => self.mentions(k, var) || self.mentions(v, var),
            _ => false,
        }
    }
}

fn nullable(t: &Type) -> bool {
    matches!(
        t,
        Type::Null
            | Type::Struct(_)
            | Type::Duration
            | Type::Timestamp
            | Type::Opaque(_)
            | Type::Optional(_)
            | Type::Wrapper(_)
            | Type::Dyn
            | Type::Error
    )
}

fn most_general(a: Type, b: Type) -> Type {
    if at_least_as_general(&a, &b) { a } else { b }
}

fn at_least_as_general(a: &Type, b: &Type) -> bool {
    match (a.plain(), b.plain()) {
        (Type::Dyn | Type::Var(_), _) => true,
        (_, Type::Dyn | Type::Var(_)) => false,
        (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => at_least_as_general(a, b),
        (Type::Map(k, v), Type::Map(l, w)) => at_least_as_general(k, l) && at_least_as_general(v, w),
        (Type::Type(_), Type::Type(_)) => true,
        (a, b) => a == b,
    }
}

/// Replaces the type parameters of a signature by fresh variables, the same ones for the same name.
pub(super) fn instantiate(args: &[Type], result: &Type, bindings: &mut Bindings) -> (Vec<Type>, Type) {
    let mut names: Vec<(Arc<str>, Type)> = Vec::new();
    let args = args.iter().map(|t| rename(t, &mut names, bindings)).collect();
    let result = rename(result, &mut names, bindings);
    (args, result)
}

fn rename(t: &Type, names: &mut Vec<(Arc<str>, Type)>, bindings: &mut Bindings) -> Type {
    let mut inner = |t: &Arc<Type>| Arc::new(rename(t, names, bindings));
    match t {
        Type::Param(name) => match names.iter().find(|(n, _)| n == name) {
            Some((_, var)) => var.clone(),
            None => {
                let var = bindings.fresh();
                names.push((Arc::clone(name), var.clone()));
                var
            }
        },
        Type::List(t) => Type::List(inner(t)),
        Type::Map(k, v) => {
            let k = inner(k);
            Type::Map(k, inner(v))
        }
        Type::Optional(t) => Type::Optional(inner(t)),
        Type::Type(t) => Type::Type(inner(t)),
        other => other.clone(),
    }
}
