//! Stopped tasks, counted by reason and by cluster and group.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, Write};

use ecs_model::Task;
use ecs_model::arn::{account, cluster_arn, last_part, region};
use ecs_model::diagnosis::{Cause, Code, Diagnosis, Kind};
use serde_json::json;

use crate::cells::{self, code_style};
use crate::columns::{heading, truncate};
use crate::json;
use crate::terminal::{BOLD, PLAIN, clean, columns, grouped};
use crate::time::Window;

/// The longest bar, and the width of output that is not a terminal.
const BAR: usize = 40;
const WIDTH: usize = 100;

type Reason = (Code, Option<Cause>);
/// The ARN of a cluster, a group, and a reason.
type Key = (String, String, Reason);

#[derive(Default)]
pub(crate) struct Summary {
    counts: BTreeMap<Key, u64>,
    /// The worst kind of each reason.
    kinds: BTreeMap<Reason, Kind>,
}

impl Summary {
    pub(crate) fn add(&mut self, task: &Task, diagnosis: &Diagnosis) {
        let reason = (diagnosis.code, diagnosis.cause);
        let kind = self.kinds.entry(reason).or_insert(diagnosis.kind());
        *kind = diagnosis.kind().max(*kind);
        let cluster = cluster_arn(task.cluster_arn.as_deref(), &task.task_arn).unwrap_or_default();
        *self.counts.entry((cluster, task.group.clone().unwrap_or_default(), reason)).or_default() += 1;
    }

    fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// The counts by a part of the key, the highest first.
    fn by<K: Ord>(&self, part: impl Fn(&Key) -> K) -> Vec<(K, u64)> {
        let mut counts = BTreeMap::new();
        for (key, count) in &self.counts {
            *counts.entry(part(key)).or_default() += count;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| Reverse(*count));
        counts
    }

    /// Writes a bar for each reason, then the reasons of each group.
    pub(crate) fn write(&self, output: &mut dyn Write, window: Window, width: Option<usize>) -> io::Result<()> {
        let name = |(code, cause): Reason| cells::reason(code, cause);
        let tasks = if self.total() == 1 { "task has" } else { "tasks have" };
        writeln!(output, "{BOLD}{} {tasks} stopped {window}{BOLD:#}\n", grouped(self.total()))?;
        let by_reason = self.by(|(_, _, reason)| *reason);
        let most = by_reason.first().map_or(1, |(_, count)| *count);
        let digits = columns(&grouped(most));
        let longest = by_reason.iter().map(|(reason, _)| columns(&name(*reason))).max().unwrap_or_default();
        let room = width.unwrap_or(WIDTH).saturating_sub(longest + digits + 6).clamp(1, BAR);
        for (reason, count) in &by_reason {
            let style = self.kinds.get(reason).map_or(PLAIN, |kind| code_style(reason.0, *kind));
            let bar = bar(*count, most, room);
            writeln!(output, "  {:longest$}  {:>digits$}  {style}{bar}{style:#}", name(*reason), grouped(*count))?;
        }
        let clusters = self.by(|(cluster, _, _)| cluster.clone());
        let has_one_cluster = clusters.len() <= 1;
        // Of another account or region, too, if one has the same name.
        let is_unique = |name: &str| clusters.iter().filter(|(arn, _)| last_part(arn) == name).count() == 1;
        let cluster_name = |arn: &str| match last_part(arn) {
            name if is_unique(name) => name.to_owned(),
            name => [account(arn), region(arn), Some(name)].map(Option::unwrap_or_default).join("/"),
        };
        heading(output, if has_one_cluster { "By group" } else { "By cluster and group" })?;
        let by_group = self.by(|(cluster, group, _)| (cluster.clone(), group.clone()));
        let widest = width.unwrap_or(WIDTH) / 3;
        let title = |(cluster, group): &(String, String)| {
            let group = if group.is_empty() { "(none)" } else { group };
            let name = if has_one_cluster { group.to_owned() } else { format!("{}/{group}", cluster_name(cluster)) };
            truncate(&clean(&name), widest)
        };
        let longest = by_group.iter().map(|(group, _)| columns(&title(group))).max().unwrap_or_default();
        let digits = by_group.first().map_or(1, |(_, count)| columns(&grouped(*count)));
        for (group, count) in &by_group {
            let is_of = |(cluster, other, _): &Key| (cluster, other) == (&group.0, &group.1);
            let mut reasons: Vec<_> = self.counts.iter().filter(|(key, _)| is_of(key)).collect();
            reasons.sort_by_key(|(_, count)| Reverse(**count));
            let reasons: Vec<String> = reasons
                .iter()
                .map(|((_, _, reason), count)| format!("{} {}", name(*reason), grouped(**count)))
                .collect();
            let shown = title(group);
            let padding = " ".repeat(longest.saturating_sub(columns(&shown)));
            let room = width.unwrap_or(usize::MAX).saturating_sub(longest + digits + 6);
            let reasons = truncate(&reasons.join(", "), room);
            writeln!(output, "  {shown}{padding}  {:>digits$}  {reasons}", grouped(*count))?;
        }
        Ok(())
    }

    pub(crate) fn write_json(&self, output: &mut dyn Write) -> io::Result<()> {
        for ((cluster, group, (code, cause)), count) in &self.counts {
            let line = json!({"clusterArn": cluster, "group": group, "code": code, "cause": cause, "count": count});
            json::line(output, &line)?;
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
