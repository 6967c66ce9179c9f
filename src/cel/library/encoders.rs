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
    match args {
        [Val::String(s)] => {
            budget.text(s.len())?;
            let bytes = padded(s).or_else(|| as_go_reads(s, DecodePaddingMode::RequireNone));
            bytes.map(|b| Val::Bytes(Arc::from(b))).ok_or_else(|| Fault::invalid("illegal base64 data"))
        }
        _ => Err(mismatch(args)),
    }
}

/// Base64 with padding, as the API server and Go's decoder read it.
pub(in crate::cel) fn padded(text: &str) -> Option<Vec<u8>> {
    as_go_reads(text, DecodePaddingMode::RequireCanonical)
}

/// Line ends are skipped, and bits that are over at the end are not looked at.
fn as_go_reads(text: &str, padding: DecodePaddingMode) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(padding);
    let engine = GeneralPurpose::new(&alphabet::STANDARD, config.with_decode_allow_trailing_bits(true));
    let lines = |c: &u8| !matches!(c, b'\n' | b'\r');
    engine.decode(text.bytes().filter(lines).collect::<Vec<u8>>()).ok()
}
