"""A proxy in front of a tracking server, which counts what passes and can break it.

with Proxy("http://127.0.0.1:5000") as proxy:
    proxy.rule = lambda method, path: LOSE if path.endswith("/runs/create") else None
    proxy.url, proxy.seen
"""

import contextlib
import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlparse

LOSE = "lose"  # the server does it, and its answer gets lost
EMPTY = "empty"  # the server does it, and its answer says nothing
HANG = "hang"  # no answer, until the proxy is closed
DROP = "drop"  # the connection breaks before the server hears of it

Rule = Callable[[str, str], str | int | None]
"""(method, path) → one of these, an HTTP status to answer with, or None to let it pass."""


class Proxy:
    def __init__(self, upstream: str, port: int = 0) -> None:
        self.upstream = urlparse(upstream).netloc
        self.rule: Rule = lambda method, path: None
        self.seen: list[tuple[str, str]] = []
        self.over = threading.Event()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                with contextlib.suppress(ConnectionError):
                    super().handle_one_request()

            def do_GET(self) -> None:
                proxy.pass_on(self)

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.http.daemon_threads = True
        self.http.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that did not wait
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def pass_on(self, handler: BaseHTTPRequestHandler) -> None:
        method, path = handler.command, handler.path.partition("?")[0]
        self.seen.append((method, path))
        body = _body(handler)
        done = DROP if self.over.is_set() else self.rule(method, path)  # also on a connection that is kept
        if done == HANG:
            self.over.wait(120)
        if done in (HANG, DROP):
            handler.close_connection = True
            handler.connection.close()
            return
        if isinstance(done, int):
            _answer(handler, done, [], b"")
            return
        try:
            status, headers, data = self._ask(handler, body)
        except OSError:  # the server is gone
            done = LOSE
        if done == LOSE:
            handler.close_connection = True
            handler.connection.close()
            return
        if done == EMPTY:
            status, headers, data = 200, [], b"{}"
        _answer(handler, status, headers, data)

    def _ask(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.upstream, timeout=120)
        headers = {key: value for key, value in handler.headers.items() if key.lower() not in HOP}
        connection.request(handler.command, handler.path, body, headers | {"Content-Length": str(len(body))})
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, [(key, value) for key, value in answer.getheaders() if key.lower() not in HOP], data

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """From now on nobody listens there."""
        self.over.set()
        self.http.shutdown()
        self.http.server_close()


HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}  # of one connection alone


def _body(handler: BaseHTTPRequestHandler) -> bytes:
    if "chunked" not in handler.headers.get("Transfer-Encoding", ""):
        return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    parts = []
    while size := int(handler.rfile.readline().split(b";")[0], 16):
        parts.append(handler.rfile.read(size))
        handler.rfile.readline()
    handler.rfile.readline()
    return b"".join(parts)


def _answer(handler: BaseHTTPRequestHandler, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
    handler.send_response_only(status)
    for key, value in headers:
        handler.send_header(key, value)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)
