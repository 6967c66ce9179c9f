//! Kubernetes quantities: `500m`, `1.5Gi`, `1e3`.

use super::{Row, global, member, mismatch};
use crate::cel::budget::Budget;
use crate::cel::error::Fault;
use crate::cel::value::{Opaque, Val};
use std::cmp::Ordering;
use std::sync::Arc;

pub(super) const ROWS: &[Row] = &[
    global("quantity", "string -> kubernetes.Quantity", quantity, "Reads a quantity."),
    global("isQuantity", "string -> bool", is_quantity, "Whether a text is a quantity."),
    global("sign", "kubernetes.Quantity -> int", sign, "1, 0 or -1."),
    member("isInteger", "kubernetes.Quantity -> bool", is_integer, "Whether asInteger would give a number."),
    member("asInteger", "kubernetes.Quantity -> int", as_integer, "The quantity as a whole number."),
    member(
        "asApproximateFloat",
        "kubernetes.Quantity -> double",
        as_float,
        "The quantity as a double, perhaps rounded.",
    ),
    member("add", "kubernetes.Quantity, kubernetes.Quantity -> kubernetes.Quantity", add, "Sum."),
    member("add", "kubernetes.Quantity, int -> kubernetes.Quantity", add, "Sum."),
    member("sub", "kubernetes.Quantity, kubernetes.Quantity -> kubernetes.Quantity", sub, "Difference."),
    member("sub", "kubernetes.Quantity, int -> kubernetes.Quantity", sub, "Difference."),
    member("isLessThan", "kubernetes.Quantity, kubernetes.Quantity -> bool", is_less, "Less."),
    member("isGreaterThan", "kubernetes.Quantity, kubernetes.Quantity -> bool", is_greater, "Greater."),
    member("compareTo", "kubernetes.Quantity, kubernetes.Quantity -> int", compare_to, "-1, 0 or 1."),
];

/// A quantity, exact in units of 10^-9.
#[derive(Clone, Copy, Debug)]
pub(in crate::cel) struct Quantity {
    nanos: i128,
    /// Kubernetes keeps short numbers as `value × 10^scale` and calls only those with `scale >= 0` integers: `1000m` is
    /// none, although it equals 1.
    short: Option<(i64, i32)>,
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

const UNIT: i128 = 1_000_000_000;
/// Decimal digits that Kubernetes' short form takes.
const SHORT_DIGITS: i32 = 18;

enum Suffix {
    Decimal(i32),
    Binary(u32),
}

fn suffix(text: &str) -> Option<Suffix> {
    Some(match text {
        "n" => Suffix::Decimal(-9),
        "u" => Suffix::Decimal(-6),
        "m" => Suffix::Decimal(-3),
        "" => Suffix::Decimal(0),
        "k" => Suffix::Decimal(3),
        "M" => Suffix::Decimal(6),
        "G" => Suffix::Decimal(9),
        "T" => Suffix::Decimal(12),
        "P" => Suffix::Decimal(15),
        "E" => Suffix::Decimal(18),
        "Ki" => Suffix::Binary(10),
        "Mi" => Suffix::Binary(20),
        "Gi" => Suffix::Binary(30),
        "Ti" => Suffix::Binary(40),
        "Pi" => Suffix::Binary(50),
        "Ei" => Suffix::Binary(60),
        exponent => Suffix::Decimal(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    })
}

impl Quantity {
    pub(in crate::cel) fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.as_bytes().first()? {
            b'-' => (true, text.get(1..)?),
            b'+' => (false, text.get(1..)?),
            _ => (false, text),
        };
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, unit) = unsigned.split_at_checked(end)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return None;
        }
        let unit = suffix(unit)?;
        let whole = whole.trim_start_matches('0');
        let digits: i128 = format!("0{whole}{fraction}").parse().ok()?;
        let sign = if negative { -1 } else { 1 };
        let (scale, factor) = match unit {
            Suffix::Decimal(e) => (e, 1),
            Suffix::Binary(bits) => (0, 1_i128 << bits),
        };
        let scale = scale.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        let length = i32::try_from(whole.len() + fraction.len()).ok()?;
        let precision = match unit {
            Suffix::Decimal(_) => SHORT_DIGITS - length,
            Suffix::Binary(bits) if fraction.is_empty() => 15 - length - (bits * 3 / 10) as i32 - 1,
            Suffix::Binary(_) => -1,
        };
        let value = digits.checked_mul(factor)?.checked_mul(sign)?;
        let is_short = precision >= 0 && scale >= -9;
        let short = i64::try_from(value).ok().filter(|_| is_short).map(|v| (v, scale));
        // Below a billionth a quantity is rounded up, away from zero.
        let nanos = match scale.saturating_add(9) {
            up @ 0..=38 => value.checked_mul(10_i128.checked_pow(up as u32)?)?,
            39.. if value == 0 => 0,
            39.. => return None,
            down => match 10_i128.checked_pow(down.unsigned_abs()) {
                Some(divisor) => {
                    let cut = value / divisor;
                    if value % divisor == 0 { cut } else { cut + value.signum() }
                }
                None => value.signum(),
            },
        };
        Some(Self { nanos, short })
    }

    fn from_int(i: i64) -> Self {
        Self { nanos: i128::from(i) * UNIT, short: Some((i, 0)) }
    }

    fn integer(&self) -> Option<i64> {
        let (value, scale) = self.short?;
        let factor = 10_i64.checked_pow(u32::try_from(scale).ok()?);
        if value == 0 { Some(0) } else { value.checked_mul(factor?) }
    }

    fn plus(&self, other: &Self) -> Option<Self> {
        let nanos = self.nanos.checked_add(other.nanos)?;
        let short = match (self.short, other.short) {
            (Some((0, _)), b) => b,
            (a, Some((0, _))) => a,
            (Some(a), Some(b)) => {
                let scale = a.1.min(b.1);
                let at =
                    |(value, own): (i64, i32)| value.checked_mul(10_i64.checked_pow((own - scale) as u32)?);
                at(a).zip(at(b)).and_then(|(a, b)| Some((a.checked_add(b)?, scale)))
            }
            _ => None,
        };
        Some(Self { nanos, short })
    }

    fn negative(&self) -> Self {
        Self { nanos: -self.nanos, short: self.short.and_then(|(v, s)| Some((v.checked_neg()?, s))) }
    }
}

/// Whether two texts are the same quantity.
pub fn same_quantity(a: &str, b: &str) -> bool {
    matches!((Quantity::parse(a), Quantity::parse(b)), (Some(a), Some(b)) if a == b)
}

fn wrap(quantity: Quantity) -> Val {
    Val::Opaque(Arc::new(Opaque::Quantity(quantity)))
}

fn of(value: Option<&Val>) -> Option<Quantity> {
    match value? {
        Val::Opaque(o) => match o.as_ref() {
            Opaque::Quantity(q) => Some(*q),
            _ => None,
        },
        Val::Int(i) => Some(Quantity::from_int(*i)),
        _ => None,
    }
}

fn one(args: &[Val]) -> Result<Quantity, Fault> {
    of(args.first()).ok_or_else(|| mismatch(args))
}

fn two(args: &[Val]) -> Result<(Quantity, Quantity), Fault> {
    of(args.first()).zip(of(args.get(1))).ok_or_else(|| mismatch(args))
}

fn parse(budget: &Budget, args: &[Val]) -> Result<Option<Quantity>, Fault> {
    let [Val::String(text)] = args else { return Err(mismatch(args)) };
    budget.text(text.len())?;
    Ok(Quantity::parse(text))
}

fn quantity(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    parse(budget, args)?.map(wrap).ok_or_else(|| {
        Fault::invalid(
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        )
    })
}

fn is_quantity(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::Bool(parse(budget, args)?.is_some()))
}

fn sign(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::Int(one(args)?.nanos.signum() as i64))
}

fn is_integer(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::Bool(one(args)?.integer().is_some()))
}

fn as_integer(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    one(args)?.integer().map(Val::Int).ok_or_else(|| Fault::invalid("cannot convert value to integer"))
}

fn as_float(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let quantity = one(args)?;
    Ok(Val::Double(match quantity.short {
        // One multiplication by a power of ten, as Kubernetes does it, rounding included.
        Some((value, scale)) if scale != 0 => value as f64 * power_of_ten(scale),
        _ => quantity.nanos as f64 / UNIT as f64,
    }))
}

/// The double nearest to the power.
fn power_of_ten(scale: i32) -> f64 {
    format!("1e{scale}").parse().unwrap_or(f64::NAN)
}

fn too_large() -> Fault {
    Fault::invalid("quantity is too large")
}

fn add(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let (a, b) = two(args)?;
    a.plus(&b).map(wrap).ok_or_else(too_large)
}

fn sub(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let (a, b) = two(args)?;
    a.plus(&b.negative()).map(wrap).ok_or_else(too_large)
}

fn order(args: &[Val]) -> Result<Ordering, Fault> {
    let (a, b) = two(args)?;
    Ok(a.nanos.cmp(&b.nanos))
}

fn is_less(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::Bool(order(args)?.is_lt()))
}

fn is_greater(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::Bool(order(args)?.is_gt()))
}

fn compare_to(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::Int(order(args)? as i64))
}
