"""The lenslet flat: how much of the lamp each lenslet lets through, from spectra extracted like science.

First pass: the frames' shift against the wavelength solution. Second pass: the joint fit. Closing takes the median
spectrum of the complete lenslets as the lamp and compares each lenslet with it (notes/ifs 6.10). No smooth illumination
is divided out: nothing here tells the lamp's from the instrument's. Which lenslet is which the lasers say, too: their
spots are brighter where a lenslet lets more through, so that a flat of other lenslets does not bear their pattern.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from archive_proc.instruments.tables import load_tables
from archive_proc.kernels.lamp_edges import goes_on, lamp_edges
from archive_proc.kernels.lenslet_pattern import beside_neighbours, pattern_agreement
from archive_proc.kernels.lenslet_throughput import lenslet_throughput, local_scatter
from archive_proc.kernels.lenslets import ADJACENT
from archive_proc.model.flags import Flag
from archive_proc.model.frames import Arm
from archive_proc.model.processes import Remark
from archive_proc.recipes.detector import true_dit
from archive_proc.recipes.ifs.extraction import (
    REGIONS,
    ExtractionParameters,
    Instrument,
    extract_block,
    field_regions,
    settle_shifts,
    shift_block,
)
from archive_proc.recipes.ifs.planes import BAD_PIXELS, DARK, FLAT
from archive_proc.recipes.ifs.spectrograph import PSFLETS, WAVE, Spectrograph
from archive_proc.recipes.measuring import Figures
from archive_proc.recipes.recipe import (
    Arrays,
    Block,
    BlockOutput,
    Cost,
    Pass,
    ProductContent,
    RawMain,
    Recipe,
    RecipeInputs,
    RecipeResult,
    TableRead,
)

Float64 = NDArray[np.float64]

PRODUCT = "ifs_lenslet_flat"
MODEL_ERROR = 1e-3
"""Relative error of a throughput that no photon noise shows: PSFlets, pixel response (notes/ifs 6.10)."""


def flat_block(block: Block, inputs: RecipeInputs, shared: Arrays) -> BlockOutput:
    """Sums over the block's usable planes: light and variance in ADU/s, and every plane's figures."""
    instrument = Instrument.of(block, inputs)
    found = extract_block(block, inputs, shared, instrument)
    rows = np.flatnonzero(inputs.planes.usable[block.planes] & shared["read"][block.planes])
    files = inputs.planes.file[block.planes]
    factor = np.array([1.0 / (instrument.masters(int(one)).gain * true_dit(inputs.frames[int(one)])) for one in files])
    useful = np.isfinite(found.variance[rows]) & ((found.flags[rows] & int(Flag.FILLED | Flag.SATURATED)) == 0)
    flux = found.flux[rows].astype(np.float64) * factor[rows, None, None]
    variance = found.variance[rows].astype(np.float64) * factor[rows, None, None] ** 2
    gain = np.array([instrument.masters(int(one)).gain for one in files])
    return BlockOutput(
        {
            "flux": np.where(useful, flux, 0.0).sum(axis=0),
            "variance": np.where(useful, variance, 0.0).sum(axis=0),
            "count": useful.sum(axis=0),
            "correlation": found.correlation,
            "figures": np.stack([found.ridge / gain, found.residual, found.saturated, found.chi2, found.clipped]),
            "shares": _shares(np.where(useful, flux, np.nan), instrument.spectrograph(0)),
            **(
                {
                    "shift": shared["shift"],
                    "shift_error": shared["shift_error"],
                    "unexplained": found.unexplained,
                }
                if block.first == 0
                else {}
            ),
        }
    )


def gather_flat(summaries: Sequence[Arrays], inputs: RecipeInputs, shared: Arrays) -> Arrays:
    """Mean light and its variance over all usable planes, figures of all planes."""
    flux, variance = (np.sum([one[name] for one in summaries], axis=0) for name in ("flux", "variance"))
    count = np.sum([one["count"] for one in summaries], axis=0)
    seen = np.maximum(count, 1)
    return {
        "flux": np.where(count > 0, flux / seen, np.nan),
        "variance": np.where(count > 0, variance / seen**2, np.nan),
        "correlation": summaries[0]["correlation"],
        "figures": np.concatenate([one["figures"] for one in summaries], axis=1),
        "shares": np.concatenate([one["shares"] for one in summaries]),
        "shift": shared["shift"],
        "shift_error": shared["shift_error"],
        "unexplained": summaries[0]["unexplained"],
    }


def close_flat(inputs: RecipeInputs, shared: Arrays) -> RecipeResult:
    """The product `ifs_lenslet_flat`.

    Raises DataFailure AP-IFS-062 where the lamp is faint, saturated or off, AP-IFS-063 where the fit leaves too much of
    the light unexplained, AP-IFS-071 where both ends of the lamp's light lie elsewhere than the filter's, AP-IFS-072
    where its lenslets are not those of the lasers.
    """
    frame = inputs.frames[0]
    where = Instrument(inputs).spectrograph(0)
    ridge, residual, saturated, chi2, clipped = shared["figures"]
    figures = Figures(inputs)
    figures.add(PRODUCT, "lamp_ridge", float(np.median(ridge)), "adu")
    figures.add(PRODUCT, "saturated_fraction", float(np.max(saturated)))
    figures.expect_none_refused(
        "AP-IFS-062", frame.file_id, "quarantine the file: the next flat of the mode is taken, or the nearest night's"
    )
    figures.add(PRODUCT, "flat_residual", float(np.median(residual)))
    figures.add(PRODUCT, "flat_chi2", float(np.median(chi2)))
    figures.add(PRODUCT, "clipped_fraction", float(np.median(clipped)))
    figures.add(PRODUCT, "shift_x", float(np.median(shared["shift"])), "pixel")
    figures.add(PRODUCT, "planes_unlike", _unlike(shared["shares"]))
    found = lenslet_throughput(shared["flux"], shared["variance"], shared["correlation"])
    complete = np.flatnonzero(where.solution.complete)
    beside = where.lenslets.choose(where.solution.complete).steps(ADJACENT)
    figures.add(PRODUCT, "throughput_scatter", local_scatter(found.throughput, beside))
    figures.add(PRODUCT, "unknown_fraction", float(np.isnan(found.throughput).mean()))
    figures.expect_none_refused(
        "AP-IFS-063",
        frame.file_id,
        "look at the wavelength solution and the PSFlets of the night: `explain` the file; another solution is taken "
        "when they are refused",
    )
    ends = _displacements(found.lamp, where, complete)
    figures.add(PRODUCT, "displacement_y", float(ends.mean()), "pixel")
    figures.expect_none_refused(
        "AP-IFS-071",
        frame.file_id,
        "take flat and laser frame of one calibration set: quarantine the one that moved",
        name="IFS_FLAT_DISPLACED",
    )
    seen, lasers = (beside_neighbours(one, beside) for one in (found.throughput, where.solution.throughput[complete]))
    figures.add(PRODUCT, "pattern_agreement", pattern_agreement(seen, lasers))
    figures.expect_none_refused(
        "AP-IFS-072",
        frame.file_id,
        "take flat and laser frame of one calibration set: quarantine the one that is of another grid or instrument",
        name="IFS_FLAT_OF_OTHERS",
    )
    known = np.isfinite(found.throughput)
    flags = np.where(known, 0, int(Flag.FILLED)).astype(np.uint16)
    lenslets = where.lenslets
    edges = where.edges_um
    arrays: Arrays = {
        "hex_q": lenslets.q[complete],
        "hex_r": lenslets.r[complete],
        "lenslet_x": lenslets.x[complete],
        "lenslet_y": lenslets.y[complete],
        # A lenslet without measurement lets through what the typical one does.
        "throughput": np.where(known, found.throughput, 1.0),
        "variance": np.where(known, found.variance + MODEL_ERROR**2, np.nan),
        "flags": flags,
        "lamp": found.lamp,
        "wavelength": 0.5 * (edges[1:] + edges[:-1]),
        "bandwidth": np.diff(edges),
        "residual": shared["unexplained"],
    }
    error = float(np.nanmedian(shared["shift_error"])) if np.isfinite(shared["shift_error"]).any() else None
    attrs = {
        "mode": where.solution.mode,
        "shift_x_px": float(np.median(shared["shift"])),
        "shift_x_error_px": error,
        "model_error": MODEL_ERROR,
        "core_channels": [int(one) for one in np.flatnonzero(found.core)],
    }
    return RecipeResult({PRODUCT: ProductContent(arrays, attrs)}, figures.values, _remarks(known, ends))


def _shares(flux: Float64, where: Spectrograph) -> Float64:
    """(p, regions) typical light of a lenslet in each of 5 x 5 regions of the field over the mean of the regions.

    `flux` (p, complete lenslets, m), NaN where not measured; NaN for a region without lenslets.
    """
    complete = np.flatnonzero(where.solution.complete)
    place = np.full(len(where.lenslets), -1)
    place[complete] = np.arange(complete.size)
    light = np.nansum(flux, axis=2) / np.maximum(np.isfinite(flux).sum(axis=2), 1)
    shares = np.full((len(flux), REGIONS**2), np.nan)
    for region, some in enumerate(field_regions(where, complete)):
        if some.size:
            shares[:, region] = np.median(light[:, place[some]], axis=1)
    seen = np.isfinite(shares)
    mean = np.nansum(shares, axis=1) / np.maximum(seen.sum(axis=1), 1)
    return np.asarray(shares / np.maximum(mean, 1e-30)[:, None])


def _unlike(shares: Float64) -> float:
    """Largest difference between two planes' light in a region; `shares` as `_shares` gives them."""
    known = shares[:, np.isfinite(shares).all(axis=0)]
    return float(np.max(np.ptp(known, axis=0))) if known.size else float("nan")


def _displacements(lamp: Float64, where: Spectrograph, complete: NDArray[np.intp]) -> Float64:
    """(2,) pixels along the dispersion from the filter's blue and red edge to the lamp's; NaN where that is not known.

    Tables know the mean of both and not each of them, so that one alone refuses nothing. Where only one is seen, and
    the lamp is still on at the other end of the channels, its other edge moved at least to about there.
    """
    edges = where.edges_um
    ends = lamp_edges(lamp, 0.5 * (edges[1:] + edges[:-1]))
    if np.isfinite(ends).any():
        ends = np.where(np.isnan(ends) & goes_on(lamp), edges[[0, -1]], ends)
    known = np.isfinite(ends)
    moved = np.full(2, np.nan)
    if not known.any():
        return moved
    cut = np.array(load_tables().ifs.band(where.solution.mode).edges_um)
    found, expected = (where.solution.places(one[known], complete)[1] for one in (ends, cut))
    moved[known] = np.median(found - expected, axis=0)
    return moved


def _remarks(known: NDArray[np.bool_], ends: Float64) -> tuple[Remark, ...]:
    remarks = []
    if not known.all():
        count = int((~known).sum())
        remarks.append(Remark("AP-IFS-064", f"{count} complete lenslets have no measured throughput: 1 is assumed"))
    if np.isnan(ends).any():
        ends_of = zip(("blue", "red"), ends, strict=True)
        seen = [f"only its {name} end, {one:.1f} pixel off" for name, one in ends_of if np.isfinite(one)]
        remarks.append(
            Remark(
                "AP-IFS-071",
                f"the lamp's light shows {seen[0] if seen else 'no end'}: "
                "whether it moved along the dispersion is not known",
            )
        )
    return tuple(remarks)


IFS_LENSLET_FLAT = Recipe(
    name="ifs_lenslet_flat",
    version="1.19.1",
    arm=Arm.IFS,
    subject_kind="group",
    main=RawMain(frame_types=("IFS_FLAT_RAW",)),
    inputs=(DARK, FLAT, BAD_PIXELS, WAVE, PSFLETS),
    outputs=(PRODUCT,),
    parameters=ExtractionParameters,
    tables=(
        TableRead("ifs.detector"),
        TableRead("ifs.channels"),
        TableRead("ifs.bands"),
        TableRead("qc.ifs_lenslet_flat"),
    ),
    passes=(Pass("shift", shift_block, settle_shifts), Pass("extract", flat_block, gather_flat)),
    close=close_flat,
    cost=Cost(cpu_s=9.0, cpu_s_per_plane=1.2, memory_gb=1.4, bytes_out=2_000_000, bytes_out_per_plane=0),
)
