//! A text of ECS, of its agent or of the container runtime, prepared for the search.
//!
//! Names contain any word (`secret:not-found-abc`), so commands, ARNs, URLs and paths are taken out first. What is left
//! is compared in lower case, with one blank between words.

use std::borrow::Cow;
use std::ops::Range;

/// Where texts are cut: a container's at 255 bytes by older agents, a task's and those of current agents at 1,024.
/// People paste them without the last blank.
///
/// Source: `ecsMaxContainerReasonLength` in <https://github.com/aws/amazon-ecs-agent>.
const CUT: [usize; 4] = [254, 255, 1023, 1024];

/// Words with a slash that are not paths.
const NO_PATHS: [&str; 2] = ["i/o", "stopped/terminated"];

/// What stands before a command in quotes: Linux runtimes write `exec: "…"`, Windows' `"CommandLine":"…"`.
const BEFORE_COMMANDS: [&str; 2] = ["exec", "\"commandline\""];

/// A text, and what of it is compared with patterns.
pub(super) struct Text<'t> {
    /// The text as ECS sends it.
    pub(super) raw: &'t str,
    /// The text without commands.
    pub(super) plain: Cow<'t, str>,
    /// The first command in it.
    pub(super) command: Option<&'t str>,
    /// In lower case, without names.
    pub(super) normal: String,
    /// Whether its end is missing.
    pub(super) is_cut: bool,
}

impl<'t> Text<'t> {
    /// Prepares a text; `None` if it is blank.
    pub(super) fn new(raw: &'t str) -> Option<Self> {
        let trimmed = raw.trim();
        if trimmed.is_empty() {
            return None;
        }
        let commands = commands(raw);
        let plain = without(raw, &commands);
        let normal = normal(&plain);
        let is_cut = CUT.contains(&raw.len()) || trimmed.ends_with(['…', '\u{fffd}']) || trimmed.ends_with("...");
        Some(Self { raw, plain, command: commands.into_iter().next().map(|command| &raw[command]), normal, is_cut })
    }
}

/// Where the commands are that a text quotes.
fn commands(raw: &str) -> Vec<Range<usize>> {
    let lower = raw.to_ascii_lowercase();
    let mut commands: Vec<Range<usize>> = BEFORE_COMMANDS
        .iter()
        .flat_map(|marker| lower.match_indices(marker).map(|(at, marker)| at + marker.len()))
        .filter_map(|after| quoted(raw, after))
        .collect();
    commands.sort_by_key(|command| command.start);
    commands.dedup_by(|next, command| next.start < command.end);
    commands
}

/// The content of the quotes that begin here, but for a colon and white space. Quotes within quotes have backslashes
/// before them. What a cut leaves open reaches to the end.
fn quoted(raw: &str, from: usize) -> Option<Range<usize>> {
    let rest = raw[from..].trim_start_matches(|character: char| character == ':' || character.is_whitespace());
    let quote = rest.trim_start_matches('\\');
    let backslashes = rest.len() - quote.len();
    let content = quote.strip_prefix(['"', '“'])?;
    let start = raw.len() - content.len();
    let end = content
        .match_indices(['"', '”'])
        .map(|(at, _)| (at, content[..at].len() - content[..at].trim_end_matches('\\').len()))
        .find(|(_, before)| *before <= backslashes)
        .map_or(content.len(), |(at, before)| at - before);
    Some(start..start + end)
}

fn without<'t>(raw: &'t str, ranges: &[Range<usize>]) -> Cow<'t, str> {
    if ranges.is_empty() {
        return Cow::Borrowed(raw);
    }
    let mut plain = String::with_capacity(raw.len());
    let mut from = 0;
    for range in ranges {
        plain += &raw[from..range.start];
        from = range.end;
    }
    Cow::Owned(plain + &raw[from..])
}

fn normal(plain: &str) -> String {
    let mut lower = String::with_capacity(plain.len());
    for character in plain.chars() {
        match character {
            '’' | '‘' | '`' => lower.push('\''),
            '“' | '”' => lower.push('"'),
            '…' | '\u{fffd}' => lower.push(' '),
            _ => lower.push(character.to_ascii_lowercase()),
        }
    }
    if lower.contains("...") {
        lower = lower.replace("...", " ");
    }
    let mut normal = String::with_capacity(lower.len());
    for word in lower.split_whitespace() {
        if !normal.is_empty() {
            normal.push(' ');
        }
        push_word(&mut normal, word);
    }
    normal
}

/// Appends a word, or what kind of name it is, with the punctuation after it.
fn push_word(normal: &mut String, word: &str) {
    let name = word.trim_end_matches(['.', ',', ';', ':', ')', ']', '}', '\'', '"']);
    let kind = if let Some(at) = name.find("arn:aws") {
        *normal += &name[..at];
        "‹arn›"
    } else if name.contains(".dkr.ecr.") && !name.contains("://") {
        "‹ecr›"
    } else if !name.contains('/') && !name.contains(":\\") {
        return *normal += word;
    } else if name.contains("://") {
        "‹url›"
    } else if name.contains("/sys/fs/cgroup") {
        "‹cgroup›"
    } else if NO_PATHS.contains(&name) {
        return *normal += word;
    } else {
        "‹path›"
    };
    *normal += kind;
    *normal += &word[name.len()..];
}
