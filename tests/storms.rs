//! Storms: many events at once, in random order and repeated, sent to several instances, some of which are killed.

mod overload;
mod reconcilers;
mod recorders;
