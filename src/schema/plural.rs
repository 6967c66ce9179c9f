//! The plural of a kind, which names the CRD.
//!
//! kro takes it from an English inflection library. A CRD that kro made must be found again under the same name, so
//! the outcome is that library's for every word, its mistakes included (`octopus` becomes `octupuses`, `price` stays
//! `price`). Only the acronyms in -s differ: there the library's plural is no valid name (`dnsDNSes`), no CRD can
//! carry it, and `dnses` is used.

/// One change of ending, and the stems that it applies to.
struct Family {
    singular: &'static str,
    plural: &'static str,
    /// Separated by blanks; `_` is the empty stem.
    stems: &'static str,
}

const fn family(singular: &'static str, plural: &'static str, stems: &'static str) -> Family {
    Family { singular, plural, stems }
}

/// Words that are irregular only when they stand alone.
const ALONE: &[Family] = &[
    family("", "en", "ox"),
    family("ouse", "ice", "l"),
    family("ie", "ice", "d"),
    family("is", "es", "ax"),
    family("", "es", "alias"),
    family("", "s", "use toe ssh eia tia"),
];

/// Irregular words, also as the last part of a longer one (`mycache`, `custommouse`).
const WORDS: &[Family] = &[
    family(
        "",
        "",
        "aircraft beef bison blues chassis deer fish moose police salmon series sheep shrimp species swine trout tuna \
         you media equipment information jeans money news rice graffiti",
    ),
    family(
        "",
        "s",
        "human bureau stadium curriculum quota base vedalia abuse cause clause cruse excuse fuse house misuse muse \
         pause ache dwarf hoof chive hive move movie cookie pretorium agenda formula shoe",
    ),
    family("", "es", "topaz buffalo potato tomato"),
    family("", "ren", "child"),
    family("oot", "eet", "f"),
    family("oose", "eese", "g"),
    family("ooth", "eeth", "t"),
    family("man", "men", "_ wo"),
    family("ouse", "ice", "m"),
    family("erson", "eople", "p"),
    family("u", "ux", "adie fablia"),
    family("on", "a", "criteri gangli lexic mitochondri noumen phenomen tax"),
    family("um", "a", "medi aquari auditori symposi"),
    family("us", "i", "alumn bacill cact cocc foc loc nucle radi syllab"),
    family("topus", "tupuses", "oc"),
    family("us", "ora", "corp"),
    family("us", "era", "gen"),
    family("", "e", "alumna vertebra differentia minutia vita larva postcava praecava uva"),
    family("ex", "ices", "ap cod ind lat vert vort"),
    family("ix", "ices", "append rad hel"),
    family("is", "es", "cris ellips genes oas thes test bas"),
    family("f", "ves", "thie"),
];

/// Plurals that words have beside the usual one. A kind that is written like one is plural already.
const SECOND_PLURALS: &str = "beefs fishes salmons shrimps swines trouts tunas adieus bureaux ganglions lexicons \
    mitochondrions stadia aquariums auditoriums symposiums curricula alumnuses cactuses focuses locuses nucleuses \
    octopi radiuses corpuses apexes codexes indexes latexes vertexes vortexes appendixes radixes helixes buffalos \
    dwarves hooves formulae";

/// Endings; the longest that fits decides.
const ENDINGS: &[Family] = &[
    family("", "s", "tive ay ey oy uy seum ouse lause io ano lo to oo"),
    family("", "es", "us ch sh ss tz o x"),
    family("z", "zzes", "e i"),
    family("zz", "zzes", "_"),
    family("f", "ves", "ea oa ar r l"),
    family("fe", "ves", "_ a r"),
    family("y", "ies", "_ qu"),
    family("", "x", "eau"),
    family("ula", "ulae", "b"),
    family("dula", "bulae", "_"),
    family("lula", "bulae", "_"),
    family("nula", "bulae", "_"),
    family("vula", "bulae", "_"),
    family("on", "a", "hedr"),
    family(
        "um",
        "a",
        "i e o strac d el il ol ul ll yl im ern gn br cr ter ser tr ant at ent et it ot ut ct ov",
    ),
    family("ix", "ices", "tr"),
    family("is", "es", "ias mes kines res gnos ops ys"),
];

/// Acronyms for which the library has no valid plural.
const ACRONYMS_IN_S: &str = "aes bss cmos des dns ess fcs https ids ips mpls pots";

/// The plural of a kind in lower case.
///
/// ```
/// assert_eq!(kro_hub::schema::plural::of("networkpolicy"), "networkpolicies");
/// ```
pub fn of(lower_kind: &str) -> String {
    if lower_kind.is_empty() {
        return String::new();
    }
    if words(ACRONYMS_IN_S).any(|w| w == lower_kind) {
        return format!("{lower_kind}es");
    }
    if words(SECOND_PLURALS).any(|w| w == lower_kind) {
        return lower_kind.to_owned();
    }
    if let Some((_, plural)) = longest(ALONE, lower_kind).filter(|(length, _)| *length == lower_kind.len()) {
        return plural;
    }
    if let Some((_, plural)) = longest(WORDS, lower_kind).or_else(|| longest(ENDINGS, lower_kind)) {
        return plural;
    }
    if lower_kind.ends_with('s') { lower_kind.to_owned() } else { format!("{lower_kind}s") }
}

/// The plural by the longest entry that fits, and how much of the word that entry covers. A word that ends in a
/// plural form is plural already.
fn longest(families: &[Family], word: &str) -> Option<(usize, String)> {
    let mut best: Option<(usize, String)> = None;
    for family in families {
        for stem in words(family.stems) {
            let stem = if stem == "_" { "" } else { stem };
            let plural = ends(word, stem, family.plural).map(|(length, _)| (length, word.to_owned()));
            let singular = ends(word, stem, family.singular)
                .map(|(length, rest)| (length, format!("{rest}{stem}{}", family.plural)));
            for found in [plural, singular].into_iter().flatten() {
                if best.as_ref().is_none_or(|(length, _)| found.0 > *length) {
                    best = Some(found);
                }
            }
        }
    }
    best
}

/// The word without `stem` + `ending`, and the length of these.
fn ends<'a>(word: &'a str, stem: &str, ending: &str) -> Option<(usize, &'a str)> {
    let rest = word.strip_suffix(ending)?.strip_suffix(stem)?;
    Some((stem.len() + ending.len(), rest))
}

fn words(list: &'static str) -> impl Iterator<Item = &'static str> {
    list.split_ascii_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn kinds_people_write() {
        let table = [
            ("app", "apps"),
            ("webapp", "webapps"),
            ("pod", "pods"),
            ("proxy", "proxies"),
            ("policy", "policies"),
            ("gateway", "gateways"),
            ("key", "keys"),
            ("ingress", "ingresses"),
            ("class", "classes"),
            ("process", "processes"),
            ("status", "statuses"),
            ("bus", "buses"),
            ("box", "boxes"),
            ("bash", "bashes"),
            ("mesh", "meshes"),
            ("index", "indices"),
            ("vertex", "vertices"),
            ("matrix", "matrices"),
            ("database", "databases"),
            ("mydatabase", "mydatabases"),
            ("analysis", "analyses"),
            ("axis", "axes"),
            ("person", "people"),
            ("child", "children"),
            ("man", "men"),
            ("woman", "women"),
            ("leaf", "leaves"),
            ("wolf", "wolves"),
            ("knife", "knives"),
            ("elf", "elves"),
            ("human", "humans"),
            ("quota", "quotas"),
            ("schema", "schemas"),
            ("alias", "aliases"),
            ("hero", "heroes"),
            ("repo", "repoes"),
            ("photo", "photos"),
            ("zoo", "zoos"),
            ("radio", "radios"),
            ("stadium", "stadiums"),
            ("fez", "fezzes"),
            ("quiz", "quizzes"),
            ("mouse", "mice"),
            ("api", "apis"),
            ("vpn", "vpns"),
            ("ip", "ips"),
            ("id", "ids"),
            ("mycache", "mycaches"),
            ("custommouse", "custommice"),
            ("octopus", "octupuses"),
            ("cellula", "celbulae"),
            ("ssh", "sshs"),
            ("rsh", "rshes"),
            ("", ""),
        ];
        for (word, plural) in table {
            assert_eq!(of(word), plural, "{word}");
        }
    }

    #[test]
    fn words_that_stay() {
        let table = [
            "redis",
            "kubernetes",
            "endpoints",
            "mydns",
            "data",
            "metadata",
            "media",
            "news",
            "fish",
            "chassis",
            "price",
            "lambda",
            "oxen",
            "dice",
            "curricula",
        ];
        for word in table {
            assert_eq!(of(word), word);
        }
    }

    #[test]
    fn acronyms_in_s_get_a_valid_plural_of_their_own() {
        let table = [("dns", "dnses"), ("https", "httpses"), ("ids", "idses"), ("bss", "bsses")];
        for (word, plural) in table {
            assert_eq!(of(word), plural);
        }
        assert_ne!(of("ids"), of("id"));
    }

    proptest! {
        /// A kind is a letter with letters and digits after it; its plural must be a DNS label, whatever it is.
        #[test]
        fn always_a_valid_name(kind in "[a-z][a-z0-9]{0,62}") {
            let plural = of(&kind);
            prop_assert!(plural.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()), "{}", plural);
            prop_assert!(!plural.is_empty());
        }
    }
}
