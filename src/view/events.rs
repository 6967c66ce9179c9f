//! Events about an instance and what is made of it, on the hub and on its clusters.

use super::document::View;
use super::look::Look;
use super::table::Table;
use crate::api::Object;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// What happened, the oldest first.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct EventList {
    pub events: Vec<Event>,
}

impl View for EventList {
    const KIND: &'static str = "EventList";
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When it happened last.
    pub time: String,
    /// The cluster where it is told; `hub` for the hub.
    pub cluster: String,
    pub object: String,
    #[serde(rename = "type")]
    pub of_type: String,
    pub reason: String,
    pub message: String,
    pub count: i64,
}

/// Something that events are about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct About {
    pub kind: String,
    pub name: String,
    /// What it makes itself, as a Deployment does, is named after it.
    pub with_offspring: bool,
}

impl About {
    fn is(&self, kind: &str, name: &str) -> bool {
        let own = self.kind == kind && self.name == name;
        let made = self.with_offspring
            && ["Pod", "ReplicaSet", "Job", "PersistentVolumeClaim"].contains(&kind)
            && name.strip_prefix(self.name.as_str()).is_some_and(|rest| rest.starts_with('-'));
        own || made
    }
}

impl EventList {
    /// Adds what a cluster tells of these since this time.
    pub fn add(&mut self, cluster: &str, events: &[Object], about: &[About], since: Timestamp) {
        for event in events {
            let of = |field: &str| {
                let text = event.str_at(&format!("/involvedObject/{field}"));
                if text.is_empty() { event.str_at(&format!("/regarding/{field}")) } else { text }
            };
            let (kind, name) = (of("kind"), of("name"));
            if !about.iter().any(|about| about.is(kind, name)) {
                continue;
            }
            let times =
                ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"];
            let time =
                times.iter().map(|at| event.str_at(at)).find(|time| !time.is_empty()).unwrap_or_default();
            if time.parse::<Timestamp>().is_ok_and(|time| time < since) {
                continue;
            }
            let count = ["/series/count", "/count"].iter().find_map(|at| event.0.pointer(at)?.as_i64());
            self.events.push(Event {
                time: seconds(time),
                cluster: cluster.to_owned(),
                object: format!("{kind}/{name}"),
                of_type: event.str_at("/type").to_owned(),
                reason: event.str_at("/reason").to_owned(),
                message: match event.0.get("message").or_else(|| event.0.get("note")).and_then(Value::as_str)
                {
                    Some(message) => message.to_owned(),
                    None => String::new(),
                },
                count: count.unwrap_or(1),
            });
        }
        self.events.sort();
        self.events.dedup();
    }

    pub fn text(&self, look: &Look) -> String {
        if self.events.is_empty() {
            return "no events\n".into();
        }
        let mut table = Table::new(["TIME", "CLUSTER", "OBJECT", "REASON", "MESSAGE"]);
        for event in &self.events {
            let many = if event.count > 1 { format!(" (x{})", event.count) } else { String::new() };
            // The last column takes one line.
            let message = event.message.split_whitespace().collect::<Vec<_>>().join(" ");
            let time = event.time.split_once('T').map_or(event.time.as_str(), |(_, time)| time);
            table.row(vec![
                time.trim_end_matches('Z').to_owned(),
                event.cluster.clone(),
                event.object.clone(),
                event.reason.clone(),
                format!("{message}{many}"),
            ]);
        }
        table.text(look)
    }
}

/// Without fractions, so that times sort as text.
fn seconds(time: &str) -> String {
    let parsed = time.parse::<Timestamp>();
    parsed.map_or_else(|_| time.to_owned(), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_of_an_instance_and_its_offspring_by_time() {
        let event = |kind: &str, name: &str, time: &str, reason: &str, count: i64| {
            Object(
                json!({"involvedObject": {"kind": kind, "name": name}, "lastTimestamp": time, "type": "Warning",
                "reason": reason, "message": "exceeded\n quota", "count": count}),
            )
        };
        let about = [
            About { kind: "WebApp".into(), name: "shop".into(), with_offspring: false },
            About { kind: "Deployment".into(), name: "shop".into(), with_offspring: true },
        ];
        let mut list = EventList::default();
        let since = "2026-01-01T00:00:00Z".parse().unwrap();
        list.add(
            "eu-2",
            &[
                event("ReplicaSet", "shop-5f", "2026-01-02T06:53:07Z", "FailedCreate", 4),
                event("Pod", "shopping", "2026-01-02T06:53:07Z", "Other", 1),
                event("ReplicaSet", "shop-5f", "2025-01-02T06:53:07Z", "Old", 1),
            ],
            &about,
            since,
        );
        list.add("hub", &[event("WebApp", "shop", "2026-01-02T06:51:07.5Z", "LeftBehind", 1)], &about, since);
        assert_eq!(crate::view::schemas::wrong(&list), [""; 0]);
        assert_eq!(
            list.text(&Look { colour: false, utf8: true, width: None }),
            "TIME      CLUSTER  OBJECT              REASON        MESSAGE\n\
             06:51:07  hub      WebApp/shop         LeftBehind    exceeded quota\n\
             06:53:07  eu-2     ReplicaSet/shop-5f  FailedCreate  exceeded quota (x4)\n"
        );
        assert_eq!(EventList::default().text(&Look::default()), "no events\n");
    }
}
