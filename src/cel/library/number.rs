//! Doubles, read as Go reads them.

/// Reads `1.5`, `1e3`, `0x1.8p1`, `1_000`, `Inf`, `NaN`. A number that is too large is refused; a written infinity is
/// taken.
pub(super) fn read(text: &str) -> Option<f64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let is = |word: &str| digits.eq_ignore_ascii_case(word);
    let size = if is("inf") || is("infinity") {
        f64::INFINITY
    } else if is("nan") {
        // NaN has no sign.
        return (digits.len() == text.len()).then_some(f64::NAN);
    } else {
        finite(&without_underscores(digits)?)?
    };
    Some(if negative { -size } else { size })
}

fn finite(digits: &str) -> Option<f64> {
    let size = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => hexadecimal(hex)?,
        None if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') => digits.parse().ok()?,
        None => return None,
    };
    size.is_finite().then_some(size)
}

/// Underscores may stand between digits, and behind `0x`.
fn without_underscores(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let hex = matches!(bytes, [b'0', b'x' | b'X', ..]);
    let digit = |i: usize| bytes.get(i).is_some_and(|b| b.is_ascii_digit() || (hex && b.is_ascii_hexdigit()));
    let before = |i: usize| i.checked_sub(1).is_some_and(|i| digit(i) || (hex && i == 1));
    let misplaced = |i: usize| bytes.get(i) == Some(&b'_') && !(before(i) && digit(i + 1));
    if (0..bytes.len()).any(misplaced) { None } else { Some(text.replace('_', "")) }
}

/// `1.8p1`, what stands behind `0x`: the exponent must be there, and counts in powers of two.
fn hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) || whole.len() + fraction.len() == 0 {
        return None;
    }
    let size: i64 = digits.parse().unwrap_or(i64::MAX).min(1 << 32);
    let mut power = if exponent.starts_with('-') { -size } else { size };
    // The first bits, and whether any bit after them is set.
    let (mut bits, mut more) = (0_u64, false);
    for (at, c) in whole.chars().chain(fraction.chars()).enumerate() {
        let digit = u64::from(c.to_digit(16)?);
        if bits >> 60 == 0 {
            bits = bits << 4 | digit;
        } else {
            more |= digit != 0;
            power += 4;
        }
        if at >= whole.len() {
            power -= 4;
        }
    }
    if bits == 0 {
        return Some(0.0);
    }
    power -= i64::from(bits.leading_zeros());
    bits <<= bits.leading_zeros();
    // How many of the 64 bits a double keeps; fewer the closer it is to zero.
    let kept = (power + 63 + 1_075).min(53);
    let Ok(cut) = u32::try_from(64 - kept) else { return None };
    if cut > 64 {
        return Some(0.0);
    }
    let (all, half) = (u128::from(bits), 1_u128 << (cut - 1));
    let rest = all & ((half << 1) - 1);
    let mut rounded = (all >> cut) as u64;
    if rest > half || (rest == half && (more || rounded & 1 == 1)) {
        rounded += 1;
    }
    // Exact, since a double holds both factors and their product.
    Some(rounded as f64 * power_of_two(power + i64::from(cut)))
}

fn power_of_two(power: i64) -> f64 {
    match power {
        ..-1_074 => 0.0,
        -1_074..-1_022 => f64::from_bits(1 << (power + 1_074)),
        -1_022..=1_023 => f64::from_bits(((power + 1_023) as u64) << 52),
        _ => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each line was put to kro.
    #[test]
    fn numbers_as_go_reads_them() {
        for (text, want) in [
            ("0x1p-2", Some(0.25)),
            ("0X1P+2", Some(4.0)),
            ("0x1.8p1", Some(3.0)),
            ("-0x.8p0", Some(-0.5)),
            ("0x1_0p0", Some(16.0)),
            ("0x_1p0", Some(1.0)),
            ("0x1p1_0", Some(1024.0)),
            ("0xabcdefp0", Some(11_259_375.0)),
            ("0x123456789abcdef123456789p0", Some(5.634_002_667_681_02e27)),
            ("0x1.fffffffffffff7p1023", Some(f64::MAX)),
            ("0x1.fffffffffffff8p1023", None),
            ("0x1.fffffffffffff8p0", Some(2.0)),
            ("0x1p1024", None),
            ("0x1p-1074", Some(5e-324)),
            ("0x1.8p-1074", Some(1e-323)),
            ("0x1p-1075", Some(0.0)),
            ("0x1.1p-1075", Some(5e-324)),
            ("0x1p-99999", Some(0.0)),
            ("0x1p99999", None),
            ("0x0p0", Some(0.0)),
            ("0x1", None),
            ("0x1.8", None),
            ("0xp1", None),
            ("0x1p", None),
            ("0x", None),
            ("0x1e5", None),
            ("1_000.5", Some(1000.5)),
            ("1e1_0", Some(1e10)),
            ("1__0", None),
            ("_1", None),
            ("1_", None),
            ("1_.0", None),
            ("1e400", None),
            ("1.", Some(1.0)),
            (".5", Some(0.5)),
            (".", None),
            ("1e", None),
            ("+Inf", Some(f64::INFINITY)),
            ("-infinity", Some(f64::NEG_INFINITY)),
            ("infin", None),
            ("+nan", None),
            ("0b1", None),
            ("++1", None),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(read(text), want, "{text}");
        }
        assert!(read("NaN").is_some_and(f64::is_nan));
    }
}
