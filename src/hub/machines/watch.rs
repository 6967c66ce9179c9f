//! What a watch of the model shows: a list, then the log from there on, at a pace of their own. One can lose, double and swap events, and break off.

use super::api_server::{Change, Server, selects};
use crate::api::Object;
use crate::api::names::GroupKind;
use crate::reconcile::world::{Lookup, Selection};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Arc;

#[derive(Debug)]
pub enum Shown {
    Served(GroupKind),
    NotServed,
    ListStarted,
    Object(Arc<Value>),
    /// As it was, and the version of the change that took it away.
    Left(Arc<Value>, u64),
    ListDone {
        namespaced: bool,
        version: u64,
    },
}

#[derive(Debug)]
enum Stage {
    Discovering,
    Starting,
    Listing { objects: VecDeque<Arc<Value>>, then: usize, version: u64 },
    Following { at: usize },
}

#[derive(Debug)]
pub struct Watch {
    pub gk: GroupKind,
    selector: Option<(String, String)>,
    /// Of an external reference: the namespace, and the name.
    narrow: (Option<String>, Option<String>),
    stage: Stage,
    swapped: VecDeque<Change>,
    /// It lost or swapped something that only a new list can cure.
    pub lossy: bool,
}

impl Watch {
    pub fn new(gk: GroupKind, selector: Option<(String, String)>) -> Self {
        let narrow = (None, None);
        Self { gk, selector, narrow, stage: Stage::Discovering, swapped: VecDeque::new(), lossy: false }
    }

    /// Shows what an external reference reads.
    pub fn of(lookup: &Lookup) -> Self {
        let mut watch = Self::new(lookup.gvk.group_kind(), None);
        watch.narrow.0 = Some(lookup.namespace.to_string()).filter(|n| !n.is_empty());
        match &lookup.selection {
            Selection::Name(name) => watch.narrow.1 = Some(name.to_string()),
            Selection::Labels(labels) => {
                watch.selector = pair(labels);
            }
        }
        watch
    }

    fn selects(&self, value: &Value) -> bool {
        let object = Object(value.clone());
        selects(self.selector.as_ref(), value)
            && self.narrow.0.as_ref().is_none_or(|n| n == object.namespace())
            && self.narrow.1.as_ref().is_none_or(|n| n == object.name())
    }

    /// Breaks off; the next thing is a new list.
    pub fn relist(&mut self) {
        if !matches!(self.stage, Stage::Discovering) {
            self.stage = Stage::Starting;
            self.swapped.clear();
            self.lossy = false;
        }
    }

    pub fn has_news(&self, server: &Server) -> bool {
        match &self.stage {
            Stage::Following { at } => {
                !self.swapped.is_empty()
                    || server.log.get(*at..).into_iter().flatten().any(|c| self.shows(c).is_some())
            }
            _ => true,
        }
    }

    fn shows(&self, change: &Change) -> Option<Shown> {
        if change.object.gk != self.gk {
            return None;
        }
        let selected = |v: &&Arc<Value>| self.selects(v);
        match (change.before.as_ref().filter(selected), change.after.as_ref().filter(selected)) {
            (_, Some(after)) => Some(Shown::Object(after.clone())),
            (Some(before), None) => Some(Shown::Left(before.clone(), change.version)),
            (None, None) => None,
        }
    }

    fn next_change(&mut self, server: &Server) -> Option<Change> {
        let Stage::Following { at } = &self.stage else { return None };
        let mut at = *at;
        let mut found = None;
        while let Some(change) = server.log.get(at) {
            at += 1;
            if self.shows(change).is_some() {
                found = Some(change.clone());
                break;
            }
        }
        self.stage = Stage::Following { at };
        found
    }

    /// The next event is lost.
    pub fn lose(&mut self, server: &Server) {
        if self.next_change(server).is_some() {
            self.lossy = true;
        }
    }

    /// The next event comes after the one that follows it.
    pub fn swap(&mut self, server: &Server) {
        if let Some(first) = self.next_change(server) {
            let second = self.next_change(server);
            self.swapped.extend(second);
            self.swapped.push_back(first);
            self.lossy = true;
        }
    }

    /// The next event comes twice.
    pub fn double(&mut self, server: &Server) {
        if let Some(change) = self.next_change(server) {
            self.swapped.push_back(change.clone());
            self.swapped.push_back(change);
        }
    }

    pub fn next(&mut self, server: &Server) -> Option<Shown> {
        match &mut self.stage {
            Stage::Discovering => {
                if server.kind(&self.gk).is_none() {
                    return Some(Shown::NotServed);
                }
                self.stage = Stage::Starting;
                Some(Shown::Served(self.gk.clone()))
            }
            Stage::Starting => {
                let objects = server.list(&self.gk, None).filter(|v| self.selects(v)).cloned().collect();
                self.stage = Stage::Listing { objects, then: server.log.len(), version: server.version() };
                Some(Shown::ListStarted)
            }
            Stage::Listing { objects, then, version } => match objects.pop_front() {
                Some(object) => Some(Shown::Object(object)),
                None => {
                    let version = *version;
                    self.stage = Stage::Following { at: *then };
                    let namespaced = server.kind(&self.gk).is_none_or(|k| k.namespaced);
                    Some(Shown::ListDone { namespaced, version })
                }
            },
            Stage::Following { .. } => {
                let change = match self.swapped.pop_front() {
                    Some(change) => Some(change),
                    None => self.next_change(server),
                };
                self.shows(&change?)
            }
        }
    }
}

/// A selector of one label.
pub fn pair(selector: &str) -> Option<(String, String)> {
    selector.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()))
}
