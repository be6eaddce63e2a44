"""The commands of docs/organization.md on StackSets, `make spokes`, and their policies.

moto checks the commands' parameters and keeps the StackSets and their lists. The templates are not deployed: that is
test_organization.py's."""

import json
import re
import shlex

import boto3
import jmespath
import pytest
from botocore import xform_name
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from moto.cloudformation.models import CloudFormationBackend, StackInstance
from moto.cloudformation.models import Stack as MotoStack
from samcli.yamlhelper import yaml_parse

from .aws import ACCOUNT, PROJECT, REGION
from .iam import allows
from .ops import TASKS, ops

PAGE = (PROJECT / "docs/organization.md").read_text()


def template(name):
    return yaml_parse((PROJECT / name).read_text())


def policy(name):
    return json.loads((PROJECT / f"ops/policies/{name}.json").read_text())


def actions(document):
    return {action for statement in document["Statement"] for action in statement["Action"]}


def test_the_templates_have_the_versions_of_the_project():
    version = template("template.yaml")["Metadata"]["Version"]
    for name in ("hub", "spoke", "reconciler"):
        found = template(f"organization/{name}.yaml")
        assert found["Outputs"]["Version"]["Value"] == version
        described = [each["Properties"].get("Description", "") for each in found["Resources"].values()]
        assert [text for text in described if "; version" in text and not text.endswith(f"; version {version}")] == []


def options(words):
    """The options of a command line of the AWS CLI."""
    found = {}
    for word in words:
        if word.startswith("--"):
            found[word[2:]] = []
        elif found:
            found[list(found)[-1]].append(word)
    return found


def parsed(shape, words):
    """An option's values, some of them in the AWS CLI's shorthand."""
    if shape.type_name == "list":
        return [parsed(shape.member, [word]) for word in words]
    [word] = words
    if word.startswith("{"):
        return json.loads(word)
    if shape.type_name == "structure":
        fields = dict(field.split("=", 1) for field in word.split(","))
        return {name: parsed(shape.members[name], [value]) for name, value in fields.items()}
    if shape.type_name == "boolean":
        return {"true": True, "false": False}[word]
    if shape.type_name == "integer":
        return int(word)
    return (PROJECT / word[7:]).read_text() if word.startswith("file://") else word


def call(command):
    """Runs a command of the AWS CLI, by the SDK's call of the same operation, which validates its parameters."""
    _, service, operation, *words = shlex.split(command)
    client, method, given = boto3.client(service), operation.replace("-", "_"), {}
    shape = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[method]).input_shape
    names = {xform_name(name, "-"): name for name in shape.members}
    asked = options(words)
    query, _ = (asked.pop(option, ["@"]) for option in ("query", "output"))
    for option, values in asked.items():
        name = names.get(option) or names[option.removeprefix("no-")]
        given[name] = parsed(shape.members[name], values) if values else option in names
    return jmespath.search(query[0], getattr(client, method)(**given))


def on_stack_sets():
    """The page's commands, in its order."""
    commands = re.findall(r"(?m)^\$ (aws cloudformation [a-z]+-stack-(?:set|instances) .*)$", PAGE.replace("\\\n", " "))
    assert len(commands) == 11
    return commands


@pytest.fixture
def unit(aws, monkeypatch):
    """An organizational unit, and its two accounts."""
    client = boto3.client("organizations")
    client.create_organization(FeatureSet="ALL")
    [root] = client.list_roots()["Roots"]
    unit = client.create_organizational_unit(ParentId=root["Id"], Name="all")["OrganizationalUnit"]["Id"]
    accounts = []
    for name in ("one", "two"):
        status = client.create_account(Email=f"{name}@example.com", AccountName=name)["CreateAccountStatus"]
        client.move_account(AccountId=status["AccountId"], SourceParentId=root["Id"], DestinationParentId=unit)
        accounts.append(status["AccountId"])
    # moto has no resources for all of the templates, and its StackSets delete nothing by organizational unit.
    for method in ("create_resources", "delete"):
        monkeypatch.setattr(MotoStack, method, lambda _: None)
    delete = CloudFormationBackend.delete_stack_instances
    monkeypatch.setattr(CloudFormationBackend, "delete_stack_instances", lambda self, name, given, regions: delete(
        self, name, given or accounts, regions))
    return unit, accounts


def test_the_documented_stack_sets_are_created_updated_listed_and_deleted(aws, unit, monkeypatch):
    unit, accounts = unit
    version = template("organization/spoke.yaml")["Outputs"]["Version"]["Value"]
    places = sorted(f"{account}/{region}" for account in accounts for region in ("eu-west-1", "us-east-1"))

    def run(command):
        call(command.replace("ou-abcd-11112222", unit).replace("111122223333", accounts[0]))

    def spokes():
        code, lines, errors = ops("spokes.py", **aws.environment())
        assert errors == []
        return code, lines

    def parameters(name):
        found = boto3.client("cloudformation").describe_stack_set(StackSetName=f"ecs-state-recorder-{name}")["StackSet"]
        return {each["ParameterKey"]: each["ParameterValue"] for each in found["Parameters"]}

    missing = [f"ecs-state-recorder-{name}: there is no such StackSet in eu-west-1" for name in ("spoke", "reconciler")]
    assert spokes() == (1, missing)
    creations, updates, deletions = on_stack_sets()[:4], on_stack_sets()[4:7], on_stack_sets()[7:]
    for command in creations[:2]:
        run(command)
    all_spokes = [f"{place}: ecs-state-recorder-spoke {version}" for place in places]
    assert spokes() == (0, [missing[1], *all_spokes])
    for command in creations[2:]:
        run(command)
    code, lines = spokes()
    assert (code, lines[:4]) == (0, all_spokes)
    assert lines[4:] == [f"{place}: ecs-state-recorder-reconciler {version}, 0.2.0/reconciler.zip" for place in places]

    before = {name: parameters(name) for name in ("spoke", "reconciler")}
    for command in updates:
        run(command)
    assert parameters("spoke") == before["spoke"]
    assert parameters("reconciler") == before["reconciler"] | {"CodeKey": "0.3.0/reconciler.zip"}

    # moto's stacks are always as their StackSet.
    described = StackInstance.to_dict
    monkeypatch.setattr(StackInstance, "to_dict", lambda self: described(self) | (
        {"Status": "OUTDATED", "StatusReason": "no queue", "StackInstanceStatus": {"DetailedStatus": "FAILED"}}
        if self.region_name == "us-east-1" and self.account_id == accounts[0] else {}))
    code, lines = spokes()
    behind = [line for line in lines if "not yet" in line]
    assert code == 1 and len(lines) == 8 and behind == [
        f"{accounts[0]}/us-east-1: ecs-state-recorder-{name} not yet {version}: OUTDATED, FAILED, no queue"
        for name in ("spoke", "reconciler")]

    # Not before its stacks.
    with pytest.raises(boto3.client("cloudformation").exceptions.StackSetNotEmptyException):
        run(deletions[1])
    for command in deletions:
        run(command)
    assert spokes() == (1, missing)


@pytest.mark.parametrize("name", ["spoke", "reconciler"])
def test_the_documented_stack_sets_have_every_parameter_and_the_capability_that_they_need(name):
    found = template(f"organization/{name}.yaml")
    required = {key for key, parameter in found["Parameters"].items() if "Default" not in parameter}
    # A role with a name of our choice needs the other capability.
    has_named_role = any("RoleName" in each.get("Properties", {}) for each in found["Resources"].values())
    for command in on_stack_sets():
        given = options(shlex.split(command))
        if name in command and "parameters" in given:
            # Without the topic, a broken spoke alarms nobody.
            parameters = [dict(part.split("=") for part in parameter.split(",")) for parameter in given["parameters"]]
            assert {parameter["ParameterKey"] for parameter in parameters} == required | {"AlarmTopic"}
            for parameter in parameters:
                pattern = found["Parameters"][parameter["ParameterKey"]].get("AllowedPattern", r"\d+|true|false")
                assert re.fullmatch(pattern, parameter.get("ParameterValue", "")) or "UsePreviousValue" in parameter
            assert given["capabilities"] == ["CAPABILITY_NAMED_IAM" if has_named_role else "CAPABILITY_IAM"]


def test_the_policy_for_stack_sets_allows_the_documented_commands_on_these_stack_sets_and_no_others():
    document = policy("stacksets")
    commands = {command.split()[2] for command in on_stack_sets()}
    # What `make spokes` calls.
    commands |= {"describe-stack-set", "list-stack-instances"}
    assert {xform_name(action.split(":")[1], "-") for action in actions(document)} == commands
    for action in actions(document) - {"cloudformation:CreateStackSet"}:
        ours, other = (f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stackset/{name}:1a2b" for name in ("ecs-state-recorder-spoke", "other"))
        assert allows(document, "", action, ours) and not allows(document, "", action, other)


def test_the_rows_that_a_removed_spoke_leaves_are_found_and_no_others(aws):
    aws.deploy("recorder")
    ours, stopped, theirs = (
        {"taskArn": {"S": f"arn:aws:ecs:us-east-1:{owner}:task/demo/{number}"}}
        for number, owner in enumerate(("111122223333", "111122223333", ACCOUNT)))
    for row in (ours, stopped | {"expires_at": {"N": "1"}}, theirs):
        boto3.client("dynamodb").put_item(TableName=TASKS, Item=row)
    [scan, delete] = re.findall(r"(?m)(?:\$\(|^    )(aws dynamodb .*?)(?:\); do)?$", PAGE.replace("\\\n", " "))
    for arn in call(scan):
        call(delete.replace("$arn", arn))
    left = boto3.client("dynamodb").scan(TableName=TASKS)["Items"]
    assert sorted(row["taskArn"]["S"] for row in left) == sorted(row["taskArn"]["S"] for row in (stopped, theirs))


# Of these handlers, what the hub does not use: managed policies, other log sources, and the protection, indexes, keys and
# vended deliveries of log groups.
UNUSED = {
    "iam:AttachRolePolicy", "iam:DetachRolePolicy", "logs:AllowVendedLogDeliveryForResource", "logs:AssociateKmsKey",
    "logs:CreateLogDelivery", "logs:DeleteDataProtectionPolicy", "logs:DeleteIndexPolicy", "logs:DisassociateKmsKey",
    "logs:PutBearerTokenAuthentication", "logs:PutDataProtectionPolicy", "logs:PutIndexPolicy",
    "logs:PutLogGroupDeletionProtection",
}


def test_whoever_deploys_the_hub_may_do_what_cloudformations_handlers_of_its_resources_do_and_no_more():
    needed = {"events:AllowVendedLogDeliveryForResource"}
    for kind in {resource["Type"] for resource in template("organization/hub.yaml")["Resources"].values()}:
        handlers = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema["handlers"]
        needed |= {action for name, handler in handlers.items() if name != "list" for action in handler["permissions"]}
    needed = {action for action in needed - UNUSED if action.split(":")[0] in ("events", "iam", "logs")}
    granted, base = actions(policy("hub")), actions(policy("deploy"))
    assert needed - granted - base == set()
    assert {action for action in granted - needed if not action.startswith("cloudformation:")} == set()
