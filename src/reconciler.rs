//! From the ECS API to the tables: what no event told, and what ECS no longer knows.
//!
//! A [`run`] compares the tables with ECS in one of two scopes. [`fleet`] asks whether everything that ECS has is in the
//! tables; [`table`] asks whether everything in the tables still exists. Both ask the API through [`ecs`], at the pace of
//! [`limiter`], turn what it describes into states by [`described`], and read and mark rows by [`rows`]. States are
//! written as everywhere, by [`crate::state::store`].

pub mod described;
pub mod ecs;
pub mod fleet;
pub mod limiter;
pub mod rows;
pub mod run;
pub mod table;
