"""The package's version and place, apart from the API so that every layer may read them."""

from pathlib import Path

__version__ = "0.1.0"

PACKAGE = Path(__file__).resolve().parent
"""Directory of the package."""
