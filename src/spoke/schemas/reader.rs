//! Reads the schemas of one cluster.

use super::book::{Book, DescribedKind, DocumentId, Index};
use super::graphs::{Key, Verdict};
use crate::api::names::Gvk;
use crate::api::text;
use crate::graph::{Diagnostic, Graph};
use crate::schema::kinds::{Kind, Kinds, Served};
use crate::schema::openapi::{self, Document};
use crate::spoke::client::{ApiError, Verbs};
use crate::spoke::discovery;
use crate::spoke::pool::Pool;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

const INDEX: &str = "/openapi/v3";
/// Of the problems of a definition on one cluster, so many are told.
const TOLD: usize = 3;
/// Bytes of what is told of an error.
const SAID: usize = 200;
/// How long one cluster waits for a document that another one reads.
const TURN: Duration = Duration::from_secs(3);
/// A kind that is served is described by then, or never.
const DESCRIBED_SOON: Duration = Duration::from_secs(10);

/// An API server passes what is asked of an aggregated group on to whoever serves it: one that does not answer by then
/// is the group's trouble.
const GROUP_PATIENCE: Duration = Duration::from_secs(3);

/// What one cluster says of the kinds that were asked for.
#[derive(Clone, Debug, Default)]
pub struct ClusterKinds {
    known: BTreeMap<Gvk, Option<DescribedKind>>,
    /// Groups with versions that do not answer, though the cluster does; and why.
    silent: BTreeMap<String, String>,
}

impl Kinds for ClusterKinds {
    fn find(&self, gvk: &Gvk) -> Served {
        match self.known.get(gvk) {
            Some(Some(entry)) => Served::Yes(entry.kind.clone()),
            Some(None) => Served::No,
            None => Served::Unknown,
        }
    }
}

impl ClusterKinds {
    /// The kinds that are not served.
    pub fn missing(&self) -> BTreeSet<Gvk> {
        self.known.iter().filter(|(_, e)| e.is_none()).map(|(gvk, _)| gvk.clone()).collect()
    }

    /// Of the kinds that some of these serve, those of which all that serve them say the same.
    pub fn agreed(all: &[Self]) -> Self {
        let mut agreed: BTreeMap<Gvk, Option<DescribedKind>> = BTreeMap::new();
        let mut disputed = BTreeSet::new();
        let served = all.iter().flat_map(|kinds| &kinds.known);
        for (gvk, entry) in served.filter_map(|(gvk, entry)| Some((gvk, entry.as_ref()?))) {
            match agreed.get(gvk) {
                Some(Some(known)) if known.print != entry.print => drop(disputed.insert(gvk.clone())),
                _ => drop(agreed.insert(gvk.clone(), Some(entry.clone()))),
            }
        }
        agreed.retain(|gvk, _| !disputed.contains(gvk));
        Self { known: agreed, silent: BTreeMap::new() }
    }

    /// Adds the kinds of CRDs that we write ourselves: nobody needs to be asked for them.
    pub fn add_generated<'a>(&mut self, crds: impl IntoIterator<Item = &'a Value>) {
        let mut known =
            self.known.values().flatten().filter_map(|e| e.kind.schema.pointer("/properties/metadata"));
        let metadata = known.next().cloned().unwrap_or_else(|| json!({"type": "object"}));
        for crd in crds {
            let served = openapi::of_crd(crd, &metadata).into_iter();
            self.known.extend(served.map(|(gvk, kind)| (gvk, Some(DescribedKind::of(kind)))));
        }
    }

    /// Of these groups nobody knows what they serve: a sentence for each.
    pub fn silent(&self) -> impl Iterator<Item = String> {
        self.silent.iter().map(|(group, why)| {
            format!("the API group {group} does not answer ({why}); it is asked again by and by")
        })
    }

    /// The kinds that are served.
    pub fn served(&self) -> impl Iterator<Item = (&Gvk, &Arc<Kind>)> {
        self.known.iter().filter_map(|(gvk, entry)| Some((gvk, &entry.as_ref()?.kind)))
    }

    /// Equal for clusters that say the same of the same kinds.
    pub fn print(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (gvk, entry) in &self.known {
            (gvk, entry.as_ref().map(|e| e.print)).hash(&mut hasher);
        }
        self.silent.keys().for_each(|group| group.hash(&mut hasher));
        hasher.finish()
    }
}

/// Takes out the kinds that these CRDs serve. What metadata is has to be known for them all the same, so any kind that
/// tells is asked for where nothing else is.
pub fn without_generated<'a>(wanted: &mut BTreeSet<Gvk>, crds: impl IntoIterator<Item = &'a Value>) {
    let before = wanted.len();
    for crd in crds {
        wanted.retain(|gvk| !openapi::serves(crd, gvk));
    }
    if wanted.len() < before {
        wanted.insert(Gvk::new("", "v1", "ConfigMap"));
    }
}

/// One cluster's schemas, read when they are asked for.
#[derive(Clone)]
pub struct Reader {
    book: Book,
    pool: Pool,
    /// Held while it is being read: who comes meanwhile waits for the same answer.
    index: Arc<Mutex<Option<(Instant, Index)>>>,
    /// Kinds that are served and not described, since when.
    undescribed: Arc<Mutex<BTreeMap<Gvk, Instant>>>,
    /// Kinds that were not served when they were looked for last: as long as discovery does not name them, no document
    /// is read for them.
    absent: Arc<Mutex<BTreeSet<Gvk>>>,
}

impl Reader {
    pub fn new(book: Book, pool: Pool) -> Self {
        Self { book, pool, index: Arc::default(), undescribed: Arc::default(), absent: Arc::default() }
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
        let text = client.get_text(INDEX).await?.ok_or(ApiError::NotFound)?;
        self.book.count(client.cluster(), text.len());
        let index = self.book.index(&text).map_err(|error| unreadable(INDEX, &error.to_string()))?;
        *known = Some((Instant::now(), index.clone()));
        Ok(index)
    }

    /// What the cluster says of these kinds.
    ///
    /// # Errors
    /// The cluster could not be asked, which says nothing of its kinds; or it serves one that it does not describe yet.
    pub async fn kinds(&self, client: &Verbs, wanted: &BTreeSet<Gvk>) -> Result<ClusterKinds, ApiError> {
        self.book.want(wanted);
        let index = self.index(client).await?;
        let mut found = ClusterKinds::default();
        let mut missing: BTreeMap<&String, Vec<Gvk>> = BTreeMap::new();
        for gvk in wanted {
            let Some(url) = index.get(&openapi::document_of(gvk)) else {
                found.known.insert(gvk.clone(), None);
                continue;
            };
            match self.book.kind(client.cluster(), url, gvk) {
                Some(entry) => drop(found.known.insert(gvk.clone(), entry)),
                None => missing.entry(url).or_default().push(gvk.clone()),
            }
        }
        let mut asked = BTreeSet::new();
        for (url, gvks) in missing {
            let mut unread = Vec::new();
            for gvk in gvks {
                let absent = self.absent.lock().await.contains(&gvk);
                if absent && !self.is_served(client, &gvk, &mut found).await? {
                    found.known.insert(gvk.clone(), None);
                    asked.insert(gvk);
                } else {
                    unread.push(gvk);
                }
            }
            self.look_up(client, url, unread, &mut found).await?;
        }
        self.without_undescribed(client, found, &asked).await
    }

    /// Reads a document for these kinds, unless somebody did meanwhile.
    async fn look_up(
        &self,
        client: &Verbs,
        url: &str,
        gvks: Vec<Gvk>,
        found: &mut ClusterKinds,
    ) -> Result<(), ApiError> {
        // One cluster reads for all, but none waits for long: the one that reads may be out of reach.
        let turn = self.book.turn(url);
        let _mine = tokio::time::timeout(TURN, turn.lock()).await;
        let unknown = |gvk: &&Gvk| self.book.kind(client.cluster(), url, gvk).is_none();
        if let Some(first) = gvks.iter().find(unknown) {
            match self.read(client, url, first).await {
                // What is served all the same is not described.
                Ok(())
                | Err(ApiError::Other { .. } | ApiError::Invalid { .. } | ApiError::Forbidden { .. }) => {}
                Err(error) => self.is_silent(client, first, error, found).await?,
            }
        }
        for gvk in gvks {
            let entry = self.book.kind(client.cluster(), url, &gvk).flatten();
            found.known.insert(gvk, entry);
        }
        Ok(())
    }

    async fn is_served(&self, client: &Verbs, gvk: &Gvk, found: &mut ClusterKinds) -> Result<bool, ApiError> {
        let group = gvk.api_version();
        if found.silent.contains_key(&group) {
            return Ok(false);
        }
        let asked = tokio::time::timeout(GROUP_PATIENCE, discovery::is_served(client, gvk)).await;
        match asked.unwrap_or(Err(ApiError::Timeout)) {
            Ok(served) => {
                let mut absent = self.absent.lock().await;
                if served {
                    absent.remove(gvk)
                } else {
                    absent.insert(gvk.clone())
                };
                Ok(served)
            }
            Err(error) => self.is_silent(client, gvk, error, found).await.map(|()| false),
        }
    }

    /// Whether an error is the trouble of one group, which is noted: the API server passes it on to somebody else, who does
    /// not answer, while it answers itself.
    async fn is_silent(
        &self,
        client: &Verbs,
        gvk: &Gvk,
        error: ApiError,
        found: &mut ClusterKinds,
    ) -> Result<(), ApiError> {
        let passed_on = matches!(
            error,
            ApiError::GroupUnavailable { .. }
                | ApiError::Unavailable { .. }
                | ApiError::Timeout
                | ApiError::Other { .. }
                | ApiError::Forbidden { .. }
        );
        if !passed_on || gvk.group.is_empty() {
            return Err(error);
        }
        self.forget().await;
        self.index(client).await?;
        let why = text::cut(&error.to_string(), SAID);
        tracing::debug!(cluster = client.cluster(), group = gvk.api_version(), %error, "an API group is silent");
        found.silent.insert(gvk.api_version(), why);
        Ok(())
    }

    /// A server describes a kind up to seconds after it serves it, and some never do: only what is not served is missing.
    /// Those `asked` for just now are not.
    async fn without_undescribed(
        &self,
        client: &Verbs,
        mut found: ClusterKinds,
        asked: &BTreeSet<Gvk>,
    ) -> Result<ClusterKinds, ApiError> {
        let missing: Vec<Gvk> = found.missing().difference(asked).cloned().collect();
        for gvk in missing {
            if !self.is_served(client, &gvk, &mut found).await? {
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
            found.known.remove(&gvk);
        }
        // Those of other definitions stay.
        self.undescribed.lock().await.retain(|gvk, _| !found.known.contains_key(gvk));
        Ok(found)
    }

    /// Reads a document for `gvk`, and for all that is wanted of it.
    async fn read(&self, client: &Verbs, url: &str, gvk: &Gvk) -> Result<(), ApiError> {
        let mut text = client.get_text(url).await?;
        if let (None, Some((plain, _))) = (&text, url.split_once('?')) {
            // The index is older than the document: it names a hash that is no more.
            text = client.get_text(plain).await?;
        }
        let Some(text) = text else {
            self.forget().await;
            return Err(ApiError::NotFound);
        };
        self.book.count(client.cluster(), text.len());
        let gvks = self.book.wanted_in(&openapi::document_of(gvk));
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
        let kinds = self.kinds_for(client, key, hub, generated).await?;
        let silent: Vec<String> = kinds.silent().collect();
        let print = kinds.print();
        if let Some(known) = self.book.graph(key, print) {
            return Ok(known);
        }
        let hub = hub.clone();
        let compiled = self.pool.run(move || hub.on_cluster(&kinds)).await;
        let verdict = match compiled {
            Some(Ok(graph)) => Ok(Arc::new(graph)),
            Some(Err(problems)) => Err(Arc::from(told(&problems, silent))),
            None => {
                Err(Arc::from("the compiler failed on this definition; please report it with the definition"))
            }
        };
        self.book.keep(key.clone(), print, verdict.clone());
        Ok(verdict)
    }

    /// The same of what the definition is once all that it makes is ready.
    ///
    /// # Errors
    /// As [`Self::judge`].
    pub async fn judge_once_ready(
        &self,
        client: &Verbs,
        key: &Key,
        hub: &Arc<Graph>,
        generated: &[Arc<Graph>],
    ) -> Result<Verdict, ApiError> {
        let kinds = self.kinds_for(client, key, hub, generated).await?;
        let silent: Vec<String> = kinds.silent().collect();
        let hub = hub.clone();
        Ok(match self.pool.run(move || hub.on_cluster(&kinds)).await {
            Some(Ok(graph)) => Ok(Arc::new(graph.once_ready())),
            Some(Err(problems)) => Err(Arc::from(told(&problems, silent))),
            None => Err(Arc::from("the compiler failed on this definition")),
        })
    }

    /// What a definition is judged by.
    async fn kinds_for(
        &self,
        client: &Verbs,
        key: &Key,
        hub: &Graph,
        generated: &[Arc<Graph>],
    ) -> Result<ClusterKinds, ApiError> {
        let mut wanted = hub.kinds_of(|node| key.side.has(node));
        let coming = || generated.iter().map(|other| &other.crd);
        without_generated(&mut wanted, coming());
        let mut kinds = self.kinds(client, &wanted).await?;
        kinds.add_generated(coming());
        Ok(kinds)
    }
}

fn unreadable(name: &str, why: &str) -> ApiError {
    ApiError::Other { code: 200, message: format!("{name}: {why}") }
}

fn told(problems: &[Diagnostic], silent: Vec<String>) -> String {
    let mut lines: Vec<String> = problems.iter().take(TOLD).map(ToString::to_string).collect();
    if problems.len() > TOLD {
        lines.push(format!("and {} more", problems.len() - TOLD));
    }
    lines.extend(silent);
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spoke::client::in_memory;
    use crate::spoke::host::{AnyHost, ThisHost};
    use http_body_util::{BodyExt, Full};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn a_dead_group_is_told_and_holds_nothing_up() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let client = in_memory(move |request| {
            count.fetch_add(1, Ordering::SeqCst);
            let (status, body) = match request.uri().path() {
                INDEX => (
                    200,
                    json!({"paths": {"apis/dead.example.org/v1": {"serverRelativeURL": "/openapi/v3/apis/dead.example.org/v1"}}}),
                ),
                path if path.contains("dead.example.org") => (
                    503,
                    json!({"kind": "Status", "code": 503, "message": "service unavailable", "status": "Failure"}),
                ),
                _ => (
                    404,
                    json!({"kind": "Status", "code": 404, "message": "page not found", "status": "Failure"}),
                ),
            };
            let answer = http::Response::builder().status(status).header("content-type", "application/json");
            let answer = answer.body(Full::new(body.to_string().into()).boxed_unsync()).unwrap();
            async move { answer }
        });
        let reader = Reader::new(Book::default(), Pool::start(1, &(Arc::new(ThisHost) as AnyHost)).unwrap());
        let wanted = BTreeSet::from([
            Gvk::new("dead.example.org", "v1", "Corpse"),
            Gvk::new("nowhere.example.org", "v1", "Thing"),
        ]);
        let kinds = reader.kinds(&client, &wanted).await.unwrap();
        let said: Vec<String> = kinds.silent().collect();
        assert!(said.len() == 1 && said[0].contains("dead.example.org"), "{said:?}");
        assert_eq!(kinds.missing(), wanted);
        assert!(asked.load(Ordering::SeqCst) <= 8, "{asked:?}");
    }
}
