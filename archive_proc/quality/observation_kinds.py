"""Which page shows an observation of which arm, listed once; what is not listed is shown as the first arm's are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from archive_proc.quality.ifs_observation import measure_ifs_observation
from archive_proc.quality.ifs_observation_page import draw_ifs_observation
from archive_proc.quality.measured import Measured
from archive_proc.quality.observation import measure_observation
from archive_proc.quality.observation_page import draw_observation
from archive_proc.quality.orders import PageOrder
from archive_proc.quality.scales import Scale


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservationKind:
    """How observations of one arm are read and drawn."""

    measure: Callable[[PageOrder], Measured]
    draw: Callable[[PageOrder, Measured, Mapping[str, Scale]], bytes]
    pictures: tuple[tuple[str, str], ...]
    """(array, what its scale's key begins with) that may stand for the page in small, the first that there is."""


IRDIS = ObservationKind(
    measure=measure_observation,
    draw=draw_observation,
    pictures=(("derotated_inner_0", "inner"), ("calibrated_0", "calibrated"), ("raw", "raw")),
)
IFS = ObservationKind(
    measure=measure_ifs_observation,
    draw=draw_ifs_observation,
    pictures=(("derotated", "collapsed"), ("ifs_spectra|field", "ifs_spectra|field"), ("raw", "raw")),
)


def kind_of(order: PageOrder) -> ObservationKind:
    """How an observation is shown."""
    return {"IFS": IFS}.get(order.arm, IRDIS)
