//! Classes of characters.

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind};

/// First and last of a range, by number.
type Range = (u32, u32);

pub(super) const DIGIT: [Range; 1] = [(0x30, 0x39)];
pub(super) const WORD: [Range; 4] = [(0x30, 0x39), (0x41, 0x5a), (0x5f, 0x5f), (0x61, 0x7a)];
/// `\s` has no vertical tab, `[:space:]` has.
pub(super) const PERL_SPACE: [Range; 3] = [(0x09, 0x0a), (0x0c, 0x0d), (0x20, 0x20)];

/// What stands between `[:` and `:]`.
pub(super) fn posix(name: &str) -> Option<&'static [Range]> {
    Some(match name {
        "alnum" => &[(0x30, 0x39), (0x41, 0x5a), (0x61, 0x7a)],
        "alpha" => &[(0x41, 0x5a), (0x61, 0x7a)],
        "ascii" => &[(0x00, 0x7f)],
        "blank" => &[(0x09, 0x09), (0x20, 0x20)],
        "cntrl" => &[(0x00, 0x1f), (0x7f, 0x7f)],
        "digit" => &DIGIT,
        "graph" => &[(0x21, 0x7e)],
        "lower" => &[(0x61, 0x7a)],
        "print" => &[(0x20, 0x7e)],
        "punct" => &[(0x21, 0x2f), (0x3a, 0x40), (0x5b, 0x60), (0x7b, 0x7e)],
        "space" => &[(0x09, 0x0d), (0x20, 0x20)],
        "upper" => &[(0x41, 0x5a)],
        "word" => &WORD,
        "xdigit" => &[(0x30, 0x39), (0x41, 0x46), (0x61, 0x66)],
        _ => return None,
    })
}

/// The characters of these ranges. Halves of pairs are numbers that no character has.
pub(super) fn of(ranges: impl IntoIterator<Item = Range>) -> ClassUnicode {
    const HALVES: std::ops::RangeInclusive<u32> = 0xd800..=0xdfff;
    let character = |code| char::from_u32(code);
    ClassUnicode::new(ranges.into_iter().filter_map(|(low, high)| {
        let low = if HALVES.contains(&low) { HALVES.end() + 1 } else { low };
        let high = if HALVES.contains(&high) { HALVES.start() - 1 } else { high };
        (low <= high).then_some(())?;
        Some(ClassUnicodeRange::new(character(low)?, character(high)?))
    }))
}

/// The class with all cases of its characters.
pub(super) fn folded(mut class: ClassUnicode) -> ClassUnicode {
    // This fails only without the tables of cases, which are built in.
    let _ = class.try_case_fold_simple();
    class
}

/// A general category, long or short, or a script by its long name. Blanks, `_`, `-` and case do not matter in the name
/// of a category; of the scripts Go 1.26 finds those of one word only.
pub(super) fn property(name: &str) -> Option<ClassUnicode> {
    let letters: String = name.chars().filter(|c| !matches!(c, ' ' | '_' | '-')).collect();
    if letters.is_empty() || !letters.bytes().all(|b| b.is_ascii_alphabetic()) {
        return None;
    }
    if letters.eq_ignore_ascii_case("Cs") || letters.eq_ignore_ascii_case("surrogate") {
        return Some(ClassUnicode::empty());
    }
    // A script's short name has four letters; RE2 knows the long ones only.
    const SHORT_TOO: [&str; 9] = ["ahom", "cham", "kawi", "lisu", "miao", "modi", "newa", "thai", "toto"];
    let lower = letters.to_ascii_lowercase();
    // The tables would pass over this beginning.
    if lower.starts_with("is") {
        return None;
    }
    let is_long = lower.len() != 4 || SHORT_TOO.contains(&lower.as_str());
    let may_be_script = is_long && letters.len() == name.len();
    lookup("gc", &letters).or_else(|| may_be_script.then(|| lookup("sc", &letters))?)
}

fn lookup(property: &str, value: &str) -> Option<ClassUnicode> {
    let hir = regex_syntax::parse(&format!(r"\p{{{property}={value}}}")).ok()?;
    match hir.into_kind() {
        HirKind::Class(Class::Unicode(class)) => Some(class),
        // A class of one character.
        HirKind::Literal(literal) => {
            let c = std::str::from_utf8(&literal.0).ok()?.chars().next()?;
            Some(of([(u32::from(c), u32::from(c))]))
        }
        _ => None,
    }
}
