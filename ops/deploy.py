"""Deploys a package, or what `sam build` built: uploads the functions and the template, then creates or updates the
stack.

Like `sam deploy`, without the SAM CLI, which is four times as large as everything else that a deployment installs."""

import argparse
import hashlib
import re
import sys
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import boto3
import yaml
from botocore.exceptions import BotoCoreError, ClientError, WaiterError

import preflight
import stack
from package import zipped

# What CloudFormation says of a change set without changes.
UNCHANGED = ("didn't contain changes", "No updates are to be performed")


def bucket(account):
    """The bucket for packages, which is created once and kept."""
    s3, name = boto3.client("s3"), f"ecs-state-recorder-{account}-{stack.region()}"
    try:
        s3.head_bucket(Bucket=name, ExpectedBucketOwner=account)
    except ClientError as error:
        if stack.error_code(error) == "403":
            sys.exit(f"error: the bucket {name} belongs to another account, or you may not use it: get the permissions "
                     "of ops/policies/deploy.json, or name another bucket: SAM_OPTIONS='--s3-bucket …'")
        if stack.error_code(error) != "404":
            raise
        # us-east-1 is the default, and refused as a constraint.
        here = stack.region()
        more = {} if here == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": here}}
        s3.create_bucket(Bucket=name, **more)
        print(f"bucket {name}: created")
    return name


def upload(body, suffix, target):
    """Uploads under a name that is the content's hash. Returns the key."""
    key = f"{target['prefix']}{hashlib.sha256(body).hexdigest()}{suffix}"
    boto3.client("s3").put_object(Bucket=target["bucket"], Key=key, Body=body, **target["owner"])
    return key


def upload_all(package, target):
    """Returns the URL of the template."""
    def code(found):
        path = package / found[1]
        # `sam build` leaves a folder.
        body = path.read_bytes() if path.is_file() else zipped((path / "bootstrap").read_bytes())
        return f"CodeUri: s3://{target['bucket']}/{upload(body, '.zip', target)}"

    text = re.sub(r"CodeUri: ([\w.]+)", code, (package / "template.yaml").read_text())
    key = upload(text.encode(), ".yaml", target)
    return f"{boto3.client('s3').meta.endpoint_url}/{target['bucket']}/{key}"


def discard(client, change_set):
    """Deletes a change set, and with it a stack that has nothing else: it would have been created from it."""
    client.delete_change_set(**change_set)
    [found] = client.describe_stacks(StackName=change_set["StackName"])["Stacks"]
    summaries = client.list_change_sets(StackName=found["StackId"])["Summaries"]
    others = {each["ChangeSetName"] for each in summaries} - {change_set["ChangeSetName"]}
    if found["StackStatus"] == "REVIEW_IN_PROGRESS" and not others:
        client.delete_stack(StackName=found["StackId"])


def create_change_set(name, earlier, given, template, url, options):
    """Creates a change set. Returns its name and the stack's, or None if there is nothing to change."""
    client = boto3.client("cloudformation")
    # What is not given keeps its value; a parameter that is new has its default.
    kept = earlier.keys() & template["Parameters"].keys() - given.keys()
    parameters = [{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()]
    parameters += [{"ParameterKey": key, "UsePreviousValue": True} for key in sorted(kept)]
    tags = [dict(zip(("Key", "Value"), tag.split("=", 1))) for tag in options.tags]
    # CloudFormation keeps an executed change set, and with it its name.
    change_set = {"StackName": name, "ChangeSetName": f"package-{uuid4().hex}"}
    waiter, config = client.get_waiter("change_set_create_complete"), {"Delay": stack.POLL_SECONDS}
    try:
        client.create_change_set(
            **change_set, ChangeSetType="UPDATE" if earlier else "CREATE",
            TemplateURL=url, Parameters=parameters, Capabilities=["CAPABILITY_IAM"],
            **({"Tags": tags} if tags else {}), **({"RoleARN": options.role_arn} if options.role_arn else {}),
        )
        waiter.wait(**change_set, WaiterConfig=config)
    except WaiterError as error:
        reason = error.last_response.get("StatusReason", str(error))
        discard(client, change_set)
        if any(text in reason for text in UNCHANGED):
            return None
        sys.exit(f"error: the change set of the stack {name} failed: {reason}")
    except KeyboardInterrupt:
        try:
            # CloudFormation refuses to delete what it is still creating.
            with suppress(WaiterError):
                waiter.wait(**change_set, WaiterConfig=config)
            discard(client, change_set)
        except (KeyboardInterrupt, BotoCoreError, ClientError):
            delete = (
                f"aws cloudformation delete-change-set --stack-name {name} --change-set-name "
                f"{change_set['ChangeSetName']}" if earlier else f"make delete STACK={name}")
            stack.interrupted(f"nothing was deployed, but a change set of the stack {name} may be left: run `{delete}`")
        stack.interrupted("nothing was deployed")
    return change_set


def main(name, overrides, package, options):
    client, given = boto3.client("cloudformation"), preflight.read(overrides)
    account = boto3.client("sts").get_caller_identity()["Account"]
    earlier = preflight.earlier_parameters(stack.find(name))
    target = {
        "bucket": options.s3_bucket or bucket(account),
        "prefix": f"{options.s3_prefix}/" if options.s3_prefix else "",
        # Nobody else can have created it meanwhile.
        "owner": {} if options.s3_bucket else {"ExpectedBucketOwner": account},
    }
    url = upload_all(package, target)
    template = yaml.load((package / "template.yaml").read_text(), preflight.Loader)
    change_set = create_change_set(name, earlier, given, template, url, options)
    if not change_set:
        print(f"stack {name}: already as in {package}")
        return
    operation = "update" if earlier else "create"
    print(f"stack {name}: CloudFormation will {operation} it, which takes a few minutes …", flush=True)
    try:
        client.execute_change_set(**change_set)
        waiter = client.get_waiter(f"stack_{operation}_complete")
        waiter.wait(StackName=name, WaiterConfig={"Delay": stack.POLL_SECONDS, "MaxAttempts": 720})
    except KeyboardInterrupt:
        stack.interrupted(f"CloudFormation continues with the stack {name}")
    except WaiterError:
        now = stack.find(name)
        reasons = "".join(f"\n  {failure}" for failure in stack.failures(now))
        sys.exit(f"error: the stack {name} could not be {operation}d ({now['StackStatus']}):{reasons}")
    print(f"Successfully created/updated stack - {name} in {stack.region()}")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("stack")
    arguments.add_argument("parameters", help="the template's parameters, such as 'ArchiveDays=0 Tracing=Active'")
    arguments.add_argument("package", type=Path, help="a folder that `make package` or `make build` wrote")
    arguments.add_argument("--options", default="", help="SAM_OPTIONS")
    arguments = arguments.parse_args()
    with stack.one_line_errors():
        main(arguments.stack, arguments.parameters, arguments.package, preflight.options(arguments.options))
