//! A real DynamoDB engine, embedded: in memory, on a free port, with the two tables and the index.

use dynoxide::{Database, ImportOptions};
use ecs_state_recorder::resource::Resource;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub const TASKS: &str = "ECSTaskState";
pub const CONTAINER_INSTANCES: &str = "ECSCtrInstanceState";

/// Serves until dropped.
pub struct DynamoDb {
    pub url: String,
    database: Database,
    server: JoinHandle<()>,
}

impl DynamoDb {
    pub async fn start() -> Self {
        Self::start_with(json!({"StreamEnabled": false})).await
    }

    /// With streams, for [`DynamoDb::writes`]. Writes get slower as streams grow.
    pub async fn start_recording() -> Self {
        Self::start_with(json!({"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"})).await
    }

    async fn start_with(stream: Value) -> Self {
        let database = Database::memory().expect("an empty database");
        database.create_table(request(tasks(&stream, true))).expect("a new table");
        let instances = table(CONTAINER_INSTANCES, Resource::ContainerInstance, &stream);
        database.create_table(request(instances)).expect("a new table");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound address"));
        let server = tokio::spawn(dynoxide::server::serve_on(listener, database.clone()));
        Self { url, database, server }
    }

    /// Replaces the table of tasks with an empty one without the index.
    pub fn remove_index(&self) {
        self.delete_table(TASKS);
        let table = tasks(&json!({"StreamEnabled": false}), false);
        self.database.create_table(request(table)).expect("a new table");
    }

    /// All rows of a table, as DynamoDB's own JSON: `{"version": {"N": "5"}, …}`.
    pub fn rows(&self, table: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut page = json!({"TableName": table, "ConsistentRead": true});
        loop {
            let found = self.database.scan(request(page.clone())).expect("a scan");
            let mut found = serde_json::to_value(found).expect("rows are JSON");
            rows.append(found["Items"].as_array_mut().expect("an array of rows"));
            match found["LastEvaluatedKey"].take() {
                Value::Null => return rows,
                last => page["ExclusiveStartKey"] = last,
            }
        }
    }

    /// Every write to a table, in order, from its stream: the row before the write (null if there was none) and after.
    pub fn writes(&self, table: &str) -> Vec<(Value, Value)> {
        let images = |mut record: Value| (record["dynamodb"]["OldImage"].take(), record["dynamodb"]["NewImage"].take());
        self.records(table).into_iter().map(images).collect()
    }

    /// The records of a table's stream, in order, as Lambda receives them.
    pub fn records(&self, table: &str) -> Vec<Value> {
        let streams = self.database.list_streams(request(json!({"TableName": table}))).expect("streams");
        let stream = json!(streams.streams[0].stream_arn);
        let description =
            self.database.describe_stream(request(json!({"StreamArn": stream}))).expect("a stream").stream_description;
        let mut records = Vec::new();
        for shard in description.shards {
            let first = json!({
                "StreamArn": stream, "ShardId": shard.shard_id, "ShardIteratorType": "TRIM_HORIZON",
            });
            let mut next = self.database.get_shard_iterator(request(first)).expect("an iterator").shard_iterator;
            while let Some(iterator) = next {
                let found = self.database.get_records(request(json!({"ShardIterator": iterator}))).expect("records");
                next = found.next_shard_iterator.filter(|_| !found.records.is_empty());
                let found = found.records.iter().map(|record| serde_json::to_value(record).expect("a record is JSON"));
                records.extend(found);
            }
        }
        records
    }

    /// The only row of a table.
    pub fn row(&self, table: &str) -> Value {
        let mut rows = self.rows(table);
        assert_eq!(rows.len(), 1, "rows in {table}: {rows:#?}");
        rows.remove(0)
    }

    /// Puts a row into a table unconditionally.
    pub fn put(&self, table: &str, row: &Value) {
        self.database.put_item(request(json!({"TableName": table, "Item": row}))).expect("a put");
    }

    /// Puts a row into the table of tasks. Returns the write units consumed by the table and by its index.
    pub fn put_and_count(&self, row: &Value) -> [f64; 2] {
        let put = json!({"TableName": TASKS, "Item": row, "ReturnConsumedCapacity": "INDEXES"});
        let put = self.database.put_item(request(put)).expect("a put");
        let used = serde_json::to_value(put).expect("an answer is JSON")["ConsumedCapacity"].take();
        ["/Table", "/GlobalSecondaryIndexes/by_cluster"]
            .map(|part| used.pointer(part).map_or(0.0, |part| part["CapacityUnits"].as_f64().expect("a number")))
    }

    /// Puts many rows at once, bypassing the table's stream.
    pub fn fill(&self, table: &str, rows: Vec<Value>) {
        let rows = rows.into_iter().map(request).collect();
        self.database.import_items(table, rows, ImportOptions::default()).expect("rows");
    }

    pub fn clear(&self, table: &str) {
        let key = if table == TASKS { Resource::Task } else { Resource::ContainerInstance }.key();
        for row in self.rows(table) {
            let row = json!({"TableName": table, "Key": {key: row[key]}});
            self.database.delete_item(request(row)).expect("a row");
        }
    }

    pub fn delete_table(&self, table: &str) {
        self.database.delete_table(request(json!({"TableName": table}))).expect("a table");
    }
}

impl Drop for DynamoDb {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn table(name: &str, resource: Resource, stream: &Value) -> Value {
    json!({
        "TableName": name,
        "KeySchema": [key(resource.key(), "HASH")],
        "AttributeDefinitions": [string(resource.key())],
        "BillingMode": "PAY_PER_REQUEST",
        "StreamSpecification": stream,
    })
}

/// The table of tasks, as in template.yaml.
fn tasks(stream: &Value, has_index: bool) -> Value {
    let mut tasks = table(TASKS, Resource::Task, stream);
    if has_index {
        tasks["AttributeDefinitions"] = json!([string("taskArn"), string("index_cluster"), string("index_state")]);
        tasks["GlobalSecondaryIndexes"] = json!([{
            "IndexName": "by_cluster",
            "KeySchema": [key("index_cluster", "HASH"), key("index_state", "RANGE")],
            "Projection": {
                "ProjectionType": "INCLUDE",
                "NonKeyAttributes": ["group", "startedBy", "taskDefinitionArn"],
            },
        }]);
    }
    tasks
}

fn key(attribute: &str, kind: &str) -> Value {
    json!({"AttributeName": attribute, "KeyType": kind})
}

fn string(attribute: &str) -> Value {
    json!({"AttributeName": attribute, "AttributeType": "S"})
}

fn request<T: DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).expect("a request")
}
