//! The exit codes, which are an interface: docs/reference.md.

pub(crate) const FOUND: u8 = 0;
pub(crate) const NOTHING_FOUND: u8 = 1;
/// The arguments are wrong, or several tasks match.
pub(crate) const USAGE: u8 = 2;
/// AWS refused or could not be reached, a row could not be read, or the output could not be written.
pub(crate) const FAILED: u8 = 3;
/// Ended by a signal: this and its number, as shells have it.
pub(crate) const SIGNAL: u8 = 128;
