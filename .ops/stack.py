"""The deployed stack, and one clear line for whatever is missing. Run by itself, it checks the credentials, and the
stack where one is named."""

import sys
from contextlib import contextmanager

import boto3
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError


@contextmanager
def one_clear_line():
    """Ends the program with one line on what AWS, or the way to it, didn't allow."""
    try:
        yield
    except NoRegionError:
        sys.exit("error: no AWS region is set: export AWS_DEFAULT_REGION, or AWS_PROFILE with a region")
    except NoCredentialsError:
        sys.exit("error: no AWS credentials are found: sign in (aws login, aws sso login), or export AWS_PROFILE")
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"error: AWS: {error}")


def outputs(name):
    """What the stack made, by the names of template.yaml's Outputs."""
    try:
        [stack] = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        region = boto3.session.Session().region_name
        sys.exit(f"error: there is no stack {name} in {region}: `make deploy` makes it, STACK=… names another one")
    found = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    if "FunctionName" not in found:
        sys.exit(f"error: the stack {name} ({stack['StackStatus']}) is not one of this project's template.yaml")
    return found


if __name__ == "__main__":
    with one_clear_line():
        boto3.client("sts").get_caller_identity()
        for name in sys.argv[1:]:
            outputs(name)
