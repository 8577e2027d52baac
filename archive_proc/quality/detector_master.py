"""What is measured of a master of the detector: its images, their distribution, levels by output, shares of flags.

Of both arms: two halves of 1024 columns, or one frame that is as wide as high.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive_proc.instruments.tables import load_tables
from archive_proc.model.flags import Flag
from archive_proc.quality.master_sheet import MasterReading
from archive_proc.quality.scales import Limits, image_limits
from archive_proc.quality.stacks import WEIGHTLESS, any_binned, binned

Array = NDArray[Any]

LONG_SIDE = 1024
"""A detector of 2048 x 1024 pixels is drawn at about 1000 x 500, one of 2048 x 2048 at 512 x 512."""
HISTOGRAM_BINS = 120
SHOWN_MODES = 4
"""Background modes that a page has room for."""
OUTSIDE_NUMBER = 255
"""In the map of flags: outside the lit field."""
IMAGES = ("level", "response", "chi")
"""The image of a master, by what its type calls it."""
PICTURES = (*((name, name) for name in IMAGES), ("clear", "clear"))
"""What may stand for the page in small."""


def read_detector(given: MasterReading) -> None:
    """Read one master of the detector."""
    form = load_tables().product_types[given.kind]
    units = {one.name: one.units for one in form.variables}
    titles = {one.name: one.long_name for one in form.variables}
    flags = np.asarray(given.array("flags"))
    step = step_of(flags.shape)
    given.keep("step", np.array([step]))
    lit = (flags & int(Flag.OUTSIDE)) == 0
    weightless = (flags & int(WEIGHTLESS)) != 0
    main = next((name for name in IMAGES if given.has(name)), "")
    images: dict[str, Array] = {}
    if main:
        images[main] = np.asarray(given.array(main), np.float32)
        given.say(main, f"{titles[main]}\t{units[main]}")
    if given.has("read_noise"):
        images["read_noise"] = np.asarray(given.array("read_noise"), np.float32)
        given.say("read_noise", f"{titles['read_noise']}\t{units['read_noise']}")
    if given.has("variance"):
        with np.errstate(invalid="ignore"):
            images["error"] = np.sqrt(np.asarray(given.array("variance"), np.float32))
        given.say("error", f"standard error of the {main}\t{units[main]}")
    for name, values in images.items():
        _image(given, name, np.where(weightless, np.nan, values), weightless & np.isfinite(values), step)
    given.keep("flag_image", _strongest(flags, step))
    # 0 where any pixel has no weight: stands for the page where the image itself has no value.
    given.keep("clear", 1.0 - any_binned(weightless, step, share=1e-6).astype(np.float32))
    given.limit("clear", Limits(0.0, 1.0))
    shares = [100.0 * float(((flags & int(flag)) != 0)[lit].mean()) if lit.any() else 0.0 for flag in counted_flags()]
    given.keep("flag_shares", np.array(shares))
    if given.has("modes"):
        given.keep("first_mode", np.asarray(given.array("first_mode"), float))
        given.keep("mode_count", np.array([len(given.array("modes"))]))
        given.keep("modes", np.asarray(given.array("modes"), float)[:SHOWN_MODES])
        given.keep("mode_sigma", np.asarray(given.array("mode_sigma"), float))


def step_of(shape: tuple[int, ...]) -> int:
    """Detector pixels along each side of a drawn one: 2 for halves side by side, 4 for a square frame of their size.

    >>> step_of((1024, 2048)), step_of((2048, 2048)), step_of((40, 80))
    (2, 4, 1)
    """
    return max(1, round(shape[-1] / LONG_SIDE * max(1.0, 2.0 * shape[-2] / shape[-1])))


def counted_flags() -> tuple[Flag, ...]:
    """Flags whose shares are shown."""
    return tuple(flag for flag in Flag if flag is not Flag.OUTSIDE)


def _image(given: MasterReading, name: str, values: Array, flagged: NDArray[np.bool_], step: int) -> None:
    """The image binned, its histogram within the limits of the page, and its median by detector column."""
    given.keep(name, binned(values.astype(np.float32), step))
    given.keep(f"{name}|flagged", any_binned(flagged, step))
    # Of all pixels, not of binned ones: a histogram of means would look quieter than the detector is.
    limits = image_limits(values.astype(np.float32), asinh=False)
    if limits is None:
        return
    given.limit(name, _apart(limits))
    edges = np.linspace(limits.low, limits.high, HISTOGRAM_BINS + 1)
    given.keep(f"{name}|histogram", np.histogram(values[np.isfinite(values)], edges)[0])
    given.keep(f"{name}|edges", edges)
    columns = np.full(values.shape[-1], np.nan)
    some = np.isfinite(values).any(axis=0)
    columns[some] = np.nanmedian(values[:, some], axis=0)
    given.keep(f"{name}|columns", columns)


def _apart(limits: Limits) -> Limits:
    return limits if limits.high > limits.low else Limits(limits.low - 0.5, limits.high + 0.5)


def _strongest(flags: NDArray[np.uint16], step: int) -> NDArray[np.uint8]:
    """(y / step, x / step) uint8: 1 + position of a flag that the drawn pixel has; 0 without any.

    Rarer flags win over commoner ones of the same pixel, so that a single dead pixel stays visible.
    """
    shape = (flags.shape[0] // step, flags.shape[1] // step)
    chosen = np.zeros(shape, np.uint8)
    order = sorted(enumerate(counted_flags(), start=1), key=lambda one: -int(((flags & int(one[1])) != 0).sum()))
    for number, flag in order:
        hit = any_binned((flags & int(flag)) != 0, step, share=1e-6)
        chosen[hit] = number
    outside = any_binned((flags & int(Flag.OUTSIDE)) != 0, step)
    chosen[outside & (chosen == 0)] = OUTSIDE_NUMBER
    return chosen
