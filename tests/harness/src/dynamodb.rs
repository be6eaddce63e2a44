//! A real DynamoDB engine, with the two tables and the index: an embedded one, in memory and on a free port, or the one at
//! `DYNAMODB_ENDPOINT`, which tests then share one at a time.

use std::env;
use std::io::{Read, Write};
use std::net::TcpStream;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
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
    /// None at `DYNAMODB_ENDPOINT`.
    embedded: Option<(Database, JoinHandle<()>)>,
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
        let dynamodb = if let Ok(url) = env::var("DYNAMODB_ENDPOINT") {
            let dynamodb = Self { url, embedded: None };
            for table in dynamodb.call("ListTables", json!({}))["TableNames"].as_array().expect("an array of names") {
                dynamodb.delete_table(table.as_str().expect("a name"));
            }
            dynamodb
        } else {
            let database = Database::memory().expect("an empty database");
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let url = format!("http://{}", listener.local_addr().expect("a bound address"));
            let server = tokio::spawn(dynoxide::server::serve_on(listener, database.clone()));
            Self { url, embedded: Some((database, server)) }
        };
        dynamodb.call("CreateTable", tasks(&stream, true));
        dynamodb.call("CreateTable", table(CONTAINER_INSTANCES, Resource::ContainerInstance, &stream));
        dynamodb
    }

    fn database(&self) -> &Database {
        &self.embedded.as_ref().expect("an embedded engine, without DYNAMODB_ENDPOINT").0
    }

    /// Without the server of an embedded engine, which runs on the thread of the test.
    fn call(&self, operation: &str, input: Value) -> Value {
        let Some((database, _)) = &self.embedded else {
            return remote(&self.url, operation, &input).expect("an answer from DYNAMODB_ENDPOINT");
        };
        let answer = match operation {
            "CreateTable" => serde_json::to_value(database.create_table(request(input)).expect("a new table")),
            "DeleteItem" => serde_json::to_value(database.delete_item(request(input)).expect("a row")),
            "DeleteTable" => serde_json::to_value(database.delete_table(request(input)).expect("a table")),
            "PutItem" => serde_json::to_value(database.put_item(request(input)).expect("a put")),
            _ => serde_json::to_value(database.scan(request(input)).expect("a scan")),
        };
        answer.expect("an answer is JSON")
    }

    /// Replaces the table of tasks with an empty one without the index.
    pub fn remove_index(&self) {
        self.delete_table(TASKS);
        self.call("CreateTable", tasks(&json!({"StreamEnabled": false}), false));
    }

    /// All rows of a table, as DynamoDB's own JSON: `{"version": {"N": "5"}, …}`.
    pub fn rows(&self, table: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut page = json!({"TableName": table, "ConsistentRead": true});
        loop {
            let mut found = self.call("Scan", page.clone());
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
        let database = self.database();
        let streams = database.list_streams(request(json!({"TableName": table}))).expect("streams");
        let stream = json!(streams.streams[0].stream_arn);
        let description =
            database.describe_stream(request(json!({"StreamArn": stream}))).expect("a stream").stream_description;
        let mut records = Vec::new();
        for shard in description.shards {
            let first = json!({
                "StreamArn": stream, "ShardId": shard.shard_id, "ShardIteratorType": "TRIM_HORIZON",
            });
            let mut next = database.get_shard_iterator(request(first)).expect("an iterator").shard_iterator;
            while let Some(iterator) = next {
                let found = database.get_records(request(json!({"ShardIterator": iterator}))).expect("records");
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
        self.call("PutItem", json!({"TableName": table, "Item": row}));
    }

    /// Puts a row into the table of tasks. Returns the write units consumed by the table and by its index.
    pub fn put_and_count(&self, row: &Value) -> [f64; 2] {
        let put = json!({"TableName": TASKS, "Item": row, "ReturnConsumedCapacity": "INDEXES"});
        let used = self.call("PutItem", put)["ConsumedCapacity"].take();
        ["/Table", "/GlobalSecondaryIndexes/by_cluster"]
            .map(|part| used.pointer(part).map_or(0.0, |part| part["CapacityUnits"].as_f64().expect("a number")))
    }

    /// Puts many rows at once, bypassing the table's stream.
    pub fn fill(&self, table: &str, rows: Vec<Value>) {
        let rows = rows.into_iter().map(request).collect();
        self.database().import_items(table, rows, ImportOptions::default()).expect("rows");
    }

    pub fn clear(&self, table: &str) {
        let key = if table == TASKS { Resource::Task } else { Resource::ContainerInstance }.key();
        for row in self.rows(table) {
            self.call("DeleteItem", json!({"TableName": table, "Key": {key: row[key]}}));
        }
    }

    pub fn delete_table(&self, table: &str) {
        self.call("DeleteTable", json!({"TableName": table}));
    }
}

impl Drop for DynamoDb {
    fn drop(&mut self) {
        if let Some((_, server)) = &self.embedded {
            server.abort();
        }
    }
}

/// One call by HTTP, without a signature. It blocks: the engine is another process.
fn remote(url: &str, operation: &str, input: &Value) -> std::io::Result<Value> {
    let (host, body) = (url.trim_start_matches("http://").trim_end_matches('/'), input.to_string());
    let mut connection = TcpStream::connect(host)?;
    write!(
        connection,
        "POST / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/x-amz-json-1.0\r\n\
         X-Amz-Target: DynamoDB_20120810.{operation}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    assert!(head.contains(" 200 "), "{operation}: {answer}");
    Ok(serde_json::from_str(body)?)
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

/// A client in this process. It does not retry.
pub fn client(url: &str) -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(url)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .region(Region::from_static("eu-west-1"))
        .credentials_provider(Credentials::for_tests())
        .retry_config(RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}
