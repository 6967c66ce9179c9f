//! Durations and timestamps, read and written as Go does.

use super::error::Fault;
use chrono::{DateTime, Datelike, FixedOffset, Offset, SecondsFormat, TimeZone, Utc};

const NANOS: i64 = 1_000_000_000;

/// Reads `1h30m`, `-1.5s`, `100ms`: Go's notation.
pub(super) fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (whole, mut after) = rest.split_at_checked(digits)?;
        let mut fraction = "";
        if let Some(more) = after.strip_prefix('.') {
            let digits = more.find(|c: char| !c.is_ascii_digit()).unwrap_or(more.len());
            (fraction, after) = more.split_at_checked(digits)?;
        }
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(end)?;
        let scale: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let number = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<i128>().ok() };
        total = total.checked_add(number(whole)?.checked_mul(scale)?)?;
        let fraction = fraction.get(..fraction.len().min(18))?;
        total += number(fraction)? * scale / 10_i128.pow(fraction.len() as u32);
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// `1h30m0s`, `1.5s`, `100ms`, `0s`.
pub(super) fn go_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let n = nanos.unsigned_abs();
    if n == 0 {
        return "0s".to_owned();
    }
    let decimal = |n: u64, unit: u64, name: &str| {
        let (whole, rest) = (n / unit, n % unit);
        if rest == 0 {
            return format!("{sign}{whole}{name}");
        }
        let width = unit.ilog10() as usize;
        let digits = format!("{rest:0width$}");
        format!("{sign}{whole}.{}{name}", digits.trim_end_matches('0'))
    };
    if n < 1_000 {
        return decimal(n, 1, "ns");
    }
    if n < 1_000_000 {
        return decimal(n, 1_000, "µs");
    }
    if n < NANOS as u64 {
        return decimal(n, 1_000_000, "ms");
    }
    let seconds = n / NANOS as u64;
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    let below = n % (60 * NANOS as u64);
    let (whole, rest) = (below / NANOS as u64, below % NANOS as u64);
    let mut tail = whole.to_string();
    if rest > 0 {
        tail.push('.');
        tail.push_str(format!("{rest:09}").trim_end_matches('0'));
    }
    match (hours, minutes) {
        (0, 0) => format!("{sign}{tail}s"),
        (0, m) => format!("{sign}{m}m{tail}s"),
        (h, m) => format!("{sign}{h}h{m}m{tail}s"),
    }
}

/// What `string(duration)` gives: seconds, `90s`, `1.5s`.
pub(super) fn duration_seconds(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let n = nanos.unsigned_abs();
    let (whole, rest) = (n / NANOS as u64, n % NANOS as u64);
    if rest == 0 {
        return format!("{sign}{whole}s");
    }
    format!("{sign}{whole}.{}s", format!("{rest:09}").trim_end_matches('0'))
}

/// Reads RFC 3339; the offset is kept.
pub(super) fn parse_timestamp(text: &str) -> Option<DateTime<FixedOffset>> {
    let bytes = text.as_bytes();
    // chrono is more lenient than Go: lower case, a blank for the `T`, leap seconds.
    let strict = bytes.get(10) == Some(&b'T') && !text.ends_with('z') && bytes.get(17..19) != Some(b"60");
    let parsed = DateTime::parse_from_rfc3339(text).ok().filter(|_| strict)?;
    in_range(parsed).ok()
}

/// Years 1 to 9999 only.
pub(super) fn in_range(t: DateTime<FixedOffset>) -> Result<DateTime<FixedOffset>, Fault> {
    let year = t.with_timezone(&Utc).year();
    if (1..=9999).contains(&year) { Ok(t) } else { Err(Fault::invalid("timestamp overflow")) }
}

pub(super) fn from_unix(seconds: i64) -> Result<DateTime<FixedOffset>, Fault> {
    let t = DateTime::from_timestamp(seconds, 0).ok_or_else(|| Fault::invalid("timestamp overflow"))?;
    in_range(t.fixed_offset())
}

/// RFC 3339 with as many digits as needed and the offset it was read with.
pub(super) fn rfc3339(t: &DateTime<FixedOffset>) -> String {
    let text = t.to_rfc3339_opts(SecondsFormat::Nanos, true);
    let Some((head, tail)) = text.split_once('.') else { return text };
    let end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
    let (digits, zone) = tail.split_at(end);
    match digits.trim_end_matches('0') {
        "" => format!("{head}{zone}"),
        digits => format!("{head}.{digits}{zone}"),
    }
}

/// RFC 3339 as it is written to objects: whole seconds, UTC.
pub(super) fn rfc3339_seconds(t: &DateTime<FixedOffset>) -> String {
    t.with_timezone(&Utc).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The same instant in a time zone, `Europe/Berlin`, `+02:00` or `02:00`.
pub(super) fn in_zone(t: &DateTime<FixedOffset>, zone: &str) -> Result<DateTime<FixedOffset>, Fault> {
    let unknown = || Fault::invalid("unknown time zone");
    if let Some((hours, minutes)) = zone.split_once(':') {
        let (sign, hours) = match hours.strip_prefix('-') {
            Some(hours) => (-1, hours),
            None => (1, hours.strip_prefix('+').unwrap_or(hours)),
        };
        let number = |s: &str| s.parse::<i32>().ok().filter(|_| s.bytes().all(|b| b.is_ascii_digit()));
        let seconds = number(hours)
            .zip(number(minutes))
            .and_then(|(h, m)| h.checked_mul(3_600)?.checked_add(m.checked_mul(60)?));
        let offset = seconds.and_then(|s| FixedOffset::east_opt(sign * s)).ok_or_else(unknown)?;
        return Ok(t.with_timezone(&offset));
    }
    if zone.is_empty() {
        return Ok(t.with_timezone(&Utc.fix()));
    }
    let zone: chrono_tz::Tz = zone.parse().map_err(|_| unknown())?;
    let offset = zone.offset_from_utc_datetime(&t.naive_utc()).fix();
    Ok(t.with_timezone(&offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, go, seconds) in [
            ("1h30m", "1h30m0s", "5400s"),
            ("90s", "1m30s", "90s"),
            ("-1.5s", "-1.5s", "-1.5s"),
            ("100ms", "100ms", "0.1s"),
            ("1us", "1µs", "0.000001s"),
            ("1500ns", "1.5µs", "0.0000015s"),
            ("0", "0s", "0s"),
            (".5h", "30m0s", "1800s"),
            ("1h0.25s", "1h0m0.25s", "3600.25s"),
        ] {
            let nanos = parse_duration(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(
                (go_duration(nanos).as_str(), duration_seconds(nanos).as_str()),
                (go, seconds),
                "{text}"
            );
        }
        for text in ["", "1", "s", "1d", "1 s", "-", "1.s.", "9999999999h"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn timestamps() {
        for (text, again, object) in [
            ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"),
            ("2024-01-02T03:04:05.120Z", "2024-01-02T03:04:05.12Z", "2024-01-02T03:04:05Z"),
            ("2024-01-02T03:04:05+02:00", "2024-01-02T03:04:05+02:00", "2024-01-02T01:04:05Z"),
        ] {
            let t = parse_timestamp(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((rfc3339(&t).as_str(), rfc3339_seconds(&t).as_str()), (again, object), "{text}");
        }
        for text in ["", "2024-01-02", "2024-01-02t03:04:05Z", "2024-01-02T03:04:05z", "0000-01-01T00:00:00Z"]
        {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
    }
}
