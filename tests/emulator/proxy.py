"""A proxy in front of MiniStack that sees each call to AWS, and can answer in its place."""

import json
import re
import threading
from datetime import datetime, timedelta, timezone
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

import boto3

# Of Lambda's REST API, by method and the end of the path.
LAMBDA = {
    ("POST", "invocations"): "Invoke", ("GET", "policy"): "GetPolicy",
    ("GET", "configuration"): "GetFunctionConfiguration",
    ("GET", "event-invoke-config"): "GetFunctionEventInvokeConfig",
    ("GET", "event-source-mappings"): "ListEventSourceMappings",
}


class Call:
    def __init__(self, handler, url):
        # Behind the proxy.
        self.url = url
        self.method, self.path = handler.command, urlparse(handler.path).path
        self.headers = dict(handler.headers)
        self.body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        text = self.body.decode(errors="replace")
        # Of the signature.
        self.key, _, _, self.service, _ = re.search(r"Credential=([^,]+)", self.headers["Authorization"])[1].split("/")
        query = {name: values[0] for name, values in parse_qs(text).items()}
        self.given = json.loads(text) if text.startswith("{") else query
        target = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        if self.service == "s3":
            # An object, or its bucket.
            target = {"PUT": "PutObject"}.get(self.method, "GetObject") if self.path.count("/") > 1 else "ListBucket"
        self.operation = target or self.given.get("Action") or LAMBDA.get((self.method, self.path.split("/")[-1])) or (
            self.path.split("/operation/")[-1])

    def encode(self, answer):
        if "Action" not in self.given:
            return json.dumps(answer).encode()
        # A service with answers in XML. Only errors are played.
        error = f"<Code>{answer['__type']}</Code><Message>{answer['message']}</Message>"
        return f"<ErrorResponse><Error>{error}</Error></ErrorResponse>".encode()


class Proxy:
    """It serves while entered. `answer` returns what to send instead: a status, a JSON object, and headers if any."""

    def __init__(self, url, answer):
        upstream = urlparse(url).netloc

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                call = Call(self, url)
                if instead := answer(call):
                    status, body, *more = instead
                    body, headers = call.encode(body), [*more[0].items()] if more else []
                else:
                    connection = HTTPConnection(upstream, timeout=100)
                    # With its own host, which is signed.
                    connection.request(self.command, self.path, call.body, call.headers)
                    answered = connection.getresponse()
                    status, body, headers = answered.status, answered.read(), answered.getheaders()
                    connection.close()
                self.send_response(status)
                for name, value in headers:
                    if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                        self.send_header(name, value)
                self.send_header("content-length", len(body))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_PUT = do_DELETE = do_HEAD = do_GET

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            # All workers of a redrive connect at once.
            request_queue_size = 64

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = "http://127.0.0.1:{}".format(self.server.server_port)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def ago(**time):
    return f"{datetime.now(timezone.utc) - timedelta(**time):%Y-%m-%dT%H:%M:%SZ}"


def older_archive(call, days=30, **more):
    """What EventBridge answers about an archive if that has existed for days."""
    if call.operation != "DescribeArchive":
        return None
    found = boto3.client("events", endpoint_url=call.url).describe_archive(ArchiveName=call.given["ArchiveName"])
    del found["ResponseMetadata"]
    return 200, found | {"CreationTime": (found["CreationTime"] - timedelta(days=days)).timestamp(), **more}
