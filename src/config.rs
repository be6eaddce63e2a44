//! The settings in the functions' environment variables, read once at startup.

use std::ffi::OsString;

use thiserror::Error;

use crate::resource::Resource;

/// The names of the two tables, and the operator's settings for their rows.
///
/// Region, credentials and endpoint are not included: the AWS SDK reads them in its standard way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    task_table: String,
    container_instance_table: String,
    /// How many days after its event a row in a terminal state expires; `None` if it never does.
    pub retention_days: Option<u32>,
    /// Whether the values of overridden environment variables are kept out of the rows.
    pub redact_environment: bool,
}

/// An environment variable with an invalid value, which prevents startup.
#[derive(Debug, Eq, Error, PartialEq)]
#[error("{variable} {problem}")]
pub struct InvalidVariable {
    /// The variable's name, such as `RETENTION_DAYS`.
    pub variable: &'static str,
    /// What its value must be, and what was found.
    pub problem: String,
}

impl InvalidVariable {
    pub(crate) fn new(variable: &'static str, problem: impl Into<String>) -> Self {
        Self { variable, problem: problem.into() }
    }
}

const TASK_TABLE_NAME: &str = "TASK_TABLE_NAME";
const CONTAINER_INSTANCE_TABLE_NAME: &str = "CONTAINER_INSTANCE_TABLE_NAME";
const RETENTION_DAYS: &str = "RETENTION_DAYS";
const REDACT_ENVIRONMENT: &str = "REDACT_ENVIRONMENT";

/// The minimum safe value, given the maximum delivery delay below.
const DEFAULT_RETENTION_DAYS: u32 = 30;
/// A hundred years: anything more is a mistake.
const MAX_RETENTION_DAYS: u32 = 36_500;
/// The maximum delivery delay of an event: EventBridge retries for 24 hours, the event waits in the dead-letter queue
/// for up to 14 days, a redrive gives it 6 hours in Lambda's queue, the failure queue keeps it for another 14 days, and
/// the next redrive gives it 6 hours again: 29.5 days, rounded up. Each further redrive that fails adds 14.25 days. If
/// the row of a terminal state expires sooner, a late event for an earlier state recreates it.
const MAX_DELIVERY_DELAY_DAYS: u32 = 30;

impl Config {
    /// Reads the configuration through `variable`: [`std::env::var_os`], or a lookup supplied by a test.
    ///
    /// # Errors
    ///
    /// A variable is set but is not a table name by [DynamoDB's naming rules], an integer number of days, or `true` or
    /// `false`; or both table names are the same.
    ///
    /// [DynamoDB's naming rules]: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
    pub fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, InvalidVariable> {
        let text = |name| text(&variable, name);
        let table = |name: &'static str, default: &str| match text(name)? {
            None => Ok(default.to_owned()),
            Some(value) if is_table_name(&value) => Ok(value),
            Some(value) => Err(InvalidVariable::new(
                name,
                format!(
                    "must be a DynamoDB table name (3 to 255 characters out of a-z A-Z 0-9 _ . -), found {value:?}"
                ),
            )),
        };
        let retention_days = match text(RETENTION_DAYS)? {
            None => DEFAULT_RETENTION_DAYS,
            Some(value) => {
                let problem =
                    format!("must be an integer from 0 (rows never expire) to {MAX_RETENTION_DAYS}, found {value:?}");
                let days = value.parse().ok().filter(|days| *days <= MAX_RETENTION_DAYS);
                days.ok_or_else(|| InvalidVariable::new(RETENTION_DAYS, problem))?
            }
        };
        let redact_environment = match text(REDACT_ENVIRONMENT)?.as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => {
                let problem = format!("must be true or false, found {other:?}");
                return Err(InvalidVariable::new(REDACT_ENVIRONMENT, problem));
            }
        };
        let config = Self {
            task_table: table(TASK_TABLE_NAME, default_table(Resource::Task))?,
            container_instance_table: table(CONTAINER_INSTANCE_TABLE_NAME, default_table(Resource::ContainerInstance))?,
            retention_days: (retention_days > 0).then_some(retention_days),
            redact_environment,
        };
        if config.task_table == config.container_instance_table {
            let problem = format!("must differ from {TASK_TABLE_NAME}, since the two tables have different keys");
            return Err(InvalidVariable::new(CONTAINER_INSTANCE_TABLE_NAME, problem));
        }
        Ok(config)
    }

    /// The name of the table for this kind of resource.
    pub fn table(&self, resource: Resource) -> &str {
        match resource {
            Resource::Task => &self.task_table,
            Resource::ContainerInstance => &self.container_instance_table,
        }
    }

    /// A warning about a valid but risky configuration.
    pub fn warning(&self) -> Option<String> {
        let days = self.retention_days.filter(|days| *days < MAX_DELIVERY_DELAY_DAYS)?;
        Some(format!(
            "{RETENTION_DAYS} is {days}: an event can arrive up to {MAX_DELIVERY_DELAY_DAYS} days late, and a late \
             event for an earlier state recreates an expired row; set {RETENTION_DAYS} to {MAX_DELIVERY_DELAY_DAYS} \
             or more, or to 0"
        ))
    }
}

/// The default name of a table: the one used by the function in Amazon's guide.
pub fn default_table(resource: Resource) -> &'static str {
    match resource {
        Resource::Task => "ECSTaskState",
        Resource::ContainerInstance => "ECSCtrInstanceState",
    }
}

pub(crate) fn text(
    variable: impl Fn(&str) -> Option<OsString>,
    name: &'static str,
) -> Result<Option<String>, InvalidVariable> {
    match variable(name).map(OsString::into_string) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value)),
        Some(Err(_)) => Err(InvalidVariable::new(name, "must be valid UTF-8")),
    }
}

pub(crate) fn is_partition(text: &str) -> bool {
    text.starts_with("aws") && is_alphanumeric_or(text, b"-")
}

/// Whether a text has the form of an AWS account's id.
pub fn is_account_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a name has the form of a region's name in any partition: `eu-west-1`, `us-gov-east-1`, `us-isob-east-1`.
pub fn is_region(name: &str) -> bool {
    let parts: Vec<&str> = name.split('-').collect();
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_word = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    matches!(&parts[..], [words @ .., number] if words.len() >= 2 && words.iter().all(is_word) && is_number(number))
}

fn is_table_name(value: &str) -> bool {
    (3..=255).contains(&value.len()) && is_alphanumeric_or(value, b"_.-")
}

/// Whether a text is not empty and consists of ASCII letters, digits and `others`.
pub(crate) fn is_alphanumeric_or(text: &str, others: &[u8]) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
}
