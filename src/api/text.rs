//! Texts that must not grow beyond what a status or an Event holds.

/// The beginning of a text: at most so many bytes, and whole characters.
pub fn head(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// A text of at most so many bytes. A longer one is cut there and gets an ellipsis.
pub fn shorten(text: &str, bytes: usize) -> String {
    if text.len() <= bytes { text.to_owned() } else { format!("{}…", head(text, bytes)) }
}

/// A text of at most so many bytes. A longer one loses its middle, since the beginning says what it is about, and the
/// end why.
pub fn cut(text: &str, bytes: usize) -> String {
    const GAP: &str = " … ";
    if text.len() <= bytes {
        return text.to_owned();
    }
    let room = bytes.saturating_sub(GAP.len());
    let first = head(text, room.div_ceil(2));
    format!("{first}{GAP}{}", tail(text, room / 2))
}

/// Joins texts into one of about so many bytes. Each keeps its beginning and its end, and short ones leave their room
/// to long ones. Of a text that does not fit at all only its subject is kept: what stands before the first colon.
pub fn share(parts: &[&str], bytes: usize) -> String {
    const LEAST: usize = 64;
    let mut least = 0;
    let fits = |p: &&&str| {
        least += p.len().min(LEAST);
        least <= bytes
    };
    let shown = parts.iter().take_while(fits).count().max(1);
    let (first, rest) = parts.split_at_checked(shown).unwrap_or((parts, &[]));
    let mut lengths: Vec<usize> = first.iter().map(|p| p.len()).collect();
    lengths.sort_unstable();
    let (mut room, mut most) = (bytes, usize::MAX);
    for (done, length) in lengths.iter().enumerate() {
        let fair = room / (first.len() - done);
        if *length > fair {
            most = fair.max(LEAST);
            break;
        }
        room -= length;
    }
    let mut out = first.iter().map(|p| cut(p, most)).collect::<Vec<_>>().join("; ");
    let subject =
        |p: &&str| p.split_once(": ").map_or_else(|| cut(p, LEAST), |(subject, _)| cut(subject, LEAST));
    if !rest.is_empty() {
        out.push_str(&format!("; also {}", rest.iter().map(subject).collect::<Vec<_>>().join(", ")));
    }
    out
}

/// Joins what is said of several nodes into about so many bytes. Every node is named.
pub fn cut_nodes(text: &str, bytes: usize) -> String {
    const MARK: &str = "; node ";
    if text.len() <= bytes {
        return text.to_owned();
    }
    let ends = text.match_indices(MARK).map(|(at, _)| at).chain([text.len()]);
    let mut parts: Vec<&str> = Vec::new();
    let mut start = 0;
    for end in ends {
        parts.extend(text.get(start..end));
        start = end + "; ".len();
    }
    share(&parts, bytes)
}

/// The words of an API server, reduced to the cause: without its wrapping, and without the objects that it prints.
pub fn plain(message: &str) -> String {
    let mut text = message;
    for (prefix, same) in [("conflict: ", "conflict"), ("forbidden: ", " is forbidden")] {
        text = text.strip_prefix(prefix).filter(|rest| rest.contains(same)).unwrap_or(text);
    }
    for (start, end) in [("Apply failed with ", ": "), ("failed to create typed patch object (", "): ")] {
        let inner = text.strip_prefix(start).and_then(|rest| rest.split_once(end)).map(|(_, inner)| inner);
        text = inner.filter(|inner| !inner.is_empty()).unwrap_or(text);
    }
    without_dumps(text)
}

/// Long quotations and whole objects lack their middle.
fn without_dumps(text: &str) -> String {
    const LONG: usize = 100;
    let mut out = String::with_capacity(text.len().min(1_024));
    let mut rest = text;
    while let Some(at) = rest.find(['{', '"']) {
        let (before, group) = rest.split_at(at);
        let end = group_end(group);
        let (group, after) = group.split_at(end);
        out.push_str(before);
        out.push_str(&if group.len() > LONG { cut(group, LONG) } else { group.to_owned() });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Where the quotation or object ends that begins here with a mark; if it has no end, the place after that mark.
fn group_end(text: &str) -> usize {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '{' if !quoted => depth += 1,
            '}' if !quoted => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 && !quoted && !escaped {
            return at + c.len_utf8();
        }
    }
    text.chars().next().map_or(0, char::len_utf8)
}

/// The end of a text: at most so many bytes, and whole characters.
fn tail(text: &str, bytes: usize) -> &str {
    let start = (text.len().saturating_sub(bytes)..=text.len()).find(|i| text.is_char_boundary(*i));
    start.and_then(|start| text.get(start..)).unwrap_or_default()
}

/// The text in a file, as people's editors write them: UTF-8 or UTF-16, with or without a mark at its beginning, which
/// is left out. `None` if it is no text.
pub fn decode(bytes: &[u8]) -> Option<String> {
    let utf16 = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let (units, odd) = rest.as_chunks::<2>();
        if !odd.is_empty() {
            return None;
        }
        let units = units.iter().map(|pair| unit(*pair));
        char::decode_utf16(units).collect::<Result<String, _>>().ok()
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        // The files that are read here begin with a character of ASCII, so a zero byte tells UTF-16.
        [a, 0, ..] if *a != 0 => utf16(bytes, u16::from_le_bytes),
        [0, b, ..] if *b != 0 => utf16(bytes, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => std::str::from_utf8(rest).ok().map(str::to_owned),
        _ => std::str::from_utf8(bytes).ok().map(str::to_owned),
    }
    .filter(|text| !text.contains('\0'))
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
    fn files_of_any_editor() {
        let text = "a: grüße 🚀\r\n";
        let le: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let marked = |mark: &[u8], rest: &[u8]| [mark, rest].concat();
        for bytes in [
            text.as_bytes().to_vec(),
            marked(&[0xef, 0xbb, 0xbf], text.as_bytes()),
            marked(&[0xff, 0xfe], &le),
            marked(&[0xfe, 0xff], &be),
            le.clone(),
            be,
        ] {
            assert_eq!(decode(&bytes).as_deref(), Some(text), "{bytes:?}");
        }
        assert_eq!(decode(b"").as_deref(), Some(""));
        for bytes in
            [&[0xff, 0xfe, 0x00][..], &[0xff, 0xfe, 0x00, 0xd8], &[0xc3], &[0x1f, 0x8b, 8, 0], b"ab\0"]
        {
            assert_eq!(decode(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_long_list_names_the_first() {
        assert_eq!(few(&["a", "b"], 2), "a, b");
        assert_eq!(few(&["a", "b", "c", "d"], 2), "a, b and 2 more");
        assert_eq!(few(&[], 2), "");
    }

    #[test]
    fn what_an_api_server_says_keeps_its_cause_and_nothing_twice() {
        let selector = format!("{{\"matchLabels\":{{\"app\":\"{}\"}}}}", "y".repeat(300));
        let golang =
            format!("v1.LabelSelector{{MatchLabels:map[string]string{{\"app\":\"{}}}\"}}}}", "y".repeat(300));
        let invalid = |value: &str| {
            format!(
                "Deployment.apps \"x\" is invalid: spec.selector: Invalid value: {value}: field is immutable"
            )
        };
        for value in [selector.as_str(), golang.as_str()] {
            let text = plain(&invalid(value));
            assert!(
                text.starts_with("Deployment.apps \"x\" is invalid: spec.selector: Invalid value: "),
                "{text}"
            );
            assert!(text.ends_with(": field is immutable") && text.len() < 220, "{text}");
        }
        let conflict = "conflict with \"kubectl\" using apps/v1: .spec.replicas";
        let typed = "failed to create typed patch object (n/x; apps/v1, Kind=Deployment): ";
        for (said, want) in [
            (format!("conflict: Apply failed with 1 conflict: {conflict}"), conflict.to_owned()),
            (
                format!("{typed}.spec.x: field not declared in schema"),
                ".spec.x: field not declared in schema".into(),
            ),
            (
                "forbidden: pods \"x\" is forbidden: User \"a\" cannot get".into(),
                "pods \"x\" is forbidden: User \"a\" cannot get".into(),
            ),
            ("forbidden: no".into(), "forbidden: no".into()),
            ("an open \" quote and an open {".into(), "an open \" quote and an open {".into()),
            ("Apply failed with 1 conflict: ".into(), "Apply failed with 1 conflict: ".into()),
        ] {
            assert_eq!(plain(&said), want);
        }
    }

    #[test]
    fn every_node_is_named_however_little_room_there_is() {
        let nodes: Vec<String> =
            (0..40).map(|n| format!("node n{n}: {} because of {n}", "x".repeat(200))).collect();
        let all = format!("resource error: {}", nodes.join("; "));
        for bytes in [400, 1_000, 5_000] {
            let text = cut_nodes(&all, bytes);
            for n in 0..40 {
                assert!(text.contains(&format!("node n{n}")), "{bytes}: n{n} in {text}");
            }
            assert!(
                text.contains("because of 0") && text.len() < bytes + 600,
                "{bytes}: {} {text}",
                text.len()
            );
        }
        assert_eq!(cut_nodes("short; node a: b", 100), "short; node a: b");
        let uneven = share(&["node a: no", &nodes[0], "node c: no"], 150);
        assert!(
            uneven.starts_with("node a: no; node n0: x") && uneven.ends_with("because of 0; node c: no"),
            "{uneven}"
        );
        assert!(uneven.len() <= 154, "{}", uneven.len());
    }
}
