//! How changes would travel, where a Placement lets them go by stages.

use crate::view::{Look, Mark};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt::Write;

/// So many clusters, or instances, are named in full.
const MOST_NAMED: usize = 3;

/// A rollout that a change would begin. It is told as if every cluster did well.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutChange {
    /// Who says so: `Placement shop/web`.
    pub by: String,
    /// The definition whose revision it is, where that of the whole kind moves as one; else empty.
    pub definition: String,
    /// The instances that move: `Web shop/shop`.
    pub instances: Vec<String>,
    /// The version that it would be; 0 where those of several instances differ.
    pub version: u64,
    pub stages: Vec<StageChange>,
    /// The version that all clusters were at last, where this is the same again: stages do not wait for each other then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub back_to: Option<u64>,
    /// So many clusters, or pairs of an instance and a cluster, may fail before nothing more is begun.
    pub max_failures: usize,
    /// Nothing is begun while it is so.
    pub paused: bool,
    /// The highest revision of the definition that may run, where that is lower than the one that would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<i64>,
}

/// One stage of it, with something to move.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageChange {
    pub name: String,
    /// In the order of their turns.
    pub clusters: Vec<String>,
    pub at_once: usize,
    /// How long each has to be well before it counts as done.
    pub soak_seconds: u64,
    /// Somebody has to approve it first.
    pub approval: bool,
}

/// The same for several instances is told once.
pub fn together(all: Vec<RolloutChange>) -> Vec<RolloutChange> {
    let mut out: Vec<RolloutChange> = Vec::new();
    for one in all {
        let alike = |other: &&mut RolloutChange| {
            let named =
                RolloutChange { instances: one.instances.clone(), version: one.version, ..(**other).clone() };
            named == one
        };
        match out.iter_mut().find(alike) {
            Some(known) => {
                known.instances.extend(one.instances);
                if known.version != one.version {
                    known.version = 0;
                }
            }
            None => out.push(one),
        }
    }
    out
}

impl RolloutChange {
    pub(super) fn text(&self, look: &Look) -> String {
        let instances = named(&self.instances);
        let what = match self.definition.as_str() {
            "" => instances,
            definition => format!("definition {definition}, {instances}"),
        };
        let version = match self.version {
            0 => String::new(),
            version => format!("   version {version}"),
        };
        let mut out = format!("{}\n", look.bold(&format!("rollout of {what}   by {}{version}", self.by)));
        let held = look.painted(Mark::Silent, "?");
        if let Some(pinned) = self.pinned {
            let _ = writeln!(
                out,
                "  {held} held: revision {pinned} of the definition is the highest that may run"
            );
        }
        if self.stages.is_empty() {
            return out;
        }
        if self.paused {
            let _ = writeln!(out, "  {held} held: paused; once it is not:");
        }
        if let Some(stable) = self.back_to {
            let _ = writeln!(out, "  goes back to what version {stable} was, all stages at once");
        }
        let wide = self.stages.iter().map(|stage| stage.name.chars().count()).max().unwrap_or_default();
        for (at, stage) in self.stages.iter().enumerate() {
            let _ = writeln!(out, "  {} {:wide$}  {}", at + 1, stage.name, stage.words());
        }
        if self.back_to.is_some() {
            return out;
        }
        let _ = writeln!(
            out,
            "  no more is begun once {}",
            match self.max_failures {
                0 => "one fails".to_owned(),
                most => format!("more than {most} fail"),
            }
        );
        out
    }
}

impl StageChange {
    /// `eu-1, eu-2   1 at a time, each well for 30m; after approval`
    fn words(&self) -> String {
        let mut out = named(&self.clusters);
        let mut parts = Vec::new();
        if self.clusters.len() > self.at_once {
            parts.push(format!("{} at a time", self.at_once));
        } else if self.clusters.len() > 1 {
            parts.push("all at once".to_owned());
        }
        if self.soak_seconds > 0 {
            parts.push(format!("each well for {}", span(self.soak_seconds)));
        }
        if self.approval {
            parts.push("waits for approval".to_owned());
        }
        if !parts.is_empty() {
            let _ = write!(out, "   {}", parts.join(", "));
        }
        out
    }
}

fn named(all: &[String]) -> String {
    match all {
        [first, second, .., last] if all.len() > MOST_NAMED => {
            format!("{first}, {second} … {last} ({})", all.len())
        }
        all => all.join(", "),
    }
}

/// As people write it: `30m`, `1h30m`.
fn span(seconds: u64) -> String {
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Look = Look { colour: false, utf8: true, width: None };

    fn stage(
        name: &str,
        clusters: &[&str],
        at_once: usize,
        soak_seconds: u64,
        approval: bool,
    ) -> StageChange {
        let clusters = clusters.iter().map(|name| (*name).to_owned()).collect();
        StageChange { name: name.into(), clusters, at_once, soak_seconds, approval }
    }

    fn rollout(instance: &str, version: u64) -> RolloutChange {
        RolloutChange {
            by: "Placement shop/web".into(),
            definition: String::new(),
            instances: vec![instance.into()],
            version,
            stages: vec![
                stage("canary", &["eu-1", "eu-2"], 1, 1800, false),
                stage("prod", &["a", "b", "c", "d"], 2, 0, true),
                stage("rest", &["z"], 1, 5400, false),
            ],
            back_to: None,
            max_failures: 0,
            paused: false,
            pinned: None,
        }
    }

    #[test]
    fn it_is_told_in_words() {
        let want = "rollout of Web shop/shop   by Placement shop/web   version 8\n  \
                    1 canary  eu-1, eu-2   1 at a time, each well for 30m\n  \
                    2 prod    a, b … d (4)   2 at a time, waits for approval\n  \
                    3 rest    z   each well for 1h30m\n  \
                    no more is begun once one fails\n";
        assert_eq!(rollout("Web shop/shop", 8).text(&LOOK), want);
        let kind = RolloutChange {
            definition: "web".into(),
            paused: true,
            max_failures: 2,
            ..rollout("Web shop/shop", 8)
        };
        let text = kind.text(&LOOK);
        assert!(text.starts_with("rollout of definition web, Web shop/shop   by "), "{text}");
        assert!(text.contains("\n  ? held: paused; once it is not:\n  1 canary"), "{text}");
        assert!(text.ends_with("once more than 2 fail\n"), "{text}");
        let pinned =
            RolloutChange { pinned: Some(4), stages: Vec::new(), ..rollout("Web shop/shop", 8) }.text(&LOOK);
        assert!(
            pinned
                .ends_with("version 8\n  ? held: revision 4 of the definition is the highest that may run\n"),
            "{pinned}"
        );
    }

    #[test]
    fn what_is_the_same_for_several_is_told_once() {
        let back = RolloutChange { back_to: Some(6), ..rollout("Web shop/shop", 8) }.text(&LOOK);
        assert!(
            back.contains("\n  goes back to what version 6 was, all stages at once\n  1 canary"),
            "{back}"
        );
        assert!(!back.contains("no more is begun"), "{back}");
        let other = RolloutChange { max_failures: 1, ..rollout("Web shop/c", 8) };
        let all = together(vec![rollout("Web shop/a", 8), other.clone(), rollout("Web shop/b", 3)]);
        let both =
            RolloutChange { instances: vec!["Web shop/a".into(), "Web shop/b".into()], ..rollout("", 0) };
        assert_eq!(all, [both, other]);
    }
}
