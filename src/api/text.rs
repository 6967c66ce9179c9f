//! Texts that must not grow beyond what a status or an Event holds.

/// The beginning of a text: at most so many bytes, and whole characters.
pub fn head(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// A text of at most so many bytes; what is longer ends there, with an ellipsis.
pub fn shorten(text: &str, bytes: usize) -> String {
    if text.len() <= bytes { text.to_owned() } else { format!("{}…", head(text, bytes)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        for (text, bytes, want_head, want_short) in [
            ("äö", 4, "äö", "äö"),
            ("äö", 3, "ä", "ä…"),
            ("ab", 1, "a", "a…"),
            ("ä", 1, "", "…"),
            ("", 0, "", ""),
        ] {
            assert_eq!((head(text, bytes), shorten(text, bytes).as_str()), (want_head, want_short), "{text}");
        }
    }
}
