//! What was found, and where.

use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

impl Severity {
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// What kind of thing is wrong; the rule of SARIF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    Yaml,
    Shape,
    Definition,
    UnknownKind,
    Instance,
    Placement,
    Cluster,
    Namespace,
    Portable,
}

impl Rule {
    pub const ALL: [Self; 9] = [
        Self::Yaml,
        Self::Shape,
        Self::Definition,
        Self::UnknownKind,
        Self::Instance,
        Self::Placement,
        Self::Cluster,
        Self::Namespace,
        Self::Portable,
    ];

    pub fn id(self) -> &'static str {
        match self {
            Self::Yaml => "yaml",
            Self::Shape => "shape",
            Self::Definition => "definition",
            Self::UnknownKind => "unknown-kind",
            Self::Instance => "instance",
            Self::Placement => "placement",
            Self::Cluster => "cluster",
            Self::Namespace => "namespace",
            Self::Portable => "portable",
        }
    }

    pub fn about(self) -> &'static str {
        match self {
            Self::Yaml => "The file is not YAML that kubectl would read",
            Self::Shape => "A ResourceGraphDefinition has a form that its CRD does not allow",
            Self::Definition => "A ResourceGraphDefinition does not compile",
            Self::UnknownKind => "A resource is of a kind that nobody serves",
            Self::Instance => "An instance does not fit the kind that its definition generates",
            Self::Placement => "What places instances, or says what differs where, cannot be read",
            Self::Cluster => "A Cluster has a form that its CRD does not allow",
            Self::Namespace => "Who makes an instance says into which namespace the hub writes for them",
            Self::Portable => "kro itself would not take this, or take it differently",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Finding {
    pub severity: Severity,
    pub rule: Rule,
    pub file: usize,
    /// Bytes of the file.
    pub span: Range<usize>,
    /// `Kind name`; empty where no object could be read.
    pub object: String,
    /// The path in the object.
    pub path: String,
    pub message: String,
    pub help: Option<String>,
    pub related: Option<(Range<usize>, String)>,
}
