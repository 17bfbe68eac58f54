"""A cloud metadata service on loopback, which hands out the keys of a machine's role."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.servers import KEY, SECRET

ROLES = "/latest/meta-data/iam/security-credentials/"


@dataclass
class MetadataService:
    """Settings of a metadata service, and its count of requests.

    Attributes:
        url: URL of the service.
        late_s: Delay of a late answer, in seconds.
        n_late: Number of answers, at the beginning, that are late.
        n_absent: Number of requests after the late ones that get status 503.
        has_role: Whether the machine has a role.
        n_requests: Number of requests so far.
    """

    url: str = ""
    late_s: float = 0.0
    n_late: int = 0
    n_absent: int = 0
    has_role: bool = True
    n_requests: int = 0


@contextlib.contextmanager
def metadata_service(**settings) -> Iterator[MetadataService]:
    """Run a metadata service until the block ends."""
    service = MetadataService(**settings)

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self._reply(b"token-of-the-service")

        def do_GET(self) -> None:
            if not service.has_role:
                self.send_error(404)
            elif self.path == ROLES:
                self._reply(b"role-of-the-tests")
            else:
                keys = {
                    "Code": "Success",
                    "AccessKeyId": KEY,
                    "SecretAccessKey": SECRET,
                    "Token": "token-of-the-role",
                    "Expiration": "2099-01-01T00:00:00Z",
                }
                self._reply(json.dumps(keys).encode())

        def _reply(self, content: bytes) -> None:
            service.n_requests += 1
            if service.n_requests <= service.n_late:
                time.sleep(service.late_s)
            elif service.n_requests <= service.n_late + service.n_absent:
                self.send_error(503)
                return
            with contextlib.suppress(OSError):
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("X-aws-ec2-metadata-token-ttl-seconds", "60")
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        service.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()
