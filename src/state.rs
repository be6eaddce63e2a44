//! What a state is, and how it is written.
//!
//! A state is what one version of a [`resource`] looked like. It comes as [`json`], becomes a [`row`], and goes through
//! the [`client`] into the [`store`], on one condition; where that fails, [`write_error`] says why.

pub mod client;
pub mod json;
pub mod resource;
pub mod row;
pub mod store;
pub mod write_error;
