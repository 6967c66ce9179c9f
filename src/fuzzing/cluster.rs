//! What an API server says: events of a watch, pages of a list, and who applied what.

use crate::api::Object;
use crate::api::keys::kro;
use crate::reconcile::managers::Managers;
use crate::reconcile::ownership::{applied_fields, dropped_leaf, first_difference, owned_part};
use crate::reconcile::rivals::{owner, rivals, taken};
use crate::reconcile::settled::Rules;
use crate::reconcile::world::Stored;
use crate::spoke::listwatch;
use serde_json::{Value, json};

const MANAGER: &str = kro::MANAGER_APPLYSET;
const OURS: [&str; 2] = [kro::MANAGER_APPLYSET, kro::MANAGER_PARENT];
const LETTER: Rules<'static> = Rules { schema: None, as_served: false };

/// One line of a watch, or one page of a list: what is kept of an object is what was said, but for who applied what.
///
/// # Panics
/// A law is broken.
pub fn watch_event(line: &[u8]) {
    let (listed, slim) = listwatch::heard(line);
    for said in listed {
        let stored = Stored::new(said.clone());
        let kept = stored.object.0.root().unpack();
        assert_eq!(kept, without_managers(said.clone()), "what is kept is what was said");
        let again = Stored::new(said.clone());
        assert!(
            stored == again && stored.fingerprint(MANAGER) == again.fingerprint(MANAGER),
            "the same again"
        );
        let object = Object(said);
        let _ = (object.object_ref(), object.version(), object.is_deleting(), format!("{stored:?}"));
        let _ = (stored.rivals(), stored.covers(MANAGER, &["f:metadata", "f:labels"]));
    }
    for (whole, slim) in slim {
        assert_eq!(without_managers(whole), slim, "who applied what is left out, and nothing else");
    }
}

fn without_managers(mut object: Value) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object
}

/// JSON with what is `desired` and what is `live`, whose `managedFields` anybody may have filled.
///
/// # Panics
/// A law is broken.
pub fn managed_fields(text: &[u8]) {
    let Ok(both) = serde_json::from_slice::<Value>(text) else { return };
    let part = |key: &str| both.get(key).cloned().unwrap_or_default();
    let (desired, live) = (part("desired"), part("live"));
    let stored = Stored::new(live.clone());
    let ours = applied_fields(&live, MANAGER);
    assert_eq!(stored.fields(MANAGER).map(|at| at.unpack()).as_ref(), ours, "what we applied is kept");
    let others = rivals(&live, &OURS);
    assert!(others.iter().all(|rival| !OURS.contains(&rival.manager.as_str())));
    drop((Managers::of(&live).rivals(), stored.projection(MANAGER), stored.fingerprint(MANAGER)));

    let found = taken(&desired, &live, ours, &others);
    assert!(found.is_none_or(|taken| others.iter().any(|rival| rival.manager == taken.manager)));
    assert_eq!(taken(&desired, &live, ours, &[]), None, "nobody else, nothing taken");
    let (wanted, there) = (owned_part(&desired), owned_part(&live));
    let nothing = json!({});
    let _ = LETTER.settled(&wanted, &there, ours.unwrap_or(&nothing));
    let _ =
        (LETTER.covered(&wanted, &there), dropped_leaf(&desired, &live), first_difference(&desired, &live));
    assert!(LETTER.covered(&there, &there), "an object covers itself");
    assert_eq!((dropped_leaf(&live, &live), first_difference(&live, &live)), (None, String::new()));
    for steps in paths(&live) {
        let by = owner(&live, &OURS, &steps);
        assert!(by.is_none_or(|by| others.iter().any(|rival| rival.manager == by)));
    }
}

/// Paths of an object, as far as there are not very many.
fn paths(of: &Value) -> Vec<Vec<String>> {
    let mut found: Vec<(Vec<String>, &Value)> = vec![(Vec::new(), of)];
    let mut next = 0;
    while let Some((path, value)) = found.get(next).cloned() {
        next += 1;
        if next > 50 {
            break;
        }
        let with = |step: String| path.iter().cloned().chain([step]).collect::<Vec<_>>();
        match value {
            Value::Object(fields) => found.extend(fields.iter().map(|(k, v)| (with(k.clone()), v))),
            Value::Array(items) => {
                found.extend(items.iter().enumerate().map(|(i, v)| (with(i.to_string()), v)))
            }
            _ => {}
        }
    }
    found.into_iter().map(|(path, _)| path).collect()
}
