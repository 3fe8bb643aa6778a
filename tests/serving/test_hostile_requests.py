"""Foreign, malformed, oversized and slow requests over raw sockets: refused, and it goes on."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
from sklearn.datasets import load_iris
from sklearn.naive_bayes import GaussianNB

from scfe_sklearn import CounterfactualExplainer
from scfe_sklearn.serving import requests, serve

QUESTION = b'{"person": 0}'


@pytest.fixture(scope="module")
def explainer():
    X, y = load_iris(return_X_y=True, as_frame=True)
    return CounterfactualExplainer(GaussianNB()).fit(X, y)


@pytest.fixture(scope="module")
def server(explainer):
    X = load_iris(as_frame=True).data
    with serve(explainer, X[:3], target=1) as server:
        yield server


@pytest.fixture
def hurried(monkeypatch):
    """Requests must arrive within half a second."""
    monkeypatch.setattr(requests, "_SECONDS", 0.5)


def connected(server):
    return socket.create_connection(("127.0.0.1", server.port), 60)


def received(connection):
    """Everything until the server closes the connection."""
    parts = []
    try:
        while part := connection.recv(1 << 16):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def statuses(content):
    """The statuses of the responses in what was received."""
    found = []
    while content:
        head, _, rest = content.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        assert lines[0].startswith("HTTP/1.1 "), lines
        found.append(int(lines[0].split()[1]))
        headers = {n.lower(): v for n, v in (line.split(": ", 1) for line in lines[1:])}
        size = int(headers["content-length"])
        if found[-1] != 200:
            assert headers["connection"] == "close"
            assert headers["content-type"] == "application/json"
            assert headers["x-content-type-options"] == "nosniff"
            assert json.loads(rest[:size])["error"]
        content = rest[size:]
    return found


def sent(server, raw):
    """Statuses of the responses to bytes, after which nothing comes."""
    with connected(server) as connection:
        connection.sendall(raw.replace(b"PORT", str(server.port).encode()))
        connection.shutdown(socket.SHUT_WR)
        return statuses(received(connection))


def post(*headers, body=QUESTION, path=b"/api/person", length=True):
    lines = [b"POST " + path + b" HTTP/1.1", b"Host: 127.0.0.1:PORT"]
    lines += [b"Content-Type: application/json"] if length is not None else []
    lines += [b"Content-Length: " + str(len(body)).encode()] if length else []
    return b"\r\n".join([*lines, *headers, b"", body])


def get(*headers, path=b"/api/setup"):
    return b"\r\n".join(
        [b"GET " + path + b" HTTP/1.1", b"Host: 127.0.0.1:PORT", *headers, b"", b""]
    )


def goes_on(server):
    return sent(server, get()) == [200] and sent(server, post()) == [200]


CHUNKED = b"Transfer-Encoding: chunked"
REFUSED = {
    "foreign origin": (post(b"Origin: http://evil.example"), 403),
    "origin of another port": (post(b"Origin: http://127.0.0.1:1"), 403),
    "origin with a suffix": (post(b"Origin: http://127.0.0.1:PORT.evil.example"), 403),
    "opaque origin": (get(b"Origin: null"), 403),
    "two origins": (post(b"Origin: http://127.0.0.1:PORT", b"Origin: http://evil.example"), 400),
    "rebound name": (get().replace(b"127.0.0.1:PORT", b"evil.example:PORT"), 403),
    "rebound name of a question": (post().replace(b"127.0.0.1:PORT", b"evil.example:PORT"), 403),
    "no host": (get().replace(b"Host: 127.0.0.1:PORT\r\n", b""), 403),
    "two hosts": (get(b"Host: evil.example"), 400),
    "script of another page": (get(b"Sec-Fetch-Site: cross-site"), 403),
    "form of another page": (post(b"Sec-Fetch-Site: same-site"), 403),
    "form": (post(b"Content-Type: text/plain", length=None, body=b""), 415),
    "form with data": (
        post(
            b"Content-Type: multipart/form-data; boundary=x",
            b"Content-Length: 1",
            length=None,
            body=b"x",
        ),
        415,
    ),
    "two types": (post(b"Content-Type: text/plain"), 400),
    "no length": (post(length=False), 411),
    "chunks": (post(CHUNKED, length=False, body=b"d\r\n" + QUESTION + b"\r\n0\r\n\r\n"), 411),
    "chunks and a length": (post(CHUNKED), 411),
    "two lengths": (post(b"Content-Length: 2"), 400),
    "negative length": (post(b"Content-Length: -1", length=False), 411),
    "length with a sign": (post(b"Content-Length: +13", length=False), 411),
    "length of other digits": (post("Content-Length: ١٣".encode(), length=False), 411),
    "huge length": (post(b"Content-Length: 99999999999999999999", length=False), 413),
    "large length": (post(b"Content-Length: 1048577", length=False, body=b""), 413),
    "body that ends early": (post(b"Content-Length: 14", length=False), 400),
    "body that is whole by chance": (post(b"Content-Length: 99", length=False, body=b"{}"), 400),
    "no JSON": (post(body=b"{'person': 0}"), 400),
    "deep JSON": (post(body=b'{"a":' * 100_000), 400),
    "JSON of another encoding": (post(body='{"person": 0}'.encode("utf-16")), 400),
    "long number": (post(body=b'{"person": ' + b"9" * 9999 + b"}"), 400),
    "lone surrogate": (post(body=b'{"person": "\\ud800"}'), 400),
    "body of a GET": (get(b"Content-Length: 13") + QUESTION, 400),
    "chunks of a GET": (get(CHUNKED) + b"0\r\n\r\n", 400),
    "first line that is no header": (b"GET / HTTP/1.1\r\n x\r\nHost: 127.0.0.1:PORT\r\n\r\n", 400),
    "line that is no header": (get(b"rubbish", b"Origin: http://evil.example"), 400),
    "no version": (b"GET /api/setup\r\n\r\n", 403),
    "version of another protocol": (b"GET / FTP/1.1\r\n\r\n", 400),
    "next version": (b"GET / HTTP/2.0\r\n\r\n", 505),
    "too many words": (b"GET / / HTTP/1.1\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", 400),
    "long address": (get(path=b"/" + b"x" * 70_000), 414),
    "long header": (get(b"X: " + b"x" * 70_000), 431),
    "many headers": (get(*[b"X: x"] * 200), 431),
    "question as GET": (get(path=b"/api/person"), 405),
    "setup as POST": (post(path=b"/api/setup"), 405),
    "page as POST": (post(path=b"/"), 405),
    "PUT": (post().replace(b"POST", b"PUT"), 501),
    "preflight": (get(b"Access-Control-Request-Method: POST").replace(b"GET", b"OPTIONS"), 501),
    "TRACE": (get().replace(b"GET", b"TRACE"), 501),
    "proxy": (get(path=b"http://evil.example/"), 404),
    "file": (get(path=b"/..%2f..%2fetc/passwd"), 404),
    "query": (get(path=b"/api/setup?x"), 404),
    "NUL": (get(path=b"/api/setup\x00"), 404),
}


@pytest.mark.parametrize("name", REFUSED)
def test_requests_of_every_bad_kind_are_refused_once(server, name):
    raw, expected = REFUSED[name]
    # What follows a refused request is never answered: it may be a part of that request.
    assert sent(server, raw + post()) == [expected]
    assert sent(server, raw) == [expected]
    assert goes_on(server)


def test_server_answers_its_own_page_and_what_it_needs(server):
    own = b"Origin: http://127.0.0.1:PORT"
    assert sent(server, post(own, b"Sec-Fetch-Site: same-origin")) == [200]
    assert sent(server, get(path=b"/") + get() + post() + get()) == [200] * 4
    # A link on another page may lead to this one.
    assert sent(server, get(b"Sec-Fetch-Site: cross-site", path=b"/")) == [200]


def test_server_names_allowed_methods(server):
    with connected(server) as connection:
        connection.sendall(get(path=b"/api/answer").replace(b"PORT", str(server.port).encode()))
        assert b"\r\nAllow: POST\r\n" in received(connection)


def test_server_answers_a_head_request_without_a_body(server):
    with connected(server) as connection:
        request = get().replace(b"GET", b"HEAD").replace(b"PORT", str(server.port).encode())
        connection.sendall(request)
        head, _, body = received(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 501") and body == b""


def test_hosts_of_the_default_port_need_no_port():
    assert "127.0.0.1" in requests._hosts(80) and "localhost:80" in requests._hosts(80)
    assert requests._hosts(8080) == {"127.0.0.1:8080", "localhost:8080"}


# ---------------------------------------------------------------------------------- slow clients


def test_clients_that_send_nothing_do_not_block_others(server):
    waiting = [connected(server) for _ in range(100)]
    for number, connection in enumerate(waiting):
        connection.sendall([b"", b"G", b"GET / HTTP/1.1\r\nHost:", post()[:-5]][number % 4])
    assert goes_on(server)
    for connection in waiting:
        connection.close()
    assert goes_on(server)


@pytest.mark.parametrize(
    "part",
    [
        b"G",
        b"GET / HTTP/1.1\r\nHost: 127",
        post().replace(b"PORT", b"1")[:-3],
        post(b"Content-Length: 1000", length=False),
    ],
    ids=["line", "headers", "host", "body"],
)
def test_request_that_stops_is_refused_in_time(server, hurried, part):
    with connected(server) as connection:
        connection.sendall(part.replace(b"PORT", str(server.port).encode()))
        expected = 403 if part.startswith(b"POST") and b"PORT" not in part else 408
        assert statuses(received(connection)) == [expected]


def test_silent_connection_is_closed_in_time(server, hurried):
    with connected(server) as connection:
        assert received(connection) == b""


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nX: ", post(b"Content-Length: 9000",
                                                                  length=False)],
                         ids=["header", "body"])  # fmt: skip
def test_single_bytes_gain_no_time(server, hurried, start):
    with connected(server) as connection:
        connection.sendall(start.replace(b"PORT", str(server.port).encode()))
        connection.settimeout(0.05)
        response = b""
        for _ in range(1200):
            try:
                connection.sendall(b"x")
                response = connection.recv(1 << 16)
            except TimeoutError:
                continue
            except (ConnectionResetError, BrokenPipeError):
                pass
            break
        else:
            pytest.fail("The connection is still open.")
        assert response.startswith(b"HTTP/1.1 408 ") or response == b""


def test_client_that_reads_nothing_blocks_nobody(server):
    with connected(server) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(get(path=b"/").replace(b"PORT", str(server.port).encode()) * 200)
        assert goes_on(server)


def test_closing_ends_connections_and_threads(explainer):
    X = load_iris(as_frame=True).data
    before = set(threading.enumerate())
    server = serve(explainer, X[:1], target=1)
    idle, kept = connected(server), connected(server)
    with idle, kept:
        kept.sendall(get().replace(b"PORT", str(server.port).encode()))
        assert kept.recv(12) == b"HTTP/1.1 200"
        server.close()
        for thread in set(threading.enumerate()) - before:
            thread.join(20)
        assert set(threading.enumerate()) <= before
        assert received(idle) == b"" and received(kept)  # the rest of the answer, and the end


COMMAND = """
import sys
from sklearn.datasets import load_iris
from sklearn.naive_bayes import GaussianNB
from scfe_sklearn import CounterfactualExplainer
from scfe_sklearn.serving import serve
X, y = load_iris(return_X_y=True)
with serve(CounterfactualExplainer(GaussianNB()).fit(X, y), X[:1], target=1) as server:
    try:
        print(server.port, flush=True)
        server.wait()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_keyboard_interrupt_ends_it_while_clients_wait():
    process = subprocess.Popen([sys.executable, "-c", COMMAND], stdout=subprocess.PIPE, text=True)
    with process:
        port = int(process.stdout.readline())
        with socket.create_connection(("127.0.0.1", port), 60) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n")
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "interrupted\n"
            assert process.wait(20) == 0
