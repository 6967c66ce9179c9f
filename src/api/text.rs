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

/// A text of at most so many bytes. What is longer lacks its middle: the beginning says what it is about, the end why.
pub fn cut(text: &str, bytes: usize) -> String {
    const GAP: &str = " … ";
    if text.len() <= bytes {
        return text.to_owned();
    }
    let room = bytes.saturating_sub(GAP.len());
    let first = head(text, room.div_ceil(2));
    format!("{first}{GAP}{}", tail(text, room / 2))
}

/// The end of a text: at most so many bytes, and whole characters.
fn tail(text: &str, bytes: usize) -> &str {
    let start = (text.len().saturating_sub(bytes)..=text.len()).find(|i| text.is_char_boundary(*i));
    start.and_then(|start| text.get(start..)).unwrap_or_default()
}

/// The first of a list of names, and how many more there are.
pub fn few(names: &[&str], most: usize) -> String {
    let mut out = names.iter().take(most).copied().collect::<Vec<_>>().join(", ");
    if names.len() > most {
        out.push_str(&format!(" and {} more", names.len() - most));
    }
    out
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

    #[test]
    fn what_is_too_long_keeps_its_beginning_and_its_end() {
        let long = format!("Deployment.apps \"x\" is invalid: {}: field is immutable", "y".repeat(500));
        let short = cut(&long, 80);
        assert!(
            short.starts_with("Deployment.apps \"x\"") && short.ends_with("field is immutable"),
            "{short}"
        );
        for bytes in 0..90 {
            for text in [long.as_str(), "ääääääääääääääääääääääääääääää", ""] {
                assert!(cut(text, bytes).len() <= bytes.max(5), "{bytes}");
            }
        }
    }

    #[test]
    fn a_long_list_names_the_first() {
        assert_eq!(few(&["a", "b"], 2), "a, b");
        assert_eq!(few(&["a", "b", "c", "d"], 2), "a, b and 2 more");
        assert_eq!(few(&[], 2), "");
    }
}
