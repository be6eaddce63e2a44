"""Deploys only the two functions, with cargo-lambda: their roles, the recorder's rule and target, the reconciler's
schedules, and the tables if they do not exist yet. Queues, alarms and the dashboard come only with template.yaml."""

import json
import os
import subprocess
import sys
import time

import boto3
from botocore.exceptions import ClientError

import stack

TABLES = {"ECSTaskState": "taskArn", "ECSCtrInstanceState": "containerInstanceArn"}
PATTERN = {
    "source": ["aws.ecs"],
    "detail-type": ["ECS Task State Change", "ECS Container Instance State Change"],
}
WRITE_LOG = ["logs:CreateLogStream", "logs:PutLogEvents"]
SCHEDULES = {"fleet": "rate(15 minutes)", "table": "rate(24 hours)"}


def deploy(name):
    account, region, partition = identity()
    roles, reconciler = role_names(name, region), reconciler_name(name)

    def arn(service, resource):
        return f"arn:{partition}:{service}:{region}:{account}:{resource}"

    tables = [arn("dynamodb", f"table/{table}") for table in TABLES]
    for table, key in TABLES.items():
        create_table(table, key)

    create_log_group(f"/aws/lambda/{name}")
    role = put_role(
        roles["record"],
        trust("lambda.amazonaws.com"),
        "record",
        allow("dynamodb:PutItem", tables),
        allow(WRITE_LOG, arn("logs", f"log-group:/aws/lambda/{name}:*")),
    )
    print(f"role {roles['record']}: may put items into the two tables, and write to its log")
    put_rule(name, deploy_function(name, role, "ecs-state-recorder", memory=128, timeout=15))

    create_log_group(f"/aws/lambda/{reconciler}")
    role = put_role(
        roles["reconcile"],
        trust("lambda.amazonaws.com"),
        "reconcile",
        # As in template.yaml, which says why the first two name no resource.
        allow(["ecs:ListClusters", "ecs:ListTasks"], "*"),
        allow(["ecs:DescribeClusters", "ecs:ListContainerInstances"], arn("ecs", "cluster/*")),
        allow(
            ["ecs:DescribeContainerInstances", "ecs:DescribeTasks"],
            [arn("ecs", "container-instance/*"), arn("ecs", "task/*")],
        ),
        allow(["dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:Scan", "dynamodb:UpdateItem"], tables),
        allow(WRITE_LOG, arn("logs", f"log-group:/aws/lambda/{reconciler}:*")),
    )
    print(f"role {roles['reconcile']}: may read ECS, read and write the two tables, and write to its log")
    function = deploy_function(reconciler, role, "ecs-state-reconciler", memory=256, timeout=900)
    boto3.client("lambda").put_function_event_invoke_config(
        FunctionName=reconciler, MaximumRetryAttempts=0, MaximumEventAgeInSeconds=300
    )
    role = put_role(
        roles["run"],
        trust("scheduler.amazonaws.com", {
            "ArnEquals": {"aws:SourceArn": arn("scheduler", "schedule-group/default")},
            "StringEquals": {"aws:SourceAccount": account},
        }),
        "run",
        allow("lambda:InvokeFunction", function),
    )
    print(f"role {roles['run']}: may invoke {function}")
    # A schedule begins with a run: after the rule, so that this one misses no change.
    for scope, rate in SCHEDULES.items():
        put_schedule(f"{name}-{scope}", rate, scope, function, role)
    mention_old_role(name)


def create_table(table, key):
    # As in template.yaml.
    indexes = [{
        "IndexName": "by_cluster",
        "KeySchema": [
            {"AttributeName": "index_cluster", "KeyType": "HASH"},
            {"AttributeName": "index_state", "KeyType": "RANGE"},
        ],
        "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["group", "startedBy", "taskDefinitionArn"]},
    }] if key == "taskArn" else []
    keys = [key, *(part["AttributeName"] for index in indexes for part in index["KeySchema"])]
    dynamodb = boto3.client("dynamodb")
    try:
        dynamodb.describe_table(TableName=table)
    except dynamodb.exceptions.ResourceNotFoundException:
        dynamodb.create_table(
            TableName=table,
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in keys],
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
            DeletionProtectionEnabled=True,
            **({"GlobalSecondaryIndexes": indexes} if indexes else {}),
        )
        print(f"table {table}: created")
    dynamodb.get_waiter("table_exists").wait(TableName=table)
    if dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]["TimeToLiveStatus"] == "DISABLED":
        dynamodb.update_time_to_live(
            TableName=table, TimeToLiveSpecification={"AttributeName": "expires_at", "Enabled": True}
        )


def create_log_group(group):
    logs = boto3.client("logs")
    try:
        logs.create_log_group(logGroupName=group)
        logs.put_retention_policy(logGroupName=group, retentionInDays=30)
    except logs.exceptions.ResourceAlreadyExistsException:
        pass


def put_role(role, trusted, name, *statements):
    """Returns the role's ARN."""
    iam = boto3.client("iam")
    try:
        iam.create_role(RoleName=role, AssumeRolePolicyDocument=policy(trusted))
    except iam.exceptions.EntityAlreadyExistsException:
        pass
    iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=policy(*statements))
    return iam.get_role(RoleName=role)["Role"]["Arn"]


def deploy_function(name, role, binary, memory, timeout):
    """Returns the function's ARN."""
    # Of the tests, which deploy any file.
    built = os.environ.get("FUNCTION_BINARY")
    command = ["cargo", "lambda", "deploy", "--role", role, "--memory", str(memory), "--timeout", str(timeout)]
    command += ["--binary-path", built] if built else ["--binary-name", binary]
    # It takes a few seconds until Lambda can assume a new role.
    deadline = time.monotonic() + 60
    while (deployed := subprocess.run([*command, name], stderr=subprocess.PIPE, text=True)).returncode:
        if "assumed" not in deployed.stderr or time.monotonic() > deadline:
            sys.exit(f"{deployed.stderr}error: cargo lambda deploy failed, see above")
        time.sleep(2)
    lambda_ = boto3.client("lambda")
    lambda_.get_waiter("function_active_v2").wait(FunctionName=name)
    lambda_.get_waiter("function_updated_v2").wait(FunctionName=name)
    return lambda_.update_function_configuration(
        FunctionName=name, LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "INFO"}
    )["FunctionArn"]


def put_rule(name, function):
    events, lambda_ = boto3.client("events"), boto3.client("lambda")
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


def put_schedule(name, rate, scope, function, role):
    scheduler = boto3.client("scheduler")
    settings = {
        "Name": name,
        "ScheduleExpression": rate,
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {
            "Arn": function,
            "RoleArn": role,
            "Input": json.dumps({"scope": scope}),
            "RetryPolicy": {"MaximumRetryAttempts": 0},
        },
    }
    # It takes a few seconds until EventBridge Scheduler can assume a new role.
    deadline = time.monotonic() + 60
    while True:
        try:
            scheduler.create_schedule(**settings)
            break
        except scheduler.exceptions.ConflictException:
            scheduler.update_schedule(**settings)
            break
        except scheduler.exceptions.ValidationException as error:
            if "assume" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(2)
    print(f"schedule {name}: {rate} invokes {function}")


def delete(name):
    """Deletes in reverse order, starting with what invokes the functions. The tables are kept."""
    iam, lambda_, logs = boto3.client("iam"), boto3.client("lambda"), boto3.client("logs")
    events, scheduler = boto3.client("events"), boto3.client("scheduler")
    roles = role_names(name, stack.region())

    def unless_missing(delete, **what):
        try:
            delete(**what)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("ResourceNotFoundException", "NoSuchEntity"):
                raise

    for scope in SCHEDULES:
        unless_missing(scheduler.delete_schedule, Name=f"{name}-{scope}")
    unless_missing(events.remove_targets, Rule=name, Ids=[name])
    unless_missing(events.delete_rule, Name=name)
    for function in (reconciler_name(name), name):
        unless_missing(lambda_.delete_function, FunctionName=function)
        unless_missing(logs.delete_log_group, logGroupName=f"/aws/lambda/{function}")
    for policy_name, role in roles.items():
        unless_missing(iam.delete_role_policy, RoleName=role, PolicyName=policy_name)
        unless_missing(iam.delete_role, RoleName=role)
    print(
        f"schedules {' and '.join(f'{name}-{scope}' for scope in SCHEDULES)}, rule {name}, functions and log groups "
        f"{name} and {reconciler_name(name)}, roles {', '.join(roles.values())}: deleted; "
        f"the tables {' and '.join(TABLES)} are kept"
    )
    mention_old_role(name)


def reconciler_name(name):
    return f"{name}-reconciler"


def role_names(name, region):
    """The roles' names, by those of their policies. They include the region, since roles are global: two regions would
    otherwise share them."""
    roles = {
        "record": f"{name}-{region}",
        "reconcile": f"{reconciler_name(name)}-{region}",
        "run": f"{name}-schedules-{region}",
    }
    for role in roles.values():
        if len(role) > 64:
            sys.exit(
                f"error: the role name {role} must have at most 64 characters, found {len(role)}: "
                "choose a shorter STACK"
            )
    return roles


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


def allow(actions, resources):
    return {"Effect": "Allow", "Action": actions, "Resource": resources}


def trust(service, condition=None):
    trusted = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return trusted | ({"Condition": condition} if condition else {})


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


if __name__ == "__main__":
    with stack.one_line_errors():
        {"deploy": deploy, "delete": delete}[sys.argv[1]](sys.argv[2])
