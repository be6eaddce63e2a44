"""A built function under a Runtime API, behind Lambda's Invoke API."""

import json
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from tempfile import TemporaryFile

from .aws import ENVIRONMENT, PROJECT

# Longer than any invocation takes.
DEADLINE_SECONDS = 30


def binary():
    """RECORDER_BINARY, or what `cargo build` or `cargo test` has built."""
    target = os.environ.get("CARGO_TARGET_DIR", PROJECT / "target")
    return os.environ.get("RECORDER_BINARY", f"{target}/debug/ecs-state-recorder")


def reconciler():
    """RECONCILER_BINARY, or the one beside the recorder."""
    return os.environ.get("RECONCILER_BINARY", str(Path(binary()).with_name("ecs-state-reconciler")))


class Function:
    """One instance of a function, by default the recorder. It serves until stopped."""

    def __init__(self, environment, program=None):
        self.events, self.answers = Queue(), Queue()
        # The HTTP status codes with which the next asynchronous invocations are refused; 0 accepts one.
        self.refusals = []
        self.output = TemporaryFile("w+")
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        address = "127.0.0.1:{}".format(self.server.server_port)
        self.url = f"http://{address}"
        self.process = subprocess.Popen(
            [program or binary()],
            env={**ENVIRONMENT, "AWS_LAMBDA_FUNCTION_NAME": "recorder", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
                 "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST", "AWS_LAMBDA_LOG_FORMAT": "JSON",
                 "AWS_LAMBDA_RUNTIME_API": address, **environment},
            stdout=self.output,
        )

    def invoke(self, event):
        """The function's answer or error."""
        self.events.put(event)
        return self.answers.get(timeout=DEADLINE_SECONDS)

    def log(self):
        """The log lines so far. An invocation's line is written before its answer is returned."""
        self.output.seek(0)
        return [json.loads(line) for line in self.output]

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.server.shutdown()


def handler(function):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            # The function asks for its next event.
            event = function.events.get()
            self.answer(200, event, {
                "lambda-runtime-aws-request-id": "request",
                "lambda-runtime-deadline-ms": "9999999999999",
                "lambda-runtime-invoked-function-arn": "arn:aws:lambda:eu-west-1:123456789012:function:recorder",
            })

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            if "/runtime/invocation/" in self.path:
                function.answers.put(json.loads(body))
                self.answer(202)
            elif self.headers.get("x-amz-invocation-type") == "Event":
                refusal = function.refusals.pop(0) if function.refusals else 0
                if refusal:
                    self.answer(refusal, b'{"message": "refused"}', {"x-amzn-errortype": "TooManyRequestsException"})
                else:
                    function.events.put(body)
                    self.answer(202)
            else:
                answer = function.invoke(body)
                error = {"x-amz-function-error": "Unhandled"} if "errorType" in answer else {}
                self.answer(200, json.dumps(answer).encode(), error)

        def answer(self, status, body=b"", headers={}):
            self.send_response(status)
            for name, value in {"content-type": "application/json", "content-length": len(body), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler
