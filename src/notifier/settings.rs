//! The notifier's settings, read once at startup.

use std::ffi::OsString;

use crate::config::{Config, InvalidVariable, is_alphanumeric_or, text};
use crate::resource::Resource;

/// The notifier's settings, from its environment variables.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// The name of the table of tasks.
    pub table: String,
    /// The name or the ARN of the event bus.
    pub bus: String,
}

const NOTIFICATION_BUS_NAME: &str = "NOTIFICATION_BUS_NAME";
/// Every account has a bus of this name.
const DEFAULT_BUS: &str = "default";

impl Settings {
    /// Reads the settings through `variable`, as [`Config::read`] does.
    pub fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, InvalidVariable> {
        let bus = text(&variable, NOTIFICATION_BUS_NAME)?.unwrap_or_else(|| DEFAULT_BUS.to_owned());
        // Source: <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsRequestEntry.html>
        if bus.len() > 1600 || !is_alphanumeric_or(&bus, b"/.-_:") {
            let problem = format!("must be the name or the ARN of an event bus, found {bus:?}");
            return Err(InvalidVariable::new(NOTIFICATION_BUS_NAME, problem));
        }
        Ok(Self { table: Config::read(variable)?.table(Resource::Task).to_owned(), bus })
    }
}
