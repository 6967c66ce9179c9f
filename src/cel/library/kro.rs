//! What kro adds: stable randomness, hashes, JSON, merging of maps, lists by index, omission, conditions.

use super::{Row, global, json, member, mismatch};
use crate::cel::budget::Budget;
use crate::cel::error::Fault;
use crate::cel::value::{Map, Opaque, Val};
use md5::Md5;
use sha2::{Digest, Sha256};
use std::sync::Arc;

pub(super) const ROWS: &[Row] = &[
    global(
        "random.seededString",
        "int, string -> string",
        seeded_string,
        "Letters and digits, the same for the same seed.",
    ),
    global(
        "random.seededInt",
        "int, int, string -> int",
        seeded_int,
        "A number from the first up to, without, the second, the same for the same seed.",
    ),
    global("hash.fnv64a", "string -> bytes", fnv64a, "The 64-bit FNV-1a hash."),
    global("hash.sha256", "string -> bytes", sha256, "The SHA-256 hash."),
    global("hash.md5", "string -> bytes", md5, "The MD5 hash."),
    global("json.marshal", "dyn -> string", marshal, "JSON text, keys sorted."),
    global("json.unmarshal", "string -> dyn", unmarshal, "Reads JSON; every number becomes a double."),
    member(
        "merge",
        "map(K, V), map(K, V) -> map(K, V)",
        merge,
        "Both maps; where both have a key, the argument wins.",
    ),
    member(
        "deepMerge",
        "dyn, dyn -> dyn",
        deep_merge,
        "Both maps, also the maps in them; elsewhere the argument wins.",
    ),
    global("lists.setAtIndex", "list(T), int, T -> list(T)", set_at, "With another element at an index."),
    global(
        "lists.insertAtIndex",
        "list(T), int, T -> list(T)",
        insert_at,
        "With a further element at an index.",
    ),
    global("lists.removeAtIndex", "list(T), int -> list(T)", remove_at, "Without the element at an index."),
    global("omit", "-> dyn", omit, "Removes the field or element that it is the value of."),
    global(
        "runtime.newCondition",
        "map(string, dyn) -> kro.run.Condition",
        new_condition,
        "A condition for the status of the instance.",
    ),
    global(
        "runtime.condition",
        "dyn, string -> kro.run.Condition",
        condition,
        "The condition of a type that an object has.",
    ),
];

/// Longest `random.seededString`.
const MAX_RANDOM: i64 = 1 << 16;

fn seeded_string(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let [Val::Int(n), Val::String(seed)] = args else { return Err(mismatch(args)) };
    if *n <= 0 {
        return Err(Fault::invalid("random.seededString length must be positive"));
    }
    if *n > MAX_RANDOM {
        return Err(Fault::invalid(format!("random.seededString length must be at most {MAX_RANDOM}")));
    }
    budget.text(seed.len() + *n as usize)?;
    let hash = Sha256::digest(seed.as_bytes());
    // The text repeats after eight characters, each made of four bytes of the hash. Names that exist depend on the
    // repetition.
    let letters: Vec<char> = hash
        .chunks_exact(4)
        .filter_map(|c| Some(u32::from_be_bytes(c.try_into().ok()?)))
        .filter_map(|u| ALPHABET.get((u % 36) as usize).map(|b| char::from(*b)))
        .collect();
    Ok(Val::string(letters.iter().cycle().take(*n as usize).collect::<String>()))
}

fn seeded_int(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let [Val::Int(min), Val::Int(max), Val::String(seed)] = args else { return Err(mismatch(args)) };
    if min >= max {
        return Err(Fault::invalid("random.seededInt min must be less than max"));
    }
    budget.text(seed.len())?;
    let hash = Sha256::digest(seed.as_bytes());
    let first = hash.iter().take(8).fold(0_u64, |n, b| n << 8 | u64::from(*b));
    let width = max.wrapping_sub(*min) as u64;
    Ok(Val::Int(min.wrapping_add((first % width) as i64)))
}

fn text(budget: &Budget, args: &[Val]) -> Result<Arc<str>, Fault> {
    match args {
        [Val::String(s)] => {
            budget.text(s.len())?;
            Ok(Arc::clone(s))
        }
        _ => Err(mismatch(args)),
    }
}

fn fnv64a(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let hash = text(budget, args)?
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    Ok(Val::Bytes(Arc::from(hash.to_be_bytes())))
}

fn sha256(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let hash = Sha256::digest(text(budget, args)?.as_bytes());
    Ok(Val::Bytes(Arc::from(hash.as_slice())))
}

fn md5(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let hash = Md5::digest(text(budget, args)?.as_bytes());
    Ok(Val::Bytes(Arc::from(hash.as_slice())))
}

fn marshal(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    match args {
        [value] => json::write(value, json::Dialect::Kro, budget),
        _ => Err(mismatch(args)),
    }
}

fn unmarshal(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    json::read(&text(budget, args)?, budget)
}

fn merge(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let [Val::Map(a), Val::Map(b)] = args else { return Err(mismatch(args)) };
    budget.items(a.len() + b.len())?;
    let mut out = Map::clone(a);
    out.origin = None;
    for (key, value) in b.iter() {
        out.insert(key, value.clone())?;
    }
    Ok(Val::map(out))
}

fn deep_merge(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    match args {
        [Val::Map(a), Val::Map(b)] => merged(a, b, budget),
        _ => Err(Fault::overload("deepMerge", args)),
    }
}

fn merged(a: &Map, b: &Map, budget: &Budget) -> Result<Val, Fault> {
    budget.items(a.len() + b.len())?;
    let mut out = a.clone();
    out.origin = None;
    for (key, theirs) in b.iter() {
        let value = match (a.get(&key), theirs) {
            (Some(Val::Map(ours)), Val::Map(theirs)) => merged(ours, theirs, budget)?,
            _ => theirs.clone(),
        };
        out.insert(key, value)?;
    }
    Ok(Val::map(out))
}

/// The elements, and the index if it is below `end` of them.
fn at<'a>(name: &str, budget: &Budget, args: &'a [Val], more: usize) -> Result<(&'a [Val], usize), Fault> {
    let (Some(Val::List(items)), Some(Val::Int(index))) = (args.first(), args.get(1)) else {
        return Err(mismatch(args));
    };
    budget.items(items.len() + 1)?;
    let end = items.len() + more;
    let index = usize::try_from(*index).ok().filter(|i| *i < end);
    let index = index.ok_or_else(|| Fault::invalid(format!("{name}: index is not in [0, {end})")))?;
    Ok((items, index))
}

fn set_at(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let (items, index) = at("lists.setAtIndex", budget, args, 0)?;
    let mut out = items.to_vec();
    if let (Some(slot), Some(value)) = (out.get_mut(index), args.get(2)) {
        slot.clone_from(value);
    }
    Ok(Val::list(out))
}

fn insert_at(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let (items, index) = at("lists.insertAtIndex", budget, args, 1)?;
    let mut out = items.to_vec();
    out.splice(index..index, args.get(2).cloned());
    Ok(Val::list(out))
}

fn remove_at(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let (items, index) = at("lists.removeAtIndex", budget, args, 0)?;
    let mut out = items.to_vec();
    out.splice(index..=index, None);
    Ok(Val::list(out))
}

fn omit(_: &Budget, _: &[Val]) -> Result<Val, Fault> {
    Ok(Val::Opaque(Arc::new(Opaque::Omit)))
}

const CONDITION_FIELDS: [&str; 4] = ["type", "status", "reason", "message"];

fn new_condition(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let [Val::Map(fields)] = args else { return Err(mismatch(args)) };
    let wrong = |what: String| Fault::invalid(format!("runtime.newCondition: {what}"));
    let mut out = Map::default();
    for (key, value) in fields.iter() {
        let known = match &key {
            Val::String(name) => CONDITION_FIELDS.iter().find(|f| **f == name.as_ref()),
            _ => None,
        };
        let name = known.ok_or_else(|| wrong("takes type, status, reason and message only".to_owned()))?;
        if !matches!(value, Val::String(_)) {
            return Err(wrong(format!("{name} must be a string, found {}", value.type_name())));
        }
        out.insert(key, value.clone())?;
    }
    let field = |name: &str| match out.strings.get(name) {
        Some(Val::String(s)) => s.as_ref().to_owned(),
        _ => String::new(),
    };
    if field("type").is_empty() {
        return Err(wrong("type must not be empty".to_owned()));
    }
    if !matches!(field("status").as_str(), "True" | "False" | "Unknown") {
        return Err(wrong("status must be True, False or Unknown".to_owned()));
    }
    Ok(Val::map(out))
}

fn condition(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let [object, wanted @ Val::String(_)] = args else { return Err(mismatch(args)) };
    let field = |value: &Val, name: &str| match value {
        Val::Map(map) => map.strings.get(name).cloned(),
        _ => None,
    };
    let mut found = None;
    if let Some(Val::List(items)) = field(object, "status").and_then(|s| field(&s, "conditions")) {
        for item in items.iter() {
            if let Some(kind) = field(item, "type")
                && kind.equals(wanted, budget)?
            {
                found = Some(item.clone());
                break;
            }
        }
    }
    let mut out = Map::default();
    for name in CONDITION_FIELDS {
        let value = found.as_ref().and_then(|c| field(c, name)).filter(|v| matches!(v, Val::String(_)));
        let value = value.unwrap_or_else(|| {
            if name == "type" && found.is_some() { wanted.clone() } else { Val::string("") }
        });
        out.insert(Val::string(name), value)?;
    }
    Ok(Val::map(out))
}
