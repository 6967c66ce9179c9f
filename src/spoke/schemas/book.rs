//! What all clusters share: kinds by the document they stand in, and graphs by the kinds they were compiled for.

use super::graphs::{Key, Verdict};
use crate::api::hash;
use crate::api::maps::HashMap;
use crate::api::names::Gvk;
use crate::metrics::Metrics;
use crate::schema::kinds::Kind;
use crate::schema::openapi;
use crate::spoke::shared_map::SharedMap;
use sha2::{Digest, Sha512};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

/// More entries than this are looked through for those that nobody uses.
const MANY: usize = 64;

/// A kind and the fingerprint of what is known of it.
#[derive(Clone, Debug)]
pub struct DescribedKind {
    pub kind: Arc<Kind>,
    pub print: u64,
}

impl DescribedKind {
    pub fn of(kind: Kind) -> Self {
        let print = hash::json(&kind.schema) ^ u64::from(kind.namespaced);
        Self { kind: Arc::new(kind), print }
    }
}

/// What a document is known by. What one cluster says under a hash that is not that of the content counts for that
/// cluster alone: no cluster speaks for another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DocumentId {
    /// The SHA-512 of its content.
    Content(String),
    /// Cluster and URL.
    Of(String, String),
}

impl DocumentId {
    /// What the document at `url` is known by if the hash in it is true.
    pub fn promised(url: &str) -> Option<Self> {
        let (_, hash) = url.split_once("hash=")?;
        Some(Self::Content(hash.split('&').next().unwrap_or_default().to_ascii_uppercase()))
    }

    /// What this text, found at `url`, is known by.
    pub fn of(cluster: &str, url: &str, text: &str) -> Self {
        let hash: String = Sha512::digest(text.as_bytes()).iter().map(|b| format!("{b:02X}")).collect();
        match Self::promised(url) {
            Some(promised) if promised == Self::Content(hash) => promised,
            _ => Self::Of(cluster.to_owned(), url.to_owned()),
        }
    }
}

type Turn = Arc<tokio::sync::Mutex<()>>;
/// URLs of documents, by their names.
pub type Index = Arc<BTreeMap<String, String>>;

/// One of its maps is never used while an entry of another one is looked at.
#[derive(Clone, Default)]
pub struct Book {
    /// By [`DocumentId`]. `None`: the document has no such kind.
    documents: SharedMap<DocumentId, HashMap<Gvk, Option<DescribedKind>>>,
    /// Held while a document is read, so that it is read once for all clusters.
    turns: SharedMap<String, Turn>,
    /// Documents differ between clusters more often than the kinds in them do.
    kinds: SharedMap<u64, Arc<Kind>>,
    /// Kinds that somebody asked for; what a document says of them is small.
    wanted: SharedMap<Gvk, ()>,
    /// Where documents are, by the SHA-512 of the text that says so: clusters that are alike say it with the same words.
    indexes: SharedMap<[u8; 64], Weak<BTreeMap<String, String>>>,
    /// By the definition and the fingerprint of the kinds.
    graphs: SharedMap<(Key, u64), Verdict>,
    metrics: Metrics,
}

impl Book {
    /// Counts into `metrics` what is read.
    pub fn counting(metrics: Metrics) -> Self {
        Self { metrics, ..Self::default() }
    }

    pub fn count(&self, cluster: &str, bytes: usize) {
        self.metrics.schema_read(cluster, bytes);
    }

    /// The index that this text is, read once for all that say the same.
    ///
    /// # Errors
    /// It is no JSON.
    pub fn index(&self, text: &str) -> Result<Index, serde_json::Error> {
        let print: [u8; 64] = Sha512::digest(text.as_bytes()).into();
        if let Some(known) = self.indexes.look(&print, Weak::upgrade).flatten() {
            return Ok(known);
        }
        let index = Arc::new(openapi::index(&serde_json::from_str(text)?));
        self.indexes.retain(|_, index| index.strong_count() > 0);
        self.indexes.insert(print, Arc::downgrade(&index));
        Ok(index)
    }

    /// These kinds are in use, or going to be: whoever reads a document reads all of them that stand in it.
    pub fn want(&self, kinds: &BTreeSet<Gvk>) {
        for kind in kinds {
            if self.wanted.look(kind, |()| ()).is_none() {
                self.wanted.insert(kind.clone(), ());
            }
        }
    }

    /// The kinds in use that stand in a document of this name.
    pub fn wanted_in(&self, document: &str) -> BTreeSet<Gvk> {
        let mut found = BTreeSet::new();
        self.wanted.each(|gvk, ()| {
            if openapi::document_of(gvk) == document {
                found.insert(gvk.clone());
            }
        });
        found
    }

    /// What the document at a cluster's URL says of a kind; outer `None` if nobody read it for that kind yet.
    pub fn kind(&self, cluster: &str, url: &str, gvk: &Gvk) -> Option<Option<DescribedKind>> {
        let of = |id: &DocumentId| self.documents.look(id, |kinds| kinds.get(gvk).cloned()).flatten();
        let shared = DocumentId::promised(url).and_then(|id| of(&id));
        shared.or_else(|| of(&DocumentId::Of(cluster.to_owned(), url.to_owned())))
    }

    /// Whoever reads the document at this URL holds this meanwhile.
    pub fn turn(&self, url: &str) -> Turn {
        self.turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        self.turns.change(url.to_owned(), |turn| turn.clone())
    }

    pub fn learn(&self, id: &DocumentId, found: Vec<(Gvk, Option<Kind>)>) {
        self.forget_unused();
        for (gvk, kind) in found {
            let entry = kind.map(|kind| {
                let made = DescribedKind::of(kind);
                DescribedKind { kind: self.kinds.first(made.print, made.kind), ..made }
            });
            self.documents.change(id.clone(), |kinds| kinds.insert(gvk, entry));
        }
    }

    pub fn graph(&self, key: &Key, kinds: u64) -> Option<Verdict> {
        self.graphs.look(&(key.clone(), kinds), Clone::clone)
    }

    pub fn keep(&self, key: Key, kinds: u64, verdict: Verdict) {
        self.graphs.insert((key, kinds), verdict);
    }

    /// What no cluster's state holds any more can be made again.
    fn forget_unused(&self) {
        if self.graphs.count() > MANY {
            self.graphs.retain(|_, verdict| match verdict {
                Ok(graph) => Arc::strong_count(graph) > 1,
                Err(why) => Arc::strong_count(why) > 1,
            });
        }
        if self.documents.count() > MANY {
            // Each kind is held by the book twice: by its document and by its content. Whoever learns a kind meanwhile
            // holds it too, so at worst something is forgotten that is read once more.
            let mut holders: HashMap<u64, usize> = HashMap::default();
            self.documents.each(|_, kinds| {
                for entry in kinds.values().flatten() {
                    *holders.entry(entry.print).or_default() += 1;
                }
            });
            self.documents.retain(|_, kinds| {
                kinds.values().flatten().any(|e| {
                    Arc::strong_count(&e.kind) > 1 + holders.get(&e.print).copied().unwrap_or_default()
                })
            });
            self.kinds.retain(|_, kind| Arc::strong_count(kind) > 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kind(type_: &str) -> Kind {
        Kind { namespaced: true, schema: json!({"type": type_}) }
    }
    fn type_at(book: &Book, cluster: &str, url: &str) -> Option<Option<String>> {
        let found = book.kind(cluster, url, &Gvk::new("x.io", "v1", "Thing"))?;
        Some(found.map(|e| e.kind.schema["type"].as_str().unwrap_or_default().to_owned()))
    }
    fn learn(book: &Book, cluster: &str, url: &str, text: &str, kind: Option<Kind>) {
        book.learn(&DocumentId::of(cluster, url, text), vec![(Gvk::new("x.io", "v1", "Thing"), kind)]);
    }
    fn url(text: &str) -> String {
        let hash: String = Sha512::digest(text.as_bytes()).iter().map(|b| format!("{b:02X}")).collect();
        format!("/openapi/v3/apis/x.io/v1?hash={hash}")
    }

    #[test]
    fn a_document_is_known_to_all_only_by_its_true_hash() {
        let (book, true_url) = (Book::default(), url("content"));
        learn(&book, "eu", &true_url, "something else", Some(kind("forged")));
        assert_eq!(type_at(&book, "eu", &true_url), Some(Some("forged".into())));
        assert_eq!(type_at(&book, "us", &true_url), None, "what eu says counts for eu alone");
        learn(&book, "us", &true_url, "content", Some(kind("real")));
        for cluster in ["us", "eu", "ap"] {
            assert_eq!(type_at(&book, cluster, &true_url), Some(Some("real".into())), "{cluster}");
        }
        let unhashed = "/openapi/v3/apis/x.io/v1";
        learn(&book, "us", unhashed, "content", None);
        assert_eq!(type_at(&book, "us", unhashed), Some(None), "it was looked for and is not there");
        assert_eq!(type_at(&book, "eu", unhashed), None);
    }

    #[test]
    fn clusters_that_are_alike_share_one_index() {
        let book = Book::default();
        let text = |hash: &str| {
            format!(r#"{{"paths":{{"api/v1":{{"serverRelativeURL":"/openapi/v3/api/v1?hash={hash}"}}}}}}"#)
        };
        let eu = book.index(&text("A")).unwrap();
        assert_eq!(eu.get("api/v1").map(String::as_str), Some("/openapi/v3/api/v1?hash=A"));
        assert!(Arc::ptr_eq(&eu, &book.index(&text("A")).unwrap()));
        let us = book.index(&text("B")).unwrap();
        assert!(us != eu && book.index("{").is_err());
        drop((eu, us));
        assert!(book.index(&text("C")).is_ok());
        assert_eq!(book.indexes.count(), 1, "what nobody uses is forgotten");
    }

    #[test]
    fn equal_kinds_of_different_documents_are_one() {
        let book = Book::default();
        learn(&book, "eu", &url("a"), "a", Some(kind("same")));
        learn(&book, "us", &url("b"), "b", Some(kind("same")));
        let gvk = Gvk::new("x.io", "v1", "Thing");
        let of = |url: &str| book.kind("eu", url, &gvk).flatten().unwrap();
        assert!(Arc::ptr_eq(&of(&url("a")).kind, &of(&url("b")).kind));
        assert_eq!(of(&url("a")).print, of(&url("b")).print);
    }

    #[test]
    fn what_nobody_uses_is_forgotten_once_there_is_much() {
        let book = Book::default();
        for n in 0..=MANY {
            learn(&book, "eu", &url(&n.to_string()), &n.to_string(), Some(kind(&n.to_string())));
        }
        let used = book.kind("eu", &url("3"), &Gvk::new("x.io", "v1", "Thing")).flatten();
        learn(&book, "eu", &url("last"), "last", Some(kind("last")));
        assert!(used.is_some() && type_at(&book, "eu", &url("3")).is_some());
        assert_eq!(type_at(&book, "eu", &url("4")), None);
    }
}
