//! The YAML of a kubeconfig: bounded, since whoever writes the Secret may want it to be more than it looks, and told
//! apart without a word of its text.

use super::{Refused, refuse};
use base64::Engine;
use serde_json::{Map, Value};
use serde_saphyr::{Error, Options};

/// Values of a kubeconfig, aliases counted as what they stand for: some thousand contexts.
const MAX_NODES: usize = 50_000;
/// Bytes of all texts, counted in the same way: no more than there were to begin with, so that aliases cannot blow it up.
const MAX_TEXT: usize = super::MAX_BYTES;
const MAX_ALIASES: usize = 1_000;

const FIX: &str = "store the output of `kubectl config view --raw --minify --flatten`";

pub(super) fn read(text: &str) -> Result<Map<String, Value>, Refused> {
    let why = match serde_saphyr::from_str_with_options::<Value>(text, options()) {
        Ok(Value::Object(config)) => return Ok(config),
        // The parser's own message is left out: it may quote the text.
        Err(error) => why(&error),
        Ok(_) => "it is not a YAML map",
    };
    if is_encoded(text) {
        return refuse(
            "kubeconfig",
            "it is base64 once more than a Secret needs",
            "store the kubeconfig file as it is, or put it into stringData",
        );
    }
    refuse("kubeconfig", why, FIX)
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: MAX_NODES,
            max_aliases: MAX_ALIASES,
            max_total_scalar_bytes: MAX_TEXT,
            max_recorded_anchor_bytes: MAX_TEXT,
        },
    }
}

fn why(error: &Error) -> &'static str {
    match error {
        Error::WithSnippet { error, .. } | Error::AliasError { error, .. } => why(error),
        Error::DuplicateMappingKey { .. } => "a key is there twice",
        Error::MultipleDocuments { .. } => "it is more than one YAML document",
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => "it holds far more than a kubeconfig does",
        _ => "it is not a YAML map",
    }
}

/// Whether a text is base64 of a kubeconfig.
fn is_encoded(text: &str) -> bool {
    let clean: String = text.split_whitespace().collect();
    let decoded = base64::engine::general_purpose::STANDARD.decode(clean).ok();
    decoded.and_then(|d| String::from_utf8(d).ok()).is_some_and(|text| text.contains("clusters"))
}
