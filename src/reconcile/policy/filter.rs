//! Which clusters are meant by names, a label selector and an expression.

use crate::api::names::ClusterName;
use crate::api::placement::ClusterFilter;
use crate::cel::{Budget, Decls, EXPRESSION_STEPS, Program, Scope, Type};
use crate::graph::variables::{CLUSTER, KRO, cluster_type, kro_type};
use crate::reconcile::fleet::placement::Selector;
use crate::reconcile::rollout::facts::Reads;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Whether a cluster is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    Yes,
    No,
    /// The expression gave no answer, for this reason.
    Unsure(String),
}

/// The clusters by name, and those of the selector, or of all where there is none, for which the expression is true.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    names: BTreeSet<ClusterName>,
    selector: Option<Selector>,
    /// Every cluster but the local one.
    all: bool,
    /// Every cluster.
    any: bool,
    expression: Option<Arc<Expression>>,
}

/// What may choose clusters, as it stands in an object.
pub(super) struct Words<'a> {
    pub names: &'a [String],
    pub selector: Option<&'a LabelSelector>,
    pub all: bool,
    pub expression: &'a str,
}

impl Filter {
    /// Some of the clusters that something is about; one that says nothing means all of them.
    ///
    /// # Errors
    /// A sentence that begins with the field below `path`.
    pub fn read(filter: Option<&ClusterFilter>, path: &str) -> Result<Self, String> {
        let Some(filter) = filter else { return Ok(Self { any: true, ..Self::default() }) };
        let words = Words {
            names: &filter.names,
            selector: filter.label_selector.as_ref(),
            all: false,
            expression: &filter.expression,
        };
        let mut read = Self::of(&words, path)?;
        // Names alone mean no other; an expression narrows the selector, or all where there is none.
        read.any = read.selector.is_none() && (read.names.is_empty() || read.expression.is_some());
        read.all = false;
        Ok(read)
    }

    /// # Errors
    /// A sentence that begins with the field below `path`.
    pub(super) fn of(words: &Words, path: &str) -> Result<Self, String> {
        let selector = words.selector.map(Selector::of).transpose();
        let selector = selector.map_err(|why| format!("{path}.labelSelector.{why}"))?;
        let expression = Some(words.expression).filter(|text| !text.is_empty()).map(Expression::read);
        let expression = expression.transpose().map_err(|why| format!("{path}.expression: {why}"))?;
        if let Some(bad) = words.names.iter().find(|name| !ClusterName::may_be(name)) {
            return Err(format!("{path}.names: {bad:?} can be no Cluster's name"));
        }
        Ok(Self {
            names: words.names.iter().map(|name| ClusterName::new(name)).collect(),
            // An expression alone narrows all.
            all: words.all || (expression.is_some() && selector.is_none()),
            any: false,
            selector,
            expression: expression.map(Arc::new),
        })
    }

    pub fn names(&self) -> &BTreeSet<ClusterName> {
        &self.names
    }

    /// Whether nothing but names chooses.
    pub fn is_names_only(&self) -> bool {
        self.selector.is_none() && !self.all && !self.any
    }

    /// What is read of a cluster.
    pub fn reads(&self) -> Reads {
        let selector = Reads { labels: self.selector.is_some(), properties: false };
        self.expression.as_ref().map_or(selector, |expression| selector.and(expression.reads()))
    }

    /// `facts` is what `cluster` is in expressions; `None` while not all of it is known.
    pub fn matches(
        &self,
        name: &ClusterName,
        labels: &BTreeMap<String, String>,
        local: bool,
        facts: Option<&Value>,
    ) -> Match {
        if self.names.contains(name) {
            return Match::Yes;
        }
        let selected = match &self.selector {
            Some(selector) => selector.matches(labels),
            None => self.any || (self.all && !local),
        };
        match &self.expression {
            _ if !selected => Match::No,
            None => Match::Yes,
            Some(expression) => expression.of(name, labels, facts),
        }
    }
}

/// A condition over `cluster`.
#[derive(Debug)]
pub(super) struct Expression(Program, Type, Type);

impl Expression {
    fn read(text: &str) -> Result<Self, String> {
        let (cluster, kro) = (cluster_type(), kro_type());
        let mut decls = Decls::new();
        decls.declare(CLUSTER, cluster.clone());
        decls.declare(KRO, kro.clone());
        let (program, found) = Program::compile_typed(text, &decls).map_err(|problems| {
            problems.first().map_or_else(|| "it cannot be read".to_owned(), ToString::to_string)
        })?;
        match found.plain() {
            Type::Bool => Ok(Self(program, cluster, kro)),
            other => Err(format!("expected bool, got {}", other.in_message())),
        }
    }

    fn reads(&self) -> Reads {
        let below = |steps: &[String]| match steps {
            [first, rest @ ..] if first == CLUSTER => Some(rest.to_vec()),
            [first, second, rest @ ..] if first == KRO && second == CLUSTER => Some(rest.to_vec()),
            [first] if first == KRO => Some(Vec::new()),
            _ => None,
        };
        let paths: Vec<Vec<String>> = self.0.paths().iter().filter_map(|path| below(&path.steps)).collect();
        Reads::of(&paths)
    }

    fn of(&self, name: &ClusterName, labels: &BTreeMap<String, String>, facts: Option<&Value>) -> Match {
        let known;
        let facts = match facts {
            Some(facts) => facts,
            None => {
                known = json!({"name": name, "labels": labels});
                &known
            }
        };
        let Self(program, cluster, kro) = self;
        let mut scope = Scope::new();
        scope.bind_typed(CLUSTER, facts, cluster);
        let all = json!({CLUSTER: facts});
        if program.variables().contains(KRO) {
            scope.bind_typed(KRO, &all, kro);
        }
        match program.eval(&scope, &Budget::new(EXPRESSION_STEPS, EXPRESSION_STEPS)) {
            Ok(Value::Bool(true)) => Match::Yes,
            Ok(Value::Bool(false)) => Match::No,
            Ok(_) => Match::Unsure("it gave no bool".into()),
            Err(error) => Match::Unsure(error.to_string()),
        }
    }
}
