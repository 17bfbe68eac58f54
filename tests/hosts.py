"""HTTP servers on loopback that answer as hosts of a list of recordings do, well and badly."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers by the path that is asked for."""

    host: "Host"
    timeout = 30

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.host.requests.append((self.command, self.path, dict(self.headers.items())))
        with contextlib.suppress(OSError):
            answer = self.host.answers.get(path)
            if answer is None:
                self.send_error(404)
            elif isinstance(answer, bytes):
                self.reply(answer)
            elif isinstance(answer, int):
                self.send_error(answer)
            elif isinstance(answer, str):
                self.reply(b"", status=302, Location=answer)
            else:
                answer(self)

    do_HEAD = do_GET  # noqa: N815

    def reply(self, content: bytes, length: int | None = None, status: int = 200, **more) -> None:
        """Send content, perhaps with another length than it has."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        for name, value in more.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Host:
    """A server, and what it was asked.

    Attributes:
        url: its URL, without a slash at the end.
        answers: by path: content, a status, where it redirects to, or what answers.
        asked: method, path with query, and headers of each request.
    """

    url: str = ""
    answers: dict[str, bytes | int | str | Answer] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)

    def request_headers(self, path: str) -> list[dict[str, str]]:
        return [headers for _, asked, headers in self.requests if asked.partition("?")[0] == path]


@contextlib.contextmanager
def run_host(answers: dict | None = None, address: str = "127.0.0.1") -> Iterator[Host]:
    """A server for the length of the block."""
    host = Host(answers=dict(answers or {}))
    handler = type("OfHost", (Handler,), {"host": host})
    with ThreadingHTTPServer((address, 0), handler) as server:
        server.daemon_threads = True
        host.url = f"http://{address}:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield host
        finally:
            host.closed.set()
            server.shutdown()
            thread.join()


def closed_port_url() -> str:
    """URL of a port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def overstate_length(content: bytes) -> Answer:
    """Says that more is to come than comes."""
    return lambda handler: handler.reply(content, length=len(content) + 1000)


def understate_length(content: bytes) -> Answer:
    """Says that half of it is all."""
    return lambda handler: handler.reply(content, length=len(content) // 2)


def drip(content: bytes, every_s: float = 0.05) -> Answer:
    """Sends a byte now and then."""

    def answer(handler: Handler) -> None:
        handler.reply(b"", length=len(content))
        for byte in content if handler.command == "GET" else b"":
            if handler.host.closed.is_set():
                return
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(every_s)

    return answer
