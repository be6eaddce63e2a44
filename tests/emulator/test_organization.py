"""A spoke's reconciler, in another account and region than the hub's tables. deploy/test_organization.py has the rest."""

import json

import boto3
from samcli.yamlhelper import yaml_parse

import deployment
from deploy.test_organization import ORGANIZATION, documented

from .conftest import PROJECT, used
from .test_chain import row

REGION = "us-east-1"
HUB = yaml_parse((PROJECT / "organization/hub.yaml").read_text())
# Of the hub, the role for the tables.
LACKS = {f"Resources.{name}": None for name in HUB["Resources"] if name != "TableRole"}
# MiniStack knows neither organizations nor leading keys. deploy/test_organization.py evaluates both policies of the role.
TRUST = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": ["sts:AssumeRole", "sts:TagSession"]}
ROLE = "Resources.TableRole.Properties"
LACKS |= {
    f"{ROLE}.AssumeRolePolicyDocument.Statement": [TRUST],
    f"{ROLE}.Policies.reconcile.PolicyDocument.Statement.ReadAndWriteTheAccountsRows.Condition": None,
}
LACKS |= {f"Outputs.{name}": None for name in HUB["Outputs"] if name != "TableRoleArn"}


def test_a_spokes_reconciler_writes_into_the_hubs_table_by_the_role(ministack, deployed, environment):
    hub = deployment.template(json.dumps(HUB), LACKS, code=None)
    status, outputs = deployment.create("hub", hub, OrganizationId=ORGANIZATION, SpokesReconcile="true")
    assert status == "CREATE_COMPLETE"
    key = deployment.CODE["Reconciler"]
    code = boto3.client("s3").get_object(Bucket=deployment.BUCKET, Key=key)["Body"].read()
    spoke = environment | {"AWS_ACCESS_KEY_ID": "111122223333", "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
    with used(spoke):
        boto3.client("s3").create_bucket(Bucket=f"code-{REGION}")
        boto3.client("s3").put_object(Bucket=f"code-{REGION}", Key=key, Body=code)
        template = deployment.template((PROJECT / "organization/reconciler.yaml").read_text(), {}, code=None)
        status, reconciler = deployment.create("spoke", template, **documented("reconciler") | {
            "CodeBucketPrefix": "code", "CodeKey": key, "TableRoleArn": outputs["TableRoleArn"]})
        assert status == "CREATE_COMPLETE"
        ecs = boto3.client("ecs")
        ecs.create_cluster(clusterName="demo")
        ecs.register_task_definition(family="web", containerDefinitions=[{"name": "web", "image": "web", "memory": 128}])
        [task] = ecs.run_task(cluster="demo", taskDefinition="web", overrides={"containerOverrides": [
            {"name": "web", "environment": [{"name": "TOKEN", "value": "hunter2"}]}]})["tasks"]
        answer = json.load(boto3.client("lambda").invoke(
            FunctionName=reconciler["ReconcilerName"], Payload='{"scope": "fleet"}')["Payload"])
    assert (answer.get("stored"), answer.get("failures")) == (1, 0), answer
    found = row(task["taskArn"])
    assert found["clusterArn"] == {"S": f"arn:aws:ecs:{REGION}:111122223333:cluster/demo"}
    # The page's recorder redacts, and so must whatever else writes to its tables.
    assert "TOKEN" in str(found) and "hunter2" not in str(found)
