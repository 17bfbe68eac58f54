"""Object stores on loopback for the tests, and a proxy that makes them fail.

moto simulates S3 and starts in two seconds. The RADOS Gateway is a real S3 server of three
processes: Ceph's monitor, an in-memory OSD, and the gateway.
"""

import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pipeline.io.storage import Storage

KEY, SECRET = "testkey", "very-secret-of-the-tests"
CEPH_PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
START_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class S3Server:
    """An S3 endpoint that accepts the tests' keys."""

    url: str

    @property
    def options(self) -> dict[str, object]:
        return {"key": KEY, "secret": SECRET, "endpoint_url": self.url}

    def storage(self, timeout_s: float = 60.0) -> Storage:
        return Storage(tuple(sorted(self.options.items())), timeout_s)

    def new_bucket(self) -> str:
        """Create a bucket and return its URI."""
        uri = f"s3://b{uuid.uuid4().hex[:12]}"
        self.storage().filesystem(uri).mkdir(uri)
        return uri


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def moto_server(folder: Path) -> Iterator[S3Server]:
    """Run moto's simulation of S3 until the block ends."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    with _process_starter(folder) as start:
        process = start("moto", sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", port)
        _wait(lambda: _answers(url), process, folder)
        yield S3Server(url)


@contextlib.contextmanager
def rados_gateway(folder: Path) -> Iterator[S3Server]:
    """Run Ceph's S3 server, whose objects are in memory, until the block ends."""
    mon, port = f"v2:127.0.0.1:{free_port()}", free_port()
    url = f"http://127.0.0.1:{port}"
    config = folder / "ceph.conf"
    config.write_text(_CEPH_CONFIG.format(folder=folder, mon=mon, port=port, fsid=uuid.uuid4()))
    for name in ("mon", "osd", "rgw"):
        (folder / name).mkdir()
    flags = ("-c", config)

    def ask(program: str, *arguments: object) -> str:
        command = [program, *map(str, (*flags, *arguments))]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=START_TIMEOUT_S
        ).stdout

    with _process_starter(folder) as start:
        monmap = folder / "monmap"
        ask("monmaptool", "--create", "--clobber", "--addv", "a", f"[{mon}]", monmap)
        ask("ceph-mon", "-i", "a", "--mkfs", "--monmap", monmap)
        start("mon", "ceph-mon", *flags, "-i", "a", "-f")
        osd = uuid.uuid4()
        ask("ceph", "osd", "new", osd)  # waits for the monitor
        ask("ceph-osd", "-i", 0, "--mkfs", "--osd-uuid", osd)
        ask("ceph", "osd", "crush", "add", "osd.0", 1, "root=default", "host=here")
        process = start("osd", "ceph-osd", *flags, "-i", 0, "-f")
        _wait(lambda: "1 up" in ask("ceph", "osd", "stat"), process, folder)
        user = ("--uid=tests", "--display-name=tests", f"--access-key={KEY}")
        ask("radosgw-admin", "user", "create", *user, f"--secret-key={SECRET}")
        process = start("gateway", "radosgw", *flags, "-n", "client.rgw", "-f")
        _wait(lambda: _answers(url), process, folder)
        yield S3Server(url)


_CEPH_CONFIG = """
[global]
fsid = {fsid}
mon host = [{mon}]
ms bind msgr1 = false
ms mon client mode = crc
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
run dir = {folder}
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
mon data = {folder}/mon
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 2147483648
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon max pg per osd = 1000
[client.rgw]
rgw data = {folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw thread pool size = 32
rgw run sync thread = false
"""


def missing_ceph_programs() -> list[str]:
    return [name for name in CEPH_PROGRAMS if shutil.which(name) is None]


@contextlib.contextmanager
def _process_starter(folder: Path) -> Iterator:
    """Yield a function that starts processes with logs in a folder; they end with the block."""
    running = []

    def start(name: str, *command: object) -> subprocess.Popen:
        with (folder / f"{name}.out").open("w") as log:
            running.append(
                subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, cwd=folder)
            )
        return running[-1]

    try:
        yield start
    finally:
        for process in reversed(running):
            process.kill()
            process.wait()


def _wait(condition, process: subprocess.Popen, folder: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not condition():
        logs = [log.read_text()[-2000:] for log in folder.glob("*.out")]
        assert process.poll() is None, logs
        assert time.monotonic() < deadline, logs
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


@dataclass
class Fault:
    """A fault of the next `times` requests with a method and with a text in their path.

    Attributes:
        kind: What the proxy does with the request.
            - `unavailable` (503), `broken` (500), `conflict` (409), `denied`, `expired` or
              `code CODE` (403): it replies with an error.
            - `ignore_condition`: it forwards the request without If-None-Match.
            - `lost`: it forwards the request, and closes the connection without a reply.
            - `hang`: it neither forwards the request nor replies, until the proxy is closed.
            - `truncated`: it sends half of the body and closes the connection.
            - `stalled`: it sends half of the body and keeps the connection open.
            - `flipped`: it inverts a bit of the body.
            - `none`: nothing; delays the faults that follow in the list.
        method: HTTP method of the requests.
        part: Text that the requests have in path or query.
        times: Number of requests that get the fault.
        seen: Number of requests that have got it.
    """

    kind: str
    method: str
    part: str
    times: int = 1
    seen: int = 0


@dataclass
class FaultProxy:
    """An HTTP proxy before a server; each request gets the first fault that matches it."""

    upstream: str
    url: str = ""
    faults: list[Fault] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    closed: threading.Event = field(default_factory=threading.Event)

    def take_fault(self, method: str, path: str) -> str:
        with self.lock:
            for fault in self.faults:
                if fault.method == method and fault.part in path and fault.seen < fault.times:
                    fault.seen += 1
                    return fault.kind
        return ""


@contextlib.contextmanager
def fault_proxy(server: S3Server) -> Iterator[FaultProxy]:
    """Run a proxy before a server until the block ends."""
    proxy = FaultProxy(server.url.removeprefix("http://"))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kind = proxy.take_fault(self.command, self.path)
            self.close_connection = True
            if kind in _REPLIES or kind.startswith("code "):
                status, code = _REPLIES.get(kind, (403, kind.removeprefix("code ")))
                content = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
                self._reply(status, [("Content-Type", "application/xml")], content)
                return
            if kind == "hang":
                proxy.closed.wait()
                return
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in ("connection", "expect")
                and not (kind == "ignore_condition" and name.lower() == "if-none-match")
            }
            connection = http.client.HTTPConnection(proxy.upstream, timeout=60)
            with contextlib.closing(connection):
                connection.request(self.command, self.path, body, headers)
                response = connection.getresponse()
                content = response.read()
            if kind == "lost":
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if kind == "flipped":
                content = content[:-1] + bytes([content[-1] ^ 1])
            unwanted = ("transfer-encoding", "connection", "content-length")
            kept = [pair for pair in response.getheaders() if pair[0].lower() not in unwanted]
            length = response.getheader("Content-Length") if self.command == "HEAD" else None
            if kind in ("truncated", "stalled"):
                content, length = content[: len(content) // 2], str(len(content))
            self._reply(response.status, kept, content, length)
            if kind == "stalled":
                proxy.closed.wait()

        def _reply(self, status, headers, content, length=None) -> None:
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", length or str(len(content)))
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        proxy.url = f"http://127.0.0.1:{listener.server_address[1]}"
        thread = threading.Thread(target=listener.serve_forever, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.closed.set()
            listener.shutdown()
            thread.join()


_REPLIES = {
    "unavailable": (503, "SlowDown"),
    "broken": (500, "InternalError"),
    "conflict": (409, "ConditionalRequestConflict"),
    "denied": (403, "AccessDenied"),
    "expired": (403, "ExpiredToken"),
}


def is_ci() -> bool:
    return os.environ.get("CI") == "true"
