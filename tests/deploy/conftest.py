import signal

import pytest

from .aws import Aws

# A shell that starts the tests in the background makes them ignore Ctrl-C, and with them every program they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def aws():
    """An empty AWS."""
    aws = Aws()
    yield aws
    aws.stop()
