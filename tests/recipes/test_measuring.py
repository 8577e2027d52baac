"""Recipes and the table of limits speak of the same figures, and recipes know no limit but those that decide."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import archive_proc.recipes
from archive_proc.instruments.qc_limits import HALVES
from archive_proc.instruments.tables import load_tables
from archive_proc.recipes.cookbook import COOKBOOK
from archive_proc.recipes.recipe import Recipe, TableRead

RECIPES = Path(archive_proc.recipes.__file__).parent


@pytest.mark.parametrize("recipe", COOKBOOK, ids=lambda one: one.name)
def test_a_recipe_reads_the_limits_of_exactly_the_products_on_which_limits_decide(recipe: Recipe) -> None:
    deciding = {
        f"qc.{product}" for row in load_tables().qc.rows if row.decides for product in row.products
    } & {f"qc.{one}" for one in recipe.outputs}  # fmt: skip
    assert {read.table for read in recipe.tables if read.table.startswith("qc.")} == deciding
    assert all(TableRead(one) in recipe.tables for one in deciding)


def calls() -> Iterator[tuple[str, int, str, list[ast.expr]]]:
    """(file, line, name, arguments) of every figure that recipes add, or give up with."""
    for path in sorted(RECIPES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            if isinstance(node.func, ast.Name) and node.func.id == "Measured":
                yield path.name, node.lineno, "Measured", node.args
            elif (
                isinstance(node.func, ast.Attribute) and node.func.attr in ("add", "add_halves") and len(node.args) > 2
            ):
                yield path.name, node.lineno, node.func.attr, node.args


def word(node: ast.expr | None, default: str = "") -> str | None:
    """A word written in the code; None where it is computed."""
    if node is None:
        return default
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def test_every_figure_written_in_a_recipe_has_a_row_with_its_unit() -> None:
    qc = load_tables().qc
    seen = 0
    for file, line, kind, given in calls():
        place = f"{file} line {line}"
        if kind == "Measured":
            metric, unit, product = word(given[0]), word(given[2]), word(given[3] if len(given) > 3 else None)
        else:
            product, metric, unit = word(given[0]), word(given[1]), word(given[3] if len(given) > 3 else None, "1")
        if metric is None or unit is None:
            continue
        names = [f"{metric}_{half}" for half in HALVES] if kind == "add_halves" else [metric]
        products = [product] if product else sorted({one for row in qc.rows for one in row.products})
        rows = [row for name in names for one in products if (row := qc.row(one, name)) is not None]
        assert rows, f"{place}: {product or 'any product'} {metric} has no row in qc_limits.toml"
        assert unit in {row.unit for row in rows}, f"{place}: {metric} is in {unit}, its row says {rows[0].unit}"
        seen += 1
    assert seen > 40
