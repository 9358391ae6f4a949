"""A headless Chromium at the other end of two pipes: its DevTools protocol, as far as tests of pages need it."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_PATIENCE = 60.0
_TOP = Path(__file__).parents[1]


class Browser:
    """One tab. `requests` are the addresses that it asked for, `complaints` errors, exceptions and refused scripts."""

    def __init__(self, read: int, write: int) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._read, self._write = read, write
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        """One command, and its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            heard = self._hear()
            if heard.get("id") == self._number:
                assert "error" not in heard, heard
                return heard["result"]

    def _hear(self) -> dict[str, Any]:
        end = time.monotonic() + _PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(end - time.monotonic(), 0))
            assert ready, "the browser says nothing"
            self._buffer += os.read(self._read, 1 << 20)
        text, _, self._buffer = self._buffer.partition(b"\0")
        heard: dict[str, Any] = json.loads(text)
        self._note(heard.get("method"), heard.get("params", {}))
        return heard

    def _note(self, method: str | None, params: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method in ("Runtime.exceptionThrown", "Log.entryAdded") or (
            method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning")
        ):
            self.complaints.append(json.dumps(params)[:500])

    def open(self, path: Path, *, width: int = 1280, dark: bool = False) -> None:
        """A file, in a window of so many pixels."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Page.navigate", url=path.as_uri())
        end = time.monotonic() + _PATIENCE
        while self.ask("document.readyState") != "complete" or self.ask("location.href") != path.as_uri():
            assert time.monotonic() < end

    def ask(self, expression: str) -> Any:
        """The value of an expression in the page."""
        got = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in got, got
        return got["result"].get("value")

    def key(self, name: str) -> None:
        """A key is pressed: ArrowRight, Home, Tab, Enter, or a space."""
        code = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Tab": 9, "Enter": 13, " ": 32,
                "End": 35, "Home": 36}[name]  # fmt: skip
        text = {"Enter": "\r", " ": " "}.get(name)
        facts = {"key": name, "code": "Space" if name == " " else name, "windowsVirtualKeyCode": code}
        down = facts | ({"text": text} if text else {})
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **down)
        self.call("Input.dispatchKeyEvent", type="keyUp", **facts)

    def _middle(self, selector: str) -> dict[str, float]:
        found = f"document.querySelector({json.dumps(selector)})"
        self.ask(f"{found}.scrollIntoView({{block: 'center'}})")
        box = json.loads(self.ask(f"JSON.stringify({found}.getBoundingClientRect())"))
        return {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}

    def point(self, selector: str) -> None:
        """The pointer moves onto an element."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", **self._middle(selector))

    def click(self, selector: str) -> None:
        """The pointer clicks an element."""
        at = self._middle(selector)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", **at)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **at)

    def drag(self, selector: str, share: float) -> None:
        """The pointer goes down in the middle of an element, and up at this share of its width."""
        at = self._middle(selector)
        box = json.loads(
            self.ask(f"JSON.stringify(document.querySelector({json.dumps(selector)}).getBoundingClientRect())")
        )
        end = at | {"x": box["x"] + share * box["width"]}
        self.call("Input.dispatchMouseEvent", type="mousePressed", button="left", clickCount=1, **at)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", button="left", **end)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", button="left", clickCount=1, **end)

    def wrong(self, axe: str) -> list[str]:
        """The faults that axe-core finds, a line each. AssertionError: its rules did not run."""
        self.ask(f"{axe}\n;0")
        found = self.call(
            "Runtime.evaluate", expression="axe.run().then(r => JSON.stringify([r.passes.length, r.violations]))",
            awaitPromise=True, returnByValue=True,
        )  # fmt: skip
        passed, violations = json.loads(found["result"]["value"])
        assert passed > 10, "axe-core looked at nothing"
        return [f"{each['id']}: {node['html'][:200]}" for each in violations for node in each["nodes"]]

    def picture(self) -> bytes:
        """The whole page as PNG."""
        got = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(got["data"])


def axe_core() -> str:
    """axe-core's script: from ESPSIM_AXE's file, node_modules, or build/; the test is skipped without one."""
    folders = ("node_modules/axe-core/axe.min.js", "build/axe/package/axe.min.js")
    paths = [Path(path) for path in [os.environ.get("ESPSIM_AXE", ""), *(str(_TOP / each) for each in folders)] if path]
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        pytest.skip("axe-core is not here: `npm pack axe-core` into build/axe, or ESPSIM_AXE=/path/to/axe.min.js")
    return found.read_text("utf-8")


@contextlib.contextmanager
def chromium(home: Path) -> Iterator[Browser]:
    """A browser whose profile is in `home`. The test is skipped where none is installed."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    bash = shutil.which("bash")
    if program is None or bash is None:
        pytest.skip("chromium is not installed")
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # it refuses to run as root otherwise
    words = [program, "--headless", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage", *sandbox,
             f"--user-data-dir={home}", "--remote-debugging-pipe"]  # fmt: skip
    redirected = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
    process = subprocess.Popen(
        [bash, "-c", redirected, "-", *words], pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(ours_in, ours_out)
    finally:
        process.terminate()
        process.wait(_PATIENCE)
        os.close(ours_in)
        os.close(ours_out)
