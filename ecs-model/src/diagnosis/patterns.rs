//! Patterns of texts, compared with a text all at once.
//!
//! A pattern is found in any letter case, from a word's start to a word's end. In it, `…` between words is anything,
//! and next to a word the rest of it, which must not be empty after punctuation; `^` and `$` are the text's start and
//! end. `‹arn›` and the like are what [`Text`] leaves of names.

use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};

use super::text::Text;

/// What may stand before a sentence of ECS: the name of a service, or the stop code.
const BEFORE_SENTENCES: [&str; 1] = ["taskfailedtostart: "];

/// The patterns of a table, each with the row that it belongs to.
pub(super) struct Patterns {
    automaton: AhoCorasick,
    literals: Vec<Literal>,
    patterns: Vec<Pattern>,
}

struct Pattern {
    row: usize,
    /// Its parts between `…`: the indices of literals that follow each other.
    literals: Range<usize>,
}

#[derive(Default)]
struct Literal {
    text: String,
    begins_text: bool,
    begins_word: bool,
    ends_word: bool,
    ends_text: bool,
    /// At once followed by a word.
    before_word: bool,
}

/// Rows of a table.
#[derive(Clone, Copy, Default)]
pub(super) struct Rows(u64);

impl Rows {
    fn insert(&mut self, row: usize) {
        self.0 |= 1 << row;
    }

    /// The rows, in the order of the table.
    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        (0..u64::BITS as usize).filter(move |row| self.0 & (1 << row) != 0)
    }
}

/// Where a literal is in a text.
struct Hit {
    literal: usize,
    start: usize,
    end: usize,
}

impl Patterns {
    /// Prepares the patterns of a table.
    ///
    /// # Panics
    ///
    /// A table has more bytes of patterns than an automaton can have states, which the first test would show.
    #[expect(clippy::expect_used, reason = "the tables are constants")]
    pub(super) fn new(table: impl Iterator<Item = (usize, String)>) -> Self {
        let mut literals = Vec::new();
        let patterns = table
            .map(|(row, pattern)| {
                let first = literals.len();
                literals.extend(Literal::parse(&pattern.to_lowercase()));
                Pattern { row, literals: first..literals.len() }
            })
            .collect();
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .build(literals.iter().map(|literal| &literal.text))
            .expect("the patterns are short");
        Self { automaton, literals, patterns }
    }

    /// The rows with a pattern that is in the text, or that its missing end begins, unless it could be of several rows.
    pub(super) fn rows(&self, text: &Text) -> Rows {
        let hits: Vec<Hit> = self
            .automaton
            .find_overlapping_iter(&text.normal)
            .map(|hit| Hit { literal: hit.pattern().as_usize(), start: hit.start(), end: hit.end() })
            .filter(|hit| self.literals[hit.literal].fits(&text.normal, hit.start, hit.end))
            .collect();
        let mut rows = Rows::default();
        let mut begun = Rows::default();
        if hits.is_empty() && !text.is_cut {
            return rows;
        }
        for pattern in &self.patterns {
            match self.find(pattern, &hits, text) {
                Found::Whole => rows.insert(pattern.row),
                Found::Begun => begun.insert(pattern.row),
                Found::No => (),
            }
        }
        if begun.0.is_power_of_two() {
            rows.0 |= begun.0;
        }
        rows
    }

    fn find(&self, pattern: &Pattern, hits: &[Hit], text: &Text) -> Found {
        let mut from = 0;
        for literal in pattern.literals.clone() {
            // Between the parentheses of a sentence there is one name.
            let is_after = |hit: &&Hit| {
                hit.literal == literal
                    && text
                        .normal
                        .get(from..hit.start)
                        .is_some_and(|gap| !self.literals[literal].ends_text || !gap.contains(['(', ')']))
            };
            match hits.iter().find(is_after) {
                Some(hit) => from = hit.end,
                None if text.is_cut
                    && literal + 1 == pattern.literals.end
                    && self.literals[literal].is_begun(&text.normal, from) =>
                {
                    return Found::Begun;
                }
                None => return Found::No,
            }
        }
        Found::Whole
    }
}

enum Found {
    Whole,
    Begun,
    No,
}

impl Literal {
    fn parse(pattern: &str) -> Vec<Self> {
        let (begins_text, pattern) = pattern.strip_prefix('^').map_or((false, pattern), |rest| (true, rest));
        let (ends_text, pattern) = pattern.strip_suffix('$').map_or((false, pattern), |rest| (true, rest));
        let parts: Vec<&str> = pattern.split('…').map(str::trim).collect();
        let is_part = |index: usize| parts.get(index).is_some_and(|part| !part.is_empty());
        let mut literals: Vec<Self> = (0..parts.len())
            .filter(|index| is_part(*index))
            .map(|index| {
                let text = parts[index];
                let rest_follows = index + 1 < parts.len() && !is_part(index + 1);
                Self {
                    begins_word: text.starts_with(is_word) && (index == 0 || is_part(index - 1)),
                    ends_word: text.ends_with(is_word) && !rest_follows,
                    before_word: !text.ends_with(is_word) && rest_follows,
                    text: text.to_owned(),
                    ..Self::default()
                }
            })
            .collect();
        if let Some(first) = literals.first_mut() {
            first.begins_text = begins_text;
        }
        if let Some(last) = literals.last_mut() {
            last.ends_text = ends_text;
        }
        literals
    }

    /// Whether what is found here is not a part of a longer word.
    fn fits(&self, text: &str, start: usize, end: usize) -> bool {
        let (before, after) = (&text[..start], &text[end..]);
        !(self.begins_word && before.ends_with(is_word))
            && !(self.ends_word && after.starts_with(is_word))
            && !(self.before_word && !after.starts_with(is_word))
            && !(self.begins_text && !may_precede_sentence(before))
            && !(self.ends_text && !after.trim_end_matches(['.', ' ']).is_empty())
    }

    /// Whether the text ends within it, after two words of it or most of it.
    fn is_begun(&self, text: &str, from: usize) -> bool {
        let two_words = self.text.match_indices(' ').nth(1).map_or(usize::MAX, |(second_blank, _)| second_blank);
        let most = (self.text.len() * 3).div_ceil(5);
        (two_words.min(most)..self.text.len()).any(|length| {
            let begun = self.text.get(..length).filter(|begun| text[from..].ends_with(begun));
            begun.is_some() && !(self.begins_word && text[..text.len() - length].ends_with(is_word))
        })
    }
}

/// Of a name, too: `not-found` is one word.
fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '-' || character == '_'
}

fn may_precede_sentence(before: &str) -> bool {
    let words: Vec<&str> = before.split(' ').collect();
    before.is_empty()
        || BEFORE_SENTENCES.contains(&before)
        || matches!(*words, ["service", name, ""] if name.ends_with(':'))
        || matches!(*words, ["(service", name, ""] if name.ends_with(')') || name.ends_with("):"))
}
