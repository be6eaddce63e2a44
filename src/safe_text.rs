//! Text that can be shown anywhere.

use std::borrow::Cow;

/// Escapes control sequences, and characters that change the direction of text.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return text.into();
    }
    text.chars()
        .fold(String::new(), |mut clean, character| {
            if is_unsafe(character) {
                clean.extend(character.escape_default());
            } else {
                clean.push(character);
            }
            clean
        })
        .into()
}

/// C0, DEL, C1, line separators, and the characters of the Unicode bidirectional algorithm.
pub fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
