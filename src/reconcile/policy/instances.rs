//! Which instances a Placement is about.

use super::PolicyName;
use crate::api::names::{GroupKind, InstanceKey};
use crate::api::placement::Instances;
use crate::reconcile::fleet::placement::Selector;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

#[derive(Clone, Debug, PartialEq)]
pub struct Selects {
    pub group_kind: GroupKind,
    /// Empty means all.
    namespaces: BTreeSet<String>,
    /// Empty means all.
    names: BTreeSet<String>,
    /// `None` means all.
    selector: Option<Selector>,
}

impl Selects {
    /// # Errors
    /// A sentence that begins with the field.
    pub fn read(instances: &Instances, of: &PolicyName) -> Result<Self, String> {
        let selector = instances.label_selector.as_ref().map(Selector::of).transpose();
        let selector = selector.map_err(|why| format!("spec.instances.labelSelector.{why}"))?;
        let own = (!of.is_of_cluster()).then(|| of.namespace.to_string());
        Ok(Self {
            group_kind: instances.group_kind(),
            namespaces: match own {
                Some(own) => [own].into(),
                None => instances.namespaces.iter().cloned().collect(),
            },
            names: instances.names.iter().cloned().collect(),
            selector: selector.filter(|selector| !selector.is_empty()),
        })
    }

    pub fn matches(&self, key: &InstanceKey, labels: &BTreeMap<String, String>) -> bool {
        self.group_kind == key.gk
            && (self.namespaces.is_empty() || self.namespaces.contains(&*key.namespace))
            && (self.names.is_empty() || self.names.contains(&*key.name))
            && self.selector.as_ref().is_none_or(|selector| selector.matches(labels))
    }

    /// Whether it matches with some labels.
    pub fn may_match(&self, key: &InstanceKey) -> bool {
        let any = Self { selector: None, ..self.clone() };
        any.matches(key, &BTreeMap::new())
    }

    /// What there is none of.
    pub(super) fn describe(instances: &Instances, of: &PolicyName) -> String {
        let mut text = format!("no {}", instances.group_kind());
        let list = |names: &[String]| names.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        if !of.is_of_cluster() {
            let _ = write!(text, " in namespace {}", of.namespace);
        } else if !instances.namespaces.is_empty() {
            let _ = write!(text, " in the namespaces {}", list(&instances.namespaces));
        }
        if !instances.names.is_empty() {
            let _ = write!(text, " is named {}", list(&instances.names));
        } else if let Some(selector) = &instances.label_selector
            && let Some(labels) = selector.match_labels.as_ref().filter(|l| !l.is_empty())
        {
            let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let _ = write!(text, " has the labels {}", labels.join(","));
        } else if instances.label_selector.is_some() {
            text += " matches spec.instances.labelSelector";
        } else {
            text += " exists";
        }
        text
    }
}
