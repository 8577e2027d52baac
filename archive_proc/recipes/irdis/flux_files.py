"""Which FLUX planes make the PSF and the zero point: files against each other, then planes within their file.

A FLUX file is one acquisition of the star off the mask. One that went wrong (star off, cloud, another neutral density
than its header says) is named and left out; the observation goes on with the others (notes/irdis 6.10).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.acquisitions import Agreement, agreement
from archive_proc.model.processes import Remark
from archive_proc.recipes.irdis.scenes import scene_of
from archive_proc.recipes.measuring import refusing_factor, setup_of
from archive_proc.recipes.recipe import Arrays, RecipeInputs

Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class FluxChoice:
    """What is made of the FLUX planes of an observation."""

    chosen: Mask
    """(n,) of all planes of the main input: those whose star is combined."""
    files: tuple[int, ...]
    """Main files of FLUX frames with a usable plane, in order of time."""
    left_out: tuple[int, ...]
    """Those of which no plane is combined."""
    ratio: Float64
    """(files,) peak of the best acquisition over this one's, the worse half; NaN where no star was found."""
    offset: Float64
    """(files,) pixels from the best one, dither taken out."""
    flux: Float64
    """(files, 2) adu/s within the aperture, median of the file's usable planes; NaN where no star was found."""
    remarks: tuple[Remark, ...]


def choose_flux(inputs: RecipeInputs, rows: Arrays) -> FluxChoice:
    """Judge FLUX files and planes; `rows`: what `looks` summed up, in plane order.

    A saturated plane is left out where another is not. Files are compared by the peak of the star, ND and DIT
    corrected: the largest set within the factor that `qc_limits` refuses at is kept.
    """
    table, n = inputs.planes, len(inputs.planes)
    is_flux = np.array([inputs.frame_roles[int(file)] == "FLUX" for file in table.file], bool).reshape(n)
    usable = is_flux & table.usable
    files = tuple(int(one) for one in np.unique(table.file[usable]))
    seen = usable & np.isfinite(rows["peak"]).all(axis=1) & np.isfinite(rows["center"]).all(axis=(1, 2))
    remarks: list[Remark] = []
    seen = _without_saturated(rows["peak"], seen, remarks)
    peak, xy, flux = (np.full((len(files), *shape), np.nan) for shape in ((2,), (2, 2), (2,)))
    per_second = np.ones((n, 2))
    for place, file in enumerate(files):
        here = seen & (table.file == file)
        scene = scene_of(inputs.frames[file])
        per_second[table.file == file] = 1.0 / (scene.dit_s * np.array(scene.nd))
        if here.any():
            peak[place] = np.median(rows["peak"][here] * per_second[here], axis=0)
            xy[place] = np.median(rows["center"][here], axis=0) - np.array(scene.dither)
            flux[place] = np.median(rows["aperture"][here], axis=0)
    factor = refusing_factor("psf", "acquisition_ratio", setup_of(inputs))
    judged = agreement(peak, xy, factor)
    chosen = np.zeros(n, bool)
    kept = [(peak[place], file) for place, file in enumerate(files) if judged.kept[place]]
    for typical, file in kept:
        chosen |= seen & (table.file == file) & _near(rows["peak"] * per_second, typical, factor)
    remarks.extend(_left_out(inputs, files, place, judged) for place in range(len(files)) if not judged.kept[place])
    faint = int((seen & ~chosen & np.isin(table.file, [file for _, file in kept])).sum())
    if faint:
        remarks.append(Remark("AP-IRD-049", f"{faint} plane(s) {factor:g} times off the others of their FLUX file"))
    left_out = tuple(file for file in files if not (chosen & (table.file == file)).any())
    return FluxChoice(chosen, files, left_out, judged.ratio, judged.offset, flux, tuple(remarks))


def _without_saturated(peak: Float64, seen: Mask, remarks: list[Remark]) -> Mask:
    """Planes below the hard limit, where there are any."""
    hard = load_tables().irdis.detector.hard_limit_adu
    saturated: Mask = seen & np.asarray(np.nan_to_num(peak).max(axis=1) > hard, bool)
    if not saturated.any():
        return seen
    if (seen & ~saturated).any():
        remarks.append(Remark("AP-IRD-048", f"{int(saturated.sum())} saturated FLUX plane(s) left out"))
        return seen & ~saturated
    remarks.append(Remark("AP-IRD-048", f"the star is above {hard:g} ADU in every FLUX plane: PSF is clipped"))
    return seen


def _near(peak: Float64, typical: Float64, factor: float) -> Mask:
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = peak / typical
        return np.asarray((np.maximum(ratio, 1.0 / ratio) <= factor).all(axis=1), bool)


def _left_out(inputs: RecipeInputs, files: tuple[int, ...], place: int, judged: Agreement) -> Remark:
    name = inputs.frames[files[place]].file_id
    which = f"{name} (FLUX file {place + 1} of {len(files)})"
    ratio = judged.ratio[place]
    if not np.isfinite(ratio):
        return Remark("AP-IRD-049", f"{which} left out: no unsaturated star found in it")
    best = inputs.frames[files[judged.reference]].file_id
    return Remark(
        "AP-IRD-049",
        f"{which} left out: its star is a factor {ratio:.3g} off that of {best} and {judged.offset[place]:.1f} px away",
    )
