"""An HTTP server that answers as it is told, and remembers what it was asked."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HTML = b"<!DOCTYPE html><html><body>Please log in</body></html>"


@dataclass
class Answer:
    """How to answer one request.

    `length` states another length than the body has (-1: none), `wait` is slept before the body.
    """

    body: bytes = b""
    status: int = 200
    kind: str | None = "application/octet-stream"
    length: int | None = None
    wait: threading.Event | None = None
    ranges: bool = False


@dataclass
class Server:
    """Answers by path; a list gives one answer after the other, the last for ever."""

    url: str = ""
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def says(self, path: str, *answers: Answer) -> str:
        self.answers[path] = list(answers)
        return f"{self.url}{path}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        state = self.server.state
        wanted = self.headers.get("Range")
        state.asked.append((self.path, wanted))
        answers = state.answers.get(self.path, [Answer(b"nothing here", 404, "text/plain")])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        body, status, extra = answer.body, answer.status, {}
        if answer.ranges and wanted:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            status, body = (416, b"") if start >= len(body) else (206, body[start:])
            extra["Content-Range"] = f"bytes {start}-{len(answer.body) - 1}/{len(answer.body)}"
        self.send_response(status)
        if answer.kind:
            self.send_header("Content-Type", answer.kind)
        if answer.length != -1:
            self.send_header("Content-Length", str(len(body) if answer.length is None else answer.length))
        for name, value in extra.items():
            self.send_header(name, value)
        self.end_headers()
        if answer.wait is not None:
            self.wfile.flush()
            answer.wait.wait(5)
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *words):
        pass


@contextmanager
def serving():
    """Serve on a free port of this machine."""
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    httpd.daemon_threads = True
    httpd.state = Server(f"http://127.0.0.1:{httpd.server_port}")
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield httpd.state
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()
