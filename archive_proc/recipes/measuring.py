"""Quality figures of a recipe: measured values with the setup they were measured in, and refusals where limits decide.

A recipe measures; verdicts are given when catalog rows are made. Only figures that the table of limits says decide
(`decides`, read through `TableRead("qc.<product type>")`) are compared here, and only with their refusing limits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from archive_proc.errors import DataFailure, Measured
from archive_proc.instruments.qc_limits import HALVES, REFUSE, QcSetup, judge, setup_of_frame
from archive_proc.instruments.tables import load_tables
from archive_proc.model.processes import QcValue
from archive_proc.recipes.recipe import RecipeInputs


def setup_of(inputs: RecipeInputs) -> QcSetup:
    """Filter, DIT and night of the main frames: the science ones where there are several kinds."""
    if inputs.frames:
        by_role = dict(zip(reversed(inputs.frame_roles), reversed(inputs.frames), strict=False))
        frame = by_role.get("OBJECT") or by_role.get("CENTER") or inputs.frames[0]
        return setup_of_frame(frame)
    attrs = inputs.main.attrs if inputs.main is not None else {}
    dit = json.loads(str(attrs.get("setup") or "{}")).get("dit_s")
    return QcSetup(str(attrs.get("inst_filter") or ""), None if dit is None else float(dit))


class Figures:
    """The figures of one process, added one by one; the order they are added in is kept."""

    def __init__(self, inputs: RecipeInputs) -> None:
        self.setup = setup_of(inputs)
        self._found: list[QcValue] = []

    def add(self, product_type: str, metric: str, value: float, unit: str = "1") -> None:
        """One figure of a product; NaN where it could not be measured."""
        self._found.append(
            QcValue(
                product_type,
                metric,
                float(value),
                unit,
                inst_filter=self.setup.inst_filter,
                dit_s=self.setup.dit_s,
            )
        )

    def add_halves(self, product_type: str, metric: str, values: Sequence[float], unit: str = "1") -> None:
        """One figure a half of the detector."""
        for half, value in zip(HALVES, values, strict=True):
            self.add(product_type, f"{metric}_{half}", value, unit)

    @property
    def values(self) -> tuple[QcValue, ...]:
        """All of them."""
        return tuple(self._found)

    def refused(self) -> tuple[QcValue, ...]:
        """Those beyond a limit that decides."""
        return tuple(one for one in self._found if _broken(one, self.setup) is not None)

    def expect_none_refused(
        self, code: str, subject: str, remedy: str, *, accept: bool = False, name: str = ""
    ) -> None:
        """Go on, or raise DataFailure `code` with every figure beyond a limit that decides.

        `accept`: a person said that they are good all the same; the verdict of the rows stays `refuse`. `name`: what
        astronomers call the failure, said first.
        """
        refused = self.refused()
        if not refused or accept:
            return
        accounts = [f"{one.product_type} {_account(one, self.setup)}" for one in refused]
        measured = tuple(
            Measured(
                one.metric,
                one.value,
                one.unit,
                one.product_type,
                one in refused,
                one.inst_filter,
                one.dit_s,
            )
            for one in self._found
        )
        what = f"{name}: unusable: " if name else "unusable: "
        raise DataFailure(code, what + "; ".join(accounts), subject=subject, remedy=remedy, qc=measured)


def _broken(one: QcValue, setup: QcSetup) -> float | None:
    """The limit that decides and that a figure breaks; None where there is none."""
    qc = load_tables().qc
    row = qc.row(one.product_type, one.metric)
    if row is None or not row.decides:
        return None
    judged = judge(qc.deciding(one.product_type, one.metric), one.value, setup)
    return judged.threshold if judged.verdict == REFUSE else None


def _account(one: QcValue, setup: QcSetup) -> str:
    unit = "" if one.unit == "1" else f" {one.unit}"
    return f"{one.metric} {one.value:.4g}{unit} (limit {_broken(one, setup):g})"


def refusing_factor(product_type: str, metric: str, setup: QcSetup) -> float:
    """The tightest upper limit that decides over a figure in a setup; infinite where none covers it."""
    rows = load_tables().qc.deciding(product_type, metric)
    found = [row.refuse_above for row in rows if row.covers(setup) and row.refuse_above is not None]
    return min(found, default=float("inf"))
