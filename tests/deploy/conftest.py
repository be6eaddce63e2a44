import signal

import boto3
import pytest

from .aws import Aws
from .function import Function

# A shell that starts the tests in the background makes them ignore Ctrl-C, and with them every program they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def aws():
    """An empty AWS."""
    aws = Aws()
    yield aws
    aws.stop()


@pytest.fixture
def stack(aws):
    """The stack with default parameters."""
    return aws.deploy("recorder")


@pytest.fixture
def function(aws, stack):
    """The built function, with the environment that the template gives it."""
    configuration = boto3.client("lambda").get_function_configuration(FunctionName=stack.outputs["RecorderName"])
    variables = {name: str(value) for name, value in configuration["Environment"]["Variables"].items()}
    function = Function({"AWS_ENDPOINT_URL": aws.url, **variables})
    yield function
    function.stop()


@pytest.fixture
def environment(aws, function):
    """The environment of a command that uses this AWS, with the built function as its Lambda."""
    return aws.environment(AWS_ENDPOINT_URL_LAMBDA=function.url)
