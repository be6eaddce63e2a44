//! What the tests, and the local run, put around the function.

pub mod dynamodb;
