//! What the author probably meant.

/// Words from other schema languages.
const TYPE_WORDS: &[(&str, &str)] = &[
    ("int", "integer"),
    ("int32", "integer"),
    ("int64", "integer"),
    ("long", "integer"),
    ("uint", "integer"),
    ("number", "float"),
    ("double", "float"),
    ("decimal", "float"),
    ("float64", "float"),
    ("bool", "boolean"),
    ("str", "string"),
    ("text", "string"),
    ("any", "object"),
    ("json", "object"),
    ("struct", "object"),
    ("map", "map[string]string"),
    ("dict", "map[string]string"),
    ("array", "[]string"),
    ("list", "[]string"),
];
const MARKER_WORDS: &[(&str, &str)] = &[
    ("min", "minimum"),
    ("max", "maximum"),
    ("desc", "description"),
    ("optional", "required=false"),
    ("regex", "pattern"),
    ("regexp", "pattern"),
    ("values", "enum"),
    ("unique", "uniqueItems"),
    ("readonly", "immutable"),
    ("cel", "validation"),
    ("rule", "validation"),
];

/// The type that was meant: another language's word, `Type[]`, or a known name that is spelled almost so.
pub fn type_name<'a>(found: &str, custom: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    if let Some(element) = found.strip_suffix("[]").map(str::trim).filter(|e| !e.is_empty()) {
        let element = type_name(element, custom.clone()).unwrap_or_else(|| element.to_owned());
        return Some(format!("[]{element}"));
    }
    let builtin = ["string", "integer", "boolean", "float", "object"];
    near(found, TYPE_WORDS, builtin.into_iter().chain(custom))
}

/// The marker that was meant.
pub fn marker<'a>(found: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    near(found, MARKER_WORDS, known)
}

fn near<'a>(found: &str, words: &[(&str, &str)], known: impl Iterator<Item = &'a str>) -> Option<String> {
    let lower = found.to_lowercase();
    if let Some((_, meant)) = words.iter().find(|(word, _)| *word == lower) {
        return Some((*meant).to_owned());
    }
    let allowed = match found.chars().count() {
        0..=2 => 0,
        3..=4 => 1,
        5..=40 => 2,
        // Nobody misspells a word of this length, and the search is not free.
        _ => return None,
    };
    known
        .filter(|name| name.len() <= 80)
        .map(|name| (distance(&lower, &name.to_lowercase()), name))
        .filter(|(far, _)| *far <= allowed)
        .min_by_key(|(far, _)| *far)
        .map(|(_, name)| name.to_owned())
}

/// Edits, insertions, removals and swaps of neighbours that turn one word into the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous = None;
    for (i, x) in a.chars().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        let mut left = i + 1;
        let mut y_before = None;
        for (j, (&y, pair)) in b.iter().zip(last.windows(2)).enumerate() {
            let [diagonal, above] = pair else { continue };
            let mut best = (diagonal + usize::from(x != y)).min(above + 1).min(left + 1);
            if previous == Some(y) && y_before == Some(x) {
                let swap = j.checked_sub(1).and_then(|j| before.get(j));
                best = best.min(swap.map_or(best, |far| far + 1));
            }
            row.push(best);
            left = best;
            y_before = Some(y);
        }
        previous = Some(x);
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let table = [
            ("", "", 0),
            ("a", "", 1),
            ("", "abc", 3),
            ("strnig", "string", 1),
            ("patern", "pattern", 1),
            ("abc", "cab", 2),
        ];
        for (a, b, expected) in table {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn types() {
        let custom = ["Person", "Port"];
        let table = [
            ("int", Some("integer")),
            ("String", Some("string")),
            ("strnig", Some("string")),
            ("Prot", Some("Port")),
            ("person", Some("Person")),
            ("string[]", Some("[]string")),
            ("bool[]", Some("[]boolean")),
            ("Persn", Some("Person")),
            ("Database", None),
            ("", None),
        ];
        for (found, expected) in table {
            assert_eq!(type_name(found, custom.into_iter()).as_deref(), expected, "{found}");
        }
    }
}
