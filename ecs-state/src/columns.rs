//! Tables that fit the terminal. Rows are printed in blocks, so that a long list is not kept in memory and its first
//! rows appear at once.

use std::fmt;
use std::io::{self, Write};

use anstyle::Style;

use crate::column_widths::{Column, Fit, GAP, fit};
use crate::terminal::{BOLD, DIM, PLAIN, clean, columns};

/// How many rows share their column widths.
const BLOCK: usize = 1000;
/// The indentation of a text on its own line.
const INDENT: usize = 8;

#[derive(Clone)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(crate) fn new(text: &str) -> Self {
        Self::styled(text, PLAIN)
    }

    pub(crate) fn styled(text: &str, style: Style) -> Self {
        Self { text: clean(text).into_owned(), style }
    }

    pub(crate) fn with(self, style: Style) -> Self {
        Self { style, ..self }
    }
}

pub(crate) struct Table<'o> {
    columns: &'static [Column],
    width: Option<usize>,
    rows: Vec<Vec<Cell>>,
    /// The text that each column had in all rows so far; `None` once they differ.
    same: Vec<Option<String>>,
    /// Which columns the last header has.
    shown: Option<Vec<bool>>,
    output: &'o mut dyn Write,
}

impl<'o> Table<'o> {
    pub(crate) fn new(columns: &'static [Column], width: Option<usize>, output: &'o mut dyn Write) -> Self {
        Self { columns, width, rows: Vec::new(), same: Vec::new(), shown: None, output }
    }

    /// The output, for what is printed instead of a table.
    pub(crate) fn output(&mut self) -> &mut dyn Write {
        self.output
    }

    pub(crate) fn add(&mut self, row: Vec<Cell>) -> io::Result<()> {
        self.rows.push(row);
        if self.rows.len() == BLOCK { self.flush() } else { Ok(()) }
    }

    /// Prints what has been added.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let Some(first) = self.rows.first() else { return Ok(()) };
        if self.same.is_empty() {
            self.same = first.iter().map(|cell| Some(cell.text.clone())).collect();
        }
        for row in &self.rows {
            for (same, cell) in self.same.iter_mut().zip(row) {
                same.take_if(|text| *text != cell.text);
            }
        }
        let natural: Vec<usize> = (0..self.columns.len())
            .map(|at| {
                let cells = self.rows.iter().map(|row| columns(&row[at].text)).max().unwrap_or_default();
                let is_hidden = self.columns[at].fit == Fit::IfDifferent && self.same[at].is_some();
                // A column without any text is omitted.
                if cells == 0 || is_hidden { 0 } else { cells.max(columns(self.columns[at].title)) }
            })
            .collect();
        let widths = fit(self.columns, &natural, self.width);
        let shown: Vec<bool> = widths.iter().map(|width| *width > 0).collect();
        // A block with different columns gets its own header.
        if self.shown.as_ref() != Some(&shown) {
            let titles = self.columns.iter().map(|column| Cell::styled(column.title, BOLD)).collect::<Vec<_>>();
            write_line(self.output, &titles, &widths)?;
            self.shown = Some(shown);
        }
        for row in self.rows.drain(..) {
            write_line(self.output, &row, &widths)?;
            let last = row.len() - 1;
            if self.columns[last].fit == Fit::Below && widths[last] == 0 && !row[last].text.is_empty() {
                let width = self.width.unwrap_or(usize::MAX).saturating_sub(INDENT).max(20);
                for line in wrap(&row[last].text, width) {
                    let style = row[last].style;
                    writeln!(self.output, "{:INDENT$}{style}{line}{style:#}", "")?;
                }
            }
        }
        self.output.flush()
    }
}

fn write_line(output: &mut dyn Write, cells: &[Cell], widths: &[usize]) -> io::Result<()> {
    let mut line = String::new();
    let mut padding = 0;
    for (Cell { text, style }, &width) in cells.iter().zip(widths).filter(|(_, width)| **width > 0) {
        line.push_str(&" ".repeat(padding));
        let text = truncate(text, width);
        padding = width.saturating_sub(columns(&text)) + GAP.len();
        if !text.is_empty() {
            let _ = fmt::Write::write_fmt(&mut line, format_args!("{style}{text}{style:#}"));
        }
    }
    writeln!(output, "{}", line.trim_end())
}

/// Truncates a text to a width. An id simply ends; other text ends with an ellipsis.
pub(crate) fn truncate(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let is_id = text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let room = if is_id { width } else { width.saturating_sub(1) };
    let mut truncated = String::new();
    for character in text.chars() {
        if columns(&truncated) + columns(character.encode_utf8(&mut [0; 4])) > room {
            break;
        }
        truncated.push(character);
    }
    if !is_id {
        truncated.push('…');
    }
    truncated
}

/// Breaks a text into lines, between words if possible.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split(' ') {
        if !line.is_empty() && columns(&line) + 1 + columns(word) > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for character in word.chars() {
            // Only a word that is wider than a line is broken.
            if !line.is_empty() && columns(&line) + columns(character.encode_utf8(&mut [0; 4])) > width {
                lines.push(std::mem::take(&mut line));
            }
            line.push(character);
        }
    }
    lines.push(line);
    lines
}

pub(crate) fn heading(output: &mut dyn Write, title: &str) -> io::Result<()> {
    writeln!(output, "\n{BOLD}{title}{BOLD:#}")
}

/// Writes names and values, aligned. Long values are wrapped.
pub(crate) fn fields(output: &mut dyn Write, fields: &[(&str, String)], width: Option<usize>) -> io::Result<()> {
    let name_width = fields.iter().map(|(name, _)| columns(name)).max().unwrap_or_default();
    let room = width.unwrap_or(usize::MAX).saturating_sub(name_width + 4).max(20);
    for (name, value) in fields {
        for (number, line) in wrap(&clean(value), room).into_iter().enumerate() {
            let name = if number == 0 { *name } else { "" };
            writeln!(output, "  {DIM}{name:name_width$}{DIM:#}  {line}")?;
        }
    }
    Ok(())
}
