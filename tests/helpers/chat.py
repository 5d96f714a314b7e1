"""A server of completions that can be told how to answer, and to fail."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, bytes] | tuple[int, bytes, dict[str, str]]


def completion(text: str = "42", reason: str | None = "stop", tokens: Any = 3) -> Reply:
    choice = {"index": 0, "text": text, "finish_reason": reason}
    return 200, json.dumps({"choices": [choice], "usage": {"completion_tokens": tokens}}).encode()


class Fake:
    """Answers each request by `reply(body)` and remembers what it was sent."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.reply: Callable[[dict[str, Any]], Reply] = lambda body: completion()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                fake.bodies.append(body)
                fake.headers.append(dict(self.headers))
                status, data, *headers = fake.reply(body)
                if status:  # 0 hangs up
                    self.send_response(status)
                    for name, value in ({"Content-Length": str(len(data))} | dict(*headers)).items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that did not wait
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
