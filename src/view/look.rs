//! How a view may look where it is shown.

use super::Mark;
use anstyle::{AnsiColor, Style};

/// What the place where a view is shown can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    pub colour: bool,
    pub utf8: bool,
    /// Of a terminal. What goes into a pipe is never cut.
    pub width: Option<usize>,
}

impl Look {
    /// A mark; its colour adds to it and never stands for it.
    pub fn mark(&self, mark: Mark) -> String {
        let sign = if self.utf8 { mark.sign() } else { mark.ascii() };
        self.painted(mark, sign)
    }

    /// A text in the colour of a mark.
    pub fn painted(&self, mark: Mark, text: &str) -> String {
        let colour = match mark {
            Mark::Ready => AnsiColor::Green,
            Mark::Moving => AnsiColor::Yellow,
            Mark::Failed => AnsiColor::Red,
            Mark::Silent => AnsiColor::BrightBlack,
            Mark::Absent | Mark::Unplaced => return text.to_owned(),
        };
        self.styled(Style::new().fg_color(Some(colour.into())), text)
    }

    pub fn bold(&self, text: &str) -> String {
        self.styled(Style::new().bold(), text)
    }

    fn styled(&self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// Of a tree: before one that others follow, before the last one, and below either.
    pub fn branches(&self) -> Branches {
        match self.utf8 {
            true => Branches { middle: "├─ ", last: "└─ ", below: "│  " },
            false => Branches { middle: "|- ", last: "`- ", below: "|  " },
        }
    }

    fn dots(&self) -> &'static str {
        if self.utf8 { "…" } else { "..." }
    }

    /// A line that the terminal has room for; what follows `fixed` columns may be cut.
    pub fn fitted(&self, line: &str, fixed: usize) -> String {
        match self.width {
            Some(width) if wide(line) > width.max(fixed) => {
                let keep = width.max(fixed).saturating_sub(wide(self.dots()));
                format!("{}{}", head(line, keep), self.dots())
            }
            _ => line.to_owned(),
        }
    }

    /// A text in lines of the terminal's width, each after `indent` columns; in one line where there is none.
    pub fn wrapped(&self, text: &str, indent: usize) -> Vec<String> {
        let Some(width) = self.width.map(|w| w.saturating_sub(indent).max(20)) else {
            return vec![text.to_owned()];
        };
        let mut lines: Vec<String> = Vec::new();
        for word in text.split(' ') {
            match lines.last_mut() {
                Some(line) if wide(line) + 1 + wide(word) <= width => {
                    line.push(' ');
                    line.push_str(word);
                }
                _ => lines.push(word.to_owned()),
            }
        }
        lines
    }
}

/// What the lines of a tree begin with.
#[derive(Clone, Copy, Debug)]
pub struct Branches {
    pub middle: &'static str,
    pub last: &'static str,
    pub below: &'static str,
}

/// The columns that a text takes, without what colours it.
pub fn wide(text: &str) -> usize {
    let mut in_escape = false;
    let counts = |c: &char| {
        match (*c, in_escape) {
            ('\u{1b}', _) => in_escape = true,
            ('m', true) => {
                in_escape = false;
                return false;
            }
            _ => {}
        }
        !in_escape
    };
    text.chars().filter(counts).count()
}

/// The beginning of a text, of so many columns. What colours it ends there.
fn head(text: &str, columns: usize) -> String {
    let (mut out, mut taken, mut in_escape, mut styled) = (String::new(), 0, false, false);
    for c in text.chars() {
        if c == '\u{1b}' {
            (in_escape, styled) = (true, true);
        }
        if !in_escape {
            if taken == columns {
                break;
            }
            taken += 1;
        }
        out.push(c);
        if in_escape && c == 'm' {
            in_escape = false;
        }
    }
    if styled {
        out.push_str("\u{1b}[0m");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Look = Look { colour: false, utf8: true, width: None };

    #[test]
    fn colours_take_no_room_and_end_where_a_line_is_cut() {
        let look = Look { colour: true, utf8: true, width: Some(6) };
        let line = format!("{} {}", look.mark(Mark::Failed), "long text");
        assert_eq!(wide(&line), 11);
        let cut = look.fitted(&line, 0);
        assert_eq!(wide(&cut), 6);
        assert!(cut.ends_with("\u{1b}[0m…"), "{cut:?}");
        assert_eq!(PLAIN.fitted(&line, 0), line);
        assert_eq!(Look { utf8: false, ..look }.fitted("0123456789", 0), "012...");
        assert_eq!(look.fitted("0123456789", 8), "0123456…", "what is fixed stays");
    }

    #[test]
    fn signs_without_utf8_differ_all_the_same() {
        let all = [Mark::Ready, Mark::Moving, Mark::Failed, Mark::Silent, Mark::Absent, Mark::Unplaced];
        let ascii = Look { utf8: false, ..PLAIN };
        let signs = |look: Look| all.map(|mark| look.mark(mark)).join(" ");
        assert_eq!(signs(PLAIN), "✓ ~ ✗ ? - ·");
        assert_eq!(signs(ascii), "+ ~ x ? - .");
    }

    #[test]
    fn long_texts_wrap_on_a_terminal_alone() {
        let look = Look { width: Some(30), ..PLAIN };
        let text = "Forbidden: exceeded quota: cpu, requested 2";
        assert_eq!(look.wrapped(text, 5), ["Forbidden: exceeded", "quota: cpu, requested 2"]);
        assert_eq!(PLAIN.wrapped(text, 5), [text]);
    }
}
