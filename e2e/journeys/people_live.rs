//! What people look into and go on looking at: instances within instances, pods, and what changes.

use super::Run;
use super::people::Person;
use super::stand::{Kind, PATIENCE, Stand};
use crate::env::controller::binary;
use crate::env::eventually;
use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

pub const TRIALS: &[Run] = &[
    ("people::instances_within_instances_are_opened_to_their_pods", opened),
    ("people::what_is_watched_is_shown_as_it_changes", watched),
];

/// Its instances hold pods that no node has room for.
fn of_pods<'s>(stand: &'s Stand, name: &str, kind: &str) -> Result<Kind<'s>> {
    let definition = r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: NAME}
spec:
  schema: {apiVersion: v1alpha1, kind: KIND, spec: {note: string | default=a}}
  resources:
  - id: pods
    template:
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: '${schema.metadata.name}', annotations: {note: '${schema.spec.note}'}}
      spec:
        selector: {matchLabels: {app: '${schema.metadata.name}'}}
        template:
          metadata: {labels: {app: '${schema.metadata.name}'}}
          spec: {containers: [{name: a, image: a, resources: {requests: {cpu: '9000'}}}]}
";
    stand.define(&definition.replace("NAME", name).replace("KIND", kind))
}

fn opened(stand: &Stand) -> Result<()> {
    let rack = of_pods(stand, "racks", "Rack")?;
    let room = stand.define(
        r"
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: rooms}
spec:
  schema: {apiVersion: v1alpha1, kind: Room, spec: {note: string | default=a}}
  resources:
  - id: rack
    template:
      apiVersion: kro.run/v1alpha1
      kind: Rack
      metadata: {name: '${schema.metadata.name}-rack'}
      spec: {note: '${schema.spec.note}'}
",
    )?;
    let person = Person::new(stand, "rooms")?;
    room.create("big", "eu", "{}")?;
    room.wait_active("big", &["eu"])?;
    let plain = person.shows("trace room/big --all --depth 1", &["✓ rack", "Rack/big-rack"])?;
    ensure!(!plain.contains("Deployment/"), "one level alone: {plain}");
    eventually(PATIENCE, "the pods that do not run are shown", || {
        let tree = person.shows("trace room/big --all --pods", &["Rack/big-rack", "Deployment/big-rack"])?;
        ensure!(tree.contains("big-rack-") && tree.contains("available"), "{tree}");
        Ok(())
    })?;
    room.remove("big")?;
    drop(rack);
    Ok(())
}

/// A command that goes on, ended with the trial.
struct Going {
    child: Child,
    lines: Receiver<String>,
}

impl Going {
    fn start(person: &Person, line: &str) -> Result<Self> {
        let mut child = Command::new(binary()?)
            .args(line.split_whitespace())
            .env("KUBECONFIG", &person.kubeconfig)
            .env("LC_ALL", "C.UTF-8")
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().context("no output")?;
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines })
    }

    /// Waits for a line with this in it.
    fn says(&self, part: &str) -> Result<String> {
        let (until, mut before) = (Instant::now() + PATIENCE, Vec::new());
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(part) => return Ok(line),
                Ok(line) => before.push(line),
                Err(_) => bail!("it does not say {part:?}, but\n{}", before.join("\n")),
            }
        }
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn watched(stand: &Stand) -> Result<()> {
    let kind = of_pods(stand, "boards", "Board")?;
    let person = Person::new(stand, "boards")?;
    kind.create("one", "eu", "{}")?;
    kind.wait_active("one", &["eu"])?;
    let trace = Going::start(&person, "trace board/one --all -w")?;
    trace.says("Board boards/one   ACTIVE")?;
    trace.says("✓ pods")?;
    let events = Going::start(&person, "events board/one -w")?;
    // What happens on a cluster alone changes no instance, and is shown all the same.
    let event = |name: &str, about: &str, reason: &str| {
        json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": "boards"},
            "involvedObject": {"apiVersion": "apps/v1", "kind": "Deployment", "name": about, "namespace": "boards"},
            "reason": reason, "message": "told by a trial", "type": "Warning", "count": 1,
            "lastTimestamp": jiff::Timestamp::now().to_string()})
    };
    let tell =
        |event: serde_json::Value| stand.create("eu", "/api/v1/namespaces/boards/events", &event.to_string());
    // The watch stands once it told what there was.
    tell(event("a", "one", "FirstOfAll"))?;
    events.says("FirstOfAll")?;
    tell(event("b", "one", "ByATrial"))?;
    let line = events.says("ByATrial")?;
    ensure!(
        line.contains("eu") && line.contains("Deployment/one") && line.contains("told by a trial"),
        "{line}"
    );
    tell(event("c", "other", "OfAnother"))?;
    tell(event("d", "one", "AtLast"))?;
    let line = events.says("AtLast")?;
    ensure!(!line.contains("OfAnother"), "{line}");
    drop(events);

    kind.edit("one", "{note: b}")?;
    trace.says("Board boards/one   ACTIVE")?;
    trace.says("✓ pods")?;
    kind.remove("one")
}
