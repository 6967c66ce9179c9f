//! Which resources carry what was read from a Secret: an API server that refuses one quotes its values.

use super::expression::Expression;
use super::template::Template;
use super::{Dimension, Node};

/// Whether a template may carry what was read from a Secret: by itself, or by way of a resource that does. `nodes` are
/// those that it may read. What a Secret is called is no secret.
pub(super) fn carries(template: &Template, for_each: &[Dimension], nodes: &[Node]) -> bool {
    let reads = |expression: &Expression| {
        expression.program.paths().iter().any(|path| {
            let Some((root, steps)) = path.steps.split_first() else { return false };
            let is_iterator = for_each.iter().any(|dimension| dimension.iterator == *root);
            let node = nodes.iter().find(|node| node.id == *root).filter(|_| !is_iterator);
            node.is_some_and(|node| (is_secret(node) || node.carries_secret) && !is_named(steps))
        })
    };
    for_each.iter().any(|dimension| reads(&dimension.expression)) || template.any(&reads)
}

pub(super) fn is_secret(node: &Node) -> bool {
    node.gvk.group.is_empty() && &*node.gvk.kind == "Secret"
}

/// Whether these steps into an object lead to what it is called.
pub(super) fn is_named(steps: &[String]) -> bool {
    matches!(steps, [metadata, field, ..] if metadata == "metadata" && (field == "name" || field == "namespace"))
}

#[cfg(test)]
mod tests {
    use crate::graph::tests::{app, graph};

    #[test]
    fn what_is_read_from_a_secret_is_followed_and_its_name_is_none() {
        let config = |id: &str, value: &str| {
            format!(
                "- {{id: {id}, template: {{apiVersion: v1, kind: ConfigMap, metadata: {{name: {id}}}, data: {{v: '{value}'}}}}}}\n"
            )
        };
        let resources = [
            "- {id: token, externalRef: {apiVersion: v1, kind: Secret, metadata: {name: x}}}\n".to_owned(),
            config("plain", "${schema.spec.s}"),
            config("named", "${token.metadata.name}"),
            config("whole", "${string(token.data.size())}"),
            config("value", "${string(token.data.a)}"),
            config("further", "${value.data.v}"),
            config("beside", "${value.metadata.name}"),
            "- id: several\n  forEach: [{k: '${token.data.map(k, k)}'}]\n  template: {apiVersion: v1, kind: ConfigMap, metadata: {name: 'x-${k}'}}\n"
                .to_owned(),
        ];
        let graph = graph(&app(&resources.concat()));
        let carrying = graph.nodes.iter().filter(|node| node.carries_secret());
        let mut carrying: Vec<&str> = carrying.map(|node| node.id.as_str()).collect();
        carrying.sort_unstable();
        assert_eq!(carrying, ["further", "several", "value", "whole"]);
    }
}
