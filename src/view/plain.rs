//! What the hub says, in fewer words.

/// What begins the message of an instance that failed.
pub const ERROR: &str = "resource error: ";

/// A message without the words that a view says itself: `resource error: node app: why` is `app: why`.
pub fn message(text: &str) -> String {
    const FRAMES: [&str; 2] = [ERROR, "awaiting resource readiness: "];
    let inner = FRAMES.iter().find_map(|frame| text.strip_prefix(frame)).unwrap_or(text);
    pieces(inner).join("; ")
}

/// What is said of each node, `app: why`; or the one sentence that is said of all.
fn pieces(text: &str) -> Vec<&str> {
    let Some(rest) = text.strip_prefix("node ") else { return vec![text] };
    rest.split("; node ").collect()
}

/// What a message says of one node.
pub fn of_node<'m>(text: &'m str, node: &str) -> Option<&'m str> {
    let inner = text.split_once(": node ").map_or(text, |(frame, _)| &text[frame.len() + 2..]);
    pieces(inner).into_iter().find_map(|piece| piece.strip_prefix(node)?.strip_prefix(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_go_and_nodes_stay() {
        for (text, expect) in [
            ("resource error: node a: Forbidden: no", "a: Forbidden: no"),
            ("awaiting resource readiness: node a: x; node b: y", "a: x; b: y"),
            ("connecting fails", "connecting fails"),
            ("", ""),
        ] {
            assert_eq!(message(text), expect);
        }
    }

    #[test]
    fn a_node_finds_what_is_said_of_it() {
        let text = "resource error: node app: quota: used 7; node apps: other";
        assert_eq!(of_node(text, "app"), Some("quota: used 7"));
        assert_eq!(of_node(text, "apps"), Some("other"));
        assert_eq!(of_node(text, "ap"), None);
        assert_eq!(of_node("node a: b", "a"), Some("b"));
        assert_eq!(of_node("connecting fails", "a"), None);
    }
}
