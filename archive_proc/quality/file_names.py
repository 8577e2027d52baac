"""Names of the files in `quicklook/<subject>/`. Presets are named by users: only harmless letters get through."""

from __future__ import annotations

import re

from archive_proc.model.ids import sha256_hex

_HARMLESS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,40}")


def _word(preset: str) -> str:
    return preset if _HARMLESS.fullmatch(preset) else f"preset_{sha256_hex(preset)[:12]}"


def observation_file(preset: str) -> str:
    """An observation's page.

    >>> observation_file("default"), observation_file("../x").startswith("observation-preset_")
    ('observation-default.png', True)
    """
    return f"observation-{_word(preset)}.png"


def master_file(product_type: str, preset: str) -> str:
    """A master's page."""
    return f"{product_type}-{_word(preset)}.png"


def thumbnail_file(name: str) -> str:
    """The small picture that stands for a page."""
    return f"thumbnail-{name}"


def stamp_file(preset: str) -> str:
    """What the pictures of a preset were made from."""
    return f"stamp-{_word(preset)}.json"
