//! Whether a definition that is being deleted may go, and what is certain about instances.

/// What is known of it.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Somebody said that instances do not matter.
    pub abandoned: bool,
    /// Its CRD is on the hub.
    pub served: bool,
    /// Instances are watched, or are going to be.
    pub watching: bool,
    /// A request that creates or changes its CRD is under way.
    pub crd_busy: bool,
    /// Names of the instances of its kind; `None` while they were not all seen.
    pub instances: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Go,
    /// These instances hold it.
    Held(Vec<String>),
    /// Not known yet.
    Wait,
}

/// That nobody watches instances says nothing about whether there are any: after a restart nobody does yet. Only a
/// definition without CRD has none for certain, even when the kind is served for another definition.
pub fn verdict(facts: Facts) -> Verdict {
    match facts.instances {
        _ if facts.crd_busy => Verdict::Wait,
        _ if facts.abandoned || !(facts.watching || facts.served) => Verdict::Go,
        // Not until it is known whose they are.
        _ if !facts.watching => Verdict::Wait,
        Some(names) if names.is_empty() => Verdict::Go,
        Some(names) => Verdict::Held(names),
        None => Verdict::Wait,
    }
}

/// Whether a definition has no instances beside those that the watch shows.
pub fn is_seen(watching: bool, crd_busy: bool, served: bool) -> bool {
    watching || !(crd_busy || served)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_goes_only_when_it_is_certain_that_it_has_no_instances() {
        let served = Facts { served: true, ..Facts::default() };
        let watching = Facts { watching: true, ..served.clone() };
        let seen = |names: &[&str]| Facts {
            instances: Some(names.iter().map(ToString::to_string).collect()),
            ..watching.clone()
        };
        let cases = [
            ("never served", Facts::default(), Verdict::Go),
            ("just restarted: the CRD is there, nobody watches yet", served.clone(), Verdict::Wait),
            (
                "the kind is another's",
                Facts { watching: false, served: false, ..seen(&["n/a"]) },
                Verdict::Go,
            ),
            ("instances are being listed", watching.clone(), Verdict::Wait),
            ("the CRD left the selection", Facts { served: false, ..watching.clone() }, Verdict::Wait),
            ("no instances", seen(&[]), Verdict::Go),
            ("instances", seen(&["n/a"]), Verdict::Held(vec!["n/a".into()])),
            ("abandoned", Facts { abandoned: true, ..seen(&["n/a"]) }, Verdict::Go),
            ("its CRD is being created", Facts { crd_busy: true, ..Facts::default() }, Verdict::Wait),
        ];
        for (name, facts, want) in cases {
            assert_eq!(verdict(facts), want, "{name}");
        }
    }

    #[test]
    fn a_served_kind_that_nobody_watches_may_have_instances() {
        for (watching, crd_busy, served, want) in [
            (false, false, false, true),
            (false, false, true, false),
            (false, true, false, false),
            (true, false, true, true),
            (true, true, true, true),
        ] {
            assert_eq!(is_seen(watching, crd_busy, served), want, "{watching} {crd_busy} {served}");
        }
    }
}
