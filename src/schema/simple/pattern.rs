//! Whether a pattern is a regular expression of RE2, the dialect in which the API server matches.
//!
//! No crate decides that: Rust's own dialect refuses patterns that are in use (`[a-z[]`, `a{`) and takes others that
//! the API server refuses. Only the form is checked; nothing is compiled.

/// The most times that one repetition, or nested ones multiplied, may repeat.
const MAX_REPEAT: u32 = 1000;
const MAX_GROUPS: usize = 1000;

/// What is wrong with a pattern, in a few words.
pub fn check(pattern: &str) -> Result<(), String> {
    let mut parser = Parser {
        rest: pattern,
        groups: Vec::new(),
        names: Vec::new(),
        last: Last::None,
        repeats: 1,
        most: 1,
    };
    while !parser.rest.is_empty() {
        parser.step()?;
    }
    match parser.groups.len() {
        0 => Ok(()),
        _ => Err("missing closing )".into()),
    }
}

/// What stands just before the place that is read.
#[derive(Clone, Copy, PartialEq)]
enum Last {
    /// Nothing that could be repeated.
    None,
    Atom,
    Repetition,
}

struct Parser<'a> {
    rest: &'a str,
    /// For each open group: the largest product of repetitions that the group around it had before it.
    groups: Vec<u32>,
    names: Vec<&'a str>,
    last: Last,
    /// Repetitions, multiplied, of the atom before the place that is read.
    repeats: u32,
    /// The largest such product in the innermost open group, so far.
    most: u32,
}

impl<'a> Parser<'a> {
    fn step(&mut self) -> Result<(), String> {
        let Some(c) = self.next() else { return Ok(()) };
        match c {
            '(' => self.open(),
            ')' => self.close(),
            '|' => {
                self.last = Last::None;
                Ok(())
            }
            '*' | '+' | '?' => self.repeat(1, &c.to_string()),
            '{' => self.braces(),
            '[' => {
                self.class()?;
                self.atom(1);
                Ok(())
            }
            '\\' => self.escape(),
            _ => {
                self.atom(1);
                Ok(())
            }
        }
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next();
        self.rest = chars.as_str();
        c
    }

    fn eat(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes the text up to a mark, and the mark.
    fn until(&mut self, mark: &str) -> Option<&'a str> {
        let (before, after) = self.rest.split_once(mark)?;
        self.rest = after;
        Some(before)
    }

    fn atom(&mut self, repeats: u32) {
        self.last = Last::Atom;
        self.repeats = repeats;
        self.most = self.most.max(repeats);
    }

    fn repeat(&mut self, times: u32, shown: &str) -> Result<(), String> {
        match self.last {
            Last::None => return Err(format!("nothing to repeat before {shown}")),
            Last::Repetition => return Err(format!("two repetitions in a row, the second is {shown}")),
            Last::Atom => {}
        }
        let product = self.repeats.saturating_mul(times.max(1));
        if times > MAX_REPEAT || product > MAX_REPEAT {
            return Err(format!("repeated more than {MAX_REPEAT} times by {shown}"));
        }
        self.eat("?");
        self.atom(product);
        self.last = Last::Repetition;
        Ok(())
    }

    /// Reads a repetition, after `{`; anything else is an ordinary brace.
    fn braces(&mut self) -> Result<(), String> {
        let Some((min, max, after)) = bounds(self.rest) else {
            self.atom(1);
            return Ok(());
        };
        let length = self.rest.len() - after.len();
        let shown = format!("{{{}", self.rest.get(..length).unwrap_or_default());
        self.rest = after;
        if min > MAX_REPEAT || max.is_some_and(|max| max > MAX_REPEAT || max < min) {
            return Err(format!("invalid repeat count {shown}"));
        }
        if max == Some(0) && self.last == Last::Atom {
            // Repeated no times, it matches nothing. What is inside does not count.
            self.repeats = 1;
        }
        self.repeat(max.unwrap_or(min), &shown)
    }

    fn open(&mut self) -> Result<(), String> {
        if self.eat("?") {
            if self.eat("P<") || self.eat("<") {
                let name = self.until(">").ok_or("unclosed name of a group")?;
                if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                    return Err(format!("invalid name of a group: {name}"));
                }
                if self.names.contains(&name) {
                    return Err(format!("two groups are named {name}"));
                }
                self.names.push(name);
            } else if !self.flags()? {
                if self.last == Last::Repetition {
                    self.last = Last::Atom;
                }
                return Ok(());
            }
        }
        if self.groups.len() >= MAX_GROUPS {
            return Err("groups are nested too deeply".into());
        }
        self.groups.push(self.most);
        self.most = 1;
        self.last = Last::None;
        Ok(())
    }

    /// Reads flags, after `(?`. True when a group begins, false when the flags stand alone.
    fn flags(&mut self) -> Result<bool, String> {
        let mut negative = false;
        let mut any = false;
        loop {
            match self.next() {
                Some('i' | 'm' | 's' | 'U') => any = true,
                Some('-') if !negative => {
                    negative = true;
                    any = false;
                }
                Some(end @ (':' | ')')) if any || !negative => return Ok(end == ':'),
                Some(c) => return Err(format!("(? with {c} is not supported; there is no look-around")),
                None => return Err("missing closing )".into()),
            }
        }
    }

    fn close(&mut self) -> Result<(), String> {
        let before = self.groups.pop().ok_or("unexpected )")?;
        let inside = std::mem::replace(&mut self.most, before);
        self.atom(inside);
        Ok(())
    }

    fn escape(&mut self) -> Result<(), String> {
        match self.rest.chars().next() {
            Some('A' | 'b' | 'B' | 'z') => {
                self.next();
            }
            Some('Q') => {
                self.next();
                let text = match self.until("\\E") {
                    Some(text) => text,
                    None => std::mem::take(&mut self.rest),
                };
                if text.is_empty() {
                    return Ok(());
                }
            }
            Some('d' | 'D' | 's' | 'S' | 'w' | 'W') => {
                self.next();
            }
            Some('p' | 'P') => {
                self.next();
                self.unicode_class()?;
            }
            _ => {
                self.escaped_char()?;
            }
        }
        self.atom(1);
        Ok(())
    }

    /// Reads a class, after `\p`.
    fn unicode_class(&mut self) -> Result<(), String> {
        let name = match self.next() {
            Some('{') => {
                let name = self.until("}").ok_or("unclosed \\p{")?;
                name.strip_prefix('^').unwrap_or(name)
            }
            Some(c) => {
                return if is_category(c.encode_utf8(&mut [0; 4])) {
                    Ok(())
                } else {
                    Err(format!("unknown class \\p{c}"))
                };
            }
            None => return Err("\\p without a class".into()),
        };
        if is_unicode_class(name) { Ok(()) } else { Err(format!("unknown class \\p{{{name}}}")) }
    }

    /// Reads one character, after `\`.
    fn escaped_char(&mut self) -> Result<char, String> {
        let c = self.next().ok_or("trailing backslash")?;
        let digit = |text: &str| text.chars().next().is_some_and(|c| ('0'..='7').contains(&c));
        match c {
            '1'..='7' if !digit(self.rest) => Err(format!("\\{c}: there are no back-references")),
            '0'..='7' => {
                let mut code = c.to_digit(8).unwrap_or_default();
                for _ in 0..2 {
                    if !digit(self.rest) {
                        break;
                    }
                    code = code * 8 + self.next().and_then(|c| c.to_digit(8)).unwrap_or_default();
                }
                Ok(char::from_u32(code).unwrap_or_default())
            }
            'x' => self.hex(),
            'a' => Ok('\x07'),
            'f' => Ok('\x0c'),
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'v' => Ok('\x0b'),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok(c),
            c => Err(format!("invalid escape \\{c}")),
        }
    }

    fn hex(&mut self) -> Result<char, String> {
        let digits = if self.eat("{") {
            self.until("}").ok_or("unclosed \\x{")?
        } else {
            let (digits, rest) = self.rest.split_at_checked(2).ok_or("\\x needs two digits")?;
            self.rest = rest;
            digits
        };
        let valid = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit());
        let code = u32::from_str_radix(digits, 16).ok().filter(|code| valid && *code <= 0x0010_FFFF);
        // Half of a surrogate pair is a number that the dialect takes and no character.
        code.map(|code| char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
            .ok_or_else(|| format!("invalid escape \\x{digits}"))
    }

    /// Reads a class, after `[`.
    fn class(&mut self) -> Result<(), String> {
        self.eat("^");
        let mut first = true;
        loop {
            if self.rest.is_empty() {
                return Err("missing closing ]".into());
            }
            if self.rest.starts_with(']') && !first {
                self.next();
                return Ok(());
            }
            first = false;
            if let Some(named) = self.rest.strip_prefix("[:")
                && let Some((name, after)) = named.split_once(":]")
            {
                if !is_posix_class(name.strip_prefix('^').unwrap_or(name)) {
                    return Err(format!("unknown class [:{name}:]"));
                }
                self.rest = after;
                continue;
            }
            let mut ahead = self.rest.chars();
            if ahead.next() == Some('\\') {
                match ahead.next() {
                    Some('d' | 'D' | 's' | 'S' | 'w' | 'W') => {
                        self.rest = ahead.as_str();
                        continue;
                    }
                    Some('p' | 'P') => {
                        self.rest = ahead.as_str();
                        self.unicode_class()?;
                        continue;
                    }
                    _ => {}
                }
            }
            let low = self.class_char()?;
            let is_range =
                self.rest.strip_prefix('-').is_some_and(|after| !after.is_empty() && !after.starts_with(']'));
            if is_range {
                self.next();
                let high = self.class_char()?;
                if high < low {
                    return Err(format!("invalid range {low}-{high}"));
                }
            }
        }
    }

    fn class_char(&mut self) -> Result<char, String> {
        match self.next() {
            Some('\\') => self.escaped_char(),
            Some(c) => Ok(c),
            None => Err("missing closing ]".into()),
        }
    }
}

/// `n}`, `n,}` or `n,m}`; without an upper bound there is none.
fn bounds(text: &str) -> Option<(u32, Option<u32>, &str)> {
    let (min, rest) = count(text)?;
    if let Some(rest) = rest.strip_prefix('}') {
        return Some((min, Some(min), rest));
    }
    let rest = rest.strip_prefix(',')?;
    if let Some(rest) = rest.strip_prefix('}') {
        return Some((min, None, rest));
    }
    let (max, rest) = count(rest)?;
    Some((min, Some(max), rest.strip_prefix('}')?))
}

/// A number without leading zeros; a large one is only known to be too large.
fn count(text: &str) -> Option<(u32, &str)> {
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at_checked(length)?;
    if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    Some((digits.parse().unwrap_or(u32::MAX), rest))
}

fn is_posix_class(name: &str) -> bool {
    [
        "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
        "upper", "word", "xdigit",
    ]
    .contains(&name)
}

/// Categories by their short names, and anything that looks like the name of a script or a category. Case and the exact
/// names differ between releases of the API server; in doubt it decides.
fn is_unicode_class(name: &str) -> bool {
    if name.len() <= 2 {
        return is_category(name) || name.eq_ignore_ascii_case("yi");
    }
    name.chars().all(|c| c.is_ascii_alphabetic() || matches!(c, '_' | '-' | ' '))
}

fn is_category(name: &str) -> bool {
    const CATEGORIES: &str = "C Cc Cf Cn Co Cs L LC Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No P Pc Pd Pe Pf Pi Po Ps S Sc Sk Sm So Z Zl Zp Zs";
    CATEGORIES.split(' ').any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_of_the_dialect() {
        let patterns = r"
            ^[a-z]+$ ^[a-z]+\.x$ a{ a{,3} a{2,x} a{01} { } ] [a-z[] []a] [^]a] [a-] [-a] [\d-z] [\x00-\x7F]
            [[:alpha:]_] [[:^digit:]] [[:alpha] [[:word:]\p{Han}] a|b| | () (|a) (?) (?i)a (?i:a) (?i-s:a) (?i)(a)
            (?:a)* (?P<x>a)(?<y>b) ^* \b+ a*? a{1,2}? a{1000} (a{10}){100} a{0} (a{1000}){0} ((a{2}){3}|b{9}){100}
            a(?i)* a{2}(?i)* \Qa.b\E+ \Q( \pL \pl \p{Greek} \P{^Lu} \x41\x{1F600} \12\0 \/\-\_\< é+ \A\z";
        for pattern in patterns.split_whitespace().chain([""]) {
            assert_eq!(check(pattern), Ok(()), "{pattern}");
        }
    }

    #[test]
    fn patterns_that_the_api_server_refuses() {
        let patterns = r"
            * a|* (*) (?i)* a** a*+ a+?* a{2}* a{2}{3} ( a) (?=a) (?!a) (?<=a) (?P=x) (?P<x>a)(?P<x>b) (?P<>a)
            (?P<x-y>a) (?-)a (?i a{1001} a{2,1} a{1001,} a{99999999999} (a{100}){100} ((a{11}){10}){10}
            [ [a [] [^] [z-a] [a-\d] [[:foo:]] \1 \8 \C \Z \é \ [\ \x4 \x{} \x{110000} \xzz \pX \p{Xx} \p{1000}
            \p{Greek \p";
        for pattern in patterns.split_whitespace() {
            assert!(check(pattern).is_err(), "{pattern}");
        }
        assert!(check(&"(".repeat(1_000_000)).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(pattern in "[\\\\a-c0-9(){}\\[\\]|*+?^$.,:<>P=!\\-pQExé]{0,24}") {
            let _ = check(&pattern);
        }
    }
}
