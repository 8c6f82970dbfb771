"""A real browser without a window, spoken to through two pipes: a page is opened, asked, clicked and photographed.

`$CHROMIUM` says which; else it is the `chromium` of the system.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 60.0  # seconds; never waited for in a test that passes


def found() -> str:
    """The path of the browser."""
    given = os.environ.get("CHROMIUM")
    path = given or next((path for name in NAMES if (path := shutil.which(name))), None)
    assert path, "no browser was found: install chromium (apt-get install chromium), or say where it is by $CHROMIUM"
    return path


class Browser:
    """One page of one browser, with a profile of its own."""

    def __init__(self, profile: Path, *, width: int = 1100, height: int = 900) -> None:
        hears, self._tells = os.pipe()
        self._hears, tells = os.pipe()
        # The browser takes its orders from descriptor 3 and answers on 4, whatever numbers they have here.
        script = f'exec 3<&{hears} 4>&{tells}; exec "$@"'
        command = [
            found(),
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe"),
            f"--user-data-dir={profile}",
        ]
        self.process = subprocess.Popen(
            ["bash", "-c", script, "browser", *command],
            pass_fds=(hears, tells),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(hears)
        os.close(tells)
        self._numbers = itertools.count(1)
        self._left = b""
        self._session: str | None = None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._call("Page.enable")
        self.resize(width, height)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._tells)
        self.process.kill()
        self.process.wait(PATIENCE)
        os.close(self._hears)

    def open(self, url: str) -> None:
        self._call("Page.navigate", url=url)

    def resize(self, width: int, height: int) -> None:
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, scheme: str) -> None:
        """Light or dark."""
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """Wait until it is true of the page."""
        until = time.monotonic() + PATIENCE
        while not (value := self.ask(expression)):
            assert time.monotonic() < until, f"waited in vain for {expression}; {self.ask('document.body.innerText')}"
            time.sleep(0.05)  # the page tells nobody
        return value

    def photograph(self, path: Path) -> None:
        picture = self._call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(picture))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        order: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            order["sessionId"] = self._session
        os.write(self._tells, json.dumps(order).encode() + b"\0")
        until = time.monotonic() + PATIENCE
        while True:
            while b"\0" in self._left:
                message, _, self._left = self._left.partition(b"\0")
                answer = json.loads(message)
                if answer.get("id") == number:
                    assert "error" not in answer, f"{method}: {answer['error']}"
                    result: dict[str, Any] = answer["result"]
                    return result
            ready = select.select([self._hears], [], [], max(0.0, until - time.monotonic()))[0]
            data = os.read(self._hears, 1 << 16) if ready else b""
            assert data, f"the browser does not answer {method}"
            self._left += data
