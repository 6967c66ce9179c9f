//! Columns of text, and the table of instances over clusters.

use super::screen::Screen;
use serde_json::Value;

const WIDTH: usize = 94;

/// One line a row, columns as wide as their widest cell; the last one is cut where the screen ends.
pub fn columns(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|title| title.len())).max().unwrap_or_default()
    };
    let line = |cells: &[String]| {
        let mut text = String::new();
        for (column, cell) in cells.iter().enumerate() {
            text.push_str(&format!("{cell:<width$}  ", width = width(column)));
        }
        let text = text.trim_end();
        if text.chars().count() <= WIDTH {
            text.to_owned()
        } else {
            text.chars().take(WIDTH - 1).chain(['…']).collect()
        }
    };
    let head: Vec<String> = head.iter().map(|title| (*title).to_owned()).collect();
    std::iter::once(line(&head)).chain(rows.iter().map(|row| line(row))).collect()
}

/// One cluster of one instance, as the hub tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    pub cluster: String,
    pub state: String,
    resources: String,
    message: String,
}

/// What `status.fleet.clusters` of an instance says, by name of cluster.
pub fn placed(instance: &Value) -> Vec<Placed> {
    let entries = instance.pointer("/status/fleet/clusters").and_then(Value::as_array);
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let mut placed: Vec<Placed> = entries
        .into_iter()
        .flatten()
        .map(|entry| Placed {
            cluster: text(entry, "name"),
            state: text(entry, "state"),
            resources: text(entry, "resources"),
            message: text(entry, "message"),
        })
        .collect();
    placed.sort_by(|a, b| a.cluster.cmp(&b.cluster));
    placed
}

/// instance x cluster x state, one row a pair.
pub fn fleet(screen: &Screen, instances: &[Value]) -> Vec<String> {
    let mut rows = Vec::new();
    for instance in instances {
        let name = instance.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let state = instance.pointer("/status/state").and_then(Value::as_str).unwrap_or("-");
        let mut entries = placed(instance);
        if entries.is_empty() {
            entries.push(Placed {
                cluster: "-".into(),
                state: "-".into(),
                resources: String::new(),
                message: String::new(),
            });
        }
        for (index, entry) in entries.into_iter().enumerate() {
            let first = |text: &str| if index == 0 { text.to_owned() } else { String::new() };
            rows.push(vec![
                first(name),
                first(state),
                entry.cluster,
                entry.state,
                entry.resources,
                entry.message.lines().next().unwrap_or_default().to_owned(),
            ]);
        }
    }
    let head = ["INSTANCE", "ON THE HUB", "CLUSTER", "STATE", "RESOURCES", "MESSAGE"];
    let mut lines = columns(&head, &rows);
    for (index, line) in lines.iter_mut().enumerate() {
        *line = if index == 0 { screen.bold(line) } else { colour_states(screen, line) };
    }
    lines
}

/// Colours come last: they have no width.
fn colour_states(screen: &Screen, line: &str) -> String {
    line.replace("ACTIVE", &screen.green("ACTIVE"))
        .replace("IN_PROGRESS", &screen.yellow("IN_PROGRESS"))
        .replace("DELETING", &screen.yellow("DELETING"))
        .replace("ERROR", &screen.red("ERROR"))
}
