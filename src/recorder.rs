//! From an event to a state: what ECS sends, and what an invocation returns.

pub mod event;
pub mod invocation;
