//! Text that can be shown anywhere.

use std::borrow::Cow;

/// Escapes control sequences, and characters that change the direction of text.
pub fn clean(text: &str) -> Cow<'_, str> {
    if is_safe(text) {
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

/// Whether a text can be shown as it is.
pub fn is_safe(text: &str) -> bool {
    // Almost every text is. Bytes are faster than characters.
    text.bytes().all(|byte| matches!(byte, b' '..=b'~')) || !text.contains(is_unsafe)
}

/// C0, DEL, C1, line separators, and the characters of the Unicode bidirectional algorithm.
pub fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
