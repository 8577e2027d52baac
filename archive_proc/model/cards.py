"""One card of a FITS header as the bounded scanner reads it."""

from __future__ import annotations

from typing import NamedTuple


class Card(NamedTuple):
    """Keyword, value and comment of one card; a tuple because an ingest makes 300 million of them."""

    key: str
    """Keyword, without `HIERARCH ESO ` (`DET SEQ1 DIT`); empty for a blank card."""
    value: str
    """Value as the header writes it; a string without its quotes and trailing blanks."""
    comment: str
    """Text after the slash; for COMMENT and HISTORY empty (their text is the value)."""
    canonical: str
    """`keyword=value` in one spelling for equal values, the line that enters `content_id`; empty where the card
    says nothing about the image (comments, checksums, compression)."""

    @property
    def is_text(self) -> bool:
        """True when the value stood in quotes."""
        return self.canonical.startswith("'", len(self.key) + 1)
