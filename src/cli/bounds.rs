//! Into which namespaces instances may write, as flags say it.

use crate::api::cluster::{ChildNamespacePolicy, ChildNamespaces};
use crate::api::naming;

/// `Any`, or `Own` with the namespaces that are allowed besides.
///
/// # Errors
/// It is something else.
pub fn child_namespaces(text: &str) -> Result<ChildNamespaces, String> {
    let mut words = text.split(',').map(str::trim);
    let also = |words: Vec<&str>| words.into_iter().map(str::to_owned).collect();
    match (words.next(), words.collect::<Vec<_>>()) {
        (Some("Any"), rest) if rest.is_empty() => Ok(ChildNamespaces::default()),
        (Some("Own"), rest) => match rest.iter().find_map(|name| naming::namespace(name).err()) {
            Some(why) => Err(format!("write namespaces after Own: {why}")),
            None => Ok(ChildNamespaces { policy: ChildNamespacePolicy::Own, also: also(rest) }),
        },
        _ => Err("write Any, Own, or Own and namespaces, as Own,logs".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_written_in_one_word() {
        let own = |also: &[&str]| {
            let also = also.iter().map(|&name| name.to_owned()).collect();
            Ok(ChildNamespaces { policy: ChildNamespacePolicy::Own, also })
        };
        let cases = [
            ("Any", Some(Ok(ChildNamespaces::default()))),
            ("Own", Some(own(&[]))),
            ("Own,logs, audit", Some(own(&["logs", "audit"]))),
            ("Any,logs", None),
            ("logs", None),
            ("Own,", None),
            ("Own,Logs", None),
            ("", None),
        ];
        for (text, want) in cases {
            assert_eq!(Some(child_namespaces(text)).filter(Result::is_ok), want, "{text:?}");
        }
    }
}
