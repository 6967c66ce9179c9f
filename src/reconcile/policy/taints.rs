//! What keeps an instance away from a cluster.

use crate::api::cluster::{Effect, Taint};
use crate::api::placement::{Operator, Toleration};

/// Whether the toleration is for this taint.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let key = toleration.key.is_empty() || toleration.key == taint.key;
    let value = match toleration.operator {
        Operator::Exists => true,
        Operator::Equal => !toleration.key.is_empty() && toleration.value == taint.value,
    };
    key && value && toleration.effect.is_none_or(|effect| effect == taint.effect)
}

/// The first taint that is not tolerated and refuses an instance, one that is there already or a new one.
pub fn keeps_away<'t>(taints: &'t [Taint], tolerations: &[Toleration], is_there: bool) -> Option<&'t Taint> {
    let refuses = |taint: &&Taint| match taint.effect {
        Effect::NoSelect => true,
        Effect::NoSelectIfNew => !is_there,
        Effect::PreferNoSelect | Effect::Other => false,
    };
    taints.iter().filter(refuses).find(|taint| !tolerations.iter().any(|t| tolerates(t, taint)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_toleration_is_for_its_key_value_and_effect() {
        let taint = |key: &str, value: &str, effect| Taint { key: key.into(), value: value.into(), effect };
        let toleration = |key: &str, operator, value: &str, effect| Toleration {
            key: key.into(),
            operator,
            value: value.into(),
            effect,
        };
        use Effect::{NoSelect, NoSelectIfNew, PreferNoSelect};
        use Operator::{Equal, Exists};
        let gpu = taint("gpu", "yes", NoSelect);
        for (toleration, want) in [
            (toleration("gpu", Exists, "", None), true),
            (toleration("gpu", Equal, "yes", None), true),
            (toleration("gpu", Equal, "yes", Some(NoSelect)), true),
            (toleration("gpu", Equal, "yes", Some(NoSelectIfNew)), false),
            (toleration("gpu", Equal, "", None), false),
            (toleration("gpu", Equal, "no", None), false),
            (toleration("", Exists, "", None), true),
            (toleration("", Equal, "", None), false),
            (toleration("cpu", Exists, "", None), false),
        ] {
            assert_eq!(tolerates(&toleration, &gpu), want, "{toleration:?}");
            assert_eq!(keeps_away(std::slice::from_ref(&gpu), &[toleration], true).is_none(), want);
        }
        let taints = [taint("a", "", PreferNoSelect), taint("b", "", NoSelectIfNew)];
        assert_eq!(keeps_away(&taints, &[], true), None);
        assert_eq!(
            keeps_away(&taints, &[], false).map(ToString::to_string).as_deref(),
            Some("b:NoSelectIfNew")
        );
    }
}
