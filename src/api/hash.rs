//! The two small hashes that names and fingerprints are made of.

use serde_json::Value;

/// FNV-1a, 32 bit.
pub fn fnv32(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193))
}

/// FNV-1a, 64 bit.
pub fn fnv64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

/// Fingerprint of a JSON value; independent of the order of object keys.
pub fn json(value: &Value) -> u64 {
    // serde_json's maps are sorted (the feature `preserve_order` stays off), so the text is canonical.
    fnv64(value.to_string().as_bytes())
}

/// 16 lower-case hex digits of [`json`].
pub fn json_hex(value: &Value) -> String {
    format!("{:016x}", json(value))
}

/// A label value for a name of any length: names over 63 characters keep their first 54 characters, then `-`
/// and 8 hex digits of the FNV-1a-32 of the whole name.
pub fn label_value(name: &str) -> String {
    if name.len() <= 63 {
        return name.to_owned();
    }
    let head: String = name.chars().take(54).collect();
    format!("{head}-{:08x}", fnv32(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_vectors() {
        assert_eq!(format!("{:08x}", fnv32("abc")), "1a47e90b");
        assert_eq!(label_value("short"), "short");
        let long = "a".repeat(80);
        assert_eq!(label_value(&long).len(), 63);
        assert_ne!(label_value(&long), label_value(&"a".repeat(81)));
    }
}
