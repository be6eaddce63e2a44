"""Deploys only the recorder and the reconciler of template.yaml, with cargo-lambda: with their roles and log groups, the
recorder's rule, the reconciler's schedules, and the tables if they do not exist yet. Queues, alarms, the dashboard and
the notifier, which needs the table's stream, come only with the stack."""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import boto3
from botocore.exceptions import ClientError
from samcli.yamlhelper import yaml_parse

import stack

TEMPLATE = yaml_parse((Path(__file__).parents[1] / "template.yaml").read_text())
# Some seconds pass until a new role can be assumed.
ROLE_SECONDS = 60


class Deployment:
    """The resources of template.yaml under their own names here, with the default parameters."""

    def __init__(self, name):
        _, partition, _, _, account, _ = boto3.client("sts").get_caller_identity()["Arn"].split(":", 5)
        region = stack.region()
        self.name = name
        self.functions = {"Recorder": name, "Reconciler": f"{name}-reconciler"}
        self.schedules = {"FleetSchedule": f"{name}-fleet", "TableSchedule": f"{name}-table"}
        self.logs = {f"{resource}Logs": f"/aws/lambda/{function}" for resource, function in self.functions.items()}
        # Roles are global: without the region in their names, two regions would share them.
        self.roles = {f"{resource}Role": f"{function}-{region}" for resource, function in self.functions.items()}
        self.roles["ScheduleRole"] = f"{name}-schedules-{region}"
        parameters = {parameter: settings["Default"] for parameter, settings in TEMPLATE["Parameters"].items()}
        self.tables = {table: parameters[f"{table}Name"] for table in ("TaskTable", "ContainerInstanceTable")}
        self.values = {
            **parameters, **self.functions, **self.logs, **self.tables,
            "AWS::Partition": partition, "AWS::Region": region, "AWS::AccountId": account, "AWS::NoValue": None,
        }
        for resource, role in self.roles.items():
            if len(role) > 64:
                sys.exit(f"error: the role name {role} must have at most 64 characters, found {len(role)}: "
                         "choose a shorter STACK")
            self.values[f"{resource}.Arn"] = f"arn:{partition}:iam::{account}:role/{role}"
        for resource, function in self.functions.items():
            self.values[f"{resource}.Arn"] = f"arn:{partition}:lambda:{region}:{account}:function:{function}"

    def properties(self, resource, *omitted):
        given = TEMPLATE["Resources"][resource]["Properties"]
        return self.resolve({name: value for name, value in given.items() if name not in omitted})

    def resolve(self, value):
        """Evaluates CloudFormation's functions in a part of the template. AWS::NoValue is left out."""
        match value:
            case {"Ref": name}:
                return self.values[name]
            case {"Fn::GetAtt": path}:
                return self.values[".".join(path)]
            case {"Fn::Sub": argument}:
                text, variables = argument if isinstance(argument, list) else (argument, {})
                values = self.values | self.resolve(variables)
                return re.sub(r"\$\{(.+?)\}", lambda found: values[found[1]], text)
            case {"Fn::If": [condition, yes, no]}:
                return self.resolve(yes if self.resolve(TEMPLATE["Conditions"][condition]) else no)
            case {"Fn::Equals": [one, other]}:
                return self.resolve(one) == self.resolve(other)
            case {"Fn::Not": [condition]}:
                return not self.resolve(condition)
            case {"Fn::Join": [separator, parts]}:
                return separator.join(self.resolve(parts))
            case dict():
                found = {name: self.resolve(each) for name, each in value.items()}
                return {name: each for name, each in found.items() if each is not None}
            case list():
                return [each for each in map(self.resolve, value) if each is not None]
        return value

    def deploy(self):
        for table in self.tables:
            self.create_table(table)
        for function in self.functions:
            self.create_log_group(f"{function}Logs")
            self.put_role(f"{function}Role")
            self.deploy_function(function)
            if function == "Recorder":
                self.put_rule()
        self.put_role("ScheduleRole")
        # A schedule begins with a run: after the rule, so that this one misses no change.
        for schedule in self.schedules:
            self.put_schedule(schedule)
        print("notifier: not here, since it needs the table's stream: only the stack has one (make deploy)")

    def create_table(self, resource):
        # Streams, recovery and encryption with KMS are the stack's.
        properties = self.properties(
            resource, "PointInTimeRecoverySpecification", "SSESpecification", "StreamSpecification"
        )
        dynamodb, table = boto3.client("dynamodb"), properties["TableName"]
        time_to_live = properties.pop("TimeToLiveSpecification")
        with suppress(dynamodb.exceptions.ResourceInUseException):
            dynamodb.create_table(**properties, DeletionProtectionEnabled=True)
            print(f"table {table}: created")
        dynamodb.get_waiter("table_exists").wait(TableName=table)
        if dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]["TimeToLiveStatus"] == "DISABLED":
            dynamodb.update_time_to_live(TableName=table, TimeToLiveSpecification=time_to_live)

    def create_log_group(self, resource):
        logs, group = boto3.client("logs"), self.logs[resource]
        with suppress(logs.exceptions.ResourceAlreadyExistsException):
            logs.create_log_group(logGroupName=group)
            logs.put_retention_policy(logGroupName=group, retentionInDays=self.properties(resource)["RetentionInDays"])

    def put_role(self, resource):
        iam, role, properties = boto3.client("iam"), self.roles[resource], TEMPLATE["Resources"][resource]["Properties"]
        trust = self.resolve(properties["AssumeRolePolicyDocument"])
        with suppress(iam.exceptions.EntityAlreadyExistsException):
            iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(trust))
        [policy] = properties["Policies"]
        # Only the stack has a failure queue.
        statements = [each for each in policy["PolicyDocument"]["Statement"] if each.get("Sid") != "KeepFailedEvents"]
        document = self.resolve(policy["PolicyDocument"] | {"Statement": statements})
        iam.put_role_policy(RoleName=role, PolicyName=policy["PolicyName"], PolicyDocument=json.dumps(document))
        print(f"role {role}: {', '.join(statement['Sid'] for statement in document['Statement'])}")

    def deploy_function(self, resource):
        name, properties = self.functions[resource], TEMPLATE["Resources"][resource]["Properties"]
        binary = TEMPLATE["Resources"][resource]["Metadata"]["BuildProperties"]["Binary"]
        # Set by the tests, which deploy any file.
        built = os.environ.get("RECORDER_BINARY")
        command = ["cargo", "lambda", "deploy", "--role", self.values[f"{resource}Role.Arn"],
                   "--memory", str(properties["MemorySize"]), "--timeout", str(properties["Timeout"]),
                   *(["--binary-path", built] if built else ["--binary-name", binary]), name]
        deadline = time.monotonic() + ROLE_SECONDS
        while (deployed := subprocess.run(command, stderr=subprocess.PIPE, text=True)).returncode:
            if "assumed" not in deployed.stderr or time.monotonic() > deadline:
                sys.exit(f"{deployed.stderr}error: cargo lambda deploy failed, see above")
            time.sleep(2)
        lambda_ = boto3.client("lambda")
        lambda_.get_waiter("function_active_v2").wait(FunctionName=name)
        lambda_.get_waiter("function_updated_v2").wait(FunctionName=name)
        logging, retries = self.resolve(properties["LoggingConfig"]), properties["EventInvokeConfig"]
        lambda_.update_function_configuration(FunctionName=name, LoggingConfig=logging)
        lambda_.put_function_event_invoke_config(FunctionName=name, **{
            setting: retries[setting] for setting in ("MaximumRetryAttempts", "MaximumEventAgeInSeconds")
        })

    def put_rule(self):
        events, lambda_ = boto3.client("events"), boto3.client("lambda")
        properties = TEMPLATE["Resources"]["RecorderStateChanges"]["Properties"]
        pattern, [target] = self.resolve(properties["EventPattern"]), properties["Targets"]
        rule = events.put_rule(Name=self.name, EventPattern=json.dumps(pattern))["RuleArn"]
        with suppress(lambda_.exceptions.ResourceConflictException):
            lambda_.add_permission(
                FunctionName=self.functions["Recorder"], StatementId=self.name, Action="lambda:InvokeFunction",
                Principal="events.amazonaws.com", SourceArn=rule,
            )
        target = {"Id": self.name, "Arn": self.values["Recorder.Arn"], "RetryPolicy": target["RetryPolicy"]}
        refused = events.put_targets(Rule=self.name, Targets=[target])["FailedEntries"]
        if refused:
            sys.exit(f"error: EventBridge did not accept the target of the rule {self.name}: "
                     f"{refused[0]['ErrorMessage']}")
        print(f"rule {self.name}: ECS state changes invoke {target['Arn']}")

    def put_schedule(self, resource):
        scheduler = boto3.client("scheduler")
        settings = {"Name": self.schedules[resource], **self.properties(resource, "Description")}
        deadline = time.monotonic() + ROLE_SECONDS
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
        print(f"schedule {settings['Name']}: {settings['ScheduleExpression']} invokes {settings['Target']['Arn']}")

    def delete(self):
        """Deletes in reverse order, starting with what invokes the functions. The tables are kept."""
        iam, lambda_, logs = boto3.client("iam"), boto3.client("lambda"), boto3.client("logs")
        events, scheduler = boto3.client("events"), boto3.client("scheduler")

        def unless_missing(delete, **what):
            try:
                delete(**what)
            except ClientError as error:
                if stack.error_code(error) not in ("ResourceNotFoundException", "NoSuchEntity"):
                    raise

        for schedule in self.schedules.values():
            unless_missing(scheduler.delete_schedule, Name=schedule)
        unless_missing(events.remove_targets, Rule=self.name, Ids=[self.name])
        unless_missing(events.delete_rule, Name=self.name)
        for function in self.functions.values():
            unless_missing(lambda_.delete_function, FunctionName=function)
        for group in self.logs.values():
            unless_missing(logs.delete_log_group, logGroupName=group)
        for resource, role in self.roles.items():
            [policy] = TEMPLATE["Resources"][resource]["Properties"]["Policies"]
            unless_missing(iam.delete_role_policy, RoleName=role, PolicyName=policy["PolicyName"])
            unless_missing(iam.delete_role, RoleName=role)
        print(f"schedules {', '.join(self.schedules.values())}, rule {self.name}, functions and log groups "
              f"{', '.join(self.functions.values())}, roles {', '.join(self.roles.values())}: deleted; "
              f"the tables {', '.join(self.tables.values())} are kept")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("command", choices=["deploy", "delete"])
    arguments.add_argument("name", help="what the functions, roles, rule and schedules are named after")
    arguments = arguments.parse_args()
    with stack.one_line_errors():
        getattr(Deployment(arguments.name), arguments.command)()
