//! A real DynamoDB engine, embedded: in memory, on a free port, with the two tables.

use dynoxide::Database;
use ecs_state_recorder::event::Resource;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(crate) const TASKS: &str = "ECSTaskState";
pub(crate) const CONTAINER_INSTANCES: &str = "ECSCtrInstanceState";

/// Serves until it is dropped.
pub(crate) struct DynamoDb {
    pub(crate) url: String,
    database: Database,
    server: JoinHandle<()>,
}

impl DynamoDb {
    pub(crate) async fn start() -> Self {
        let database = Database::memory().expect("an empty database");
        for (table, resource) in [(TASKS, Resource::Task), (CONTAINER_INSTANCES, Resource::ContainerInstance)] {
            let table = json!({
                "TableName": table,
                "KeySchema": [{"AttributeName": resource.key(), "KeyType": "HASH"}],
                "AttributeDefinitions": [{"AttributeName": resource.key(), "AttributeType": "S"}],
                "BillingMode": "PAY_PER_REQUEST",
            });
            database.create_table(request(table)).expect("a new table");
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound address"));
        let server = tokio::spawn(dynoxide::server::serve_on(listener, database.clone()));
        Self { url, database, server }
    }

    /// All rows of a table, as DynamoDB's own JSON: `{"version": {"N": "5"}, …}`.
    pub(crate) fn rows(&self, table: &str) -> Vec<Value> {
        let found = self.database.scan(request(json!({"TableName": table, "ConsistentRead": true}))).expect("a scan");
        assert!(found.last_evaluated_key.is_none(), "the table is larger than one page");
        let rows = serde_json::to_value(found).expect("rows are JSON")["Items"].take();
        serde_json::from_value(rows).expect("a list of rows")
    }

    /// The one row of a table, whole.
    pub(crate) fn row(&self, table: &str) -> Value {
        let mut rows = self.rows(table);
        assert_eq!(rows.len(), 1, "rows in {table}: {rows:#?}");
        rows.remove(0)
    }

    /// Puts a row into a table, whatever is there.
    pub(crate) fn put(&self, table: &str, row: &Value) {
        self.database.put_item(request(json!({"TableName": table, "Item": row}))).expect("a put");
    }

    pub(crate) fn delete_table(&self, table: &str) {
        self.database.delete_table(request(json!({"TableName": table}))).expect("a table");
    }
}

impl Drop for DynamoDb {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn request<T: DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).expect("a request")
}
