//! Stopped tasks, counted by reason and by cluster and group.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, Write};

use chrono::{DateTime, Utc};
use ecs_model::Task;
use ecs_model::arn::last_part;
use ecs_model::diagnosis::Code;
use serde_json::json;

use crate::cells::code_style;
use crate::columns::{heading, truncate};
use crate::json;
use crate::terminal::{BOLD, clean, columns, grouped};
use crate::time::instant;

/// The longest bar, and the width of output that is not a terminal.
const BAR: usize = 40;
const WIDTH: usize = 100;

/// The ARN of a cluster, a group, and a code.
type Key = (String, String, Code);

#[derive(Default)]
pub(crate) struct Summary(BTreeMap<Key, u64>);

impl Summary {
    pub(crate) fn add(&mut self, task: &Task, code: Code) {
        let cluster = task.cluster_arn.clone().unwrap_or_default();
        *self.0.entry((cluster, task.group.clone().unwrap_or_default(), code)).or_default() += 1;
    }

    fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// The counts by a part of the key, the highest first.
    fn by<K: Ord>(&self, part: impl Fn(&Key) -> K) -> Vec<(K, u64)> {
        let mut counts = BTreeMap::new();
        for (key, count) in &self.0 {
            *counts.entry(part(key)).or_default() += count;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| Reverse(*count));
        counts
    }

    /// Writes a bar for each code, then the codes of each group.
    pub(crate) fn write(&self, output: &mut dyn Write, since: DateTime<Utc>, width: Option<usize>) -> io::Result<()> {
        let tasks = if self.total() == 1 { "task has" } else { "tasks have" };
        writeln!(output, "{BOLD}{} {tasks} stopped since {}{BOLD:#}\n", grouped(self.total()), instant(since))?;
        let by_code = self.by(|(_, _, code)| *code);
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
        let has_one_cluster = self.by(|(cluster, _, _)| cluster.clone()).len() <= 1;
        heading(output, if has_one_cluster { "By group" } else { "By cluster and group" })?;
        let by_group = self.by(|(cluster, group, _)| (cluster.clone(), group.clone()));
        let widest = width.unwrap_or(WIDTH) / 3;
        let name = |(cluster, group): &(String, String)| {
            let group = if group.is_empty() { "(none)" } else { group };
            let name = if has_one_cluster { group.to_owned() } else { format!("{}/{group}", last_part(cluster)) };
            truncate(&clean(&name), widest)
        };
        let longest = by_group.iter().map(|(group, _)| columns(&name(group))).max().unwrap_or_default();
        let digits = by_group.first().map_or(1, |(_, count)| columns(&grouped(*count)));
        for (group, count) in &by_group {
            let is_of = |(cluster, other, _): &Key| (cluster, other) == (&group.0, &group.1);
            let mut codes: Vec<_> = self.0.iter().filter(|(key, _)| is_of(key)).collect();
            codes.sort_by_key(|(_, count)| Reverse(**count));
            let codes: Vec<String> =
                codes.iter().map(|((_, _, code), count)| format!("{code} {}", grouped(**count))).collect();
            let shown = name(group);
            let padding = " ".repeat(longest.saturating_sub(columns(&shown)));
            let room = width.unwrap_or(usize::MAX).saturating_sub(longest + digits + 6);
            let codes = truncate(&codes.join(", "), room);
            writeln!(output, "  {shown}{padding}  {:>digits$}  {codes}", grouped(*count))?;
        }
        Ok(())
    }

    pub(crate) fn write_json(&self, output: &mut dyn Write) -> io::Result<()> {
        for ((cluster, group, code), count) in &self.0 {
            json::line(output, &json!({"clusterArn": cluster, "group": group, "code": code, "count": count}))?;
        }
        Ok(())
    }
}

/// A bar in eighths of a column, at least one eighth long.
fn bar(count: u64, most: u64, room: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let room = u64::try_from(room).unwrap_or_default();
    let eighths = (count * room * 8).div_ceil(most);
    let part = EIGHTHS[usize::try_from(eighths % 8).unwrap_or_default()];
    format!("{}{part}", "█".repeat(usize::try_from(eighths / 8).unwrap_or_default()))
}
