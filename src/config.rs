//! What the function takes from its environment, read once, at start.

use std::ffi::OsString;

use thiserror::Error;

use crate::event::Resource;

/// The names of the two tables.
///
/// Region, credentials and endpoint are not here: the AWS SDK reads them in its own standard way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    task_table: String,
    container_instance_table: String,
}

/// A variable of the environment that can't be used. The function doesn't start with it.
#[derive(Debug, Eq, Error, PartialEq)]
#[error("{variable} {problem}")]
pub struct InvalidVariable {
    /// Its name.
    pub variable: &'static str,
    /// What is wrong with its value.
    pub problem: String,
}

const TASK_TABLE_NAME: &str = "TASK_TABLE_NAME";
const CONTAINER_INSTANCE_TABLE_NAME: &str = "CONTAINER_INSTANCE_TABLE_NAME";

impl Config {
    /// Reads the configuration through `variable`: [`std::env::var_os`], or a test's own look-up.
    ///
    /// # Errors
    ///
    /// A variable that is set but holds no table name, by [DynamoDB's naming rules], or both that hold the same one.
    ///
    /// [DynamoDB's naming rules]: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
    pub fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, InvalidVariable> {
        let table = |name: &'static str, default: &str| match variable(name) {
            None => Ok(default.to_owned()),
            Some(value) => match value.into_string() {
                Ok(value) if is_table_name(&value) => Ok(value),
                Ok(value) => Err(InvalidVariable {
                    variable: name,
                    problem: format!(
                        "must be the name of a DynamoDB table (3 to 255 of a-z A-Z 0-9 _ . -); it is {value:?}"
                    ),
                }),
                Err(_) => Err(InvalidVariable { variable: name, problem: "is not UTF-8 text".to_owned() }),
            },
        };
        let config = Self {
            task_table: table(TASK_TABLE_NAME, "ECSTaskState")?,
            container_instance_table: table(CONTAINER_INSTANCE_TABLE_NAME, "ECSCtrInstanceState")?,
        };
        if config.task_table == config.container_instance_table {
            return Err(InvalidVariable {
                variable: CONTAINER_INSTANCE_TABLE_NAME,
                problem: format!("must name another table than {TASK_TABLE_NAME}: their keys differ"),
            });
        }
        Ok(config)
    }

    /// The name of the table that holds resources of this kind.
    #[must_use]
    pub fn table(&self, resource: Resource) -> &str {
        match resource {
            Resource::Task => &self.task_table,
            Resource::ContainerInstance => &self.container_instance_table,
        }
    }
}

fn is_table_name(value: &str) -> bool {
    (3..=255).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}
