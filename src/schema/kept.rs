//! How an API server keeps the values of a field: to the letter, or written out anew so that they read back in another
//! form.
//!
//! Custom resources are kept to the letter. Kubernetes' own types are decoded and encoded: `1000m` of CPU reads back as `1`.

use serde_json::Value;

/// The keyword in a reduced schema that says so; its value is a [`Kept::word`].
pub const KEPT_AS: &str = "x-kept-as";

/// The names of Kubernetes' own types in OpenAPI begin with this: API servers decode them and write them out anew.
pub const OWN_TYPES: &str = "io.k8s.";

/// Where a schema names [`list_keys`].
pub const LIST_KEYS: &str = "x-kubernetes-list-map-keys";

/// How a value is written out that is not kept to the letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    Quantity,
    Time,
    Bytes,
    /// A struct of Kubernetes' own: fields that are empty may be left out.
    Struct,
}

const ALL: [Kept; 4] = [Kept::Quantity, Kept::Time, Kept::Bytes, Kept::Struct];

impl Kept {
    pub fn word(self) -> &'static str {
        match self {
            Self::Quantity => "quantity",
            Self::Time => "time",
            Self::Bytes => "bytes",
            Self::Struct => "struct",
        }
    }

    /// How values of a type are kept, by the type's name in OpenAPI.
    pub fn of_type(name: &str) -> Option<Self> {
        Some(match name.strip_prefix(OWN_TYPES)? {
            "apimachinery.pkg.api.resource.Quantity" => Self::Quantity,
            "apimachinery.pkg.apis.meta.v1.Time" | "apimachinery.pkg.apis.meta.v1.MicroTime" => Self::Time,
            _ => Self::Struct,
        })
    }

    /// How values of a field are kept, by its reduced schema.
    pub fn of(schema: &Value) -> Option<Self> {
        let word = schema.get(KEPT_AS)?.as_str()?;
        ALL.into_iter().find(|kept| kept.word() == word)
    }
}

/// What a server may leave out when it writes a struct of Kubernetes' own.
pub fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

/// The keys by which items of a keyed list are told apart.
pub fn list_keys(declared: Option<&Value>) -> impl Iterator<Item = &str> {
    declared.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}
