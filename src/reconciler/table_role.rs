//! Tables in another account: the role that the reconciler assumes there for DynamoDB.

use std::ffi::OsString;

use aws_config::sts::AssumeRoleProvider;
use aws_config::{Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;

use crate::config::{InvalidVariable, is_account_id, is_alphanumeric_or, is_partition, is_region, text};

const TABLE_ROLE_ARN: &str = "TABLE_ROLE_ARN";
const TABLE_REGION: &str = "TABLE_REGION";
const ACCOUNT_ID: &str = "ACCOUNT_ID";

/// A role in the account of the tables, and the region of the tables.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TableRole {
    /// The role's ARN.
    pub arn: String,
    /// The region of the tables.
    pub region: String,
    /// The reconciler's own account. The session carries it as the tag `account`, so that the role's policy can limit
    /// the session to that account's rows.
    pub account: String,
}

impl TableRole {
    pub(super) fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Option<Self>, InvalidVariable> {
        let read = |name, is_valid: fn(&str) -> bool, what: &str| match text(&variable, name)? {
            Some(value) if is_valid(&value) => Ok(value),
            found => {
                let found = found.map_or_else(|| "nothing".to_owned(), |value| format!("{value:?}"));
                Err(InvalidVariable::new(name, format!("must be {what}, found {found}")))
            }
        };
        if text(&variable, TABLE_ROLE_ARN)?.is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            arn: read(TABLE_ROLE_ARN, is_role_arn, "the ARN of a role")?,
            region: read(TABLE_REGION, is_region, "the region of the tables")?,
            account: read(ACCOUNT_ID, is_account_id, "the ID of the account")?,
        }))
    }

    /// The same configuration with the tables' region and the role's credentials. They are fetched at the first request
    /// to DynamoDB and again before they expire, from STS in the tables' region, which the role's account has enabled.
    pub async fn assume(&self, aws: SdkConfig) -> SdkConfig {
        let provider = AssumeRoleProvider::builder(&self.arn)
            .configure(&aws)
            .region(Region::new(self.region.clone()))
            .session_name(env!("CARGO_PKG_NAME"))
            .tags([("account", &self.account)])
            .build()
            .await;
        aws.into_builder()
            .region(Region::new(self.region.clone()))
            .credentials_provider(SharedCredentialsProvider::new(provider))
            .build()
    }
}

/// Whether this is the ARN of an IAM role, with or without a path.
fn is_role_arn(value: &str) -> bool {
    let parts: Vec<&str> = value.splitn(6, ':').collect();
    let ["arn", partition, "iam", "", account, role] = parts[..] else { return false };
    is_partition(partition)
        && is_account_id(account)
        && role.strip_prefix("role/").is_some_and(|name| is_alphanumeric_or(name, b"/_+=,.@-"))
}
