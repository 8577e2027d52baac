"""The catalog follows a run: published every minute and at the end. A failure of it never ends the run.

Publishing reads and writes whole tables: of a long run it takes many seconds. It gets a small share of the driver's
time, so the longer it takes, the rarer it is.

Products and journal are the record; a catalog that could not be written is made from them by the next run or verb.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from archive_proc.errors import ArchiveProcError
from archive_proc.execution.stopping import DISK_FULL, Stopper
from archive_proc.storage.answers import is_full

SHARE = 1 / 30
"""Of the driver's time."""


@dataclass(slots=True, kw_only=True)
class Publisher:
    """Calls the compactor when it is due and keeps account of its failures."""

    publish: Callable[[], None] | None
    every_s: float
    stopper: Stopper
    say: Callable[[str], None]
    """Tells the user, whether bars are shown or not."""
    note: str = ""
    """Why the catalog could not be published, the first time it failed."""
    behind: bool = False
    """Whether it failed the last time: the catalog lacks what happened since."""
    _published: float = field(default_factory=time.monotonic)
    _took_s: float = 0.0

    def when_due(self) -> None:
        """Publish if the last time is long enough ago."""
        if time.monotonic() - self._published >= max(self.every_s, self._took_s / SHARE):
            self.now()

    def now(self, *, last: bool = False) -> None:
        """Publish. A failure is said once while the run goes on, and once more where it is the `last` time."""
        if self.publish is None:
            return
        begun = time.monotonic()
        try:
            self.publish()
        except (OSError, ArchiveProcError) as error:
            self.behind = True
            text = f"the catalog could not be published: {error}"
            if last or not self.note:
                self.say(f"{text}; what is sealed is kept, the next run publishes it")
            self.note = self.note or text
            if is_full(error) and not self.stopper.stopping:
                self.stopper.ask(DISK_FULL)
        else:
            self.behind = False
        self._published = time.monotonic()
        self._took_s = self._published - begun
