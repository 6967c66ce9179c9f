//! Regular expressions in the syntax of RE2, as Go reads it, for an engine that reads some of it otherwise.
//!
//! In RE2 `\d`, `\w`, `\s` and `\b` know ASCII only; in a class `[`, `&` and `~` are letters like others; what follows
//! `{` may be no repetition but text; and there is `\Q…\E`. Patterns are rewritten so that they mean the same here.

/// The longest pattern, in bytes.
pub(super) const MAX_PATTERN: usize = 4 << 10;
/// RE2 takes no more repetitions, nested ones multiplied.
const MAX_REPEAT: u64 = 1000;

/// The same pattern for the engine; `None` if RE2 does not take it.
pub(super) fn translate(pattern: &str) -> Option<String> {
    if pattern.len() > MAX_PATTERN {
        return None;
    }
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..)?;
        rest = match c {
            '\\' => escape(after, in_class, &mut out)?,
            '[' if in_class => named_class(rest, &mut out),
            '[' => {
                in_class = true;
                out.push('[');
                class_start(after, &mut out)
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
                after
            }
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
                after
            }
            '-' if in_class && after.starts_with('-') => {
                out.push_str("\\-");
                after
            }
            '*' | '+' | '?' if !in_class => {
                out.push(c);
                once(after, &mut out)?
            }
            '{' if !in_class => repetition(rest, &mut out)?,
            '(' if !in_class => {
                let end = flags(after)?;
                let (begin, after) = rest.split_at_checked(end + 1)?;
                out.push_str(begin);
                after
            }
            other => {
                out.push(other);
                after
            }
        };
    }
    (!nests_too_often(pattern)).then_some(out)
}

/// What stands behind a backslash; gives what is left.
fn escape<'p>(after: &'p str, in_class: bool, out: &mut String) -> Option<&'p str> {
    let c = after.chars().next()?;
    let rest = after.get(c.len_utf8()..)?;
    let class = |name: &str| if in_class { format!("[:{name}:]") } else { format!("[[:{name}:]]") };
    match c {
        'd' => out.push_str(if in_class { "0-9" } else { "[0-9]" }),
        'D' => out.push_str("[^0-9]"),
        'w' => out.push_str(&class("word")),
        'W' => out.push_str("[^[:word:]]"),
        's' => out.push_str(if in_class { r"\t\n\f\r " } else { r"[\t\n\f\r ]" }),
        'S' => out.push_str(r"[^\t\n\f\r ]"),
        'b' if !in_class => out.push_str(r"(?-u:\b)"),
        'B' if !in_class => out.push_str(r"(?-u:\B)"),
        'Q' if !in_class => {
            let (text, rest) = rest.split_once("\\E").unwrap_or((rest, ""));
            out.push_str(&regex::escape(text));
            return Some(rest);
        }
        '0'..='7' => return octal(after, out),
        'A' | 'z' if !in_class => {
            out.push('\\');
            out.push(c);
        }
        'a' | 'f' | 't' | 'n' | 'r' | 'v' | 'x' | 'p' | 'P' => {
            out.push('\\');
            out.push(c);
        }
        // Letters and digits mean something or are refused.
        c if c.is_alphanumeric() => return None,
        c if c.is_ascii_punctuation() => {
            // These two are letters in RE2, and borders of words in the engine if escaped.
            if !matches!(c, '<' | '>') {
                out.push('\\');
            }
            out.push(c);
        }
        _ => return None,
    }
    Some(rest)
}

/// `\0`, `\12`, `\123`: a character by its octal number. A lone digit from 1 would refer to a group, which RE2 has not.
fn octal<'p>(digits: &'p str, out: &mut String) -> Option<&'p str> {
    let len = digits.chars().take(3).take_while(|c| ('0'..='7').contains(c)).count();
    if len == 1 && !digits.starts_with('0') {
        return None;
    }
    let (number, rest) = digits.split_at_checked(len)?;
    out.push_str(&format!(r"\x{{{:x}}}", u32::from_str_radix(number, 8).ok()?));
    Some(rest)
}

/// Just behind `[`: a `]` there is a letter.
fn class_start<'p>(mut rest: &'p str, out: &mut String) -> &'p str {
    if let Some(after) = rest.strip_prefix('^') {
        out.push('^');
        rest = after;
    }
    if let Some(after) = rest.strip_prefix(']') {
        out.push_str("\\]");
        rest = after;
    }
    rest
}

/// `[` in a class: it begins a name such as `[:alpha:]`, or is a letter.
fn named_class<'p>(rest: &'p str, out: &mut String) -> &'p str {
    let end = rest.strip_prefix("[:").and_then(|r| r.find(":]")).map(|end| end + 4);
    if let Some((name, after)) = end.and_then(|end| rest.split_at_checked(end)) {
        out.push_str(name);
        return after;
    }
    out.push_str("\\[");
    rest.get(1..).unwrap_or_default()
}

/// `{` begins a repetition or is a letter.
fn repetition<'p>(rest: &'p str, out: &mut String) -> Option<&'p str> {
    match counts(rest) {
        Some((least, most, after)) => {
            if least > MAX_REPEAT || most.is_some_and(|most| most > MAX_REPEAT || most < least) {
                return None;
            }
            out.push_str(rest.strip_suffix(after)?);
            once(after, out)
        }
        None => {
            out.push_str("\\{");
            rest.get(1..)
        }
    }
}

/// Behind a repetition: it may be lazy, but not repeated.
fn once<'p>(after: &'p str, out: &mut String) -> Option<&'p str> {
    let rest = match after.strip_prefix('?') {
        Some(rest) => {
            out.push('?');
            rest
        }
        None => after,
    };
    (!rest.starts_with(['*', '+', '?']) && counts(rest).is_none()).then_some(rest)
}

/// Reads `{2}`, `{2,}` or `{2,3}`, and what is behind it.
fn counts(rest: &str) -> Option<(u64, Option<u64>, &str)> {
    let (inside, after) = rest.strip_prefix('{')?.split_once('}')?;
    let number = |n: &str| {
        let digits = !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| n.parse().unwrap_or(u64::MAX))
    };
    match inside.split_once(',') {
        None => number(inside).map(|n| (n, Some(n), after)),
        Some((least, "")) => Some((number(least)?, None, after)),
        Some((least, most)) => Some((number(least)?, Some(number(most)?), after)),
    }
}

/// How long what follows `(` is, up to where its pattern begins. Only these flags are known: `i m s U`.
fn flags(after: &str) -> Option<usize> {
    let Some(inside) = after.strip_prefix('?') else { return Some(0) };
    if inside.starts_with("P<") || inside.starts_with('<') {
        return (!inside.starts_with("<=") && !inside.starts_with("<!")).then_some(1);
    }
    let end = inside.find([':', ')'])?;
    inside.get(..end)?.chars().all(|c| matches!(c, 'i' | 'm' | 's' | 'U' | '-')).then_some(end + 1)
}

/// Whether repetitions inside of repetitions come to more than RE2 takes.
fn nests_too_often(pattern: &str) -> bool {
    // For each open group, the most that anything in it is repeated.
    let mut open = vec![1_u64];
    let mut last = 1;
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let here = rest;
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        rest = after;
        match c {
            '\\' => {
                let escaped = after.chars().next().map_or(0, char::len_utf8);
                rest = after.get(escaped..).unwrap_or_default();
                last = 1;
            }
            '[' => {
                // The `]` that ends it is not the first letter of it, and not escaped.
                let mut class = after.strip_prefix('^').unwrap_or(after);
                class = class.strip_prefix(']').unwrap_or(class);
                let mut escaped = false;
                let end = class.find(|c| {
                    let ends = c == ']' && !escaped;
                    escaped = c == '\\' && !escaped;
                    ends
                });
                rest = end.and_then(|end| class.get(end + 1..)).unwrap_or_default();
                last = 1;
            }
            '(' => open.push(1),
            ')' => {
                last = open.pop().unwrap_or(1);
                match open.last_mut() {
                    Some(outer) => *outer = last.max(*outer),
                    None => open.push(last),
                }
            }
            '{' => {
                if let Some((least, most, after)) = counts(here) {
                    last = last.saturating_mul(most.unwrap_or(least).max(1));
                    rest = after;
                    if let Some(group) = open.last_mut() {
                        *group = last.max(*group);
                    }
                }
            }
            '*' | '+' | '?' => {}
            _ => last = 1,
        }
        if last > MAX_REPEAT {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> Option<bool> {
        regex::Regex::new(&translate(pattern)?).ok().map(|r| r.is_match(text))
    }

    /// Each line was put to kro. Scripts such as `\p{Greek}` are not in the engine that is built in.
    #[test]
    fn as_re2_reads_them() {
        for (pattern, text, want) in [
            (r"^\d$", "5", Some(true)),
            (r"^\d$", "٣", Some(false)),
            (r"^\w$", "ä", Some(false)),
            (r"^\W$", "ä", Some(true)),
            (r"^[\w-]+$", "a-b_1", Some(true)),
            (r"^[^\d]$", "a", Some(true)),
            (r"^\s$", "\u{a0}", Some(false)),
            (r"\bb", "äb", Some(true)),
            (r"^[[a]$", "[", Some(true)),
            (r"^[a&&b]$", "&", Some(true)),
            (r"^[[:alpha:]]$", "x", Some(true)),
            (r"^[]a]$", "]", Some(true)),
            (r"^a{,3}$", "a{,3}", Some(true)),
            (r"^a{2}$", "aa", Some(true)),
            (r"a{1001}", "", None),
            (r"(a{100}){11}", "", None),
            (r"(a{100}){10}", "", Some(false)),
            (r"^\Qa.b\E$", "a.b", Some(true)),
            (r"^\Qa.b\E$", "axb", Some(false)),
            (r"^\101$", "A", Some(true)),
            (r"\1", "", None),
            (r"(?x)a b", "", None),
            (r"(?i)^AB$", "ab", Some(true)),
            (r"(?=a)", "", None),
            (r"(?P<n>a)", "a", Some(true)),
            (r"\<a", "<a", Some(true)),
            (r"\u0041", "A", None),
            (r"^\x{41}$", "A", Some(true)),
            (r"^\pL$", "ä", Some(true)),
            (r"(", "", None),
            (r"a**", "", None),
            (r"x*?+", "", None),
            (r"x*?", "", Some(true)),
            (r"\Ba", "äa", Some(false)),
            (r"^[\d-z]$", "-", Some(true)),
            (r"[a-\d]", "a", None),
            (r"^[--a]$", ".", Some(true)),
            (r"\ä", "ä", None),
            (r"[\b]", "", None),
            (r"^[\s\S]$", "a", Some(true)),
            (r"^[^\S\n]$", " ", Some(true)),
        ] {
            assert_eq!(matches(pattern, text), want, "{pattern} on {text}");
        }
        assert_eq!(translate(&"a".repeat(MAX_PATTERN + 1)), None);
    }
}
