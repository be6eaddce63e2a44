"""The stack in MiniStack: template.yaml without what MiniStack lacks, and the functions as they were built."""

import io
import json
import platform
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import boto3
from samcli.yamlhelper import yaml_parse

PROJECT = Path(__file__).parents[1]
CODE = {"Recorder": "recorder.zip", "Reconciler": "reconciler.zip", "Notifier": "notifier.zip"}
BUCKET = "functions"
# Of this machine, as Lambda calls it.
ARCHITECTURE = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
SECONDS = 60

# What MiniStack 1.5.33 lacks or does differently, and what it gets instead; None leaves it out.
LACKS = {
    # Events::Archive exists only in the API of EventBridge, see create().
    "Resources.Archive": None,
    "Outputs.ArchiveArn.Value": {
        "Fn::Sub": "arn:aws:events:${AWS::Region}:${AWS::AccountId}:archive/${AWS::StackName}-Archive"},
    "Resources.RecorderStateChanges.Properties.Description": {"Fn::Sub": "Sends ECS state changes to ${Recorder}."},
    # Alarms with metric math are refused. The dashboard names this one.
    "Resources.DynamoDBThrottlingAlarm": None,
    "Resources.Dashboard.Properties.DashboardBody": '{"widgets": []}',
    # Fn::Join in a condition is not resolved, so that a list is never empty.
    "Conditions.SomeClusters": {"Fn::Not": [{"Fn::Equals": [{"Fn::Select": [0, {"Ref": "ClusterArns"}]}, ""]}]},
    # Its ECS authorizes DescribeTasks for the cluster instead of the tasks.
    "Resources.ReconcilerRole.Properties.Policies.reconcile.PolicyDocument.Statement.ReadTasksAndContainerInstances"
    ".Resource": "*",
    # Log groups get names that don't begin with the stack's.
    "Resources.RecorderLogs.Properties.LogGroupName": {"Fn::Sub": "${AWS::StackName}-RecorderLogs"},
    "Resources.ReconcilerLogs.Properties.LogGroupName": {"Fn::Sub": "${AWS::StackName}-ReconcilerLogs"},
    "Resources.NotifierLogs.Properties.LogGroupName": {"Fn::Sub": "${AWS::StackName}-NotifierLogs"},
    # It is reached by HTTP, which these policies deny.
    "Resources.FailureQueuePolicy": None,
    "Resources.DeadLetterQueuePolicy.Properties.PolicyDocument.Statement.TlsOnly": None,
}
# What it accepts and ignores, so that no test in it shows whether these are right.
IGNORED = [
    "Resources.NotifierStream.Properties.MaximumBatchingWindowInSeconds",
    # The answer's batchItemFailures.
    "Resources.NotifierStream.Properties.FunctionResponseTypes",
    "Resources.NotifierStream.Properties.BisectBatchOnFunctionError",
    "Resources.NotificationRule.Properties.Targets",  # Their RetryPolicy: there is one attempt.
    # Metric filters are stored, never evaluated, so these alarms never go off.
    "Resources.StopMetric", "Resources.MissedStopMetric", "Resources.StreamAgeAlarm", "Resources.MissedStopsAlarm",
    "Resources.NotificationsAlarm",
]
# A change that makes a creation or an update fail, once most of it is done.
BROKEN = {"Resources.ThrottlesAlarm.Properties.Namespace": None}


def template(text, lacks=LACKS, code=BUCKET):
    """A template of this project as MiniStack can deploy it, with the functions in a bucket, unless it is None."""
    adapted = yaml_parse(text)
    for name in CODE.keys() & adapted["Resources"] if code else ():
        adapted["Resources"][name]["Properties"]["CodeUri"] = {"Bucket": code, "Key": CODE[name]}
    for path, instead in lacks.items():
        change(adapted, path.split("."), instead)
    return adapted


def change(part, path, instead):
    name, *rest = path
    if isinstance(part, list):
        # By the name that IAM gives it.
        [name] = [at for at, each in enumerate(part) if name in (each.get("Sid"), each.get("PolicyName"))]
    if rest:
        change(part[name], rest, instead)
    elif instead is None:
        del part[name]
    else:
        part[name] = instead


def upload(*binaries):
    """Puts the built functions, in the order of CODE, where the template finds them."""
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
    for key, binary in zip(CODE.values(), binaries, strict=True):
        code, bootstrap = io.BytesIO(), zipfile.ZipInfo("bootstrap")
        bootstrap.external_attr = 0o100755 << 16
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr(bootstrap, Path(binary).read_bytes(), zipfile.ZIP_DEFLATED, compresslevel=1)
        s3.put_object(Bucket=BUCKET, Key=key, Body=code.getvalue())


def put(template):
    """Puts a template into a bucket of the account, since a request may have 51,200 bytes. Returns its URL."""
    s3, bucket = boto3.client("s3"), f"templates-{boto3.client('sts').get_caller_identity()['Account']}"
    with suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket=bucket, Key="template.json", Body=json.dumps(template))
    return f"{s3.meta.endpoint_url}/{bucket}/template.json"


def create(name, template, **parameters):
    """Creates a stack, and waits for it. Returns its status and its outputs."""
    return run("create_stack", name, template, parameters)


def update(name, template, **parameters):
    return run("update_stack", name, template, parameters)


def run(operation, name, template, parameters):
    parameters = {"Architecture": ARCHITECTURE, **parameters}
    client = boto3.client("cloudformation")
    getattr(client, operation)(
        StackName=name, TemplateURL=put(template), Capabilities=["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        Parameters=[{"ParameterKey": key, "ParameterValue": str(value)} for key, value in parameters.items()],
    )
    deadline = time.monotonic() + SECONDS
    while (stack := client.describe_stacks(StackName=name)["Stacks"][0])["StackStatus"].endswith("_IN_PROGRESS"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the stack {name} is still {stack['StackStatus']} after {SECONDS} s")
        time.sleep(0.1)
    outputs = {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", [])}
    if "ArchiveArn" in outputs:
        create_archive(outputs)
    return stack["StackStatus"], outputs


def create_archive(outputs):
    events = boto3.client("events")
    archive = yaml_parse((PROJECT / "template.yaml").read_text())["Resources"]["Archive"]["Properties"]
    pattern = {name: value for name, value in archive["EventPattern"].items() if name != "detail"}
    with suppress(events.exceptions.ResourceAlreadyExistsException):
        events.create_archive(
            ArchiveName=outputs["ArchiveArn"].split("/")[1], EventSourceArn=outputs["EventBusArn"],
            EventPattern=json.dumps(pattern), RetentionDays=14,
        )
