"""HTTP requests of the page: each is answered or refused, within limits of size and time."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import threading
import time
from collections.abc import Callable
from email.errors import FirstHeaderLineIsContinuationDefect, MissingHeaderBodySeparatorDefect
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from importlib.resources import files
from typing import Any

from scfe_sklearn.explanation.wording import neutral
from scfe_sklearn.inspection.report import read_template, script_policy
from scfe_sklearn.serving.what_if import BadRequest, WhatIf

__all__ = ["HOST", "Handler"]

HOST = "127.0.0.1"
"""Address of the server: this machine only."""

_LONGEST = 1 << 20  # bytes of a question
_SECONDS = 30  # that a request may take to arrive, all of it
_LINGER = 5  # that the rest of a refused request may take
_METHODS = {
    "/": "GET",
    "/api/setup": "GET",
    "/api/person": "POST",
    "/api/answer": "POST",
    "/api/recourse": "POST",
}
_ONCE = ("Host", "Origin", "Content-Length", "Content-Type")  # headers that decide something
_DEFECTS = (FirstHeaderLineIsContinuationDefect, MissingHeaderBodySeparatorDefect)


class Handler(BaseHTTPRequestHandler):
    """A connection. Every response is made here; no file can be requested."""

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # responses always have headers
    server_version, sys_version = "scfe-sklearn", ""
    timeout = _SECONDS
    questions: WhatIf
    lock: threading.Lock
    answered = False

    def setup(self) -> None:
        """Open the streams, the input with a time limit."""
        super().setup()
        self.rfile.close()
        self.clocked = _ClockedReader(self.connection)
        self.rfile = io.BufferedReader(self.clocked)

    def handle_one_request(self) -> None:
        """Answer a request that arrives in time, as a whole."""
        self.clocked.restart(_SECONDS)
        self.answered = False
        self.requestline, self.command, self.request_version = "", "", self.protocol_version
        self.headers = self.MessageClass()
        super().handle_one_request()

    def log_error(self, *_: Any) -> None:
        """Refuse a request that did not arrive in time; the base class calls this for it."""
        if self.clocked.received and not self.answered:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self._send_error(HTTPStatus.REQUEST_TIMEOUT, "The request did not arrive in time.")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse a request that the base class cannot parse."""
        status = HTTPStatus(code)
        self._refuse(status, message or status.phrase)

    def do_GET(self) -> None:
        """Give the page, or what it is set up from."""
        if not self._is_allowed() or not self._has_no_body():
            return
        if self.path == "/":
            page, policy = _page()
            self._send(HTTPStatus.OK, page, "text/html; charset=utf-8", policy)
        else:
            self._answer(lambda: self.questions.setup())

    def do_POST(self) -> None:
        """Answer a question of the page."""
        if not self._is_allowed():
            return
        question = self._question()
        if question is None:
            return
        ask, person, values = self.questions, question.get("person"), question.get("values")
        known: dict[str, Callable[[], Any]] = {
            "/api/person": lambda: ask.person(person),
            "/api/answer": lambda: ask.answer(person, values),
            "/api/recourse": lambda: ask.recourse(person, values),
        }
        self._answer(known[self.path])

    def _is_allowed(self) -> bool:
        """Return whether a request comes from the page itself, and for something that exists."""
        hosts = _hosts(self.connection.getsockname()[1])
        origin = self.headers.get("Origin")
        twice = [name for name in _ONCE if len(self.headers.get_all(name, ())) > 1]
        # Browsers say so of images and scripts of other pages, which have no Origin.
        foreign = self.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site")
        if any(isinstance(defect, _DEFECTS) for defect in self.headers.defects):
            self._refuse(HTTPStatus.BAD_REQUEST, "The headers must be lines of names and values.")
        elif twice:
            self._refuse(HTTPStatus.BAD_REQUEST, f"The '{twice[0]}' header must be there once.")
        elif self.headers.get("Host") not in hosts:
            self._refuse(HTTPStatus.FORBIDDEN, "The 'Host' header must name this server.")
        elif origin is not None and origin not in {f"http://{host}" for host in hosts}:
            self._refuse(HTTPStatus.FORBIDDEN, "The 'Origin' header must name this server.")
        elif foreign and self.path != "/":
            self._refuse(HTTPStatus.FORBIDDEN, "The 'Sec-Fetch-Site' header must be same-origin.")
        elif self.path not in _METHODS:
            self._refuse(HTTPStatus.NOT_FOUND, "There is nothing at this address.")
        elif self.command != _METHODS[self.path]:
            allowed = _METHODS[self.path]
            self._refuse(
                HTTPStatus.METHOD_NOT_ALLOWED, f"The method must be {allowed}.", ("Allow", allowed)
            )
        else:
            return True
        return False

    def _has_no_body(self) -> bool:
        """Return whether nothing follows the headers: a body would be read as another request."""
        if self.headers.get("Content-Length", "0") == "0" and not self._is_encoded():
            return True
        self._refuse(HTTPStatus.BAD_REQUEST, "A GET request must have no body.")
        return False

    def _is_encoded(self) -> bool:
        return self.headers.get("Transfer-Encoding") is not None

    def _question(self) -> dict[str, Any] | None:
        """The object in the body; None if that was refused."""
        if self.headers.get_content_type() != "application/json":
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must be application/json.")
            return None
        length = self.headers.get("Content-Length", "")
        if self._is_encoded() or not (length.isascii() and length.isdigit()):
            self._refuse(
                HTTPStatus.LENGTH_REQUIRED,
                "The 'Content-Length' header must be a number, without 'Transfer-Encoding'.",
            )
            return None
        if len(length) > 9 or int(length) > _LONGEST:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too long.")
            return None
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self._refuse(HTTPStatus.BAD_REQUEST, "The body is shorter than 'Content-Length'.")
            return None
        try:
            question = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
        except (ValueError, RecursionError):
            self._refuse(HTTPStatus.BAD_REQUEST, "The body must be JSON.")
            return None
        if not isinstance(question, dict):
            self._refuse(HTTPStatus.BAD_REQUEST, "The body must be a JSON object.")
            return None
        return question

    def _answer(self, ask: Callable[[], Any]) -> None:
        """Send what a question is answered with; one at a time, as models may not share."""
        try:
            with self.lock:
                text = neutral(json.dumps(ask(), allow_nan=False, ensure_ascii=False))
        except BadRequest as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except Exception as error:  # the page shows it; the server goes on
            message = f"{type(error).__name__}: {error}"
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, message)
        else:
            self._send(HTTPStatus.OK, text, "application/json")

    def _refuse(self, status: HTTPStatus, message: str, *headers: tuple[str, str]) -> None:
        self.close_connection = True
        self._send_error(status, message, *headers)
        self._discard_rest()

    def _send_error(self, status: HTTPStatus, message: str, *headers: tuple[str, str]) -> None:
        self._send(status, json.dumps({"error": message}), "application/json", "", *headers)

    def _discard_rest(self) -> None:
        """Read what else arrives: a connection with unread bytes is reset, not closed."""
        left = 16 * _LONGEST
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.clocked.restart(_LINGER)
            while left > 0 and (part := self.rfile.read1(_LONGEST)):
                left -= len(part)

    def _send(
        self, status: HTTPStatus, text: str, kind: str, policy: str = "", *headers: tuple[str, str]
    ) -> None:
        body = text.encode("utf-8", "replace")
        self.answered = True
        self.connection.settimeout(_SECONDS)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Content-Security-Policy", policy or "default-src 'none'")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        for name, value in headers:
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


class _ClockedReader(io.RawIOBase):
    """Input of a socket with one time limit for all bytes of a request."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._end = 0.0
        self.received = False

    def restart(self, seconds: float) -> None:
        """Begin the time limit again."""
        self._end = time.monotonic() + seconds
        self.received = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        count = self._connection.recv_into(buffer)
        self.received |= count > 0
        return count


def _hosts(port: int) -> set[str]:
    """Names of the server in the headers of a browser, which leaves the port 80 out."""
    names = {f"{HOST}:{port}", f"localhost:{port}"}
    return names | {HOST, "localhost"} if port == 80 else names


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _page() -> tuple[str, str]:
    """The page with its style and script inside, and the policy that goes with it."""
    folder = files("scfe_sklearn.serving").joinpath("templates")
    page, style, script = (
        folder.joinpath(name).read_text("utf-8")
        for name in ("what_if.html", "what_if.css", "what_if.js")
    )
    page = page.replace("/*STYLE*/", read_template("page.css") + style)
    page = page.replace("/*SCRIPT*/", script)
    policy = script_policy(script, connect="'self'") + "; img-src data:; frame-ancestors 'none'"
    return page, policy
