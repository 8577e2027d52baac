"""Normal workers, and larger ones that come when a process needs them and go when none does any more."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from archive_proc.execution.backends import Backend, Finished, JobEnd, JobNews
from archive_proc.execution.calls import Bundle
from archive_proc.execution.liveness import Writer

KEEP_S = 60.0
"""Larger workers stay so long with nothing to do."""


class WithLarger:
    """A back end of a site for normal workers, and one more for every size of larger ones, made when needed."""

    def __init__(self, normal: Backend, make: Callable[[float], Backend]) -> None:
        self._normal, self._make = normal, make
        self.name, self.isolated = normal.name, normal.isolated
        self._larger: dict[float, Backend] = {}
        self._flying: Counter[float] = Counter()
        self._used: dict[float, float] = {}
        """Monotonic time at which a size last had work."""

    @property
    def workers(self) -> int:
        """The normal ones."""
        return self._normal.workers

    @property
    def _all(self) -> tuple[Backend, ...]:
        return (self._normal, *self._larger.values())

    def start(self) -> None:
        """Only the normal ones."""
        self._normal.start()

    def submit(self, bundle: Bundle, priority: float) -> None:
        """To the workers of its size. Raises TemporaryError where larger ones do not start."""
        size = bundle.memory_gb
        if not size:
            self._normal.submit(bundle, priority)
            return
        if size not in self._larger:
            made = self._make(size)
            made.start()
            self._larger[size] = made
        self._flying[size] += 1
        self._larger[size].submit(bundle, priority)

    def wait_any(self, timeout_s: float) -> list[Finished]:
        """From all of them."""
        if not self._larger:
            return self._normal.wait_any(timeout_s)
        found: list[Finished] = []
        for one in self._all:
            found += one.wait_any(0.0 if found else timeout_s / len(self._all))
        self._flying.subtract(one.bundle.memory_gb for one in found if one.bundle.memory_gb)
        self._let_go()
        return found

    def _let_go(self) -> None:
        now = time.monotonic()
        for size in list(self._larger):
            if self._flying[size]:
                self._used[size] = now
            elif now - self._used.get(size, now) >= KEEP_S:
                self._larger.pop(size).stop()

    def cancel(self, bundles: Iterable[Bundle]) -> None:
        """Wherever they are."""
        given = tuple(bundles)
        for one in self._all:
            one.cancel(given)

    def census(self) -> Mapping[str, int]:
        """Of all of them."""
        found: Counter[str] = Counter()
        for one in self._all:
            found.update(one.census())
        return found

    def expect(self, tasks: int) -> None:
        """The normal ones only: larger ones go by themselves."""
        self._normal.expect(tasks)

    def job_end(self, writer: Writer) -> JobEnd | None:
        """Of whoever knows the job."""
        return next((end for one in self._all if (end := one.job_end(writer)) is not None), None)

    def news(self) -> list[JobNews]:
        """Of all of them."""
        return [news for one in self._all for news in one.news()]

    def stop(self) -> None:
        """All of them."""
        for one in self._all:
            one.stop()
        self._larger.clear()
