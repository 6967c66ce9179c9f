//! "Did you mean".

/// The nearest of the names, if one is near.
pub fn suggestion<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let lower = word.to_lowercase();
    let most = (word.chars().count() / 3).max(1);
    let near = names.into_iter().filter(|n| *n != word && n.len() < 200);
    let near =
        near.map(|n| (strsim::damerau_levenshtein(&lower, &n.to_lowercase()), n)).filter(|(d, _)| *d <= most);
    near.min().map(|(_, name)| format!("did you mean {name:?}?"))
}
