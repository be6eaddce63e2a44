//! Reads one record of the stream of the table of tasks.
//!
//! Each is read by itself, since one that can't be read must not fail its batch.

use chrono::{DateTime, Utc};
use ecs_model::time;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::attributes::Item;
use crate::resource::Resource;

/// A change of a row.
pub struct Change {
    /// Its position in the shard.
    pub sequence_number: String,
    /// When the row was written, to the second.
    pub written_at: DateTime<Utc>,
    /// The row before; `None` if there was none.
    pub before: Option<Item>,
    /// The row after; `None` if it was deleted.
    pub after: Option<Item>,
}

/// Why a record can't be read. The message quotes no value, which might be a secret.
#[derive(Debug, Error)]
#[error("{problem}")]
pub struct UnreadableRecord {
    /// The key of its row, if that can be read.
    pub arn: Option<String>,
    /// What is wrong with it.
    pub problem: String,
}

/// Source: <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_StreamRecord.html>
#[derive(Deserialize)]
struct Record<'r> {
    #[serde(rename = "eventName")]
    event_name: Option<String>,
    #[serde(borrow)]
    dynamodb: Images<'r>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Images<'r> {
    #[serde(default, rename = "ApproximateCreationDateTime", deserialize_with = "time::deserialize")]
    written_at: Option<DateTime<Utc>>,
    sequence_number: Option<String>,
    #[serde(borrow)]
    old_image: Option<&'r RawValue>,
    #[serde(borrow)]
    new_image: Option<&'r RawValue>,
}

impl Change {
    /// Reads a record.
    pub fn parse(json: &RawValue) -> Result<Self, UnreadableRecord> {
        Self::read(json.get()).map_err(|problem| UnreadableRecord { arn: key(json.get()), problem: problem.to_owned() })
    }

    fn read(json: &str) -> Result<Self, &'static str> {
        let Record { event_name, dynamodb } =
            serde_json::from_str(json).map_err(|_| "it is not a record of a DynamoDB stream")?;
        let before = image(dynamodb.old_image).ok_or("its OldImage is not a row")?;
        let after = image(dynamodb.new_image).ok_or("its NewImage is not a row")?;
        if event_name.as_deref() == Some("MODIFY") && before.is_none() {
            return Err("it has no OldImage: the stream's view type must be NEW_AND_OLD_IMAGES");
        }
        Ok(Self {
            sequence_number: dynamodb.sequence_number.ok_or("it has no SequenceNumber")?,
            written_at: dynamodb.written_at.ok_or("it has no ApproximateCreationDateTime")?,
            before,
            after,
        })
    }
}

/// A row; `Some(None)` if there is none, `None` if it can't be read.
#[expect(clippy::option_option, reason = "an absent row is not an unreadable one")]
fn image(json: Option<&RawValue>) -> Option<Option<Item>> {
    let Some(json) = json else { return Some(None) };
    let item: serde_dynamo::Item = serde_json::from_str(json.get()).ok()?;
    let item = Item::from(item);
    // A row has at least its key.
    Some((!item.is_empty()).then_some(item))
}

/// The key in a record that can't be read otherwise.
fn key(json: &str) -> Option<String> {
    let record: Value = serde_json::from_str(json).ok()?;
    let key = &record["dynamodb"]["Keys"][Resource::Task.key()]["S"];
    key.as_str().map(str::to_owned)
}
