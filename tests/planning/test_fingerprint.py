"""Fingerprints follow the code that a recipe reaches, and nothing else."""

from __future__ import annotations

import pytest

from archive_proc.planning.fingerprint import Fingerprints

RECIPE = '''
"""A recipe."""
from dataclasses import dataclass
from archive_proc.kernels import combine
from archive_proc.kernels.noise import spread as width
from archive_proc.recipes.recipe import Recipe

LIMIT = 3.0

@dataclass
class Parameters:
    """Parameters."""
    clip: float = 5.0
    """sigma"""

def close(inputs: object, shared: object) -> object:
    """Finish."""
    return combine.mean(shared) / width(shared) + LIMIT

TOY = Recipe(name="toy", version="1.0.0", close=close, parameters=Parameters)
'''
COMBINE = """
def mean(values):
    return total(values) / len(values)

def total(values):
    return sum(values)

def unrelated(values):
    return 0
"""
NOISE = "def spread(values): return max(values) - min(values)\n"


def fingerprint(recipe: str = RECIPE, combine: str = COMBINE, noise: str = NOISE) -> str:
    texts = {
        "archive_proc.recipes.toy": recipe,
        "archive_proc.kernels": "",
        "archive_proc.kernels.combine": combine,
        "archive_proc.kernels.noise": noise,
    }
    return Fingerprints(texts.get).of("archive_proc.recipes.toy", "TOY")


def test_words_layout_annotations_and_the_version_do_not_count() -> None:
    other = RECIPE.replace("Finish.", "Ends it.").replace("-> object", "-> int").replace("1.0.0", "2.0.0")
    other = other.replace('"""sigma"""', '"""in sigma"""').replace(
        "    return combine", "    # why\n\n    return combine"
    )
    assert fingerprint(other) == fingerprint()


def test_a_kernel_two_calls_away_counts() -> None:
    assert fingerprint(combine=COMBINE.replace("sum(values)", "sum(sorted(values))")) != fingerprint()


def test_a_renamed_import_is_followed() -> None:
    assert fingerprint(noise=NOISE.replace("max(values)", "2 * max(values)")) != fingerprint()


def test_constants_and_default_parameters_count() -> None:
    assert fingerprint(RECIPE.replace("LIMIT = 3.0", "LIMIT = 4.0")) != fingerprint()
    assert fingerprint(RECIPE.replace("clip: float = 5.0", "clip: float = 6.0")) != fingerprint()


def test_a_function_that_is_not_called_does_not_count() -> None:
    assert fingerprint(combine=COMBINE.replace("return 0", "return 1")) == fingerprint()


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(KeyError, match="NONE"):
        Fingerprints({"archive_proc.recipes.toy": RECIPE}.get).of("archive_proc.recipes.toy", "NONE")
