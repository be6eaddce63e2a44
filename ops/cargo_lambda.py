"""Deploys only the function, with cargo-lambda: its role, its rule and target, and the tables if they do not exist yet.
Queues, alarms and the dashboard come only with template.yaml."""

import json
import os
import subprocess
import sys
import time

import boto3

import stack

TABLES = {"ECSTaskState": "taskArn", "ECSCtrInstanceState": "containerInstanceArn"}
PATTERN = {
    "source": ["aws.ecs"],
    "detail-type": ["ECS Task State Change", "ECS Container Instance State Change"],
}


def deploy(name):
    iam, dynamodb, logs = boto3.client("iam"), boto3.client("dynamodb"), boto3.client("logs")
    account, region, partition = identity()
    role_name = role_name_for(name, region)

    for table, key in TABLES.items():
        try:
            dynamodb.describe_table(TableName=table)
        except dynamodb.exceptions.ResourceNotFoundException:
            dynamodb.create_table(
                TableName=table,
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
                KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
                BillingMode="PAY_PER_REQUEST",
                DeletionProtectionEnabled=True,
            )
            print(f"table {table}: created")
        dynamodb.get_waiter("table_exists").wait(TableName=table)
        if dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]["TimeToLiveStatus"] == "DISABLED":
            dynamodb.update_time_to_live(
                TableName=table, TimeToLiveSpecification={"AttributeName": "expires_at", "Enabled": True}
            )

    group = f"/aws/lambda/{name}"
    try:
        logs.create_log_group(logGroupName=group)
        logs.put_retention_policy(logGroupName=group, retentionInDays=30)
    except logs.exceptions.ResourceAlreadyExistsException:
        pass

    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    try:
        iam.create_role(RoleName=role_name, AssumeRolePolicyDocument=policy(trust))
    except iam.exceptions.EntityAlreadyExistsException:
        pass
    tables = [f"arn:{partition}:dynamodb:{region}:{account}:table/{table}" for table in TABLES]
    log = f"arn:{partition}:logs:{region}:{account}:log-group:{group}:*"
    iam.put_role_policy(
        RoleName=role_name,
        PolicyName="record",
        PolicyDocument=policy(
            {"Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": tables},
            {"Effect": "Allow", "Action": ["logs:CreateLogStream", "logs:PutLogEvents"], "Resource": log},
        ),
    )
    role = iam.get_role(RoleName=role_name)["Role"]["Arn"]
    print(f"role {role_name}: may put items into the two tables, and write to its log")

    binary = os.environ.get("FUNCTION_BINARY")
    command = ["cargo", "lambda", "deploy", "--role", role, "--memory", "128", "--timeout", "15"]
    command += ["--binary-path", binary] if binary else ["--binary-name", "ecs-state-recorder"]
    # It takes a few seconds until Lambda can assume a new role.
    deadline = time.monotonic() + 60
    while (deployed := subprocess.run([*command, name], stderr=subprocess.PIPE, text=True)).returncode:
        if "assumed" not in deployed.stderr or time.monotonic() > deadline:
            sys.exit(f"{deployed.stderr}error: cargo lambda deploy failed, see above")
        time.sleep(2)
    lambda_ = boto3.client("lambda")
    lambda_.get_waiter("function_active_v2").wait(FunctionName=name)
    lambda_.get_waiter("function_updated_v2").wait(FunctionName=name)
    function = lambda_.update_function_configuration(
        FunctionName=name, LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "INFO"}
    )["FunctionArn"]

    events = boto3.client("events")
    rule = events.put_rule(Name=name, EventPattern=json.dumps(PATTERN))["RuleArn"]
    try:
        lambda_.add_permission(
            FunctionName=name,
            StatementId=name,
            Action="lambda:InvokeFunction",
            Principal="events.amazonaws.com",
            SourceArn=rule,
        )
    except lambda_.exceptions.ResourceConflictException:
        pass
    target = {
        "Id": name,
        "Arn": function,
        "RetryPolicy": {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185},
    }
    refused = events.put_targets(Rule=name, Targets=[target])["FailedEntries"]
    if refused:
        sys.exit(f"error: EventBridge did not accept the target of the rule {name}: {refused[0]['ErrorMessage']}")
    print(f"rule {name}: ECS state changes invoke {function}")
    mention_old_role(name)


def delete(name):
    """Deletes in reverse order, starting with what invokes the function. The tables are kept."""
    iam, lambda_, events = boto3.client("iam"), boto3.client("lambda"), boto3.client("events")
    logs, role = boto3.client("logs"), role_name_for(name, stack.region())
    for step, missing in [
        (lambda: events.remove_targets(Rule=name, Ids=[name]), events.exceptions.ResourceNotFoundException),
        (lambda: events.delete_rule(Name=name), events.exceptions.ResourceNotFoundException),
        (lambda: lambda_.delete_function(FunctionName=name), lambda_.exceptions.ResourceNotFoundException),
        (lambda: iam.delete_role_policy(RoleName=role, PolicyName="record"), iam.exceptions.NoSuchEntityException),
        (lambda: iam.delete_role(RoleName=role), iam.exceptions.NoSuchEntityException),
        (
            lambda: logs.delete_log_group(logGroupName=f"/aws/lambda/{name}"),
            logs.exceptions.ResourceNotFoundException,
        ),
    ]:
        try:
            step()
        except missing:
            pass
    print(f"rule, function and log group {name}, role {role}: deleted; the tables {' and '.join(TABLES)} are kept")
    mention_old_role(name)


def role_name_for(name, region):
    """Includes the region, since roles are global: two regions would otherwise share one."""
    role = f"{name}-{region}"
    if len(role) > 64:
        sys.exit(
            f"error: the role name {role} must have at most 64 characters, found {len(role)}: choose a shorter STACK"
        )
    return role


def mention_old_role(name):
    """Earlier versions created one role for all regions. It is kept: another region's function may still use it."""
    iam = boto3.client("iam")
    try:
        iam.get_role_policy(RoleName=name, PolicyName="record")
    except iam.exceptions.NoSuchEntityException:
        return
    print(
        f"role {name}: left by an earlier version of this command. Once no region's function uses it, delete it: "
        f"aws iam delete-role-policy --role-name {name} --policy-name record && aws iam delete-role --role-name {name}"
    )


def identity():
    arn = boto3.client("sts").get_caller_identity()["Arn"]
    _, partition, _, _, account, _ = arn.split(":", 5)
    return account, stack.region(), partition


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


if __name__ == "__main__":
    with stack.one_line_errors():
        {"deploy": deploy, "delete": delete}[sys.argv[1]](sys.argv[2])
