"""The page over HTTP, for this machine only."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, Self

from scfe_sklearn.explanation.wording import neutral
from scfe_sklearn.inspection.report import read_template, script_policy
from scfe_sklearn.rules import Rules
from scfe_sklearn.serving.what_if import BadRequest, WhatIf

__all__ = ["WhatIfServer", "serve"]

_HOST = "127.0.0.1"
_LONGEST = 1 << 20  # bytes of a question
_SECONDS = 30  # that a question may take to arrive


def serve(
    explainer: Any, X: Any, *, target: Any = None, rules: Rules | None = None, port: int = 0
) -> WhatIfServer:
    """Serve a page on which one moves the features of a person and sees what the model predicts.

    Choose a person, move features, and see the prediction, its probability, how typical the values
    are among the training rows with the target, and the nearest change that would be enough. The
    page lists the rules, and marks values that break one or lie outside of the training data.

    Parameters
    ----------
    explainer : CounterfactualExplainer
        Fitted; its rules hold for the changes that are proposed, from the values that are shown.
    X : DataFrame or array-like of shape (n, d)
        The people to choose from.
    target : label or other target, default=None
        The target, the same for everybody; None for the nearest other one.
    rules : Rules or None, default=None
        Further rules, the same for everybody.
    port : int, default=0
        Port at 127.0.0.1; 0 for any free one.

    Returns
    -------
    WhatIfServer
        It runs in the background: open its `url` in a browser, and `close` it in the end.

    Raises
    ------
    ValueError
        If port, X, target or rules are not as they have to be.
    OSError
        If the port is taken.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from scfe_sklearn import CounterfactualExplainer
    >>> from scfe_sklearn.serving import serve
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> explainer = CounterfactualExplainer(GaussianNB()).fit(X, y)
    >>> with serve(explainer, X, target=1) as server:
    ...     print(server.url)
    http://127.0.0.1:...
    """
    whole = isinstance(port, int) and not isinstance(port, bool)
    if not whole or not 0 <= port < 65536:
        raise ValueError(
            f"The 'port' parameter of serve must be an int in [0, 65536). Got {port!r} instead."
        )
    return WhatIfServer(WhatIf(explainer, X, target, rules), port)


class WhatIfServer:
    """A running server; a context manager that closes it.

    Parameters
    ----------
    questions : WhatIf
        Answers the requests of the page.
    port : int
        Port, 0 for any free one.

    Attributes
    ----------
    url : str
        Address of the page.
    """

    def __init__(self, questions: WhatIf, port: int = 0) -> None:
        handler = type("Handler", (_Handler,), {"questions": questions, "lock": threading.Lock()})
        self._server = _Server((_HOST, port), handler)
        self.port = self._server.server_port
        self.url = f"http://{_HOST}:{self.port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait until the server is closed, or interrupted from the keyboard."""
        while self._thread.is_alive():
            self._thread.join(0.5)

    def close(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    """A thread per connection; none of them keeps the interpreter from ending."""

    daemon_threads = True
    request_queue_size = 1024  # connections that wait; the system resets what is beyond

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a browser that went away."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One request. Every response is made here; no file can be requested."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "scfe-sklearn", ""
    timeout = _SECONDS
    questions: WhatIf
    lock: threading.Lock
    body_read = False

    def parse_request(self) -> bool:
        """Begin another request of the connection."""
        self.body_read = False
        return super().parse_request()

    def do_GET(self) -> None:
        """Give the page, or what it is set up from."""
        if not self._asked_here():
            return
        if self.path == "/":
            page, policy = _page()
            self._send(HTTPStatus.OK, page, "text/html; charset=utf-8", policy)
        elif self.path == "/api/setup":
            self._answer(lambda: self.questions.setup())
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "There is nothing at this address.")

    def do_POST(self) -> None:
        """Answer a question of the page."""
        if not self._asked_here():
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
        if self.path in known:
            self._answer(known[self.path])
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "There is nothing at this address.")

    def _asked_here(self) -> bool:
        """Return whether a request comes from the page itself, not from another page."""
        port = self.connection.getsockname()[1]
        hosts = {f"{_HOST}:{port}", f"localhost:{port}"}
        origin = self.headers.get("Origin")
        if self.headers.get("Host") not in hosts:
            self._refuse(HTTPStatus.FORBIDDEN, "The 'Host' header must name this server.")
            return False
        if origin is not None and origin not in {f"http://{host}" for host in hosts}:
            self._refuse(HTTPStatus.FORBIDDEN, "The 'Origin' header must name this server.")
            return False
        return True

    def _question(self) -> dict[str, Any] | None:
        """The object in the body; None if that was refused."""
        if self.headers.get_content_type() != "application/json":
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must be application/json.")
            return None
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            self._refuse(
                HTTPStatus.LENGTH_REQUIRED, "The 'Content-Length' header must be a number."
            )
            return None
        if len(length) > 9 or int(length) > _LONGEST:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too long.")
            return None
        body = self.rfile.read(int(length))
        self.body_read = True
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

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        self.close_connection = True
        self._send(status, json.dumps({"error": message}), "application/json")
        self._discard_body()

    def _discard_body(self) -> None:
        """Read what is left of a body: a connection with unread bytes is reset, not closed."""
        length = self.headers.get("Content-Length", "")
        left = int(length) if length.isascii() and length.isdigit() and len(length) < 10 else 0
        left = 0 if self.body_read else min(left, 16 * _LONGEST)
        with contextlib.suppress(OSError):
            self.connection.settimeout(1)
            while left > 0 and (part := self.rfile.read1(min(left, _LONGEST))):
                left -= len(part)

    def _send(self, status: HTTPStatus, text: str, kind: str, policy: str = "") -> None:
        body = text.encode("utf-8", "replace")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Content-Security-Policy", policy or "default-src 'none'")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


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
