//! YAML with the place of everything in it.

use super::scalar;
use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// Deeper documents are refused: no object of Kubernetes is nearly as deep.
const MAX_DEPTH: usize = 128;
/// Aliases may not blow a document up beyond this many values.
const MAX_NODES: usize = 1 << 20;
/// Nor are more than this many bytes of text copied for them.
const MAX_REPEATED: usize = 16 << 20;

#[derive(Clone, Debug)]
pub struct Node {
    /// Bytes of the file.
    pub span: Range<usize>,
    pub content: Content,
}

#[derive(Clone, Debug)]
pub enum Content {
    /// A scalar: its value, and how it is written.
    Scalar(Value, Style),
    Map(Vec<(Key, Node)>),
    List(Vec<Node>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Plain,
    Single,
    Double,
    Block,
}

#[derive(Clone, Debug)]
pub struct Key {
    pub text: String,
    pub span: Range<usize>,
}

/// Why a document cannot be read.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub span: Range<usize>,
    pub message: String,
    pub help: Option<String>,
    /// Another place that has to do with it.
    pub related: Option<(Range<usize>, String)>,
}

impl Node {
    pub fn value(&self) -> Value {
        match &self.content {
            Content::Scalar(value, _) => value.clone(),
            Content::Map(entries) => {
                Value::Object(entries.iter().map(|(k, v)| (k.text.clone(), v.value())).collect::<Map<_, _>>())
            }
            Content::List(items) => Value::Array(items.iter().map(Node::value).collect()),
        }
    }

    pub fn entries(&self) -> &[(Key, Node)] {
        match &self.content {
            Content::Map(entries) => entries,
            _ => &[],
        }
    }

    pub fn items(&self) -> &[Node] {
        match &self.content {
            Content::List(items) => items,
            _ => &[],
        }
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|(k, _)| k.text == key).map(|(_, node)| node)
    }

    pub fn at(&self, keys: &[&str]) -> Option<&Node> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    pub fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(Value::String(text), _) => Some(text),
            _ => None,
        }
    }

    /// What to underline for the value itself: a scalar whole, of anything larger its beginning.
    pub fn mark(&self, source: &str) -> Range<usize> {
        match &self.content {
            Content::Scalar(_, Style::Block) => first_line(source, &self.span),
            Content::Scalar(..) => self.span.clone(),
            Content::Map(entries) => match entries.first() {
                Some((key, _)) => key.span.clone(),
                None => self.span.clone(),
            },
            Content::List(items) => items.first().map_or(self.span.clone(), |i| i.mark(source)),
        }
    }
}

/// From the start of the span to the end of its line.
fn first_line(source: &str, span: &Range<usize>) -> Range<usize> {
    let text = source.get(span.clone()).unwrap_or_default();
    let line = text.lines().next().unwrap_or_default().trim_end();
    span.start..span.start + line.len()
}

/// The document whose text is `source[from..to]`; `None` if nothing is in it.
pub fn read(source: &str, document: Range<usize>) -> Result<Option<Node>, Box<Refusal>> {
    let Some(text) = source.get(document.clone()) else { return Ok(None) };
    let mut reader = Reader {
        base: document.start,
        text,
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        nodes: 0,
        repeated: 0,
    };
    let root = loop {
        match reader.next()? {
            None | Some((Event::StreamEnd, _)) => return Ok(None),
            Some((event, span)) if event.is_node() => break reader.node(event, span, 0)?,
            Some(_) => {}
        }
    };
    while let Some((event, span)) = reader.next()? {
        if event.is_node() {
            return Err(reader.refuse(&span, "a second document begins without a line ---"));
        }
    }
    // A document of nothing but comments is empty, one that says null as well.
    Ok(Some(root).filter(|r| !matches!(r.content, Content::Scalar(Value::Null, _))))
}

struct Reader<'s> {
    base: usize,
    text: &'s str,
    parser: Parser<'s, granit_parser::StrInput<'s>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    /// Bytes of text that were copied for aliases.
    repeated: usize,
}

type Read<T> = Result<T, Box<Refusal>>;

impl<'s> Reader<'s> {
    fn next(&mut self) -> Read<Option<(Event<'s>, Span)>> {
        loop {
            match self.parser.next_event() {
                None => return Ok(None),
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok(found)) => return Ok(Some(found)),
                Some(Err(error)) => {
                    let at = self.byte(error.marker().byte_offset(), error.marker().index());
                    let refusal = Refusal {
                        span: at..at,
                        message: format!("not YAML: {}", error.info()),
                        help: None,
                        related: None,
                    };
                    return Err(Box::new(refusal));
                }
            }
        }
    }

    fn byte(&self, offset: Option<usize>, index: usize) -> usize {
        let offset = offset
            .unwrap_or_else(|| self.text.char_indices().nth(index).map_or(self.text.len(), |(byte, _)| byte));
        self.base + offset.min(self.text.len())
    }

    fn range(&self, span: &Span) -> Range<usize> {
        let start = self.byte(span.start.byte_offset(), span.start.index());
        let end = self.byte(span.end.byte_offset(), span.end.index());
        start..end.max(start)
    }

    fn refuse(&self, span: &Span, message: impl Into<String>) -> Box<Refusal> {
        Box::new(Refusal { span: self.range(span), message: message.into(), help: None, related: None })
    }

    fn node(&mut self, event: Event<'s>, span: Span, depth: usize) -> Read<Node> {
        self.count(&Extent { nodes: 1, text: 0, depth: 0 }, depth, &span)?;
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (self.scalar(&text, style, tag.as_deref(), &span)?, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (self.list(&span, depth)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.map(&span, depth)?, anchor),
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.remove(&anchor) else {
                    return Err(self.refuse(&span, "an alias inside of what it stands for"));
                };
                (node, anchor)
            }
            _ => return Err(self.refuse(&span, "not YAML: a value is missing")),
        };
        if anchor != 0 {
            // What is kept for further aliases is a copy too.
            self.count(&Extent::of(&node), depth, &span)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    /// So much more there is, at this depth.
    fn count(&mut self, extent: &Extent, depth: usize, span: &Span) -> Read<()> {
        self.nodes += extent.nodes;
        self.repeated += extent.text;
        if depth + extent.depth > MAX_DEPTH {
            return Err(self.refuse(span, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        if self.nodes > MAX_NODES {
            let message = format!("more than {MAX_NODES} values, aliases counted as what they stand for");
            return Err(self.refuse(span, message));
        }
        if self.repeated > MAX_REPEATED {
            let message = format!("aliases stand for more than {} MiB of text", MAX_REPEATED >> 20);
            return Err(self.refuse(span, message));
        }
        Ok(())
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: &Span) -> Read<Node> {
        let tag = tag.and_then(Tag::core_suffix);
        let value = match (style, tag) {
            (_, Some("str" | "binary" | "timestamp")) => text.into(),
            (ScalarStyle::Plain, _) => scalar::plain(text).map_err(|e| self.refuse(span, e))?,
            (_, Some("int" | "float" | "bool" | "null")) => {
                scalar::plain(text).map_err(|e| self.refuse(span, e))?
            }
            _ => text.into(),
        };
        let style = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted => Style::Single,
            ScalarStyle::DoubleQuoted => Style::Double,
            ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
        };
        Ok(Node { span: self.range(span), content: Content::Scalar(value, style) })
    }

    fn list(&mut self, start: &Span, depth: usize) -> Read<Node> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Some((Event::SequenceEnd, end)) => {
                    return Ok(Node {
                        span: self.range(start).start..self.range(&end).end,
                        content: Content::List(items),
                    });
                }
                Some((event, span)) => items.push(self.node(event, span, depth + 1)?),
                None => return Err(self.refuse(start, "not YAML: the list has no end")),
            }
        }
    }

    fn map(&mut self, start: &Span, depth: usize) -> Read<Node> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut merged: Vec<Node> = Vec::new();
        loop {
            match self.next()? {
                Some((Event::MappingEnd, end)) => {
                    merge(&mut entries, merged, &mut seen);
                    return Ok(Node {
                        span: self.range(start).start..self.range(&end).end,
                        content: Content::Map(entries),
                    });
                }
                Some((event, span)) => {
                    let is_merge =
                        matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
                    let key = self.node(event, span, depth + 1)?;
                    let Some((event, value_span)) = self.next()? else {
                        return Err(self.refuse(start, "not YAML: the map has no end"));
                    };
                    let value = self.node(event, value_span, depth + 1)?;
                    if is_merge {
                        let brought = match value.content {
                            Content::List(items) => items,
                            _ => vec![value],
                        };
                        if brought.iter().any(|m| !matches!(m.content, Content::Map(_))) {
                            return Err(self.refuse(&value_span, "<< merges maps, this is none"));
                        }
                        merged.extend(brought);
                        continue;
                    }
                    let key = self.key(key)?;
                    if let Some(first) = seen.get(&key.text).and_then(|i| entries.get(*i)) {
                        return Err(Box::new(Refusal {
                            span: key.span.clone(),
                            message: format!("the key {:?} is there twice", key.text),
                            help: Some("keep one of them; kubectl takes the last without a word".to_owned()),
                            related: Some((first.0.span.clone(), "first here".to_owned())),
                        }));
                    }
                    seen.insert(key.text.clone(), entries.len());
                    entries.push((key, value));
                }
                None => return Err(self.refuse(start, "not YAML: the map has no end")),
            }
        }
    }

    fn key(&self, node: Node) -> Read<Key> {
        let text = match node.content {
            Content::Scalar(Value::String(text), _) => text,
            Content::Scalar(Value::Null, _) => "null".to_owned(),
            Content::Scalar(value, _) => value.to_string(),
            Content::Map(_) | Content::List(_) => {
                return Err(Box::new(Refusal {
                    span: node.span,
                    message: "a key must be a text".to_owned(),
                    help: Some("an expression as a value goes in quotes: '${…}'".to_owned()),
                    related: None,
                }));
            }
        };
        Ok(Key { text, span: node.span })
    }
}

/// What `<<` brings stands behind what the map says itself; of two that bring a key, the first.
fn merge(entries: &mut Vec<(Key, Node)>, merged: Vec<Node>, seen: &mut BTreeMap<String, usize>) {
    for node in merged {
        let Content::Map(brought) = node.content else { continue };
        for (key, value) in brought {
            if !seen.contains_key(&key.text) {
                seen.insert(key.text.clone(), entries.len());
                entries.push((key, value));
            }
        }
    }
}

/// How much a node is.
#[derive(Default)]
struct Extent {
    nodes: usize,
    /// Bytes of its texts, those of keys too.
    text: usize,
    /// Levels below it.
    depth: usize,
}

impl Extent {
    fn of(node: &Node) -> Self {
        let mut extent = Self { nodes: 1, ..Self::default() };
        match &node.content {
            Content::Scalar(Value::String(text), _) => extent.text = text.len(),
            Content::Scalar(..) => {}
            Content::Map(entries) => {
                for (key, value) in entries {
                    extent.text += key.text.len();
                    extent.add(&Self::of(value));
                }
            }
            Content::List(items) => items.iter().for_each(|item| extent.add(&Self::of(item))),
        }
        extent
    }

    fn add(&mut self, inner: &Self) {
        self.nodes += inner.nodes;
        self.text += inner.text;
        self.depth = self.depth.max(inner.depth + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn value(text: &str) -> Result<Value, String> {
        let read = read(text, 0..text.len()).map_err(|r| r.message.clone())?;
        Ok(read.map_or(Value::Null, |node| node.value()))
    }

    #[test]
    fn as_kubectl_reads_it() {
        for (text, want) in [
            ("a: yes\nb: 'yes'\n1: x\ntrue: y\n", json!({"a": true, "b": "yes", "1": "x", "true": true})),
            (
                "a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}\n",
                json!({"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}}),
            ),
            ("a: |\n  one\n  two\n", json!({"a": "one\ntwo\n"})),
            ("# nothing\n", json!(null)),
            ("{\"a\": [1, \"b\"]}", json!({"a": [1, "b"]})),
            ("a: !!str 1\n", json!({"a": "1"})),
        ] {
            assert_eq!(value(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_is_refused_is_told() {
        for (text, why) in [
            ("a: 1\nb: 2\na: 3\n", "the key \"a\" is there twice"),
            ("a: .inf\n", "has no form in JSON"),
            ("a: [1\n", "not YAML"),
            ("a: ${x}: 1\n", "not YAML"),
            ("{{}: 1}", "a key must be a text"),
        ] {
            let got = value(text).expect_err(text);
            assert!(got.contains(why), "{text}: {got}");
        }
        let deep = "[".repeat(500);
        assert!(value(&deep).is_err());
        // Each alias is no deeper than the limit, all of them together are.
        let mut chain = "a0: &a0 [x]\n".to_owned();
        for i in 1..20 {
            let (open, close) = ("[".repeat(100), "]".repeat(100));
            chain.push_str(&format!("a{i}: &a{i} {open}*a{}{close}\n", i - 1));
        }
        assert!(value(&chain).expect_err("a chain").contains("nested deeper"));
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for i in 1..9 {
            let one = format!("*a{}", i - 1);
            bomb.push_str(&format!("a{i}: &a{i} [{}]\n", vec![one; 10].join(",")));
        }
        assert!(value(&bomb).expect_err("a bomb").contains("aliases"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-c:\\-\\[\\]{}&*<|>'\"!#%@\\n\\t ~0-9é]{0,80}") {
            if let Ok(Some(node)) = read(&text, 0..text.len()) {
                prop_assert!(text.get(node.span.clone()).is_some());
                node.value();
            }
        }
    }
}
