"""MiniStack, an AWS that runs functions: one process on a free loopback port, with folders of its own."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

PROJECT = Path(__file__).parents[1]
PROGRAM = [PROJECT / ".tools/emulator/bin/python", Path(__file__).with_name("launch.py")]
REGION, ACCOUNT = "eu-west-1", "123456789012"
# Of the account's root user.
KEYS = {"AWS_ACCESS_KEY_ID": "emulator", "AWS_SECRET_ACCESS_KEY": "emulator"}
READY_SECONDS, END_SECONDS = 60, 10


class MiniStack:
    """An empty AWS. It serves until stopped."""

    def __init__(self, **more):
        self.folder = Path(tempfile.mkdtemp(prefix="ecs-state-emulator-"))
        self.log = self.folder / "ministack.log"
        for name in ("state", "tmp"):
            (self.folder / name).mkdir()
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        # Clients of AWS: without the user's own configuration, and never AWS itself.
        self.environment = {
            **KEYS, "AWS_ENDPOINT_URL": self.url, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        settings = {
            "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "STATE_DIR": str(self.folder / "state"),
            "TMPDIR": str(self.folder / "tmp"), "MINISTACK_REGION": REGION, "MINISTACK_ACCOUNT_ID": ACCOUNT,
            # Policies are enforced: each function has the permissions of its role.
            "AUTH": "true",
            # The functions inherit it; Lambda sets it because of the template's LogFormat.
            "AWS_LAMBDA_LOG_FORMAT": "JSON", **more,
        }
        # A process group of its own: the functions are its processes, and outlive it.
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                PROGRAM, env={"PATH": os.environ["PATH"], **self.environment, **settings}, stdin=subprocess.PIPE,
                stdout=log, stderr=log, start_new_session=True,
            )
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def wait_until_ready(self):
        deadline = time.monotonic() + READY_SECONDS
        while True:
            with suppress(OSError), urlopen(f"{self.url}/_ministack/health", timeout=READY_SECONDS):
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"MiniStack does not answer at {self.url}:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self):
        """Ends the process and the functions that it runs, and removes its folders."""
        deadline = time.monotonic() + END_SECONDS
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
            while time.monotonic() < deadline:
                self.process.poll()
                os.killpg(self.process.pid, 0)
                time.sleep(0.05)
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.stdin.close()
        self.process.wait()
        shutil.rmtree(self.folder)
