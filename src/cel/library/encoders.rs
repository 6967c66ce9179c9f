//! Base64.

use super::{Row, global, mismatch};
use crate::cel::budget::Budget;
use crate::cel::error::Fault;
use crate::cel::value::Val;
use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use std::sync::Arc;

pub(super) const ROWS: &[Row] = &[
    global("base64.encode", "bytes -> string", encode, "Base64 with padding."),
    global("base64.decode", "string -> bytes", decode, "Reads base64, with or without padding."),
];

fn encode(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    match args {
        [Val::Bytes(b)] => {
            budget.text(b.len() / 3 * 4 + 4)?;
            Ok(Val::string(STANDARD.encode(b)))
        }
        _ => Err(mismatch(args)),
    }
}

fn decode(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    const EITHER: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    match args {
        [Val::String(s)] => {
            budget.text(s.len())?;
            // Go skips line ends.
            let text: String = s.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
            let bytes = EITHER.decode(text).map_err(|_| Fault::invalid("illegal base64 data"))?;
            Ok(Val::Bytes(Arc::from(bytes)))
        }
        _ => Err(mismatch(args)),
    }
}
