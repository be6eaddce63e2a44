//! Reads one record of the stream of the table of tasks.
//!
//! Each is read by itself, since one that can't be read must not fail its batch.

use chrono::{DateTime, Utc};
use ecs_model::time;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

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
#[derive(Debug)]
pub struct UnreadableRecord {
    /// The key of its row, if that can be read.
    pub arn: Option<String>,
    /// What is wrong with it.
    pub problem: String,
}

/// Source: <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_StreamRecord.html>
#[derive(Deserialize)]
struct Record {
    #[serde(rename = "eventName")]
    event_name: Option<String>,
    dynamodb: StreamRecord,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StreamRecord {
    #[serde(rename = "ApproximateCreationDateTime", deserialize_with = "time::deserialize")]
    written_at: Option<DateTime<Utc>>,
    sequence_number: String,
    #[serde(default)]
    old_image: serde_dynamo::Item,
    #[serde(default)]
    new_image: serde_dynamo::Item,
}

impl Change {
    /// Reads a record.
    pub fn parse(json: &RawValue) -> Result<Self, UnreadableRecord> {
        Self::read(json.get()).map_err(|problem| UnreadableRecord { arn: key(json.get()), problem: problem.to_owned() })
    }

    fn read(json: &str) -> Result<Self, &'static str> {
        const MALFORMED: &str = "it is not a record of a DynamoDB stream";
        let Record { event_name, dynamodb } = serde_json::from_str(json).map_err(|_| MALFORMED)?;
        let StreamRecord { written_at, sequence_number, .. } = dynamodb;
        // A row has at least its key.
        let row = |image| Some(Item::from(image)).filter(|row| !row.is_empty());
        let (before, after) = (row(dynamodb.old_image), row(dynamodb.new_image));
        if event_name.as_deref() == Some("MODIFY") && before.is_none() {
            return Err("it has no OldImage: the stream's view type must be NEW_AND_OLD_IMAGES");
        }
        Ok(Self { sequence_number, written_at: written_at.ok_or(MALFORMED)?, before, after })
    }
}

/// The key in a record that can't be read otherwise.
fn key(json: &str) -> Option<String> {
    let record: Value = serde_json::from_str(json).ok()?;
    let key = &record["dynamodb"]["Keys"][Resource::Task.key()]["S"];
    key.as_str().map(str::to_owned)
}
