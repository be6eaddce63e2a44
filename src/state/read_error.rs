//! Why rows could not be read.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::RequestId;
use thiserror::Error;

use super::store_error::{Cause, StoreError};
use crate::aws::find_cause;

/// A request to DynamoDB failed.
#[derive(Clone, Debug, Error)]
#[error("{action} on the table {table:?} failed: {cause}")]
pub struct ReadError {
    /// The IAM action of the request.
    pub action: &'static str,
    /// The name of the table.
    pub table: String,
    /// What went wrong.
    pub cause: StoreError,
    /// The message of DynamoDB or of the credentials provider. It may quote the request, so the functions never log it.
    pub details: Option<String>,
}

impl ReadError {
    /// The response to a request, if it comes from DynamoDB: an empty one would pass for "nothing found".
    #[expect(clippy::result_large_err, reason = "a request takes far longer than moving its error")]
    pub fn check<R: RequestId, E: StdError + ProvideErrorMetadata + 'static>(
        action: &'static str,
        table: &str,
        response: Result<R, SdkError<E>>,
    ) -> Result<R, Self> {
        let response = response.map_err(|error| Self::new(action, table, &error))?;
        if response.request_id().is_none() {
            let cause = StoreError::Permanent(Cause::NotDynamoDb);
            return Err(Self { action, table: table.to_owned(), cause, details: None });
        }
        Ok(response)
    }

    /// Converts an error of the SDK.
    fn new<E: StdError + ProvideErrorMetadata + 'static>(
        action: &'static str,
        table: &str,
        error: &SdkError<E>,
    ) -> Self {
        let credentials = || {
            let error = find_cause::<CredentialsError>(error)?;
            let mut cause: &(dyn StdError + 'static) = error;
            while let Some(next) = cause.source() {
                cause = next;
            }
            Some(cause.to_string())
        };
        let details = error.message().map(str::to_owned).or_else(credentials);
        Self { action, table: table.to_owned(), cause: StoreError::new(error), details }
    }

    /// Whether the table has no index, or one that is still being built.
    pub fn is_missing_index(&self) -> bool {
        let (StoreError::Permanent(cause) | StoreError::Transient(cause)) = &self.cause;
        matches!(cause, Cause::Refused { code: Some(code), .. } if code == "ValidationException")
            && self.details.as_ref().is_some_and(|text| {
                text.contains("does not have the specified index")
                    || text.contains("backfilling global secondary index")
            })
    }
}
