//! The commands, one per file.

pub(crate) mod explain;
pub(crate) mod groups;
pub(crate) mod images;
pub(crate) mod instances;
pub(crate) mod jobs;
pub(crate) mod logs;
pub(crate) mod metrics;
pub(crate) mod services;
pub(crate) mod stopped;
mod summary;
pub(crate) mod task;
pub(crate) mod tasks;
mod timeline;
pub(crate) mod watch;
