//! Text for people: steps with their seconds, colours and redrawing on a terminal only.

use std::io::{IsTerminal, Write};
use std::time::Instant;

/// Standard output, and what it can show.
pub struct Screen {
    terminal: bool,
    colours: bool,
    /// Lines of the view that the next one replaces.
    drawn: usize,
    view: Vec<String>,
}

impl Screen {
    pub fn stdout() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let colours = terminal && std::env::var_os("NO_COLOR").is_none();
        Self { terminal, colours, drawn: 0, view: Vec::new() }
    }

    pub fn bold(&self, text: &str) -> String {
        self.colour("1", text)
    }

    pub fn green(&self, text: &str) -> String {
        self.colour("32", text)
    }

    pub fn yellow(&self, text: &str) -> String {
        self.colour("33", text)
    }

    pub fn red(&self, text: &str) -> String {
        self.colour("31", text)
    }

    fn colour(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Runs `work`, with `title` before it and how long it took behind it.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn timed<T>(&mut self, title: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        print!("{title:<78}");
        let _ = std::io::stdout().flush();
        let start = Instant::now();
        let result = work();
        let seconds = start.elapsed().as_secs_f32();
        match &result {
            Ok(_) => println!("{} {seconds:>6.1} s", self.green("ok")),
            Err(_) => println!("{} after {seconds:.1} s", self.red("failed")),
        }
        result
    }

    /// Shows a view of several lines: in place of the one before it on a terminal, else below it, when it differs.
    pub fn show(&mut self, since: Instant, lines: Vec<String>) {
        if lines == self.view {
            return;
        }
        if self.terminal && self.drawn > 0 {
            print!("\x1b[{}A\x1b[J", self.drawn);
        }
        if !self.terminal {
            println!("  after {:.2} s:", since.elapsed().as_secs_f32());
        }
        // A line that wraps would be two, and the next view would not cover it.
        let (cut, wrap) = if self.terminal { ("\x1b[?7l", "\x1b[?7h") } else { ("", "") };
        for line in &lines {
            println!("{cut}    {line}{wrap}");
        }
        let _ = std::io::stdout().flush();
        self.drawn = lines.len();
        self.view = lines;
    }

    /// The view stays; the next one stands below it.
    pub fn settle(&mut self) {
        self.drawn = 0;
        self.view.clear();
    }
}
