"""What CloudFormation makes of a template: SAM's own translator, then each parameter, condition and function resolved."""

import re
from copy import deepcopy
from pathlib import Path

import boto3
from samcli.yamlhelper import yaml_parse
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

PROJECT = Path(__file__).parents[2]
REGION, ACCOUNT = "eu-west-1", "123456789012"
NO_VALUE = object()
# Each type's property with its own name, and its ARN.
KINDS = {
    "AWS::CloudWatch::Alarm": ("AlarmName", "cloudwatch:{region}:{account}:alarm:{name}"),
    "AWS::CloudWatch::Dashboard": ("DashboardName", ""),
    "AWS::DynamoDB::Table": ("TableName", "dynamodb:{region}:{account}:table/{name}"),
    "AWS::Events::Archive": ("ArchiveName", "events:{region}:{account}:archive/{name}"),
    "AWS::Events::EventBus": ("Name", "events:{region}:{account}:event-bus/{name}"),
    "AWS::Events::Rule": ("Name", "events:{region}:{account}:rule/{bus}{name}"),
    "AWS::IAM::Role": ("RoleName", "iam::{account}:role/{name}"),
    "AWS::Lambda::Function": ("FunctionName", "lambda:{region}:{account}:function:{name}"),
    "AWS::Logs::DeliveryDestination": ("Name", "logs:{region}:{account}:delivery-destination:{name}"),
    "AWS::Logs::DeliverySource": ("Name", "logs:{region}:{account}:delivery-source:{name}"),
    "AWS::Logs::LogGroup": ("LogGroupName", "logs:{region}:{account}:log-group:{name}:*"),
    "AWS::SQS::Queue": ("QueueName", "sqs:{region}:{account}:{name}"),
}


class Stack:
    """template.yaml, or another template, as a stack in an account and region. Nothing is created."""

    def __init__(self, name, path="template.yaml", place=(ACCOUNT, REGION), **parameters):
        self.name, (self.account, self.region) = name, place
        self.template = yaml_parse((PROJECT / path).read_text())
        given = {key: parameter.get("Default") for key, parameter in self.template["Parameters"].items()} | parameters
        self.cloudformation = self.template
        if "Transform" in self.template:
            self.cloudformation = transformed(self.template, given, self.region)
        kinds = {key: parameter["Type"] for key, parameter in self.template["Parameters"].items()}
        self.parameters = {key: typed(kinds[key], value) for key, value in given.items()}
        partitions = {"cn": "aws-cn", "us-gov": "aws-us-gov"}
        partition = next((each for prefix, each in partitions.items() if self.region.startswith(prefix)), "aws")
        self.pseudo = {
            "AWS::AccountId": self.account, "AWS::NoValue": NO_VALUE, "AWS::Partition": partition,
            "AWS::Region": self.region, "AWS::StackName": name,
            "AWS::URLSuffix": "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com",
        }
        # Physical names, types and properties, by the names in the template.
        self.resources = {
            logical: resource for logical, resource in self.cloudformation["Resources"].items() if self.exists(resource)}
        self.types = {logical: resource["Type"] for logical, resource in self.resources.items()}
        self.names = {logical: self.resolve({"Ref": logical}) for logical in self.resources}
        self.properties = {
            logical: self.resolve(resource.get("Properties", {})) for logical, resource in self.resources.items()}
        self.outputs = {
            key: self.resolve(output["Value"]) for key, output in self.template["Outputs"].items() if self.exists(output)}

    def exists(self, resource):
        return "Condition" not in resource or self.condition(resource["Condition"])

    def condition(self, name):
        return self.resolve(self.cloudformation["Conditions"][name])

    def refusals(self):
        """What the template's rules say about the parameters."""
        return [
            assertion["AssertDescription"] for rule in self.template.get("Rules", {}).values()
            if self.resolve(rule["RuleCondition"]) for assertion in rule["Assertions"]
            if not self.resolve(assertion["Assert"])
        ]

    def resolve(self, value):
        if isinstance(value, list):
            return [found for each in value if (found := self.resolve(each)) is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        [(name, given), *more] = [*value.items()] or [("", None)]
        # An IAM policy has conditions, too.
        if not more and (name in FUNCTIONS or name == "Condition" and isinstance(given, str)):
            return FUNCTIONS[name](self, given)
        return {key: found for key, each in value.items() if (found := self.resolve(each)) is not NO_VALUE}

    def ref(self, name):
        known = self.pseudo | self.parameters
        if name in known:
            return known[name]
        physical = self.physical(name)
        if self.types[name] == "AWS::SQS::Queue":
            return f"https://sqs.{self.region}.amazonaws.com/{self.account}/{physical}"
        return physical

    def physical(self, logical):
        own, _ = KINDS.get(self.types[logical], ("", ""))
        given = self.resolve(self.resources[logical].get("Properties", {}).get(own, {"Ref": "AWS::NoValue"}))
        # CloudFormation's are random at the end.
        return f"{self.name}-{logical}-1A2B3C4D5E6F" if given is NO_VALUE else given

    def attribute(self, given):
        logical, attribute = given if isinstance(given, list) else given.split(".")
        if attribute == "QueueName":
            return self.physical(logical)
        arn = KINDS[self.types[logical]][1]
        bus = self.resolve(self.resources[logical]["Properties"].get("EventBusName", "default"))
        arn = arn.format(region=self.region, account=self.account, name=self.physical(logical),
                         bus="" if bus == "default" else f"{bus}/")
        stream = {"Arn": "", "StreamArn": "/stream/2026-03-02T09:17:40.012"}[attribute]
        return f"arn:{self.pseudo['AWS::Partition']}:{arn}{stream}"

    def substitute(self, given):
        text, variables = given if isinstance(given, list) else (given, {})

        def value(found):
            name = found[1]
            if name in variables:
                return str(self.resolve(variables[name]))
            return str(self.attribute(name) if "." in name else self.ref(name))

        return re.sub(r"\$\{!", "${", re.sub(r"\$\{([^!}]+)\}", value, text))


FUNCTIONS = {
    "Condition": lambda stack, name: stack.condition(name),
    "Fn::And": lambda stack, given: all(map(stack.resolve, given)),
    "Fn::Equals": lambda stack, given: len({str(each) for each in stack.resolve(given)}) == 1,
    "Fn::GetAtt": Stack.attribute,
    "Fn::If": lambda stack, given: stack.resolve(given[1 if stack.condition(given[0]) else 2]),
    "Fn::Join": lambda stack, given: given[0].join(map(str, stack.resolve(given[1]))),
    "Fn::Not": lambda stack, given: not stack.resolve(given[0]),
    "Fn::Select": lambda stack, given: stack.resolve(given[1])[int(given[0])],
    "Fn::Split": lambda stack, given: stack.resolve(given[1]).split(given[0]),
    "Fn::Sub": Stack.substitute,
    "Ref": Stack.ref,
}


def typed(kind, value):
    if kind == "Number":
        return int(value)
    if kind == "CommaDelimitedList":
        return [each.strip() for each in value.split(",") if each]
    return str(value)


def transformed(template, values, region):
    """As `sam deploy` does it, with the built functions."""
    template = deepcopy(template)
    for function in ("Recorder", "Reconciler", "Notifier"):
        template["Resources"][function]["Properties"]["CodeUri"] = {"Bucket": "code", "Key": "function.zip"}
    return Translator({}, Parser(), boto_session=boto3.Session(region_name=region)).translate(template, values)
