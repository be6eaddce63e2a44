//! Tables in another account, through a role there.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use chrono::{TimeDelta, Utc};
use serde_json::json;

use harness::ecs::{cluster, task};
use harness::runtime_api::Answer;

use super::{SECRET, World, counts};

/// A fake STS and a fake DynamoDB without rows, at one URL. Also returns their requests: the access key, region and
/// service of the signature, and the body.
async fn tables_of_another_account(sts: (u16, String)) -> (String, Arc<Mutex<Vec<(String, String)>>>) {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let asked = requests.clone();
    let respond = move |headers: HeaderMap, body: String| async move {
        let signature = headers["authorization"].to_str().unwrap();
        let [key, _, region, service, _] =
            signature.split(['=', ',']).nth(1).unwrap().split('/').collect::<Vec<_>>()[..]
        else {
            panic!("{signature}")
        };
        asked.lock().unwrap().push((format!("{key} {region} {service}"), body));
        let (status, answer) = match service {
            "sts" => sts.clone(),
            _ => (200, json!({"Responses": {}, "UnprocessedKeys": {}}).to_string()),
        };
        (StatusCode::from_u16(status).unwrap(), [("x-amzn-requestid", "1")], answer)
    };
    (harness::serve(Router::new().fallback(respond)).await, requests)
}

/// A fleet run of one task, with tables in another account.
async fn run_by_role(sts: (u16, String)) -> (Answer, Vec<(String, String)>, String) {
    let (url, requests) = tables_of_another_account(sts).await;
    let variables = [
        ("AWS_ENDPOINT_URL_DYNAMODB", url.as_str()),
        ("AWS_ENDPOINT_URL_STS", &url),
        ("AWS_ACCESS_KEY_ID", "OWN"),
        ("TABLE_ROLE_ARN", "arn:aws:iam::123456789012:role/tables"),
        ("TABLE_REGION", "us-east-1"),
        ("ACCOUNT_ID", "111122223333"),
    ];
    let world = World::with(&variables).await;
    world.ecs.put_task(&task(&cluster("demo"), 1, 5));
    let answer = world.lambda.invoke(r#"{"scope": "fleet"}"#).await;
    let requests = requests.lock().unwrap().clone();
    (answer, requests, world.lambda.log())
}

#[tokio::test]
async fn tables_of_another_account_are_read_and_written_in_their_region_through_a_role_there() {
    let expiration = (Utc::now() + TimeDelta::hours(1)).to_rfc3339();
    let credentials = format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
         <AccessKeyId>ROLES</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>\
         <SessionToken>{SECRET}</SessionToken><Expiration>{expiration}</Expiration></Credentials></AssumeRoleResult>\
         </AssumeRoleResponse>"
    );
    let (answer, requests, _) = run_by_role((200, credentials)).await;
    assert_eq!(counts(answer.body)["stored"], 1);
    let [(sts, assume), reads_and_writes @ ..] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(sts, "OWN us-east-1 sts");
    for field in [
        "Action=AssumeRole&",
        "&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Ftables&",
        "&Tags.member.1.Key=account&Tags.member.1.Value=111122223333",
    ] {
        assert!(assume.contains(field), "{field}: {assume}");
    }
    // The role is assumed once. The harness's ECS accepts only the reconciler's own region.
    assert!(reads_and_writes.len() >= 2 && reads_and_writes.iter().all(|(by, _)| by == "ROLES us-east-1 dynamodb"));
}

#[tokio::test]
async fn a_role_that_cannot_be_assumed_is_an_error_that_names_its_variable_and_quotes_nothing() {
    let refusal =
        format!("<ErrorResponse><Error><Code>AccessDenied</Code><Message>{SECRET}</Message></Error></ErrorResponse>");
    let (answer, requests, log) = run_by_role((403, refusal)).await;
    let message = answer.body["errorMessage"].as_str().unwrap();
    assert!(message.contains("the AWS credentials could not be fetched"), "{message}");
    assert!(message.contains("TABLE_ROLE_ARN, that role's trust policy"), "{message}");
    assert!(!log.contains(SECRET) && !message.contains(SECRET), "{log} {message}");
    assert!(requests.iter().all(|(by, _)| by == "OWN us-east-1 sts"), "{requests:?}");
}
