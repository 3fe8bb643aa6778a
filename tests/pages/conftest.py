"""A headless Chromium, driven over its debugging pipe, with the standard library only.

The tests of pages are skipped where there is no Chromium, or where it does not start; with
SCFE_CHROMIUM=required they fail there. With SCFE_PICTURES=folder the pictures that they take are
kept.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
]
SECONDS = 60


class Browser:
    """Messages to Chromium and back: JSON, each ended by a zero byte."""

    def __init__(self, program, profile):
        reading, self._out = os.pipe()
        self._in, writing = os.pipe()
        # Chromium reads from 3 and writes to 4: ours must not be one of them.
        there, back = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (reading, writing))
        become = (
            f"import os, sys; os.dup2({there}, 3); os.dup2({back}, 4); "
            "os.execv(sys.argv[1], sys.argv[1:])"
        )
        flags = [*FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", become, program, *flags],
            pass_fds=(there, back),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (reading, writing, there, back):
            os.close(end)
        self._buffer = b""
        self._number = 0
        self.events = []

    def send(self, method, session=None, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        number = self._number
        while True:
            answer = self.receive()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def receive(self, seconds=SECONDS):
        end = time.monotonic() + seconds
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(end - time.monotonic(), 0))
            part = os.read(self._in, 1 << 20) if ready else b""
            if not part:
                raise TimeoutError("Chromium does not answer.")
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def close(self):
        try:
            self.send("Browser.close")
            self.process.wait(10)
        except (OSError, RuntimeError, TimeoutError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        os.close(self._out)
        os.close(self._in)


class Page:
    """One tab. What it asked for and what went wrong in it are kept for `problems`."""

    def __init__(self, browser):
        self.browser = browser
        target = browser.send("Target.createTarget", url="about:blank")["targetId"]
        attached = browser.send("Target.attachToTarget", targetId=target, flatten=True)
        self.session, self.target = attached["sessionId"], target
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method, **parameters):
        return self.browser.send(method, session=self.session, **parameters)

    def own(self, method):
        return [
            event["params"]
            for event in self.browser.events
            if event.get("sessionId") == self.session and event["method"] == method
        ]

    def look(self, width=1200, height=900, dark=False, printed=False):
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", media="print" if printed else "", features=[scheme])

    def open(self, url):
        self.send("Page.navigate", url=url)
        self.wait_for("document.readyState === 'complete'")

    def run(self, script):
        answer = self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def wait_for(self, condition, seconds=SECONDS):
        end = time.monotonic() + seconds
        while True:
            try:
                if self.run(condition):
                    return
            except RuntimeError:  # between two documents
                pass
            if time.monotonic() > end:
                raise AssertionError(f"did not come true: {condition}")
            time.sleep(0.05)

    def picture(self, name, whole=True):
        """A picture as bytes; kept where SCFE_PICTURES says."""
        more = {}
        if whole:
            size = self.send("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": 0, "scale": 1, "width": size["width"]}
            more = {"clip": clip | {"height": min(size["height"], 6000)}}
            more["captureBeyondViewport"] = True
        data = base64.b64decode(self.send("Page.captureScreenshot", format="png", **more)["data"])
        folder = os.environ.get("SCFE_PICTURES")
        if folder:
            Path(folder, f"{name}.png").write_bytes(data)
        return data

    def pdf(self, name):
        """The page as it is printed."""
        data = base64.b64decode(self.send("Page.printToPDF", printBackground=True)["data"])
        folder = os.environ.get("SCFE_PICTURES")
        if folder:
            Path(folder, f"{name}.pdf").write_bytes(data)
        return data

    def problems(self, *allowed):
        """Script errors, complaints of the browser, and requests to anywhere else."""
        self.run("1")  # everything that was sent before has arrived
        found = [f"error: {event}" for event in self.own("Runtime.exceptionThrown")]
        found += [
            f"console: {event}"
            for event in self.own("Runtime.consoleAPICalled")
            if event["type"] in ("error", "warning", "assert")
        ]
        found += [
            f"log: {event['entry']['text']}"
            for event in self.own("Log.entryAdded")
            if event["entry"]["level"] in ("error", "warning")
        ]
        for event in self.own("Network.requestWillBeSent"):
            url = event["request"]["url"]
            if not url.startswith((*allowed, "about:", "data:")):
                found.append(f"request: {url}")
        return found

    def overflow(self):
        """How far the page can be moved sideways, in pixels."""
        return self.run(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )

    def close(self):
        self.browser.send("Target.closeTarget", targetId=self.target)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    program = next(filter(None, map(shutil.which, NAMES)), None)
    without = pytest.fail if os.environ.get("SCFE_CHROMIUM") == "required" else pytest.skip
    if program is None:
        without("there is no Chromium on PATH")
    browser = Browser(program, tmp_path_factory.mktemp("profile"))
    try:
        browser.send("Browser.getVersion")
    except (OSError, TimeoutError) as error:
        browser.close()
        without(f"Chromium does not start: {error}")
    yield browser
    browser.close()


@pytest.fixture
def page(browser):
    page = Page(browser)
    yield page
    page.close()
