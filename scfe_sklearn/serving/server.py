"""The page over HTTP, for this machine only."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from http.server import ThreadingHTTPServer
from typing import Any, Self

from scfe_sklearn.rules import Rules
from scfe_sklearn.serving.requests import HOST, Handler
from scfe_sklearn.serving.what_if import WhatIf

__all__ = ["WhatIfServer", "serve"]


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
        handler = type("Handler", (Handler,), {"questions": questions, "lock": threading.Lock()})
        self._server = _Server((HOST, port), handler)
        self.port = self._server.server_port
        self.url = f"http://{HOST}:{self.port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait until the server is closed, or interrupted from the keyboard."""
        while self._thread.is_alive():
            self._thread.join(0.5)

    def close(self) -> None:
        """Stop serving, close the connections and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._server.close_connections()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    """A thread per connection; none of them keeps the interpreter from ending."""

    daemon_threads = True
    request_queue_size = 1024  # connections that wait; the system resets what is beyond

    def __init__(self, address: tuple[str, int], handler: type) -> None:
        self._open: set[socket.socket] = set()
        self._changing = threading.Lock()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection in a thread of its own."""
        with self._changing:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._changing:
            self._open.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """Close the connections that are open: their threads see the end and stop."""
        with self._changing:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a browser that went away."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)
