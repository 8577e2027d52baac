"""A real headless Chromium, spoken to over its debugging pipe: no driver, no socket, no library."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

BINARY = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--remote-debugging-pipe",
)  # fmt: skip
PATIENCE_S = 120


@dataclass
class Tab:
    """One page, loaded; everything it said and asked for meanwhile."""

    browser: Chromium
    session: str
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def evaluate(self, expression: str) -> object:
        """The value of a JavaScript expression, promises awaited."""
        answer = self.browser.call(
            "Runtime.evaluate", {"expression": expression, "returnByValue": True, "awaitPromise": True}, self.session
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def resize(self, width: int, height: int = 900) -> None:
        self.browser.call(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
            self.session,
        )

    def prefer(self, scheme: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.browser.call("Emulation.setEmulatedMedia", {"media": "screen", "features": features}, self.session)


class Chromium:
    """The browser, with a profile of its own."""

    def __init__(self, profile: Path) -> None:
        assert BINARY is not None
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()

        # Chromium reads commands from 3 and writes to 4; a shell puts them there.
        hand_over = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self.process = subprocess.Popen(
            ["bash", "-c", hand_over, BINARY, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=(theirs_in, theirs_out),
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._out, self._in = ours_out, ours_in
        self._rest = b""
        self._number = 0
        self._tabs: dict[str, Tab] = {}
        self._loaded: set[str] = set()

    def open(self, path: Path) -> Tab:
        """A file in a new tab, loaded."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        tab = self._tabs[session] = Tab(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable", {}, session)
        self.call("Page.navigate", {"url": path.as_uri()}, session)
        while session not in self._loaded:
            self._take(self._message())
        return tab

    def call(self, method: str, parameters: dict[str, object], session: str | None = None) -> dict[str, object]:
        """One command; events that come meanwhile are kept."""
        self._number += 1
        number = self._number
        command = {"id": number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        os.write(self._out, json.dumps(command).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self._take(message)

    def _message(self) -> dict[str, object]:
        until = time.monotonic() + PATIENCE_S
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(0.0, until - time.monotonic()))
            assert ready, "the browser does not answer"
            part = os.read(self._in, 1 << 16)
            assert part, "the browser went away"
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        return json.loads(line)

    def _take(self, message: dict[str, object]) -> None:
        session, method, given = message.get("sessionId"), message.get("method"), message.get("params", {})
        tab = self._tabs.get(session)
        if tab is None:
            return
        if method == "Page.loadEventFired":
            self._loaded.add(session)
        elif method == "Network.requestWillBeSent":
            tab.requests.append(given["request"]["url"])
        elif method == "Log.entryAdded":
            tab.console.append(str(given["entry"]))
        elif method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
            tab.console.append(str(given))

    def __enter__(self) -> Chromium:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        self.process.wait(30)
        os.close(self._out)
        os.close(self._in)
