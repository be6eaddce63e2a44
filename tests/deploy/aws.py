"""A local AWS to deploy to: SAM's own translator, then CloudFormation and the services in moto, on a free port."""

import json
import os
import sys
from contextlib import contextmanager, suppress
from copy import deepcopy
from pathlib import Path
from urllib.request import Request, urlopen

import boto3
from moto.awslambda.models import LambdaFunction
from moto.cloudformation import parsing
from moto.cloudformation.models import CloudFormationBackend, Event
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.common_models import CloudFormationModel
from moto.core.responses import ActionResult
from moto.dynamodb.models.table import Table
from moto.events.models import EventBus
from moto.server import ThreadedMotoServer
from moto.utilities.utils import get_partition
from samcli.yamlhelper import yaml_parse
from samtranslator.translator.managed_policy_translator import ManagedPolicyLoader
from samtranslator.translator.transform import transform

PROJECT = Path(__file__).parents[2]
REGION = "eu-west-1"
ACCOUNT = "123456789012"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Aws:
    """An empty AWS. It serves until stopped."""

    def __init__(self):
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.server.start()
        self.url = "http://{}:{}".format(*self.server.get_host_and_port())
        # moto's services live in this process, so what an earlier test created would still exist.
        urlopen(Request(f"{self.url}/moto-api/reset", method="POST"))
        os.environ.update(ENVIRONMENT, AWS_ENDPOINT_URL=self.url)

    def stop(self):
        self.server.stop()

    def deploy(self, name, **parameters):
        return Stack(name, parameters)

    def create(self, name, template, **parameters):
        """A stack from another template of the project, which needs no transform."""
        return Stack(name, parameters, yaml_parse((PROJECT / template).read_text()))

    def environment(self, **more):
        """The environment of a program that uses this AWS."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {"PATH": path, "HOME": os.environ["HOME"], **ENVIRONMENT, "AWS_ENDPOINT_URL": self.url, **more}

    def sams_environment(self, folder, **more):
        """The environment of `sam deploy`. moto finds a template that SAM put into its S3 only under the name localhost,
        where the SDK needs path-style buckets."""
        configuration = folder / "config"
        configuration.write_text("[default]\ns3 =\n    addressing_style = path\n")
        url = self.url.replace("127.0.0.1", "localhost")
        return self.environment(AWS_ENDPOINT_URL=url, AWS_CONFIG_FILE=str(configuration), **more)


@contextmanager
def account(account, region):
    """Makes boto3 use another account and region."""
    given = boto3.client("sts").assume_role(RoleArn=f"arn:aws:iam::{account}:role/tester", RoleSessionName="test")
    keys = given["Credentials"]
    before, boto3.DEFAULT_SESSION = boto3.DEFAULT_SESSION, boto3.Session(
        keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], region_name=region
    )
    try:
        yield
    finally:
        boto3.DEFAULT_SESSION = before


def with_code(template):
    """As `sam deploy` does with the built functions."""
    s3 = boto3.client("s3")
    with suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket="code", CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
    s3.put_object(Bucket="code", Key="function.zip", Body=b"the built function")
    template = deepcopy(template)
    for function in ("Recorder", "Reconciler", "Notifier"):
        template["Resources"][function]["Properties"]["CodeUri"] = {"Bucket": "code", "Key": "function.zip"}
    return template


class Stack:
    """template.yaml, or another template, deployed."""

    def __init__(self, name, parameters, template=None):
        self.template = template or yaml_parse((PROJECT / "template.yaml").read_text())
        template = template or with_code(self.template)
        resolved.clear()
        client = boto3.client("cloudformation")
        client.create_stack(
            StackName=name,
            TemplateBody=json.dumps(template),
            Parameters=[{"ParameterKey": key, "ParameterValue": str(value)} for key, value in parameters.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        self.cloudformation = client.get_template(StackName=name)["TemplateBody"]
        [stack] = client.describe_stacks(StackName=name)["Stacks"]
        self.status = stack["StackStatus"]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        resources = client.describe_stack_resources(StackName=name)["StackResources"]
        # moto also lists resources that a condition omits, without a name.
        resources = [resource for resource in resources if "LogicalResourceId" in resource]
        # Physical names, types and properties, by the names in the template.
        self.names = {resource["LogicalResourceId"]: resource.get("PhysicalResourceId") for resource in resources}
        self.types = {resource["LogicalResourceId"]: resource["ResourceType"] for resource in resources}
        self.properties = {logical: resolved[logical] for logical in self.names}


def transformed(template, parameters):
    """The template after SAM's macro, as CloudFormation runs it. moto does not support the template's rules."""
    template = yaml_parse(template)
    if "Transform" not in template:
        return json.dumps(template)
    values = {key: parameter.get("Default") for key, parameter in template.get("Parameters", {}).items()} | parameters
    return json.dumps(transform(template, values, ManagedPolicyLoader(None)))


def with_macro(create):
    def created(self, **given):
        return create(self, **given | {"template": transformed(given["template"], given["parameters"])})

    return created


delete_resources = parsing.ResourceMap.delete


def delete_or_keep_resources(self):
    """moto does not support RetainExceptOnCreate, which equals Retain except when a creation is rolled back."""
    for resource in self._resource_json_map.values():
        if resource.get("DeletionPolicy") == "RetainExceptOnCreate":
            resource["DeletionPolicy"] = "Retain"
    delete_resources(self)


parsing.ResourceMap.delete = delete_or_keep_resources


build_resource_diff = parsing.ResourceMap.build_resource_diff


def build_resource_diff_of_what_is_there(self, *given):
    """moto also updates resources that a condition omits."""
    found = build_resource_diff(self, *given)
    return found | {"Modify": [name for name in found["Modify"] if name in self._parsed_resources]}


parsing.ResourceMap.build_resource_diff = build_resource_diff_of_what_is_there


def report(stack, logical, status, reason):
    kind = stack.template_dict["Resources"][logical]["Type"]
    physical = getattr(stack.resource_map._parsed_resources.get(logical), "physical_resource_id", "")
    stack.events.append(Event(stack.stack_id, stack.name, logical, physical, kind, status, reason, None))


def forget_missing_resources(stack):
    """A failed stack has no outputs; and moto would create a missing resource when it is looked up."""
    resources, created = stack.resource_map._resource_json_map, stack.resource_map._parsed_resources
    stack.resource_map._resource_json_map = {name: json for name, json in resources.items() if created.get(name)}
    stack.output_map._output_json_map = {}


create, delete = CloudFormationBackend.create_stack, CloudFormationBackend.delete_stack


def create_or_roll_back(self, **given):
    """moto stops midway if a resource can't be created, without a rollback."""
    if given["name"] in [stack.name for stack in self.stacks.values()]:
        return create(self, **given)
    try:
        return create(self, **given)
    except Exception as error:
        [stack] = [stack for stack in self.stacks.values() if stack.name == given["name"]]
        report(stack, list(resolved)[-1], "CREATE_FAILED", str(error))
        stack._add_stack_event("ROLLBACK_IN_PROGRESS")
        forget_missing_resources(stack)
        for resource in stack.resource_map._resource_json_map.values():
            if resource.get("DeletionPolicy") == "RetainExceptOnCreate":
                resource["DeletionPolicy"] = "Delete"
        delete_or_fail(stack, stack.resource_map.delete, "ROLLBACK_COMPLETE", "ROLLBACK_FAILED")
        stack._add_stack_event(stack.status)
        return stack


def delete_or_fail(stack, delete, complete, failed):
    try:
        delete()
        stack.status = complete
    except Exception as error:
        stack.status = failed
        forget_missing_resources(stack)
        for logical, resource in stack.resource_map._resource_json_map.items():
            if resource.get("DeletionPolicy") != "Retain":
                report(stack, logical, "DELETE_FAILED", str(error))
    forget_missing_resources(stack)


def delete_stack(self, name_or_stack_id):
    """moto forgets a stack that can't be deleted."""
    stack = self.get_stack(name_or_stack_id)
    delete_or_fail(stack, lambda: delete(self, stack.stack_id), "DELETE_COMPLETE", "DELETE_FAILED")
    if stack.status == "DELETE_FAILED":
        stack._add_stack_event("DELETE_FAILED")
        self.stacks[stack.stack_id] = stack


CloudFormationBackend.create_stack, CloudFormationBackend.delete_stack = create_or_roll_back, delete_stack

for name in ("create_stack", "create_change_set"):
    setattr(CloudFormationBackend, name, with_macro(getattr(CloudFormationBackend, name)))

get_template = CloudFormationResponse.get_template


def get_template_of_stack_or_change_set(self):
    name = self._get_param("ChangeSetName")
    if name:
        return ActionResult({"TemplateBody": self.cloudformation_backend.describe_change_set(name).template})
    return get_template(self)


CloudFormationResponse.get_template = get_template_of_stack_or_change_set

update = CloudFormationBackend.execute_change_set


def execute_change_set(self, change_set_name, stack_name=None):
    """moto executes a change set without creating outputs and tags. Here, one that creates a stack does both."""
    change_set = self.describe_change_set(change_set_name)
    if change_set.change_set_type != "CREATE":
        return update(self, change_set_name, stack_name)
    del self.stacks[change_set.stack_id]
    stack = self.create_stack(
        name=change_set.stack_name, template=change_set.template, parameters=change_set.parameters, tags=change_set.tags
    )
    del self.stacks[stack.stack_id]
    stack.stack_id = change_set.stack_id
    self.stacks[stack.stack_id] = stack
    change_set.execution_status = "EXECUTE_COMPLETE"


CloudFormationBackend.execute_change_set = execute_change_set

# The properties that CloudFormation passed to each resource's service.
resolved = {}
parse = parsing.parse_resource_and_generate_name


def recording(logical_id, resource, resources):
    parsed = parse(logical_id, resource, resources)
    assert parsed, f"{resource['Type']} must be supported by moto or by {__file__}"
    # moto's models modify them.
    properties = parsed[1]["Properties"]
    # Moves it to the end: the last one is the one being created.
    resolved.pop(logical_id, None)
    resolved[logical_id] = deepcopy(properties)
    if resource["Type"] == "AWS::Events::Archive":
        # moto's archive expects a string where CloudFormation has an object.
        properties["EventPattern"] = json.dumps(properties["EventPattern"])
    return parsed


parsing.parse_resource_and_generate_name = recording

load_conditions = parsing.ResourceMap.load_conditions


def load_conditions_of_partition(self):
    """In moto, the partition is aws in every region."""
    self._parsed_resources["AWS::Partition"] = get_partition(self._region_name)
    load_conditions(self)


parsing.ResourceMap.load_conditions = load_conditions_of_partition


class Created:
    """A resource that moto's services support but its CloudFormation does not."""

    def __init__(self, name, attributes):
        self.physical_resource_id, self.attributes = name, attributes

    def get_cfn_attribute(self, attribute):
        return self.attributes[attribute]

    @staticmethod
    def cloudformation_name_type():
        return ""

    @classmethod
    def cloudformation_type(cls):
        return cls.kind

    @classmethod
    def create_from_cloudformation_json(cls, name, resource, account_id, region, **_):
        if (account_id, region) == (ACCOUNT, boto3.client("sts").meta.region_name):
            return cls(name, cls.create(name, resource["Properties"]) or {})
        with account(account_id, region):
            return cls(name, cls.create(name, resource["Properties"]) or {})


# moto finds subclasses, which Python would otherwise forget.
kinds = []


def creates(kind):
    """Makes a function create the resources of a type, by the service's own API call, so that the SDK validates the
    properties. It returns the resource's attributes, if there are any."""

    def register(create):
        kinds.append(type(create.__name__, (Created, CloudFormationModel), {"kind": kind, "create": staticmethod(create)}))
        return create

    return register


@creates("AWS::SQS::QueuePolicy")
def queue_policy(name, properties):
    for queue in properties["Queues"]:
        policy = json.dumps(properties["PolicyDocument"])
        boto3.client("sqs").set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})


@creates("AWS::S3::BucketPolicy")
def bucket_policy(name, properties):
    """The policy of the bucket that `sam deploy` creates for the code. It requires TLS, which is not used here."""


# In moto, !Ref of an event bus is no name.
EventBus.physical_resource_id = property(lambda bus: bus.name)


@creates("AWS::Events::EventBusPolicy")
def event_bus_policy(name, properties):
    policy = json.dumps({"Version": "2012-10-17", "Statement": [properties["Statement"]]})
    boto3.client("events").put_permission(EventBusName=properties["EventBusName"], Policy=policy)


@creates("AWS::Logs::DeliverySource")
def delivery_source(name, properties):
    """moto's CloudWatch Logs does not know the logs of an event bus."""


@creates("AWS::Logs::DeliveryDestination")
def delivery_destination(name, properties):
    created = boto3.client("logs").put_delivery_destination(
        name=properties["Name"],
        deliveryDestinationConfiguration={"destinationResourceArn": properties["DestinationResourceArn"]},
    )
    return {"Arn": created["deliveryDestination"]["arn"]}


@creates("AWS::Logs::Delivery")
def delivery(name, properties):
    """Without a source, moto has no delivery."""


@creates("AWS::Lambda::EventInvokeConfig")
def event_invoke_config(name, properties):
    # moto does not accept a qualifier here.
    properties = {key: value for key, value in properties.items() if key != "Qualifier"}
    boto3.client("lambda").put_function_event_invoke_config(**properties)


@creates("AWS::Logs::MetricFilter")
def metric_filter(name, properties):
    [metric] = properties["MetricTransformations"]
    metric = {key[0].lower() + key[1:]: value for key, value in metric.items()}
    if "dimensions" in metric:
        metric["dimensions"] = {dimension["Key"]: dimension["Value"] for dimension in metric["dimensions"]}
    boto3.client("logs").put_metric_filter(
        filterName=name, logGroupName=properties["LogGroupName"], filterPattern=properties["FilterPattern"],
        metricTransformations=[metric],
    )


@creates("AWS::CloudWatch::Alarm")
def alarm(name, properties):
    properties = {**properties, "Threshold": float(properties["Threshold"])}
    boto3.client("cloudwatch").put_metric_alarm(AlarmName=name, **properties)
    return {"Arn": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{name}"}


@creates("AWS::Scheduler::Schedule")
def schedule(name, properties):
    boto3.client("scheduler").create_schedule(Name=name, **properties)


create_table = Table.create_from_cloudformation_json.__func__


def create_whole_table(cls, name, resource, *arguments, **more):
    """moto omits the settings that are made after creation."""
    table = create_table(cls, name, resource, *arguments, **more)
    client, properties = boto3.client("dynamodb"), resource["Properties"]
    client.update_time_to_live(TableName=name, TimeToLiveSpecification=properties["TimeToLiveSpecification"])
    client.update_continuous_backups(
        TableName=name, PointInTimeRecoverySpecification=properties["PointInTimeRecoverySpecification"]
    )
    return table


Table.create_from_cloudformation_json = classmethod(create_whole_table)

create_function = LambdaFunction.create_from_cloudformation_json.__func__


def create_function_for_its_architecture(cls, name, resource, *arguments, **more):
    """moto's functions are all of x86_64."""
    function = create_function(cls, name, resource, *arguments, **more)
    function.architectures = resource["Properties"]["Architectures"]
    return function


LambdaFunction.create_from_cloudformation_json = classmethod(create_function_for_its_architecture)
