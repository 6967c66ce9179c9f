//! The forms of a view for programs.

use schemars::JsonSchema;
use serde::Serialize;

/// Of every document. Fields are only ever added.
pub const API_VERSION: &str = "cli.hub.kro.run/v1alpha1";

/// What a command says, for programs.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Document<'a, T> {
    pub api_version: &'static str,
    pub kind: &'static str,
    #[serde(flatten)]
    pub content: &'a T,
}

/// A model that is a document of its own.
pub trait View: Serialize + JsonSchema {
    const KIND: &'static str;

    fn document(&self) -> Document<'_, Self>
    where
        Self: Sized,
    {
        Document { api_version: API_VERSION, kind: Self::KIND, content: self }
    }

    /// With a line end.
    fn json(&self) -> String
    where
        Self: Sized,
    {
        serde_json::to_string_pretty(&self.document()).unwrap_or_default() + "\n"
    }

    fn yaml(&self) -> String
    where
        Self: Sized,
    {
        // By way of JSON: so both have the same names and leave out the same.
        let value = serde_json::to_value(self.document()).unwrap_or_default();
        let text = serde_saphyr::to_string(&value).unwrap_or_default();
        format!("{}\n", text.trim_end())
    }
}

/// The JSON Schema of a view's documents.
#[cfg(test)]
pub fn schema<T: View>() -> serde_json::Value {
    let mut schema = serde_json::to_value(schemars::schema_for!(T)).unwrap_or_default();
    let own = [("apiVersion", API_VERSION), ("kind", T::KIND)];
    for (field, value) in own {
        schema["properties"][field] = serde_json::json!({"const": value});
        if let Some(required) = schema["required"].as_array_mut() {
            required.push(field.into());
        }
    }
    schema["title"] = T::KIND.into();
    schema
}
