"""A headless Chromium that a test drives through its debugging pipe: no package, no port, no file."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))), None
)
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe",
]  # fmt: skip
LIMIT = 90  # seconds, on a machine that others use as well


class Browser:
    """A page: what it shows, what it requests, what its console says.

    `requests` are the addresses that it asked for, `console` what was logged or raised.
    """

    def __enter__(self):
        pipes = [os.pipe(), os.pipe()]
        ends = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (pipes[0][0], pipes[1][1])]  # not over 3 and 4
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        command = [BROWSER, *FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"]
        shell = f'exec "$@" 3<&{ends[0]} 4>&{ends[1]}'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *command], pass_fds=ends, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for fd in (*ends, pipes[0][0], pipes[1][1]):
            os.close(fd)
        self._to, self._from = os.fdopen(pipes[0][1], "wb"), os.fdopen(pipes[1][0], "rb")
        self._replies, self._number, self._news = {}, 0, threading.Condition()
        self.requests, self.console = [], []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log", "DOM"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._to.close()
        self._from.close()
        self._profile.cleanup()

    def _read(self):
        rest = b""
        while part := os.read(self._from.fileno(), 1 << 16):
            *messages, rest = (rest + part).split(b"\0")
            for message in map(json.loads, messages):
                self._hear(message)

    def _hear(self, message):
        given = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(given["request"]["url"])
            case "Runtime.consoleAPICalled":
                self.console.append(json.dumps(given["args"]))
            case "Runtime.exceptionThrown":
                self.console.append(json.dumps(given["exceptionDetails"]))
            case "Log.entryAdded":
                self.console.append(given["entry"]["text"])
            case None:
                with self._news:
                    self._replies[message["id"]] = message
                    self._news.notify_all()

    def call(self, method, **parameters):
        """A command of the DevTools protocol, and what it returns."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        with self._news:
            assert self._news.wait_for(lambda: message["id"] in self._replies, LIMIT), method
            reply = self._replies.pop(message["id"])
        assert "error" not in reply, reply
        return reply["result"]

    def js(self, expression):
        """The value of an expression on the page, awaited."""
        reply = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in reply, reply
        return reply["result"].get("value")

    def until(self, expression):
        """Waits until it is true, and returns its value."""
        end = time.monotonic() + LIMIT
        while not (value := self.js(expression)):
            assert time.monotonic() < end, f"never: {expression}; {self.console}"
            time.sleep(0.05)
        return value

    def open(self, address, width=1280, height=900, dark=False, phone=False):
        """Opens an address; the page's size is in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if phone else 1,
                  mobile=phone)  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=address)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def choose(self, selector, files):
        """Puts files into a file field."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    def drop(self, x, y, files):
        """Drags files over a place, and drops them."""
        data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def key(self, key):
        """Presses a key and lets it go."""
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        code = {"Tab": 9, "Enter": 13, "ArrowLeft": 37, "ArrowRight": 39, "Escape": 27}.get(key, 0)
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text)

    def picture(self, file, whole=False):
        """Saves what is shown, or the whole page, as a PNG."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        file.write_bytes(base64.b64decode(data))
