"""Calibration products kept decoded in each worker, the least recently used dropped first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection

from archive_proc.storage.products import LoadedProduct


class ProductCache:
    """Bounded by bytes. Products never change, so nothing in it is ever stale."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self._kept: OrderedDict[str, LoadedProduct] = OrderedDict()

    def get(self, key: str, load: Callable[[], LoadedProduct]) -> tuple[LoadedProduct, bool]:
        """The product of a key and whether it had to be loaded; one larger than the limit is not kept."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
            return found, False
        loaded = load()
        if loaded.nbytes <= self.limit_bytes:
            self._kept[key] = loaded
            self.held_bytes += loaded.nbytes
            while self.held_bytes > self.limit_bytes:
                _, dropped = self._kept.popitem(last=False)
                self.held_bytes -= dropped.nbytes
        return loaded, True

    def keep(self, keys: Collection[str]) -> None:
        """Let go of all others."""
        for key in [one for one in self._kept if one not in keys]:
            self.held_bytes -= self._kept.pop(key).nbytes


_CACHES: dict[str, ProductCache] = {}


def worker_cache(root: str, limit_bytes: int) -> ProductCache:
    """The cache of this process for one archive.

    State of the worker process, on purpose: tasks of different observations share their calibrations, and nothing else
    lives from one task to the next.
    """
    cache = _CACHES.get(root)
    if cache is None or cache.limit_bytes != limit_bytes:
        cache = _CACHES[root] = ProductCache(limit_bytes)
    return cache
