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

/// A quantity, `value × 10^scale`.
#[derive(Clone, Copy, Debug)]
pub(in crate::cel) struct Quantity {
    value: i128,
    scale: i32,
    /// Whether Kubernetes calls the quantity an integer. It does so for numbers in its short form with `scale >= 0`.
    /// So `1000m` is no integer, although it equals 1, nor is a number of 20 digits.
    short: bool,
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.order(other).is_eq()
    }
}

/// Decimal digits that Kubernetes' short form takes.
const SHORT_DIGITS: i32 = 18;
/// The smallest part of a quantity is a billionth.
const NANO: i32 = -9;

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

fn power(exponent: i64) -> Option<i128> {
    10_i128.checked_pow(u32::try_from(exponent).ok()?)
}

impl Quantity {
    pub(in crate::cel) fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.as_bytes().first()? {
            b'-' => (true, text.get(1..)?),
            b'+' => (false, text.get(1..)?),
            _ => (false, text),
        };
        let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let unsigned = unsigned.trim_start_matches('0');
        if unsigned.is_empty() {
            return Some(Self { value: 0, scale: 0, short: true });
        }
        let (whole, rest) = unsigned.split_at_checked(digits(unsigned))?;
        let whole = if whole.is_empty() { "0" } else { whole };
        let (fraction, unit) = match rest.strip_prefix('.') {
            Some(rest) => rest.split_at_checked(digits(rest))?,
            None => ("", rest),
        };
        let unit = suffix(unit)?;
        let sign = if negative { -1 } else { 1 };
        let (exponent, factor) = match unit {
            Suffix::Decimal(exponent) => (exponent, 1),
            Suffix::Binary(bits) => (0, 1_i128 << bits),
        };
        let scale = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        let length = i32::try_from(whole.len() + fraction.len()).ok()?;
        let precision = match unit {
            Suffix::Decimal(_) => SHORT_DIGITS - length,
            Suffix::Binary(bits) if fraction.is_empty() => 15 - length - (bits * 3 / 10) as i32 - 1,
            Suffix::Binary(_) => -1,
        };
        // All digits, those of the whole and of the fraction.
        let number: i128 = format!("{whole}{fraction}").parse().ok()?;
        let value = number.checked_mul(factor)?.checked_mul(sign)?;
        if precision >= 0 && scale >= NANO && i64::try_from(value).is_ok() {
            return Some(Self { value, scale, short: true });
        }
        let nanos = match power(i64::from(scale) - i64::from(NANO)) {
            Some(up) => value.checked_mul(up)?,
            None if value == 0 => 0,
            None if scale > NANO => return None,
            // Below a billionth a quantity is rounded up, away from zero.
            None => match power(i64::from(NANO) - i64::from(scale)) {
                Some(divisor) if value % divisor == 0 => value / divisor,
                Some(divisor) => value / divisor + value.signum(),
                None => value.signum(),
            },
        };
        let all = i128::from(i64::MAX);
        let long = Self { value: nanos, scale: NANO, short: false };
        let most = Self { value: all * sign, scale: 0, short: false };
        let too_large = matches!(unit, Suffix::Binary(_)) && long.size().order(&most.size()).is_gt();
        Some(if too_large { most } else { long })
    }

    fn size(&self) -> Self {
        Self { value: self.value.abs(), ..*self }
    }

    fn from_int(i: i64) -> Self {
        Self { value: i128::from(i), scale: 0, short: true }
    }

    /// The value of a greater scale in units of this one.
    fn at(&self, scale: i32) -> Option<i128> {
        self.value.checked_mul(power(i64::from(self.scale) - i64::from(scale))?)
    }

    fn order(&self, other: &Self) -> Ordering {
        let scale = self.scale.min(other.scale);
        match (self.at(scale), other.at(scale)) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ if self.value.signum() != other.value.signum() => {
                self.value.signum().cmp(&other.value.signum())
            }
            // The larger one cannot be written in units of the other, so it is the greater one.
            (None, _) => self.value.signum().cmp(&0),
            (_, None) => 0.cmp(&other.value.signum()),
        }
    }

    fn integer(&self) -> Option<i64> {
        if !self.short || self.scale < 0 {
            return None;
        }
        if self.value == 0 { Some(0) } else { i64::try_from(self.at(0)?).ok() }
    }

    fn plus(&self, other: &Self) -> Option<Self> {
        let short = self.short && other.short;
        match (self, other) {
            (sum, Self { value: 0, .. }) if short => return Some(*sum),
            (Self { value: 0, .. }, sum) if short => return Some(*sum),
            _ => {}
        }
        let scale = self.scale.min(other.scale);
        let (a, b) = (self.at(scale)?, other.at(scale)?);
        let value = a.checked_add(b)?;
        let short = short && [a, b, value].iter().all(|n| i64::try_from(*n).is_ok());
        Some(Self { value, scale, short })
    }

    fn negative(&self) -> Self {
        Self { value: -self.value, ..*self }
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
    Ok(Val::Int(one(args)?.value.signum() as i64))
}

fn is_integer(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::Bool(one(args)?.integer().is_some()))
}

fn as_integer(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    one(args)?.integer().map(Val::Int).ok_or_else(|| Fault::invalid("cannot convert value to integer"))
}

fn as_float(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let quantity = one(args)?;
    // One multiplication by a power of ten, as Kubernetes does it, rounding included.
    Ok(Val::Double(match quantity.scale {
        0 => quantity.value as f64,
        scale => quantity.value as f64 * power_of_ten(scale),
    }))
}

/// A power of ten as Go has it: of two factors, both the nearest doubles, so the last digit may be another.
fn power_of_ten(scale: i32) -> f64 {
    let nearest = |exponent: u32| format!("1e{exponent}").parse().unwrap_or(f64::INFINITY);
    let (high, low) = (scale.unsigned_abs() / 32 * 32, scale.unsigned_abs() % 32);
    let small: f64 = nearest(low);
    match scale {
        309.. => f64::INFINITY,
        ..-323 => 0.0,
        0.. => nearest(high) * small,
        _ => format!("1e-{high}").parse::<f64>().unwrap_or(0.0) / small,
    }
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
    Ok(a.order(&b))
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
