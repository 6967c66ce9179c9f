//! What users want: a definition in several revisions, instances of it, and what each is to make.

use crate::hub::machines::random::Random;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

pub const GROUP: &str = "kro.run";
pub const KIND: &str = "Shop";
pub const SHOPS: &str = "/apis/kro.run/v1alpha1/namespaces/default/shops";
pub const SIGNS: &str = "/apis/kro.run/v1alpha1/namespaces/default/signs";
/// The names of signs end so, after the name of the shop that made them.
pub const SIGN: &str = "-sign";
pub const RGDS: &str = "/apis/kro.run/v1alpha1/resourcegraphdefinitions";
pub const NAMESPACE: &str = "default";

/// What is asked for with a value that begins so never gets ready.
const ILL: &str = "ill";
/// Every so many revisions the kind gains a field, which nobody uses.
const GAINS: u64 = 3;

/// Revision `number` of the definition.
pub fn definition(number: u64) -> Value {
    let mut resources = vec![
        json!({"id": "front", "template": {"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "${schema.metadata.name}-front"},
            "data": {"value": "${schema.spec.value}", "revision": format!("r{number}")}},
            "readyWhen": [format!("${{!front.data.value.startsWith(\"{ILL}\")}}")]}),
        json!({"id": "back", "includeWhen": ["${schema.spec.extra}"], "template": {"apiVersion": "v1",
            "kind": "ConfigMap", "metadata": {"name": "${schema.metadata.name}-back"},
            "data": {"of": "${front.data.value}"}}}),
        json!({"id": "zones", "forEach": [{"zone": "${schema.spec.zones}"}], "template": {"apiVersion": "v1",
            "kind": "ConfigMap", "metadata": {"name": "${schema.metadata.name}-zone-${zone}"},
            "data": {"zone": "${zone}"}}}),
    ];
    if makes_keys(number) {
        resources.push(json!({"id": "key", "template": {"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "${schema.metadata.name}-key"}, "type": "Opaque", "data": {"of": "dg=="}}}));
    }
    if makes_signs(number) {
        resources.push(json!({"id": "sign", "template": {"apiVersion": "kro.run/v1alpha1", "kind": "Sign",
            "metadata": {"name": format!("${{schema.metadata.name}}{SIGN}")}, "spec": {"text": "${schema.spec.value}"}}}));
    }
    let mut fields = json!({"value": "string", "extra": "boolean | default=false", "zones": "[]string"});
    for earlier in (GAINS..=number).step_by(GAINS as usize) {
        fields[format!("note{earlier}")] = json!("string");
    }
    json!({"apiVersion": "kro.run/v1alpha1", "kind": "ResourceGraphDefinition", "metadata": {"name": "shop"},
        "spec": {
            "schema": {"apiVersion": "v1alpha1", "kind": KIND,
                "spec": fields,
                "status": {"seen": "${front.data.value}"}},
            "resources": resources}})
}

/// Every second revision has one more kind.
pub fn makes_keys(revision: u64) -> bool {
    revision.is_multiple_of(2)
}

/// Every third revision makes an instance of another definition, the first one too.
pub fn makes_signs(revision: u64) -> bool {
    revision % 3 == 1
}

/// That other definition.
pub fn definition_of_signs() -> Value {
    json!({"apiVersion": "kro.run/v1alpha1", "kind": "ResourceGraphDefinition", "metadata": {"name": "sign"},
        "spec": {
            "schema": {"apiVersion": "v1alpha1", "kind": "Sign", "spec": {"text": "string"},
                "status": {"shown": "${board.data.text}"}},
            "resources": [{"id": "board", "template": {"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "${schema.metadata.name}-board"}, "data": {"text": "${schema.spec.text}"}}}]}})
}

/// Where an instance says that it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Words {
    /// Nothing: the hub itself.
    None,
    /// Every spoke.
    All,
    Names(BTreeSet<String>),
}

impl Words {
    pub fn random(random: &mut Random, spokes: &[String]) -> Self {
        match random.below(6) {
            0 => Self::None,
            1 => Self::All,
            _ => {
                let mut names: BTreeSet<String> =
                    spokes.iter().filter(|_| random.chance(60)).cloned().collect();
                if names.is_empty() {
                    names.insert(spokes[0].clone());
                }
                Self::Names(names)
            }
        }
    }

    pub fn text(&self) -> Option<String> {
        match self {
            Self::None => None,
            Self::All => Some("*".into()),
            Self::Names(names) => Some(names.iter().cloned().collect::<Vec<_>>().join(",")),
        }
    }
}

/// What an instance asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    pub value: String,
    pub extra: bool,
    pub zones: Vec<String>,
}

impl Wish {
    pub fn random(random: &mut Random) -> Self {
        let zones = ["x", "y", "z"].iter().filter(|_| random.chance(40)).map(|z| (*z).to_owned());
        let zones = zones.collect();
        Self { value: format!("v{}", random.below(1_000)), extra: random.chance(50), zones }
    }

    pub fn ill(self) -> Self {
        Self { value: format!("{ILL}-{}", self.value), ..self }
    }

    pub fn is_ill(&self) -> bool {
        self.value.starts_with(ILL)
    }

    pub fn spec(&self) -> Value {
        json!({"value": self.value, "extra": self.extra, "zones": self.zones})
    }

    /// What a stored instance asks for.
    pub fn read(spec: &Value) -> Self {
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        Self {
            value: text(&spec["value"]),
            extra: spec["extra"].as_bool().unwrap_or_default(),
            zones: spec["zones"].as_array().into_iter().flatten().map(text).collect(),
        }
    }
}

pub fn instance(name: &str, wish: &Wish, words: &Words) -> Value {
    let mut annotations = Map::new();
    if let Some(text) = words.text() {
        annotations.insert("hub.kro.run/clusters".into(), json!(text));
    }
    json!({"apiVersion": "kro.run/v1alpha1", "kind": KIND,
        "metadata": {"name": name, "namespace": NAMESPACE, "annotations": annotations,
            "labels": {"tier": if name < "p" { "a" } else { "b" }}}, "spec": wish.spec()})
}

/// A child: its plural and its name.
pub type Child = (&'static str, String);

/// The children of an instance, and theirs, with their content.
pub fn children(name: &str, wish: &Wish, revision: u64) -> BTreeMap<Child, Value> {
    let mut out = BTreeMap::new();
    out.insert(
        ("configmaps", format!("{name}-front")),
        json!({"value": wish.value, "revision": format!("r{revision}")}),
    );
    if wish.extra {
        out.insert(("configmaps", format!("{name}-back")), json!({"of": wish.value}));
    }
    for zone in &wish.zones {
        out.insert(("configmaps", format!("{name}-zone-{zone}")), json!({"zone": zone}));
    }
    if makes_signs(revision) {
        let text = json!({"text": wish.value});
        out.insert(("signs", format!("{name}{SIGN}")), text.clone());
        out.insert(("configmaps", format!("{name}{SIGN}-board")), text);
    }
    if makes_keys(revision) {
        out.insert(("secrets", format!("{name}-key")), json!({"of": "dg=="}));
    }
    out
}
