//! A rollout goes on while a spoke is away.

use super::scenarios::Runs::Long;
use super::scenarios::{Scenario, noticed};
use super::stand::{Stand, text};
use crate::faults::{Line, When};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

pub const ALL: &[Scenario] = &[("scenario_23_two_revisions_while_a_spoke_is_away", twice, Long)];

const POLICIES: &str = "/apis/hub.kro.run/v1alpha1/clusterplacements";

/// What a revision makes of the text of an instance.
fn revision(word: &str) -> String {
    format!(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {{name: twice}}
spec:
  schema: {{apiVersion: v1alpha1, kind: Twice, spec: {{text: string}}}}
  resources:
  - id: config
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {{name: '${{schema.metadata.name}}'}}
      data: {{text: '{word} ${{schema.spec.text}}'}}
"
    )
}

/// What the child said, one after the other.
fn texts(events: &Receiver<(Instant, Value)>) -> Vec<String> {
    let child = events.try_iter().filter(|(_, event)| text(event, "/object/metadata/name") == "a");
    let mut texts: Vec<String> = child.map(|(_, event)| text(&event, "/object/data/text")).collect();
    texts.dedup();
    texts
}

fn twice(stand: &Stand) -> Result<()> {
    let kind = stand.define(&revision("one"))?;
    let policy = json!({
        "apiVersion": "hub.kro.run/v1alpha1", "kind": "ClusterPlacement", "metadata": {"name": "twice"},
        "spec": {"instances": {"kind": kind.kind}, "rollout": {"scope": "Kind", "stages": [
            {"name": "canary", "clusters": {"names": ["eu"]}, "maxConcurrent": 1}, {"name": "others"},
        ]}},
    });
    stand.api("hub").post(POLICIES, &policy)?;
    kind.create("a", "eu,us", "{text: x}")?;
    kind.wait_active("a", &["eu", "us"])?;
    let watch = |on: &str| stand.api(on).watch(&format!("{}?watch=true", kind.beside("configmaps")));
    let (_eu, on_eu) = watch("eu")?;
    let (_us, on_us) = watch("us")?;
    let (proxy, away) = (stand.proxy("us")?, Instant::now());
    proxy.line(Line::Refused)?;
    noticed(stand, "us", "Unreachable", away, Duration::from_secs(45))?;
    for word in ["two", "three"] {
        kind.edit_definition(&revision(word))?;
        // So that the newer one comes in the middle of the older one's rollout.
        std::thread::sleep(Duration::from_millis(300));
    }
    kind.wait_child("eu", "configmaps/a", |c| c["data"]["text"] == "three x")?;
    let said = texts(&on_eu);
    let order = ["one x", "two x", "three x"];
    let at = |text: &String| order.iter().position(|known| known == text);
    ensure!(
        said.is_sorted_by_key(at) && said.last().is_some_and(|last| last == "three x"),
        "eu said {said:?}"
    );
    ensure!(texts(&on_us) == ["one x"], "us was written while it was away");

    let back = Instant::now();
    proxy.line(Line::Clear)?;
    kind.wait_child("us", "configmaps/a", |c| c["data"]["text"] == "three x")?;
    kind.wait_active("a", &["eu", "us"])?;
    println!("caught up {:?} after it was back", back.elapsed());
    let (said, written) =
        (texts(&on_us), proxy.seen(back, &When::writes().at(&kind.beside("configmaps/a"))).len());
    ensure!(said == ["three x"] && written == 1, "us said {said:?}, by {written} writes");
    stand.api("hub").delete(&format!("{POLICIES}/twice"))?;
    kind.remove("a")
}
