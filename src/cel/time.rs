//! Durations and timestamps, read and written as Go does.

use super::error::Fault;
use chrono::{DateTime, Datelike, FixedOffset, SecondsFormat, Utc};

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
    let offset = match zone.split_once(':') {
        Some((hours, minutes)) => {
            let number = |s: &str| s.parse::<i32>().ok();
            let hours_in_range = number(hours).filter(|h| (-23..=23).contains(h)).ok_or_else(unknown)?;
            let minutes = number(minutes).filter(|m| (0..=59).contains(m)).ok_or_else(unknown)?;
            // `-00:30` is west, too.
            let minutes = if hours.starts_with('-') { -minutes } else { minutes };
            hours_in_range * 3_600 + minutes * 60
        }
        None => offset_of(zone, t.timestamp()).ok_or_else(unknown)?,
    };
    Ok(t.with_timezone(&FixedOffset::east_opt(offset).ok_or_else(unknown)?))
}

/// How many seconds a place is ahead of UTC at an instant. Before the first recorded change the place has its own
/// mean time, to the second. After the last recorded change its rule goes on.
fn offset_of(place: &str, seconds: i64) -> Option<i32> {
    // A controller's local time is UTC.
    if matches!(place, "" | "UTC" | "Local") {
        return Some(0);
    }
    // Go finds zones by the names of files, so their case matters.
    let zone = tzdb_data::find_tz(place.as_bytes()).filter(|_| tzdb_data::TZ_NAMES.contains(&place))?;
    zone.find_local_time_type(seconds).ok().map(|local| local.ut_offset())
}

/// Go's zero time, the first instant of year 1.
pub(super) fn is_zero(t: &DateTime<FixedOffset>) -> bool {
    t.timestamp() == -62_135_596_800 && t.timestamp_subsec_nanos() == 0
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

    /// Each line was put to kro.
    #[test]
    fn zones_before_the_first_change_and_after_the_last() {
        for (text, zone, want) in [
            ("1883-11-18T12:00:00Z", "America/New_York", "07:03:58"),
            ("1900-01-01T00:00:00Z", "Europe/Amsterdam", "00:19:32"),
            ("1850-01-01T00:00:00Z", "Europe/Amsterdam", "00:19:32"),
            ("0001-01-01T00:00:00Z", "America/New_York", "19:03:58"),
            ("1900-01-01T00:00:00Z", "Africa/Monrovia", "23:16:52"),
            ("2037-06-30T12:00:00Z", "America/New_York", "08:00:00"),
            ("2038-03-14T06:59:59Z", "America/New_York", "01:59:59"),
            ("2038-03-14T07:00:00Z", "America/New_York", "03:00:00"),
            ("2100-06-30T12:00:00Z", "America/New_York", "08:00:00"),
            ("9999-06-30T12:00:00Z", "Europe/Berlin", "14:00:00"),
            ("9999-12-31T23:59:59Z", "Asia/Tokyo", "08:59:59"),
            ("2100-01-15T00:00:00Z", "Australia/Lord_Howe", "11:00:00"),
            ("2024-01-01T00:00:00Z", "Local", "00:00:00"),
            ("2024-01-01T00:00:00Z", "-00:30", "23:30:00"),
            ("2024-01-01T00:00:00Z", "+1:5", "01:05:00"),
            ("2024-01-01T00:00:00Z", "-23:59", "00:01:00"),
        ] {
            let t = parse_timestamp(text).unwrap();
            let local = in_zone(&t, zone).unwrap_or_else(|_| panic!("{zone}"));
            assert_eq!(local.format("%H:%M:%S").to_string(), want, "{text} {zone}");
        }
        let t = parse_timestamp("2024-01-01T00:00:00Z").unwrap();
        for zone in [
            "europe/berlin",
            "Mars/Phobos",
            "../UTC",
            "Europe/",
            "+24:00",
            "+01:60",
            "+01",
            ":30",
            "+-1:00",
            "a:b",
        ] {
            assert!(in_zone(&t, zone).is_err(), "{zone}");
        }
    }
}
