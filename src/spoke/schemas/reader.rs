//! Reads the schemas of one cluster.

use super::book::{Book, DocumentId, Entry};
use super::graphs::{Key, Verdict};
use crate::api::names::Gvk;
use crate::graph::{Diagnostic, Graph};
use crate::schema::kinds::{Kinds, Served};
use crate::schema::openapi::{self, Document};
use crate::spoke::client::{ApiError, Verbs};
use crate::spoke::pool::Pool;
use crate::spoke::watch;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

const INDEX: &str = "/openapi/v3";
/// Of the problems of a definition on one cluster, so many are told.
const TOLD: usize = 3;
/// How long one cluster waits for a document that another one reads.
const TURN: Duration = Duration::from_secs(3);
/// A kind that is served is described by then, or never.
const DESCRIBED_SOON: Duration = Duration::from_secs(10);

/// What one cluster says of the kinds that were asked for.
#[derive(Clone, Debug, Default)]
pub struct ClusterKinds(BTreeMap<Gvk, Option<Entry>>);

impl Kinds for ClusterKinds {
    fn find(&self, gvk: &Gvk) -> Served {
        match self.0.get(gvk) {
            Some(Some(entry)) => Served::Yes(entry.kind.clone()),
            Some(None) => Served::No,
            None => Served::Unknown,
        }
    }
}

impl ClusterKinds {
    /// The kinds that are not served.
    pub fn missing(&self) -> BTreeSet<Gvk> {
        self.0.iter().filter(|(_, e)| e.is_none()).map(|(gvk, _)| gvk.clone()).collect()
    }

    /// Of the kinds that some of these serve, those of which all that serve them say the same.
    pub fn agreed(all: &[Self]) -> Self {
        let mut agreed: BTreeMap<Gvk, Option<Entry>> = BTreeMap::new();
        let mut disputed = BTreeSet::new();
        let served = all.iter().flat_map(|kinds| &kinds.0);
        for (gvk, entry) in served.filter_map(|(gvk, entry)| Some((gvk, entry.as_ref()?))) {
            match agreed.get(gvk) {
                Some(Some(known)) if known.print != entry.print => drop(disputed.insert(gvk.clone())),
                _ => drop(agreed.insert(gvk.clone(), Some(entry.clone()))),
            }
        }
        agreed.retain(|gvk, _| !disputed.contains(gvk));
        Self(agreed)
    }

    /// Adds a kind that is not served yet.
    fn add_generated(&mut self, definition: &Graph) {
        let mut known =
            self.0.values().flatten().filter_map(|e| e.kind.schema.pointer("/properties/metadata"));
        let metadata = known.next().cloned().unwrap_or_else(|| json!({"type": "object"}));
        let served = openapi::of_crd(&definition.crd, &metadata).into_iter();
        self.0.extend(served.map(|(gvk, kind)| (gvk, Some(Entry::of(kind)))));
    }

    /// Equal for clusters that say the same of the same kinds.
    pub fn print(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (gvk, entry) in &self.0 {
            (gvk, entry.as_ref().map(|e| e.print)).hash(&mut hasher);
        }
        hasher.finish()
    }
}

type Index = Arc<BTreeMap<String, String>>;

/// One cluster's schemas, read when they are asked for.
#[derive(Clone, Debug)]
pub struct Reader {
    book: Book,
    pool: Pool,
    /// Held while it is being read: who comes meanwhile waits for the same answer.
    index: Arc<Mutex<Option<(Instant, Index)>>>,
    /// Kinds that are served and not described, since when.
    undescribed: Arc<Mutex<BTreeMap<Gvk, Instant>>>,
}

impl Reader {
    pub fn new(book: Book, pool: Pool) -> Self {
        Self { book, pool, index: Arc::default(), undescribed: Arc::default() }
    }

    /// What was read may be outdated.
    pub async fn forget(&self) {
        *self.index.lock().await = None;
    }

    /// What was read longer ago than this may be outdated.
    pub async fn forget_older(&self, age: Duration) {
        let mut known = self.index.lock().await;
        if known.as_ref().is_some_and(|(read, _)| read.elapsed() > age) {
            *known = None;
        }
    }

    async fn index(&self, client: &Verbs) -> Result<Index, ApiError> {
        let mut known = self.index.lock().await;
        if let Some((_, index)) = &*known {
            return Ok(index.clone());
        }
        let value = client.get_json(INDEX).await?.ok_or(ApiError::NotFound)?;
        let index = Arc::new(openapi::index(&value));
        *known = Some((Instant::now(), index.clone()));
        Ok(index)
    }

    /// What the cluster says of these kinds.
    ///
    /// # Errors
    /// The cluster could not be asked, which says nothing of its kinds; or it serves one that it does not describe yet.
    pub async fn kinds(&self, client: &Verbs, wanted: &BTreeSet<Gvk>) -> Result<ClusterKinds, ApiError> {
        let index = self.index(client).await?;
        let mut found = ClusterKinds::default();
        let mut missing: BTreeMap<&String, Vec<Gvk>> = BTreeMap::new();
        for gvk in wanted {
            let Some(url) = index.get(&openapi::document_of(gvk)) else {
                found.0.insert(gvk.clone(), None);
                continue;
            };
            match self.book.kind(client.cluster(), url, gvk) {
                Some(entry) => drop(found.0.insert(gvk.clone(), entry)),
                None => missing.entry(url).or_default().push(gvk.clone()),
            }
        }
        for (url, gvks) in missing {
            // One cluster reads for all, but none waits for long: the one that reads may be out of reach.
            let turn = self.book.turn(url);
            let _mine = tokio::time::timeout(TURN, turn.lock()).await;
            if gvks.iter().any(|gvk| self.book.kind(client.cluster(), url, gvk).is_none()) {
                self.read(client, url, gvks.clone()).await?;
            }
            for gvk in gvks {
                let entry = self.book.kind(client.cluster(), url, &gvk).flatten();
                found.0.insert(gvk, entry);
            }
        }
        self.without_undescribed(client, found).await
    }

    /// A server describes a kind up to seconds after it serves it, and some never do: only what is not served is missing.
    async fn without_undescribed(
        &self,
        client: &Verbs,
        mut found: ClusterKinds,
    ) -> Result<ClusterKinds, ApiError> {
        let missing: Vec<Gvk> =
            found.0.iter().filter(|(_, e)| e.is_none()).map(|(gvk, _)| gvk.clone()).collect();
        for gvk in missing {
            if !watch::is_served(client, &gvk).await? {
                continue;
            }
            let mut undescribed = self.undescribed.lock().await;
            let since = *undescribed.entry(gvk.clone()).or_insert_with(Instant::now);
            drop(undescribed);
            if since.elapsed() < DESCRIBED_SOON {
                self.forget().await;
                return Err(unreadable(INDEX, &format!("{gvk} is served and not described yet")));
            }
            // Anything goes with what nobody describes.
            found.0.remove(&gvk);
        }
        // Those of other definitions stay.
        self.undescribed.lock().await.retain(|gvk, _| !found.0.contains_key(gvk));
        Ok(found)
    }

    async fn read(&self, client: &Verbs, url: &str, gvks: Vec<Gvk>) -> Result<(), ApiError> {
        let mut text = client.get_text(url).await?;
        if let (None, Some((plain, _))) = (&text, url.split_once('?')) {
            // The index is older than the document: it names a hash that is no more.
            text = client.get_text(plain).await?;
        }
        let Some(text) = text else {
            self.forget().await;
            return Err(ApiError::NotFound);
        };
        let (cluster, name) = (client.cluster().to_owned(), url.to_owned());
        let parsed = self.pool.run(move || {
            let document = Document::parse(text.as_bytes())?;
            let kinds = gvks.into_iter().map(|gvk| (gvk.clone(), document.kind(&gvk))).collect();
            Ok::<(_, Vec<_>), String>((DocumentId::of(&cluster, &name, &text), kinds))
        });
        match parsed.await {
            Some(Ok((id, kinds))) => self.book.learn(&id, kinds),
            Some(Err(why)) => return Err(unreadable(url, &why)),
            None => return Err(unreadable(url, "it cannot be read")),
        }
        Ok(())
    }

    /// A definition judged by what this cluster serves, or is going to serve: `generated` are kinds of other definitions,
    /// whose CRDs go there first.
    ///
    /// # Errors
    /// The cluster could not be asked.
    pub async fn judge(
        &self,
        client: &Verbs,
        key: &Key,
        hub: &Arc<Graph>,
        generated: &[Arc<Graph>],
    ) -> Result<Verdict, ApiError> {
        let mut wanted = hub.kinds_of(|node| key.side.has(node));
        let coming: Vec<&Arc<Graph>> = generated.iter().filter(|other| wanted.remove(&other.gvk)).collect();
        if !coming.is_empty() {
            // Any kind that tells what metadata is.
            wanted.insert(Gvk::new("", "v1", "ConfigMap"));
        }
        let mut kinds = self.kinds(client, &wanted).await?;
        coming.into_iter().for_each(|other| kinds.add_generated(other));
        let print = kinds.print();
        if let Some(known) = self.book.graph(key, print) {
            return Ok(known);
        }
        let hub = hub.clone();
        let compiled = self.pool.run(move || hub.on_cluster(&kinds)).await;
        let verdict = match compiled {
            Some(Ok(graph)) => Ok(Arc::new(graph)),
            Some(Err(problems)) => Err(Arc::from(told(&problems))),
            None => {
                Err(Arc::from("the compiler failed on this definition; please report it with the definition"))
            }
        };
        self.book.keep(key.clone(), print, verdict.clone());
        Ok(verdict)
    }
}

fn unreadable(name: &str, why: &str) -> ApiError {
    ApiError::Other { code: 200, message: format!("{name}: {why}") }
}

fn told(problems: &[Diagnostic]) -> String {
    let mut lines: Vec<String> = problems.iter().take(TOLD).map(ToString::to_string).collect();
    if problems.len() > TOLD {
        lines.push(format!("and {} more", problems.len() - TOLD));
    }
    lines.join("\n")
}
