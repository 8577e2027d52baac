"""Recipe versions against the fingerprints of their code.

    python tests/recipes/test_versions.py record irdis_dark ...     (or `all`)

records the present code of these recipes: after a version was raised, or for a change that cannot change a result.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from archive_proc.planning.fingerprint import Fingerprints
from archive_proc.recipes.recipe import Recipe

SNAPSHOT = Path(__file__).resolve().parents[1] / "snapshots" / "recipes.json"
COMMAND = "python tests/recipes/test_versions.py record"


def source_text(module: str) -> str | None:
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # a name in a module, not a module
        return None
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).read_text(encoding="utf-8")


def cookbook() -> tuple[Recipe, ...]:
    if importlib.util.find_spec("archive_proc.recipes.cookbook") is None:
        return ()
    found: tuple[Recipe, ...] = importlib.import_module("archive_proc.recipes.cookbook").COOKBOOK
    return found


@cache
def present() -> dict[str, dict[str, str]]:
    prints = Fingerprints(source_text)
    return {one.name: {"version": one.version, "fingerprint": prints.of_recipe(one, sys.modules)} for one in cookbook()}


def recorded() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(SNAPSHOT.read_text()) if SNAPSHOT.exists() else {}
    return found


@pytest.mark.parametrize("recipe", cookbook(), ids=lambda one: one.name)
def test_changed_code_has_a_changed_version(recipe: Any) -> None:
    now, then = present()[recipe.name], recorded().get(recipe.name)
    if then is None:
        pytest.fail(f"{recipe.name} is new: `{COMMAND} {recipe.name}`")
    if now["version"] != then["version"]:
        assert now == then, f"{recipe.name} has a new version: `{COMMAND} {recipe.name}`"
    assert now == then, (
        f"the code that {recipe.name} {recipe.version} reaches has changed: raise its version; "
        f"if no result can change: `{COMMAND} {recipe.name}`"
    )


def test_no_recipe_of_the_snapshot_has_vanished() -> None:
    gone = sorted(set(recorded()) - set(present()))
    assert not gone, f"{', '.join(gone)}: no longer in the cookbook; `{COMMAND} all`"


def record(names: list[str]) -> None:
    now = present()
    if names == ["all"]:
        kept = now
    else:
        unknown = sorted(set(names) - set(now))
        if unknown or not names:
            sys.exit(f"not in the cookbook: {', '.join(unknown) or 'name at least one recipe, or all'}")
        kept = recorded() | {name: now[name] for name in names}
    SNAPSHOT.parent.mkdir(exist_ok=True)
    SNAPSHOT.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")
    print(f"{len(kept)} recipes in {SNAPSHOT}")


if __name__ == "__main__":
    if sys.argv[1:2] != ["record"]:
        sys.exit(__doc__)
    record(sys.argv[2:])
