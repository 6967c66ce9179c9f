//! What is told of changes, and how.

use super::*;
use crate::graph::{Leaf, Origin};
use crate::view::schemas;
use serde_json::json;
use std::sync::Arc;

fn leaf(path: &str, origin: Origin) -> Leaf {
    Leaf { steps: path.split('.').map(str::to_owned).collect(), origin }
}

fn of_facts(path: &str, fact: &str) -> Leaf {
    let facts = [fact.split('.').map(str::to_owned).collect()].into();
    leaf(path, Origin { facts, ..Origin::default() })
}

fn config(value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}, "data": {"k": value}})
}

fn half<'a>(object: &'a Value, leaves: &'a [Leaf], cluster: &'a Value) -> Half<'a> {
    Half { object, leaves, cluster, only_if: None }
}

const OF: Named<'static> = Named { node: "config", gone: "no node makes it any more" };

fn fields(told: &Change) -> Vec<String> {
    let value = |value: &Option<Value>| value.as_ref().map_or("-".to_owned(), Value::to_string);
    told.fields.iter().map(|f| format!("{} {} {}", f.path, value(&f.before), value(&f.after))).collect()
}

#[test]
fn facts_of_a_cluster_are_told_by_their_names() {
    let cluster = json!({"name": "eu-1", "labels": {"a/b": "eu", "n": "eu-1-x"}, "version": {"minor": 31}});
    for (leaves, before, after, want) in [
        (vec![], "eu-1", "eu-1-a", r#"data.k "eu-1" "eu-1-a""#),
        (
            vec![of_facts("data.k", "name")],
            "eu-1",
            "eu-1-a",
            r#"data.k "${cluster.name}" "${cluster.name}-a""#,
        ),
        (vec![of_facts("data.k", "labels.a/b")], "eu", "x", r#"data.k "${cluster.labels[\"a/b\"]}" "x""#),
        (vec![of_facts("data", "name")], "eu-1", "b", r#"data.k "${cluster.name}" "b""#),
        (
            vec![of_facts("data.k", "labels"), of_facts("data.k", "name")],
            "eu-1-x and eu-1",
            "",
            r#"data.k "${cluster.labels.n} and ${cluster.name}" """#,
        ),
        (vec![of_facts("data.other", "name")], "eu-1", "b", r#"data.k "eu-1" "b""#),
    ] {
        let (before, after) = (config(before), config(after));
        let told = change(OF, Some(half(&before, &leaves, &cluster)), Some(half(&after, &leaves, &cluster)))
            .unwrap();
        assert_eq!(fields(&told.neutral), [want]);
        assert_eq!(told.shown.action, Action::Update);
    }
}

#[test]
fn what_was_read_from_a_secret_is_told_without_values() {
    let secret = Origin { secret: true, ..Origin::default() };
    let nothing = Value::Null;
    let (before, after) = (config("a"), config("b"));
    for leaves in [[leaf("data.k", secret.clone())], [leaf("data", secret)]] {
        let told = change(OF, Some(half(&before, &leaves, &nothing)), Some(half(&after, &leaves, &nothing)));
        let told = told.unwrap();
        assert_eq!(
            (fields(&told.shown), fields(&told.neutral)),
            (vec!["data.k - -".into()], vec!["data.k - -".into()])
        );
        assert!(told.shown.fields[0].sensitive);
    }
    let of = |value: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "labels": {"l": value}},
            "data": {"k": value}, "stringData": {"k": value}})
    };
    let told = change(OF, Some(half(&of("a"), &[], &nothing)), Some(half(&of("b"), &[], &nothing))).unwrap();
    assert_eq!(fields(&told.shown), ["data.k - -", r#"metadata.labels.l "a" "b""#, "stringData.k - -"]);
}

#[test]
fn what_comes_and_goes_is_told_by_its_name() {
    let (nothing, object) = (Value::Null, config("a"));
    let told = change(OF, None, Some(half(&object, &[], &nothing))).unwrap().shown;
    assert_eq!((told.action, fields(&told)), (Action::Create, vec![r#"data.k - "a""#.to_owned()]));
    let told = change(OF, Some(half(&object, &[], &nothing)), None).unwrap().shown;
    assert_eq!((told.action, told.fields.len(), told.reason.as_str()), (Action::Delete, 0, OF.gone));
    assert!(change(OF, Some(half(&object, &[], &nothing)), Some(half(&object, &[], &nothing))).is_none());
    let maybe = Half { only_if: Some("${a}"), ..half(&object, &[], &nothing) };
    let told = change(OF, Some(half(&object, &[], &nothing)), Some(maybe)).unwrap().shown;
    assert_eq!(fields(&told), [r#"(only if) - "${a}""#]);
}

fn diff(clusters: &[(&str, &str)]) -> Diff {
    let cluster_of = |name: &str| json!({"name": name});
    let leaves = [of_facts("data.k", "name")];
    let mut all = Vec::new();
    for (name, value) in clusters {
        let cluster = cluster_of(name);
        let (before, after) = (config("a"), config(value));
        let told = change(OF, Some(half(&before, &[], &cluster)), Some(half(&after, &leaves, &cluster)));
        let named = |change: Change| InstanceChanges {
            api_version: "kro.run/v1alpha1".into(),
            kind: "Web".into(),
            namespace: "n".into(),
            name: "shop".into(),
            placement: String::new(),
            changes: vec![change],
        };
        let instances =
            told.map(|told| Arc::new(Told { shown: named(told.shown), neutral: named(told.neutral) }));
        all.push(OfCluster { name: Some((*name).to_owned()), instances: instances.into_iter().collect() });
    }
    let (groups, summary) = groups(&all);
    let changes = Changes { summary, groups, ..Changes::default() };
    Diff { spec: Compared { from: "main".into(), to: "<b>".into() }, changes }
}

const LOOK: crate::view::Look = crate::view::Look { colour: false, utf8: true, width: None };

#[test]
fn clusters_that_are_told_the_same_are_one_group() {
    let diff = diff(&[
        ("eu-10", "x-eu-10"),
        ("eu-2", "x-eu-2"),
        ("us", "y"),
        ("at", "a"),
        ("eu-1", "x-eu-1"),
        ("eu-3", "x-eu-3"),
    ]);
    assert_eq!(
        diff.text(&LOOK),
        r#"eu-1, eu-2 … eu-10   4 clusters, 4 instances, equal
  Web n/shop
  ~ config  ConfigMap n/c
      data.k  "a" -> "x-${cluster.name}"
us   1 instance
  Web n/shop
  ~ config  ConfigMap n/c
      data.k  "a" -> "y"
Diff: 5 to update on 5 of 6 clusters
"#
    );
    assert_eq!(schemas::wrong(&diff), Vec::<String>::new());
    assert!(diff.text(&crate::view::Look { colour: true, ..LOOK }).contains("\u{1b}["));
}

#[test]
fn a_comment_tells_the_same_and_is_no_markup() {
    let text = diff(&[("eu-1", "````"), ("us", "<i>")]).markdown();
    assert_eq!(
        text,
        "<!-- kro-hub diff -->\n**2 to update on 2 of 2 clusters** from `main` to `<b>`.\n\n\n\
         <details><summary>eu-1   1 instance</summary>\n\n`````diff\nWeb n/shop\n~ config  ConfigMap n/c\n    \
         data.k  \"a\" -> \"````\"\n`````\n\n</details>\n\n\
         <details><summary>us   1 instance</summary>\n\n```diff\nWeb n/shop\n~ config  ConfigMap n/c\n    \
         data.k  \"a\" -> \"<i>\"\n```\n\n</details>\n"
    );
    let none = diff(&[("eu-1", "a")]);
    assert_eq!(none.markdown(), "<!-- kro-hub diff -->\n**No change** from `main` to `<b>`.\n");
    assert_eq!(none.text(&LOOK), "no change from main to <b>\n");
}

#[test]
fn a_text_of_several_lines_is_told_by_the_lines_that_differ() {
    let text = diff(&[("eu", "a\nb\nc"), ("us", "x")]).text(&LOOK);
    assert!(text.contains("      data.k\n        + b\n        + c\n"), "{text}");
}
