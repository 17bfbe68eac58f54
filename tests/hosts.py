"""HTTP servers on loopback that stand for the hosts of a list of recordings, sound or faulty."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """A request handler that looks up its answer by the requested path."""

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
        """Send content, with a Content-Length that may differ from its true length."""
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
    """A running HTTP server, its answers, and the requests that it received.

    Attributes:
        url: URL of the server, without a slash at the end.
        answers: Answers by path: content, a status, the target of a redirect, or a function.
        requests: Method, path with query, and headers of each request.
        closed: Set when the server stops.
    """

    url: str = ""
    answers: dict[str, bytes | int | str | Answer] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)

    def request_headers(self, path: str) -> list[dict[str, str]]:
        return [
            headers
            for _, requested, headers in self.requests
            if requested.partition("?")[0] == path
        ]


@contextlib.contextmanager
def run_host(answers: dict | None = None, address: str = "127.0.0.1") -> Iterator[Host]:
    """Run a server until the block ends."""
    host = Host(answers=dict(answers or {}))
    handler = type("HandlerOfHost", (Handler,), {"host": host})
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
    """Return the URL of a port on which no process listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def overstate_length(content: bytes) -> Answer:
    """Return an answer that declares more bytes than it sends."""
    return lambda handler: handler.reply(content, length=len(content) + 1000)


def understate_length(content: bytes) -> Answer:
    """Return an answer that declares half of the bytes that it sends."""
    return lambda handler: handler.reply(content, length=len(content) // 2)


def drip(content: bytes, every_s: float = 0.05) -> Answer:
    """Return an answer that sends one byte every `every_s` seconds."""

    def answer(handler: Handler) -> None:
        handler.reply(b"", length=len(content))
        for byte in content if handler.command == "GET" else b"":
            if handler.host.closed.is_set():
                return
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(every_s)

    return answer
