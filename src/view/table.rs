//! Columns under their heads. The last one is not padded, and only it is cut where a terminal is too narrow.

use super::look::{Look, wide};

#[derive(Debug, Default)]
pub struct Table {
    heads: Vec<String>,
    rows: Vec<Vec<String>>,
}

const GAP: usize = 2;

impl Table {
    pub fn new<S: Into<String>>(heads: impl IntoIterator<Item = S>) -> Self {
        Self { heads: heads.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    fn widths(&self) -> Vec<usize> {
        let column = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at));
            cells.chain(self.heads.get(at)).map(|cell| wide(cell)).max().unwrap_or_default()
        };
        (0..self.heads.len()).map(column).collect()
    }

    /// The columns of a terminal that all of it takes.
    pub fn width(&self) -> usize {
        let widths = self.widths();
        widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
    }

    /// Without these columns, the first of them first, as long as it is wider than the terminal and that below 80.
    pub fn narrowed(mut self, look: &Look, least: &[&str]) -> Self {
        const NARROW: usize = 80;
        for head in least {
            let Some(width) = look.width.filter(|width| *width < NARROW) else { break };
            if self.width() <= width {
                break;
            }
            if let Some(at) = self.heads.iter().position(|h| h == head) {
                self.heads.remove(at);
                for row in self.rows.iter_mut().filter(|row| row.len() > at) {
                    row.remove(at);
                }
            }
        }
        self
    }

    pub fn text(&self, look: &Look) -> String {
        let widths = self.widths();
        let fixed: usize = widths.iter().rev().skip(1).map(|w| w + GAP).sum();
        let mut out = String::new();
        let heads: Vec<String> = self.heads.iter().map(|head| look.bold(head)).collect();
        for row in std::iter::once(&heads).chain(&self.rows) {
            let mut line = String::new();
            for (at, cell) in row.iter().enumerate() {
                line.push_str(cell);
                if at + 1 < row.len() {
                    let width = widths.get(at).copied().unwrap_or_default() + GAP;
                    line.extend(std::iter::repeat_n(' ', width.saturating_sub(wide(cell))));
                }
            }
            out.push_str(look.fitted(line.trim_end(), fixed).trim_end());
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["NAMESPACE", "NAME", "AGE", "WHY"]);
        table.row(vec!["shop".into(), "a".into(), "4d".into(), "a long sentence".into()]);
        table.row(vec!["s".into(), "longer".into(), "1s".into(), String::new()]);
        table
    }

    fn check(width: Option<usize>, expect: &str) {
        let look = Look { colour: false, utf8: true, width };
        assert_eq!(table().narrowed(&look, &["AGE", "NAMESPACE"]).text(&look), expect);
    }

    #[test]
    fn a_pipe_is_never_cut_and_a_terminal_loses_age_then_namespace_then_the_end() {
        check(
            None,
            "NAMESPACE  NAME    AGE  WHY\nshop       a       4d   a long sentence\ns          longer  1s\n",
        );
        check(Some(38), "NAMESPACE  NAME    WHY\nshop       a       a long sentence\ns          longer\n");
        check(Some(26), "NAME    WHY\na       a long sentence\nlonger\n");
        check(Some(16), "NAME    WHY\na       a long …\nlonger\n");
    }
}
