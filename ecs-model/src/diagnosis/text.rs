//! A text of ECS, its agent or the container runtime, prepared for searching.
//!
//! A name can contain any word (`secret:not-found-abc`), so commands, ARNs, URLs and paths are removed first. The rest
//! is compared in lower case, with one space between words. Passwords in URLs are never seen.

use std::borrow::Cow;
use std::ops::Range;

/// The lengths at which texts are truncated: a container's at 255 bytes by older agents, a task's, and a container's by
/// current agents, at 1,024. People paste them without the last space.
///
/// Source: `ecsMaxContainerReasonLength` in <https://github.com/aws/amazon-ecs-agent>.
const TRUNCATED: [usize; 4] = [254, 255, 1023, 1024];

/// How much of a text is searched: much more than ECS sends, and little enough to end soon.
const SEARCHED: usize = 4096;

/// After this, Windows' runtime writes the command and the environment of a container, which can contain secrets.
const BEFORE_SECRETS: &str = "extra info:";

/// The words before names that may consist of any word.
const BEFORE_NAMES: [&str; 5] =
    ["invalid parameters:", "invalid ssm parameters:", "denied for", "denied for repository", "daemon: create"];

/// Words with a slash that are not paths.
const NO_PATHS: [&str; 2] = ["i/o", "stopped/terminated"];

/// The punctuation around names.
const AROUND: [char; 12] = ['.', ',', ';', ':', '(', '[', '{', ')', ']', '}', '\'', '"'];

const ARN: &str = "arn:aws";

/// The words before a quoted command: Linux runtimes write `exec: "…"`, Windows' `"CommandLine":"…"`.
const BEFORE_COMMANDS: [&str; 2] = ["exec", "\"commandline\""];

/// A text in the forms in which it is searched.
pub(super) struct Text<'t> {
    /// The text as ECS sends it.
    pub(super) raw: &'t str,
    /// The same without the user names and passwords of URLs.
    pub(super) shown: Cow<'t, str>,
    /// The first command in it.
    pub(super) command: Option<String>,
    /// The text without commands, and with one space between words.
    pub(super) plain: String,
    /// The same in lower case, with the same offsets.
    pub(super) lower: String,
    /// In lower case, and without names.
    pub(super) normal: String,
    /// Whether its end is missing.
    pub(super) is_truncated: bool,
}

impl<'t> Text<'t> {
    /// Prepares a text; `None` if it is blank. The names are in lower case.
    pub(super) fn new(raw: &'t str, names: &[String]) -> Option<Self> {
        let trimmed = raw.trim_end();
        if trimmed.is_empty() {
            return None;
        }
        let shown = without_credentials(raw);
        let searched = &shown[..shown.floor_char_boundary(SEARCHED)];
        let commands = commands(searched);
        let mut plain = plain(searched, &commands);
        let mut lower = plain.to_ascii_lowercase();
        let secrets = lower.find(BEFORE_SECRETS);
        plain.truncate(secrets.unwrap_or(plain.len()));
        lower.truncate(plain.len());
        let normal = normal(&lower, names);
        let ends_early =
            TRUNCATED.contains(&raw.len()) || trimmed.ends_with(['…', '\u{fffd}']) || trimmed.ends_with("...");
        let is_truncated = ends_early && secrets.is_none();
        Some(Self {
            raw,
            command: commands.into_iter().next().map(|command| searched[command].to_owned()),
            shown,
            plain,
            lower,
            normal,
            is_truncated,
        })
    }
}

/// Removes `user:password@` from URLs.
fn without_credentials(raw: &str) -> Cow<'_, str> {
    let mut shown = Cow::Borrowed("");
    let mut rest = raw;
    while let Some(start) = rest.find("://").map(|at| at + "://".len()) {
        let (before, url) = rest.split_at(start);
        let end = url.find(|end: char| end.is_whitespace() || "/?#\"".contains(end)).unwrap_or(url.len());
        shown += before;
        rest = url[..end].rfind('@').map_or(url, |at| &url[at + 1..]);
    }
    shown += rest;
    shown
}

/// The positions of quoted commands.
fn commands(raw: &str) -> Vec<Range<usize>> {
    if !raw.contains(['"', '“']) {
        return Vec::new();
    }
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

/// The content of the quotes that begin here, after a colon or white space. Quotes within quotes have backslashes
/// before them. Quotes that a truncated text leaves open reach to its end.
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

fn plain(raw: &str, commands: &[Range<usize>]) -> String {
    let mut plain = String::with_capacity(raw.len());
    let mut from = 0;
    for command in commands {
        push_words(&mut plain, &raw[from..command.start]);
        from = command.end;
    }
    push_words(&mut plain, &raw[from..]);
    plain
}

fn push_words(plain: &mut String, text: &str) {
    for (index, word) in text.split_whitespace().enumerate() {
        if index > 0 || (text.starts_with(char::is_whitespace) && !plain.is_empty()) {
            plain.push(' ');
        }
        *plain += word;
    }
}

fn normal(lower: &str, names: &[String]) -> String {
    let mut lower = Cow::Borrowed(lower);
    if !lower.is_ascii() {
        let quotes = lower.replace(['’', '‘'], "'").replace(['“', '”'], "\"");
        lower = quotes.replace(['…', '\u{fffd}'], " ").into();
    }
    if lower.contains("...") {
        lower = lower.replace("...", " ").into();
    }
    let mut normal = String::with_capacity(lower.len());
    let mut found: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut is_list = false;
    for word in lower.split(' ').filter(|word| !word.is_empty()) {
        let name = word.trim_matches(AROUND);
        let is_first = name != "repository" && BEFORE_NAMES.iter().any(|before| normal.ends_with(before));
        is_list = is_first || (is_list && normal.ends_with(','));
        if is_list && !is_plain(name) {
            found.push(name);
        }
        if !normal.is_empty() {
            normal.push(' ');
        }
        let is_name = is_list || found.contains(&name);
        push_word(&mut normal, word, is_name);
    }
    normal
}

/// Whether a name could be a word of a sentence.
pub(super) fn is_plain(name: &str) -> bool {
    name.chars().all(char::is_alphabetic)
}

/// Appends a word, or what kind of name it is, with the punctuation after it.
fn push_word(normal: &mut String, word: &str, is_name: bool) {
    let name = word.trim_end_matches(AROUND);
    if !is_name && !name.bytes().any(|byte| matches!(byte, b'/' | b':' | b'.')) {
        return *normal += word;
    }
    let kind = if name.contains(ARN) {
        *normal += &name[..name.find(ARN).unwrap_or_default()];
        "‹arn›"
    } else if (name.contains(".dkr.ecr") || name.contains(".dkr-ecr.")) && !name.contains("://") {
        "‹ecr›"
    } else if is_name {
        "‹name›"
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
