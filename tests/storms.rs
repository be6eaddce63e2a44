//! Storms: many events at once, in random order and repeated, to several instances that are killed.

mod overload;
mod reconcilers;
mod recorders;
