//! The terminal: safe text, its size, notes on standard error, and progress.

use std::cell::Cell;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr as _;

pub(crate) use ecs_state_recorder::safe_text::{clean, is_safe, is_unsafe};

pub(crate) const PLAIN: Style = Style::new();
pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const GREEN: Style = AnsiColor::Green.on_default();
pub(crate) const YELLOW: Style = AnsiColor::Yellow.on_default();
pub(crate) const RED: Style = AnsiColor::Red.on_default();

pub(crate) fn columns(text: &str) -> usize {
    text.width()
}

/// The width of the terminal; `None` if the output goes elsewhere.
pub(crate) fn width() -> Option<usize> {
    size().map(|(width, _)| width)
}

pub(crate) fn size() -> Option<(usize, usize)> {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    terminal_size::terminal_size_of(stdout).map(|(width, height)| (width.0.into(), height.0.into()))
}

/// Writes a text to standard error, without control sequences. A closed standard error is ignored.
pub(crate) fn note(text: &str) {
    let mut stderr = anstream::stderr().lock();
    for line in text.split('\n') {
        let _ = writeln!(stderr, "{}", clean(line));
    }
}

/// The progress of a scan, shown on a terminal once it takes long, and its cost.
pub(crate) struct Progress {
    started: Instant,
    shown: Cell<bool>,
    rows: Cell<u64>,
    units: Cell<f64>,
    quiet: bool,
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            started: Instant::now(),
            shown: Cell::new(false),
            rows: Cell::new(0),
            units: Cell::new(0.0),
            quiet: quiet || !std::io::stderr().is_terminal(),
        }
    }

    pub(crate) fn update(&self, rows: u64, units: f64) {
        self.rows.set(rows);
        self.units.set(units);
        if !self.quiet && self.started.elapsed() > Duration::from_millis(500) {
            let _ = write!(std::io::stderr(), "\r{} rows read …\x1b[K", grouped(rows));
            self.shown.set(true);
        }
    }

    pub(crate) fn clear(&self) {
        if self.shown.replace(false) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }

    pub(crate) fn rows(&self) -> usize {
        usize::try_from(self.rows.get()).unwrap_or(usize::MAX)
    }

    pub(crate) fn cost(&self) -> Option<String> {
        let (rows, units) = (self.rows.get(), self.units.get());
        (rows > 0).then(|| format!("{} rows, {units:.1} read units", grouped(rows)))
    }
}

/// A number with commas between the thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
