//! Patterns for the texts of ECS.
//!
//! A pattern is found in a text whatever the case. It begins and ends with whole words; `…` stands for anything, also
//! for the rest of a word.

/// The length at which ECS and its agent cut texts: older agents at 255 characters, newer ones at 1,024.
///
/// Source: `ecsMaxContainerReasonLength` in <https://github.com/aws/amazon-ecs-agent>.
const CUT: usize = 255;

/// The shortest beginning of a pattern that is recognized where a text is cut.
const MIN_CUT: usize = 6;

/// A text, prepared for the search.
pub(super) struct Text {
    /// In lower case, and without ARNs: they contain names that people have chosen, such as a role's `secrets-reader`.
    text: String,
    /// Whether it may be cut.
    cut: bool,
}

impl Text {
    pub(super) fn new(text: &str) -> Self {
        let words: Vec<String> = text.split_whitespace().map(without_arn).collect();
        Self { text: words.join(" ").to_lowercase(), cut: text.len() >= CUT }
    }

    /// Whether the text contains the pattern, or ends within it because it is cut.
    pub(super) fn contains(&self, pattern: &str) -> bool {
        let pattern = pattern.to_lowercase();
        let parts: Vec<&str> = pattern.split('…').collect();
        let mut from = 0;
        for (index, part) in parts.iter().enumerate() {
            let begins = index == 0;
            let ends = index + 1 == parts.len();
            match self.find(part, from, begins, ends) {
                Some(end) => from = end,
                None => return ends && self.is_cut_within(part, from, begins),
            }
        }
        true
    }

    /// Whether the text as a whole has the form of the pattern. A full stop at the end does not matter.
    pub(super) fn is(&self, pattern: &str) -> bool {
        let pattern = pattern.to_lowercase();
        let text = self.text.trim_end_matches('.');
        match pattern.split_once('…') {
            None => text == pattern,
            Some((start, end)) => {
                text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end)
            }
        }
    }

    /// Where the first occurrence of a part of a pattern ends.
    fn find(&self, part: &str, from: usize, begins: bool, ends: bool) -> Option<usize> {
        self.text.get(from..)?.match_indices(part).map(|(at, _)| (from + at, from + at + part.len())).find_map(
            |(start, end)| {
                let whole = (!begins || self.is_word_boundary(start)) && (!ends || self.is_word_boundary(end));
                (whole || part.is_empty()).then_some(end)
            },
        )
    }

    /// Whether the text ends with the beginning of a part.
    fn is_cut_within(&self, part: &str, from: usize, begins: bool) -> bool {
        self.cut
            && part.char_indices().map(|(end, _)| end).filter(|end| *end >= MIN_CUT).any(|end| {
                let start = self.text.len().checked_sub(end).filter(|start| *start >= from);
                start
                    .is_some_and(|start| self.text.ends_with(&part[..end]) && (!begins || self.is_word_boundary(start)))
            })
    }

    /// Whether no word continues across this place.
    fn is_word_boundary(&self, at: usize) -> bool {
        let (before, after) = self.text.split_at(at);
        !(before.ends_with(char::is_alphanumeric) && after.starts_with(char::is_alphanumeric))
    }
}

/// A word without the ARN in it, but with the punctuation around it.
fn without_arn(word: &str) -> String {
    match word.split_once("arn:aws") {
        None => word.to_owned(),
        Some((before, arn)) => {
            let end = arn.trim_end_matches(|character: char| character.is_ascii_punctuation()).len();
            before.to_owned() + &arn[end..]
        }
    }
}
