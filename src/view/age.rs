//! How long ago something was, as kubectl says it.

use jiff::Timestamp;

/// `3m`, `12d`; empty where the text is no time. What lies ahead, by another clock, is now.
pub fn since(time: &str, now: Timestamp) -> String {
    let Ok(then) = time.parse::<Timestamp>() else { return String::new() };
    span(now.as_second().saturating_sub(then.as_second()))
}

fn span(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..120 => format!("{s}s"),
        s @ 120..7_200 => format!("{}m", s / 60),
        s @ 7_200..172_800 => format!("{}h", s / 3_600),
        s @ 172_800..63_072_000 => format!("{}d", s / 86_400),
        s => format!("{}y", s / 31_536_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_as_kubectl_says_them() {
        let now = "2026-01-10T00:00:00Z".parse().unwrap();
        for (time, expect) in [
            ("2026-01-10T00:00:00Z", "0s"),
            ("2026-01-09T23:58:01Z", "119s"),
            ("2026-01-09T23:57:00Z", "3m"),
            ("2026-01-09T21:00:00Z", "3h"),
            ("2026-01-06T00:00:00Z", "4d"),
            ("2023-01-06T00:00:00Z", "3y"),
            ("2026-01-11T00:00:00Z", "0s"),
            ("", ""),
            ("yesterday", ""),
        ] {
            assert_eq!(since(time, now), expect, "{time}");
        }
    }
}
