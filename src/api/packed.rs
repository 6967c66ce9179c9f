//! A JSON value in few bytes, which can be read without being unpacked.
//!
//! A tree of [`serde_json::Value`] takes about ten times what its text does: each map is a node of several hundred bytes, each
//! text an allocation. What is kept of a fleet is kept packed, and unpacked where an expression or a comparison
//! reads all of it.
//!
//! One byte says what follows, or is already all of it:
//!
//! | first byte | what it is | then |
//! |---|---|---|
//! | 0 to 2 | null, false, true | |
//! | 3, 4 | a whole number, a negative one | its amount |
//! | 5 | any other number | 8 bytes |
//! | 6, 7 | a list, a map | the length of its content, then items, or texts and values in turn, by their texts |
//! | 8 | a text | its length, its bytes |
//! | 9 to 31 | a text of 0 to 22 bytes | its bytes |
//! | 32 to 255 | one of the [`words`] | |
//!
//! Amounts and lengths are of 7 bits a byte, the lowest first; the high bit says that another byte follows.

mod words;

use serde_json::{Map, Number, Value};
use std::cmp::Ordering;
use std::fmt;
use words::{WORDS, word};

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const WHOLE: u8 = 3;
const NEGATIVE: u8 = 4;
const REAL: u8 = 5;
const LIST: u8 = 6;
const MAP: u8 = 7;
const TEXT: u8 = 8;
const SHORT: u8 = 9;
/// The longest text whose length is in its first byte.
const LONGEST_SHORT: usize = 22;
const WORD: u8 = 32;

/// A JSON value in few bytes. Equal values have equal bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Packed(Box<[u8]>);

/// A value within a [`Packed`] one.
#[derive(Clone, Copy)]
pub struct At<'p>(&'p [u8]);

impl Packed {
    pub fn of(value: &Value) -> Self {
        let mut packer = Packer::default();
        packer.value(value);
        packer.packed()
    }

    pub fn root(&self) -> At<'_> {
        At(&self.0)
    }

    pub fn unpack(&self) -> Value {
        self.root().unpack()
    }

    /// The value that these are the bytes of.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl Default for Packed {
    fn default() -> Self {
        Self(Box::new([NULL]))
    }
}

/// Its size alone: values may be secret.
impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packed({} bytes)", self.0.len())
    }
}

impl<'p> At<'p> {
    /// The value that these are the bytes of.
    pub fn of(bytes: &'p [u8]) -> Self {
        Self(bytes)
    }

    pub fn bytes(self) -> &'p [u8] {
        self.0
    }

    /// Whether this is a map.
    pub fn is_map(self) -> bool {
        self.0.first() == Some(&MAP)
    }

    /// Whether this is a list.
    pub fn is_list(self) -> bool {
        self.0.first() == Some(&LIST)
    }

    /// The value of a key, where this is a map.
    pub fn get(self, key: &str) -> Option<At<'p>> {
        for (name, value) in self.entries() {
            match name.cmp(key) {
                Ordering::Less => {}
                Ordering::Equal => return Some(value),
                Ordering::Greater => return None,
            }
        }
        None
    }

    /// What stands at a path of keys.
    pub fn at(self, path: &[&str]) -> Option<At<'p>> {
        path.iter().try_fold(self, |at, key| at.get(key))
    }

    pub fn is_null(self) -> bool {
        self.0.first() == Some(&NULL)
    }

    pub fn as_str(self) -> Option<&'p str> {
        Reader(self.0).text()
    }

    pub fn as_i64(self) -> Option<i64> {
        let mut reader = Reader(self.0);
        match reader.byte()? {
            WHOLE => i64::try_from(reader.amount()?).ok(),
            NEGATIVE => 0_i64.checked_sub_unsigned(reader.amount()?),
            _ => None,
        }
    }

    /// The items of a list; none of anything else.
    pub fn items(self) -> impl Iterator<Item = At<'p>> {
        let mut content = Reader(self.content(LIST));
        std::iter::from_fn(move || content.value())
    }

    /// Keys and values of a map, by key; none of anything else.
    pub fn entries(self) -> impl Iterator<Item = (&'p str, At<'p>)> {
        let mut content = Reader(self.content(MAP));
        std::iter::from_fn(move || Some((content.text()?, content.value()?)))
    }

    pub fn unpack(self) -> Value {
        let mut reader = Reader(self.0);
        match reader.byte().unwrap_or(NULL) {
            NULL => Value::Null,
            FALSE => Value::Bool(false),
            TRUE => Value::Bool(true),
            WHOLE => Value::Number(reader.amount().unwrap_or_default().into()),
            NEGATIVE => self.as_i64().map_or(Value::Null, Value::from),
            REAL => reader.real().and_then(Number::from_f64).map_or(Value::Null, Value::Number),
            LIST => Value::Array(self.items().map(At::unpack).collect()),
            MAP => {
                Value::Object(self.entries().map(|(key, value)| (key.to_owned(), value.unpack())).collect())
            }
            _ => Value::String(self.as_str().unwrap_or_default().to_owned()),
        }
    }

    fn content(self, kind: u8) -> &'p [u8] {
        let mut reader = Reader(self.0);
        if reader.byte() != Some(kind) {
            return &[];
        }
        let length = reader.amount();
        length.and_then(|length| reader.take(length)).unwrap_or_default()
    }
}

/// Reads values one after the other; `None` at the end.
struct Reader<'p>(&'p [u8]);

impl<'p> Reader<'p> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, length: u64) -> Option<&'p [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn amount(&mut self) -> Option<u64> {
        let mut amount = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            amount |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(amount);
            }
        }
        None
    }

    fn real(&mut self) -> Option<f64> {
        let bytes = self.take(8)?;
        Some(f64::from_le_bytes(bytes.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'p str> {
        match self.byte()? {
            first @ WORD.. => WORDS.get(usize::from(first - WORD)).copied(),
            TEXT => {
                let length = self.amount()?;
                std::str::from_utf8(self.take(length)?).ok()
            }
            first @ SHORT.. => std::str::from_utf8(self.take(u64::from(first - SHORT))?).ok(),
            _ => None,
        }
    }

    fn value(&mut self) -> Option<At<'p>> {
        let whole = self.0;
        match self.byte()? {
            NULL | FALSE | TRUE | WORD.. => {}
            WHOLE | NEGATIVE => drop(self.amount()?),
            REAL => drop(self.take(8)?),
            LIST | MAP | TEXT => {
                let length = self.amount()?;
                self.take(length)?;
            }
            first => drop(self.take(u64::from(first - SHORT))?),
        }
        Some(At(whole.get(..whole.len() - self.0.len())?))
    }
}

/// Writes a [`Packed`] value: one value, in whatever parts.
#[derive(Default)]
pub struct Packer(Vec<u8>);

impl Packer {
    pub fn packed(self) -> Packed {
        if self.0.is_empty() { Packed::default() } else { Packed(self.0.into()) }
    }

    pub fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.0.push(NULL),
            Value::Bool(flag) => self.0.push(if *flag { TRUE } else { FALSE }),
            Value::Number(number) => self.number(number),
            Value::String(text) => self.text(text),
            Value::Array(items) => self.list(|packer| items.iter().for_each(|item| packer.value(item))),
            Value::Object(fields) => self.fields(fields),
        }
    }

    /// What is packed already.
    pub fn at(&mut self, at: At) {
        self.0.extend(at.0);
    }

    /// A text, or a key.
    pub fn text(&mut self, text: &str) {
        if let Some(word) = word(text) {
            self.0.push(WORD + word);
            return;
        }
        match u8::try_from(text.len()) {
            Ok(length) if text.len() <= LONGEST_SHORT => self.0.push(SHORT + length),
            _ => {
                self.0.push(TEXT);
                amount(text.len() as u64, &mut self.0);
            }
        }
        self.0.extend(text.as_bytes());
    }

    /// A list of the values that `items` writes.
    pub fn list(&mut self, items: impl FnOnce(&mut Self)) {
        self.within(LIST, items);
    }

    /// A map of the keys and values that `entries` writes in turn, in the order of the keys.
    pub fn map(&mut self, entries: impl FnOnce(&mut Self)) {
        self.within(MAP, entries);
    }

    fn fields(&mut self, fields: &Map<String, Value>) {
        self.map(|packer| {
            for (key, value) in fields {
                packer.text(key);
                packer.value(value);
            }
        });
    }

    fn number(&mut self, number: &Number) {
        if let Some(whole) = number.as_u64() {
            self.0.push(WHOLE);
            amount(whole, &mut self.0);
        } else if let Some(negative) = number.as_i64() {
            self.0.push(NEGATIVE);
            amount(negative.unsigned_abs(), &mut self.0);
        } else {
            self.0.push(REAL);
            self.0.extend(number.as_f64().unwrap_or_default().to_le_bytes());
        }
    }

    /// The length stands before the content, and is known after it.
    fn within(&mut self, kind: u8, content: impl FnOnce(&mut Self)) {
        self.0.push(kind);
        let start = self.0.len();
        content(self);
        let mut length = Vec::with_capacity(3);
        amount((self.0.len() - start) as u64, &mut length);
        self.0.splice(start..start, length);
    }
}

fn amount(mut amount: u64, out: &mut Vec<u8>) {
    while amount >= 0x80 {
        out.push(0x80 | (amount & 0x7f) as u8);
        amount >>= 7;
    }
    out.push(amount as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_filter("one of its kind", |n| n.is_finite() && *n != 0.0).prop_map(Value::from),
            ".{0,40}".prop_map(Value::from),
            prop::sample::select(WORDS).prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 60, 8, |inner| {
            let key = prop_oneof![".{0,30}", prop::sample::select(WORDS).prop_map(str::to_owned)];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::btree_map(key, inner, 0..8)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_packed_unpacks_to_the_same_and_reads_alike_without(value in any_json(), other in any_json()) {
            let packed = Packed::of(&value);
            prop_assert_eq!(&packed.unpack(), &value);
            prop_assert_eq!(packed == Packed::of(&other), value == other);
            reads_alike(packed.root(), &value)?;
        }

        #[test]
        fn no_bytes_are_read_beyond_their_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let packed = Packed(bytes.into());
            packed.unpack();
            packed.root().entries().for_each(|(_, at)| assert!(at.as_str().is_none_or(|text| text.len() <= 200)));
        }
    }

    fn reads_alike(at: At, value: &Value) -> Result<(), TestCaseError> {
        prop_assert_eq!(at.as_str(), value.as_str());
        prop_assert_eq!(at.as_i64(), value.as_i64());
        prop_assert_eq!(at.is_null(), value.is_null());
        prop_assert!(at.get("no such key, ever").is_none());
        for (key, inner) in value.as_object().into_iter().flatten() {
            let found = at.get(key);
            prop_assert!(found.is_some());
            found.map_or(Ok(()), |found| reads_alike(found, inner))?;
        }
        let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
        prop_assert_eq!(at.items().count(), items.len());
        at.items().zip(items).try_for_each(|(at, item)| reads_alike(at, item))
    }

    #[test]
    fn an_object_of_kubernetes_takes_a_fraction_of_its_text() {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default",
            "uid": "8f14e45f-ceea-467f-a0e6-0c6f2ba1b9d1", "resourceVersion": "4711",
            "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"kro.run/owned": "true"}},
            "data": {"text": "hello"}});
        let (packed, text) = (Packed::of(&object), object.to_string());
        assert!(
            packed.root().bytes().len() * 2 < text.len(),
            "{} of {}",
            packed.root().bytes().len(),
            text.len()
        );
        assert_eq!(format!("{packed:?}"), format!("Packed({} bytes)", packed.root().bytes().len()));
    }

    #[test]
    fn words_are_told_apart() {
        for (index, text) in WORDS.iter().enumerate() {
            assert_eq!(word(text).map(usize::from), Some(index), "{text} stands there twice");
        }
        assert_eq!(word("no word"), None);
    }
}
