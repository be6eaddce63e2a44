//! Text patterns, all searched for at once.
//!
//! A pattern is found in any letter case, from a word's start to a word's end. In it, `…` between words is anything,
//! and next to a word the rest of it; after punctuation, a word that follows immediately. `^` and `$` are the start and
//! the end of the text. `‹arn›` and the like are what [`Text`] replaces names with.

use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::text::Text;

/// The patterns of a table, each with its row.
#[expect(clippy::struct_field_names, reason = "it holds patterns, and what finds them")]
pub(super) struct Patterns {
    automaton: AhoCorasick,
    literals: Vec<Literal>,
    patterns: Vec<Pattern>,
}

struct Pattern {
    row: usize,
    /// The indices of its parts between `…`.
    literals: Range<usize>,
}

struct Literal {
    text: String,
    /// The index of its pattern.
    pattern: usize,
    begin: Begin,
    end: End,
    /// How much of it must be at the end of a truncated text: two words, or most of it.
    enough: usize,
}

/// Where a literal may begin.
#[derive(Clone, Copy, PartialEq)]
enum Begin {
    Anywhere,
    Word,
    Text,
}

/// Where it may end.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Anywhere,
    Word,
    BeforeWord,
    Text,
}

/// Where a literal is in a text.
struct Hit {
    literal: usize,
    start: usize,
    end: usize,
}

enum Found {
    Whole,
    /// The text is truncated within it.
    Begun,
    No,
}

/// Rows of a table, of at most 64.
#[derive(Clone, Copy, Default)]
pub(super) struct Rows(u64);

impl Rows {
    fn insert(&mut self, row: usize) {
        self.0 |= 1 << row;
    }

    pub(super) fn contains(self, row: usize) -> bool {
        self.0 & (1 << row) != 0
    }

    /// The rows, in the order of the table.
    pub(super) fn iter(mut self) -> impl Iterator<Item = usize> {
        std::iter::from_fn(move || {
            let row = (self.0 != 0).then(|| self.0.trailing_zeros())?;
            self.0 &= self.0 - 1;
            Some(row as usize)
        })
    }
}

impl Patterns {
    /// Prepares the patterns of a table.
    #[expect(clippy::expect_used, reason = "the tables are constants, and short")]
    pub(super) fn new(table: impl Iterator<Item = (usize, String)>) -> Self {
        let mut literals = Vec::new();
        let patterns = table
            .enumerate()
            .map(|(index, (row, pattern))| {
                let first = literals.len();
                literals.extend(Literal::parse(&pattern.to_lowercase(), index));
                Pattern { row, literals: first..literals.len() }
            })
            .collect();
        let automaton = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::DFA))
            .build(literals.iter().map(|literal| &literal.text))
            .expect("an automaton");
        Self { automaton, literals, patterns }
    }

    /// The rows with a pattern in the text. One that begins at the end of a truncated text counts unless several rows
    /// have one.
    pub(super) fn rows(&self, text: &Text) -> Rows {
        let hits: Vec<Hit> = self
            .automaton
            .find_overlapping_iter(&text.normal)
            .map(|hit| Hit { literal: hit.pattern().as_usize(), start: hit.start(), end: hit.end() })
            .filter(|hit| self.literals[hit.literal].fits(&text.normal, hit))
            .collect();
        let (mut rows, mut begun) = (Rows::default(), Rows::default());
        let compare = |pattern: &Pattern| match self.find(pattern, &hits, text) {
            Found::Whole => rows.insert(pattern.row),
            Found::Begun => begun.insert(pattern.row),
            Found::No => (),
        };
        if text.is_truncated {
            self.patterns.iter().for_each(compare);
        } else {
            hits.iter().map(|hit| &self.patterns[self.literals[hit.literal].pattern]).for_each(compare);
        }
        if begun.0.is_power_of_two() {
            rows.0 |= begun.0;
        }
        rows
    }

    fn find(&self, pattern: &Pattern, hits: &[Hit], text: &Text) -> Found {
        let mut from = 0;
        for index in pattern.literals.clone() {
            let literal = &self.literals[index];
            // Between the parentheses of a sentence there is one name.
            let may_follow = |gap: &str| literal.end != End::Text || !gap.contains(['(', ')']);
            let is_next = |hit: &&Hit| hit.literal == index && text.normal.get(from..hit.start).is_some_and(may_follow);
            match hits.iter().find(is_next) {
                Some(hit) => from = hit.end,
                None if text.is_truncated
                    && index + 1 == pattern.literals.end
                    && literal.is_begun(&text.normal[from..]) =>
                {
                    return Found::Begun;
                }
                None => return Found::No,
            }
        }
        Found::Whole
    }
}

impl Literal {
    fn parse(pattern: &str, index: usize) -> Vec<Self> {
        let (is_begin, pattern) = pattern.strip_prefix('^').map_or((false, pattern), |rest| (true, rest));
        let (is_end, pattern) = pattern.strip_suffix('$').map_or((false, pattern), |rest| (true, rest));
        let parts: Vec<&str> = pattern.split('…').map(str::trim).collect();
        let last = parts.len() - 1;
        let literal = |(part, text): (usize, &&str)| Self {
            pattern: index,
            begin: match part {
                0 if is_begin => Begin::Text,
                1 if parts[0].is_empty() => Begin::Anywhere,
                _ if text.starts_with(is_word) => Begin::Word,
                _ => Begin::Anywhere,
            },
            end: match text.ends_with(is_word) {
                _ if part == last && is_end => End::Text,
                is_word if part + 1 == last && parts[last].is_empty() => {
                    if is_word {
                        End::Anywhere
                    } else {
                        End::BeforeWord
                    }
                }
                true => End::Word,
                false => End::Anywhere,
            },
            text: (*text).to_owned(),
            enough: {
                let two_words = text.match_indices(' ').nth(1).map_or(usize::MAX, |(second_blank, _)| second_blank);
                two_words.min((text.len() * 3).div_ceil(5))
            },
        };
        parts.iter().enumerate().filter(|(_, text)| !text.is_empty()).map(literal).collect()
    }

    /// Whether a hit begins and ends where it may.
    fn fits(&self, text: &str, hit: &Hit) -> bool {
        let (before, after) = (&text[..hit.start], &text[hit.end..]);
        let begins = match self.begin {
            Begin::Anywhere => true,
            Begin::Word => !before.ends_with(is_word),
            Begin::Text => may_precede_sentence(before),
        };
        let ends = match self.end {
            End::Anywhere => true,
            End::Word => !after.starts_with(is_word),
            End::BeforeWord => after.starts_with(is_word),
            End::Text => after.trim_end_matches('.').is_empty(),
        };
        begins && ends
    }

    /// Whether the text ends within it.
    fn is_begun(&self, text: &str) -> bool {
        let ends_alike = |length: &usize| self.text.as_bytes().get(length - 1) == text.as_bytes().last();
        (self.enough..self.text.len()).filter(ends_alike).any(|length| {
            let before = self.text.get(..length).and_then(|begun| text.strip_suffix(begun));
            before.is_some_and(|before| self.begin != Begin::Word || !before.ends_with(is_word))
        })
    }
}

/// As in names: `not-found` is one word.
pub(super) fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '-' || character == '_'
}

/// A stop code or a service's name may stand before a sentence.
fn may_precede_sentence(before: &str) -> bool {
    match *before.split(' ').collect::<Vec<_>>() {
        [""] | ["taskfailedtostart:", ""] => true,
        ["service", name, ""] => name.ends_with(':'),
        ["(service", name, ""] => name.ends_with([')', ':']),
        _ => false,
    }
}
