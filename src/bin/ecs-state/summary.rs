//! How many tasks stopped for which reason, and in which group.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, Write};

use chrono::{DateTime, Utc};
use ecs_state_recorder::reader::diagnosis::Code;
use ecs_state_recorder::reader::model::Task;
use serde_json::json;

use crate::json;
use crate::stopped::code_style;
use crate::table::{heading, truncate};
use crate::terminal::{BOLD, clean, columns, grouped};
use crate::time::instant;

/// The longest bar, and the width of the output where it does not go to a terminal.
const BAR: usize = 40;
const WIDTH: usize = 100;

/// Counts by group and code.
#[derive(Default)]
pub(crate) struct Summary(BTreeMap<(String, Code), u64>);

impl Summary {
    pub(crate) fn add(&mut self, task: &Task, code: Code) {
        *self.0.entry((task.group.clone().unwrap_or_default(), code)).or_default() += 1;
    }

    fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// The counts of one part of the key, the highest first.
    fn by<K: Ord>(&self, part: impl Fn(&(String, Code)) -> K) -> Vec<(K, u64)> {
        let mut counts = BTreeMap::new();
        for (key, count) in &self.0 {
            *counts.entry(part(key)).or_default() += count;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| Reverse(*count));
        counts
    }

    /// A bar for each code, then the codes of each group.
    pub(crate) fn write(&self, output: &mut dyn Write, since: DateTime<Utc>, width: Option<usize>) -> io::Result<()> {
        let tasks = if self.total() == 1 { "task has" } else { "tasks have" };
        writeln!(output, "{BOLD}{} {tasks} stopped since {}{BOLD:#}\n", grouped(self.total()), instant(since))?;
        let by_code = self.by(|(_, code)| *code);
        let most = by_code.first().map_or(1, |(_, count)| *count);
        let digits = columns(&grouped(most));
        let longest = by_code.iter().map(|(code, _)| columns(&code.to_string())).max().unwrap_or_default();
        let room = width.unwrap_or(WIDTH).saturating_sub(longest + digits + 6).clamp(1, BAR);
        for (code, count) in &by_code {
            let style = code_style(*code);
            writeln!(
                output,
                "  {code:longest$}  {:>digits$}  {style}{}{style:#}",
                grouped(*count),
                bar(*count, most, room)
            )?;
        }
        heading(output, "By group")?;
        let by_group = self.by(|(group, _)| group.clone());
        let widest = width.unwrap_or(WIDTH) / 3;
        let name = |group: &str| match group {
            "" => "(none)".to_owned(),
            group => truncate(&clean(group), widest),
        };
        let longest = by_group.iter().map(|(group, _)| columns(&name(group))).max().unwrap_or_default();
        let digits = by_group.first().map_or(1, |(_, count)| columns(&grouped(*count)));
        for (group, count) in &by_group {
            let mut codes: Vec<_> = self.0.iter().filter(|((other, _), _)| other == group).collect();
            codes.sort_by_key(|(_, count)| Reverse(**count));
            let codes: Vec<String> =
                codes.iter().map(|((_, code), count)| format!("{code} {}", grouped(**count))).collect();
            let shown = name(group);
            let padding = " ".repeat(longest.saturating_sub(columns(&shown)));
            let room = width.unwrap_or(usize::MAX).saturating_sub(longest + digits + 6);
            let codes = truncate(&codes.join(", "), room);
            writeln!(output, "  {shown}{padding}  {:>digits$}  {codes}", grouped(*count))?;
        }
        Ok(())
    }

    pub(crate) fn write_json(&self, output: &mut dyn Write) -> io::Result<()> {
        for ((group, code), count) in &self.0 {
            json::line(output, &json!({"group": group, "code": code, "count": count}))?;
        }
        Ok(())
    }
}

/// A bar in eighths of a column; every count has at least one.
fn bar(count: u64, most: u64, room: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let room = u64::try_from(room).unwrap_or_default();
    let eighths = (count * room * 8).div_ceil(most);
    let part = EIGHTHS[usize::try_from(eighths % 8).unwrap_or_default()];
    format!("{}{part}", "█".repeat(usize::try_from(eighths / 8).unwrap_or_default()))
}
