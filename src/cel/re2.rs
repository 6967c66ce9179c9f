//! Regular expressions in the syntax of RE2, as Go reads it.
//!
//! The engine that searches has a syntax of its own: it takes more patterns, and reads some letters otherwise. So a
//! pattern is read here, by RE2's rules, into the engine's own tree. A pattern that RE2 refuses is refused, and one
//! that it takes means the same.

mod class;

use regex_automata::meta::{Config, Regex};
use regex_syntax::hir::{Class, ClassUnicode, Dot, Hir, Look, Repetition};

/// The longest pattern, in bytes.
pub(super) const MAX_PATTERN: usize = 4 << 10;
/// RE2 takes no more repetitions, nested ones multiplied.
const MAX_REPEAT: u32 = 1000;
/// Groups in groups; the engine's compiler is recursive.
const MAX_NESTING: usize = 250;

/// Why a pattern is refused, and at which character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    what: &'static str,
    at: usize,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "invalid regular expression (RE2): {} at character {}", self.what, self.at)
    }
}

/// The engine for a pattern.
pub(super) fn compile(pattern: &str, bytes: usize) -> Result<Regex, String> {
    let hir = parse(pattern).map_err(|refused| refused.to_string())?;
    let config = Config::new().nfa_size_limit(Some(bytes)).hybrid_cache_capacity(bytes);
    let built = Regex::builder().configure(config).build_from_hir(&hir);
    built.map_err(|_| format!("invalid regular expression: larger than {} KiB when compiled", bytes >> 10))
}

/// The pattern as the engine's tree.
fn parse(pattern: &str) -> Result<Hir, Refused> {
    if pattern.len() > MAX_PATTERN {
        return Err(Refused { what: "longer than 4 KiB", at: 1 });
    }
    let mut parser = Parser { rest: pattern, flags: Flags::default(), groups: vec![Group::default()] };
    parser.read().map_err(|what| {
        let read = pattern.len() - parser.rest.len();
        Refused { what, at: pattern.get(..read).unwrap_or_default().chars().count() + 1 }
    })
}

/// What went wrong. The parser's position at that moment is the place.
type Read<T> = Result<T, &'static str>;

const BAD_ESCAPE: &str = "invalid escape sequence";
const BAD_RANGE: &str = "invalid character class range";
const BAD_GROUP: &str = "invalid or unsupported Perl syntax";
const BAD_COUNT: &str = "invalid repeat count";
const NOTHING_REPEATED: &str = "missing argument to repetition operator";

#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    /// `i`
    fold: bool,
    /// `m`
    lines: bool,
    /// `s`
    dot_all: bool,
    /// `U`
    lazy: bool,
}

/// A part of a pattern, and how many times its innermost part may be repeated.
struct Item {
    hir: Hir,
    repeats: u32,
}

/// How often a part is repeated.
struct Times {
    least: u32,
    /// Without one, as often as it goes.
    most: Option<u32>,
    /// The most repetitions where they are counted, else one.
    counted: u32,
}

/// An open group, as far as it was read.
#[derive(Default)]
struct Group {
    alternatives: Vec<Hir>,
    items: Vec<Item>,
    repeats: u32,
    /// The flags outside.
    outside: Flags,
}

impl Group {
    fn end_alternative(&mut self) {
        let items = std::mem::take(&mut self.items);
        self.repeats = items.iter().map(|item| item.repeats).fold(self.repeats, u32::max);
        self.alternatives.push(Hir::concat(items.into_iter().map(|item| item.hir).collect()));
    }

    fn end(mut self) -> Item {
        self.end_alternative();
        Item { hir: Hir::alternation(self.alternatives), repeats: self.repeats.max(1) }
    }
}

struct Parser<'p> {
    rest: &'p str,
    flags: Flags,
    groups: Vec<Group>,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = self.rest.get(c.len_utf8()..)?;
        Some(c)
    }

    fn eat(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn push(&mut self, hir: Hir) {
        if let Some(group) = self.groups.last_mut() {
            group.items.push(Item { hir, repeats: 1 });
        }
    }

    fn read(&mut self) -> Read<Hir> {
        // A repetition may not follow another one: `a**` is refused.
        let mut repeated = false;
        while let Some(c) = self.peek() {
            let was_repeated = std::mem::take(&mut repeated);
            match c {
                '*' | '+' | '?' => {
                    let least = u32::from(c == '+');
                    let most = (c == '?').then_some(1);
                    self.repeat(Times { least, most, counted: 1 }, was_repeated, c.len_utf8())?;
                    repeated = true;
                }
                '{' => match counts(self.rest)? {
                    Some((least, most, len)) => {
                        let times = Times { least, most, counted: most.unwrap_or(least) };
                        self.repeat(times, was_repeated, len)?;
                        repeated = true;
                    }
                    None => {
                        self.next();
                        self.literal('{');
                    }
                },
                '(' => self.open()?,
                ')' => self.close()?,
                '|' => {
                    self.next();
                    if let Some(group) = self.groups.last_mut() {
                        group.end_alternative();
                    }
                }
                '[' => {
                    let class = self.class()?;
                    self.push(Hir::class(Class::Unicode(class)));
                }
                '\\' => self.escape()?,
                _ => {
                    self.next();
                    match c {
                        '^' => {
                            self.push(Hir::look(if self.flags.lines { Look::StartLF } else { Look::Start }))
                        }
                        '$' => self.push(Hir::look(if self.flags.lines { Look::EndLF } else { Look::End })),
                        '.' => {
                            let dot = if self.flags.dot_all { Dot::AnyChar } else { Dot::AnyCharExceptLF };
                            self.push(Hir::dot(dot));
                        }
                        c => self.literal(c),
                    }
                }
            }
        }
        match (self.groups.pop(), self.groups.is_empty()) {
            (Some(group), true) => Ok(group.end().hir),
            _ => Err("missing closing )"),
        }
    }

    fn literal(&mut self, c: char) {
        let hir = if self.flags.fold {
            Hir::class(Class::Unicode(class::folded(class::of([(u32::from(c), u32::from(c))]))))
        } else {
            Hir::literal(c.encode_utf8(&mut [0; 4]).as_bytes())
        };
        self.push(hir);
    }

    /// Repeats the last part.
    fn repeat(&mut self, times: Times, was_repeated: bool, len: usize) -> Read<()> {
        let Times { least, most, counted: times } = times;
        if was_repeated {
            return Err("invalid nested repetition operator");
        }
        let Some(item) = self.groups.last_mut().and_then(|group| group.items.pop()) else {
            return Err(NOTHING_REPEATED);
        };
        // A part that is repeated no times is nothing.
        let repeats = if most == Some(0) { 1 } else { item.repeats.saturating_mul(times.max(1)) };
        if times > 1 && repeats > MAX_REPEAT {
            return Err(BAD_COUNT);
        }
        self.rest = self.rest.get(len..).unwrap_or_default();
        let greedy = self.eat("?") == self.flags.lazy;
        let hir = Hir::repetition(Repetition { min: least, max: most, greedy, sub: Box::new(item.hir) });
        if let Some(group) = self.groups.last_mut() {
            group.items.push(Item { hir, repeats });
        }
        Ok(())
    }

    fn open(&mut self) -> Read<()> {
        if self.groups.len() > MAX_NESTING {
            return Err("too many groups in groups");
        }
        let outside = self.flags;
        if let Some(named) = ["(?P<", "(?<"].into_iter().find(|begin| self.rest.starts_with(begin)) {
            let name = self.rest.get(named.len()..).and_then(|rest| rest.split_once('>'));
            let is_name =
                |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            let Some((_, rest)) = name.filter(|(name, _)| is_name(name)) else {
                return Err("invalid named capture");
            };
            self.rest = rest;
        } else if self.rest.starts_with("(?") {
            match self.read_flags()? {
                // `(?i)` holds up to the end of the group that it is in.
                (flags, ')') => {
                    self.flags = flags;
                    return Ok(());
                }
                (flags, _) => self.flags = flags,
            }
        } else {
            self.next();
        }
        self.groups.push(Group { outside, ..Group::default() });
        Ok(())
    }

    /// `(?i)`, `(?i-s:`: the flags, and what ends them.
    fn read_flags(&mut self) -> Read<(Flags, char)> {
        let mut flags = self.flags;
        let mut value = true;
        let mut any = true;
        for (at, c) in self.rest.char_indices().skip(2) {
            match c {
                'i' => flags.fold = value,
                'm' => flags.lines = value,
                's' => flags.dot_all = value,
                'U' => flags.lazy = value,
                '-' if value => {
                    value = false;
                    any = false;
                    continue;
                }
                ':' | ')' if any => {
                    self.rest = self.rest.get(at + 1..).unwrap_or_default();
                    return Ok((flags, c));
                }
                _ => break,
            }
            any = true;
        }
        Err(BAD_GROUP)
    }

    fn close(&mut self) -> Read<()> {
        let [_, .., _] = self.groups.as_slice() else { return Err("unexpected )") };
        let Some(group) = self.groups.pop() else { return Ok(()) };
        self.next();
        self.flags = group.outside;
        // Nobody asks what a group matched, so it does not capture.
        if let Some(outer) = self.groups.last_mut() {
            outer.items.push(group.end());
        }
        Ok(())
    }

    /// Reads what follows a backslash outside of classes.
    fn escape(&mut self) -> Read<()> {
        let looks = [
            (r"\A", Look::Start),
            (r"\z", Look::End),
            (r"\b", Look::WordAscii),
            (r"\B", Look::WordAsciiNegate),
        ];
        if let Some((_, look)) = looks.into_iter().find(|(text, _)| self.eat(text)) {
            self.push(Hir::look(look));
            return Ok(());
        }
        if self.eat(r"\Q") {
            let (text, rest) = self.rest.split_once(r"\E").unwrap_or((self.rest, ""));
            self.rest = rest;
            text.chars().for_each(|c| self.literal(c));
            return Ok(());
        }
        if let Some(class) = self.named_class()? {
            self.push(Hir::class(Class::Unicode(class)));
            return Ok(());
        }
        let code = self.character()?;
        match char::from_u32(code) {
            Some(c) => self.literal(c),
            // Half of a surrogate pair is no character, so no text contains it.
            None => self.push(Hir::fail()),
        }
        Ok(())
    }

    /// `\d`, `\pL`, `\P{Greek}` and their like, if one stands here.
    fn named_class(&mut self) -> Read<Option<ClassUnicode>> {
        let Some(letter) = self.rest.strip_prefix('\\').and_then(|rest| rest.chars().next()) else {
            return Ok(None);
        };
        let inverted = letter.is_ascii_uppercase();
        let class = match letter {
            'p' | 'P' => {
                let name = self.rest.get(2..).unwrap_or_default();
                let (name, len) = match name.strip_prefix('{') {
                    Some(name) => {
                        let end = name.find('}').ok_or(BAD_RANGE)?;
                        (name.get(..end).unwrap_or_default(), end + 4)
                    }
                    None => {
                        let len = name.chars().next().ok_or(BAD_RANGE)?.len_utf8();
                        (name.get(..len).unwrap_or_default(), len + 2)
                    }
                };
                let (name, twice) = match name.strip_prefix('^') {
                    Some(name) => (name, true),
                    None => (name, false),
                };
                let mut class = class::property(name).ok_or("unknown class of characters")?;
                self.rest = self.rest.get(len..).unwrap_or_default();
                if self.flags.fold {
                    class = class::folded(class);
                }
                if inverted != twice {
                    class.negate();
                }
                return Ok(Some(class));
            }
            'd' | 'D' => class::of(class::DIGIT),
            's' | 'S' => class::of(class::PERL_SPACE),
            'w' | 'W' => class::of(class::WORD),
            _ => return Ok(None),
        };
        self.rest = self.rest.get(2..).unwrap_or_default();
        let mut class = if self.flags.fold { class::folded(class) } else { class };
        if inverted {
            class.negate();
        }
        Ok(Some(class))
    }

    /// An escape that stands for one character, by its number.
    fn character(&mut self) -> Read<u32> {
        let after = self.rest.strip_prefix('\\').unwrap_or_default();
        let c = after.chars().next().ok_or("trailing backslash")?;
        let octal = after.bytes().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
        let (code, len) = match c {
            // A lone digit from 1 would refer to a group, which RE2 does not support.
            '0'..='7' if octal > 1 || c == '0' => {
                let digits = after.get(..octal).unwrap_or_default();
                (u32::from_str_radix(digits, 8).map_err(|_| BAD_ESCAPE)?, octal)
            }
            'x' => {
                let braced = after.strip_prefix("x{").and_then(|rest| rest.split_once('}'));
                let (digits, len) = match braced {
                    Some((digits, _)) => (digits, digits.len() + 3),
                    None => (after.get(1..3).ok_or(BAD_ESCAPE)?, 3),
                };
                let hex = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
                let code = hex.then(|| u32::from_str_radix(digits.trim_start_matches('0'), 16).unwrap_or(0));
                let fits = digits.trim_start_matches('0').len() <= 6;
                (code.filter(|code| fits && *code <= u32::from(char::MAX)).ok_or(BAD_ESCAPE)?, len)
            }
            'a' => (7, 1),
            'f' => (12, 1),
            'n' => (10, 1),
            'r' => (13, 1),
            't' => (9, 1),
            'v' => (11, 1),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => (u32::from(c), 1),
            _ => return Err(BAD_ESCAPE),
        };
        self.rest = after.get(len..).unwrap_or_default();
        Ok(code)
    }

    /// `[…]`
    fn class(&mut self) -> Read<ClassUnicode> {
        self.next();
        let negated = self.eat("^");
        let mut class = ClassUnicode::empty();
        let mut first = true;
        // A `]` that comes first is a letter.
        while first || !self.rest.starts_with(']') {
            first = false;
            if let Some(name) = self.rest.strip_prefix("[:").and_then(|rest| rest.find(":]")) {
                let name = self.rest.get(2..2 + name).unwrap_or_default();
                let (name, negated) = match name.strip_prefix('^') {
                    Some(name) => (name, true),
                    None => (name, false),
                };
                let mut named =
                    class::of(class::posix(name).ok_or("unknown class of characters")?.iter().copied());
                if self.flags.fold {
                    named = class::folded(named);
                }
                let len = name.len() + usize::from(negated) + 4;
                if negated {
                    named.negate();
                }
                class.union(&named);
                self.rest = self.rest.get(len..).unwrap_or_default();
                continue;
            }
            if let Some(named) = self.named_class()? {
                class.union(&named);
                continue;
            }
            let low = self.class_character()?;
            let is_range = self.rest.starts_with('-') && !self.rest.starts_with("-]") && self.rest.len() > 1;
            let high = if is_range {
                self.next();
                self.class_character()?
            } else {
                low
            };
            if high < low {
                return Err(BAD_RANGE);
            }
            let range = class::of([(low, high)]);
            class.union(&if self.flags.fold { class::folded(range) } else { range });
        }
        self.next();
        if negated {
            class.negate();
        }
        Ok(class)
    }

    fn class_character(&mut self) -> Read<u32> {
        match self.peek() {
            Some('\\') => self.character(),
            Some(c) => {
                self.next();
                Ok(u32::from(c))
            }
            None => Err("missing closing ]"),
        }
    }
}

/// `{2}`, `{2,}` or `{2,3}` and its length; what is none of them is text.
fn counts(text: &str) -> Read<Option<(u32, Option<u32>, usize)>> {
    let number = |n: &str| {
        let plain =
            !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) && (n == "0" || !n.starts_with('0'));
        plain.then(|| n.parse().unwrap_or(u32::MAX))
    };
    let Some((inside, _)) = text.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
        return Ok(None);
    };
    let found = match inside.split_once(',') {
        None => number(inside).map(|n| (n, Some(n))),
        Some((least, "")) => number(least).map(|n| (n, None)),
        Some((least, most)) => number(least).zip(number(most)).map(|(n, m)| (n, Some(m))),
    };
    let Some((least, most)) = found else { return Ok(None) };
    if least > MAX_REPEAT || most.is_some_and(|most| most > MAX_REPEAT || most < least) {
        return Err(BAD_COUNT);
    }
    Ok(Some((least, most, inside.len() + 2)))
}

#[cfg(test)]
#[allow(clippy::too_many_lines)] // Tables.
mod tests;
