"""A whole night on disk: raw files in ESO's format, truth in a folder beside them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from archive_proc.errors import PreconditionError
from archive_proc.simulate.detector import (
    Detector,
    binned_detector,
    binned_light,
    expose,
    make_detector,
    with_new_hot_pixels,
)
from archive_proc.simulate.facts import FILTERS, filter_setup
from archive_proc.simulate.headers import cards_of
from archive_proc.simulate.raw_file import write_raw
from archive_proc.simulate.repeated import Piece, piece_of, stored_cards, write_pieces
from archive_proc.simulate.scenes import PlaneTruth, SequenceScene
from archive_proc.simulate.spec import COSMICS_PER_S, NightSpec, SequenceSpec
from archive_proc.simulate.thermal import SPREAD, ThermalField, ThermalState
from archive_proc.simulate.timeline import Exposure, timeline
from archive_proc.simulate.truth import (
    SequenceTruth,
    Truth,
    save_read_out,
    save_starlight,
    save_truth,
    truth_directory,
)


def simulate_night(
    directory: Path, night: NightSpec, seed: int, *, keep_starlight: bool = False, beside: Path | None = None
) -> Truth:
    """Write a night's raw files into `directory` and its truth into `beside`, else `<directory>.truth`.

    The same spec and seed give the same bytes. About 0.2 s CPU and 8 MB a plane. `keep_starlight` also writes the
    noise-free starlight of every science plane (8 MB each, `SequenceTruth.starlight`). Raises PreconditionError
    AP-SIM-004 when `directory` already holds files.
    """
    if directory.exists() and any(directory.iterdir()):
        raise PreconditionError(
            "AP-SIM-004", "the directory is not empty", subject=str(directory), remedy="give a new directory"
        )
    directory.mkdir(parents=True, exist_ok=True)
    return _Night(directory, night, seed, keep_starlight, beside or truth_directory(directory)).write()


def science_letter(spec: SequenceSpec) -> str:
    """The letter of the files that are the sequence's science."""
    return "C" if spec.continuous_waffle else "O"


def sequence_name(index: int, spec: SequenceSpec) -> str:
    """Name of a sequence and of its folder of truth."""
    return f"{index + 1}_{spec.star.name}_{spec.filter}"


class _Night:
    """State of one simulation: the instrument's constants, the scene of the sequence being written, truth so far."""

    def __init__(self, directory: Path, night: NightSpec, seed: int, keep_starlight: bool, beside: Path) -> None:
        self.directory = directory
        self.beside = beside
        self.keep_starlight = keep_starlight
        self.night = night
        self.seed = seed
        self.detector: Detector = binned_detector(make_detector(self._rng(0)), night.binning)
        self.exposures = timeline(night, self._rng(1))
        self._headers = self._rng(2)
        self._noise = self._rng(3)
        self._detectors: dict[int, tuple[Detector, NDArray[np.intp]]] = {}
        self._fields: dict[str, tuple[ThermalField, ThermalField]] = {}
        self._scene: tuple[int, SequenceScene] | None = None
        self._rows: dict[int, list[PlaneTruth]] = {index: [] for index in range(len(night.sequences))}
        self._strehl: dict[int, tuple[float, float]] = {}
        self._last_setup: tuple[str, float] | None = None
        self._pieces: dict[tuple[int, tuple[int, int]], list[Piece]] = {}
        """Planes to be repeated, by sequence and dither."""

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence([self.seed, *stream]))

    def write(self) -> Truth:
        files = []
        suffix = ".fits.gz" if self.night.compress else ".fits"
        for counter, exposure in enumerate(self.exposures, start=1):
            path = self.directory / f"{exposure.file_id}{suffix}"
            sequence = self.night.sequences[exposure.sequence] if exposure.sequence >= 0 else None
            cards = cards_of(exposure, sequence, self._headers, counter, self.night.binning)
            if sequence is not None and self.night.distinct_planes and exposure.letter == science_letter(sequence):
                whole, packed = self.night.whole_numbers, self.night.compress
                write_pieces(path, stored_cards(cards, whole_numbers=whole), self._repeated(exposure), packed=packed)
            else:
                write_raw(path, cards, self._planes(exposure), compress=self.night.compress)
            files.append(path)
        truths = tuple(self._sequence_truth(index, one) for index, one in enumerate(self.night.sequences))
        for one in truths:
            save_truth(one.folder, one)
        return Truth(self.directory, self.beside, tuple(files), truths)

    def _repeated(self, exposure: Exposure) -> Iterator[Piece]:
        """The planes of a science file, rendered anew only until there are enough of its dither."""
        enough = self.night.distinct_planes or 1
        pieces = self._pieces.setdefault((exposure.sequence, exposure.dither), [])
        for pixels in itertools.islice(self._planes(exposure), max(0, enough - len(pieces))):
            pieces.append(piece_of(pixels, whole_numbers=self.night.whole_numbers, packed=self.night.compress))
        for plane in range(exposure.ndit):
            yield pieces[plane % len(pieces)]

    def _planes(self, exposure: Exposure) -> Iterator[NDArray[np.float32]]:
        first = self._last_setup != (exposure.filter, exposure.dit_s)
        self._last_setup = (exposure.filter, exposure.dit_s)
        for plane in range(exposure.ndit):
            light = self._light(exposure, plane)
            detector, cosmics = self.detector, COSMICS_PER_S
            if exposure.sequence >= 0:
                detector = self._detector_of(exposure.sequence)[0]
                cosmics = self.night.sequences[exposure.sequence].cosmics_per_s
            if light is not None:
                light = binned_light(light, self.night.binning)
            done = expose(
                detector, light, exposure.dit_s, self._noise, first=first and plane == 0, cosmics_per_s=cosmics
            )
            if self._is_kept(exposure):
                save_read_out(self._folder(exposure.sequence), exposure.file_id, plane, done)
            yield done.signal

    def _detector_of(self, sequence: int) -> tuple[Detector, NDArray[np.intp]]:
        """The detector as this sequence finds it, and the pixels that its calibrations do not know as hot."""
        if sequence not in self._detectors:
            count = self.night.sequences[sequence].new_hot_pixels
            known = (self.detector, np.empty(0, np.intp))
            self._detectors[sequence] = (
                with_new_hot_pixels(self.detector, count, self._rng(6, sequence)) if count else known
            )
        return self._detectors[sequence]

    def _is_kept(self, exposure: Exposure) -> bool:
        """Whether the starlight of its planes is written: science planes."""
        if not self.keep_starlight or exposure.sequence < 0:
            return False
        return exposure.letter == science_letter(self.night.sequences[exposure.sequence])

    def _folder(self, sequence: int) -> Path:
        name = sequence_name(sequence, self.night.sequences[sequence])
        return self.beside / name

    def _light(self, exposure: Exposure, plane: int) -> NDArray[np.float32] | None:
        if exposure.sequence >= 0:
            scene = self._scene_of(exposure.sequence)
            light, truth = scene.render(exposure, plane)
            self._rows[exposure.sequence].append(truth)
            if self._is_kept(exposure):
                light_of_star = light - scene.thermal(exposure, plane)
                save_starlight(self._folder(exposure.sequence), exposure.file_id, plane, light_of_star)
            return light
        if exposure.dpr_type == "DARK":
            return None
        steady = ThermalState(np.zeros(len(SPREAD) + 4, np.float32))
        halves = [
            field.render(steady, exposure.dit_s, (0, 0), internal=True) for field in self._thermal(exposure.filter)
        ]
        light = np.concatenate(halves, axis=1)
        if exposure.dpr_type == "FLAT,LAMP":
            light += np.float32(filter_setup(exposure.filter).lamp_adu_s * exposure.dit_s)
        return light

    def _thermal(self, name: str) -> tuple[ThermalField, ThermalField]:
        if name not in self._fields:
            rng = self._rng(4, list(FILTERS).index(name))
            left, right = (ThermalField(band, half, rng) for half, band in enumerate(filter_setup(name).bands))
            self._fields[name] = (left, right)
        return self._fields[name]

    def _scene_of(self, index: int) -> SequenceScene:
        # One scene at a time: its templates are 100 MB, and sequences follow one another.
        if self._scene is None or self._scene[0] != index:
            spec = self.night.sequences[index]
            exposures = tuple(one for one in self.exposures if one.sequence == index)
            scene = SequenceScene(spec, exposures, self._thermal(spec.filter), self._rng(5, index))
            self._scene = (index, scene)
            self._strehl[index] = scene.strehl0
        return self._scene[1]

    def _sequence_truth(self, index: int, spec: SequenceSpec) -> SequenceTruth:
        rows = self._rows[index]
        bands = filter_setup(spec.filter).bands
        return SequenceTruth(
            name=sequence_name(index, spec),
            raw_file=tuple(row.exposure.file_id for row in rows),
            frame_idx=np.array([row.plane for row in rows], np.int64),
            frame_type=tuple(row.exposure.dpr_type for row in rows),
            in_sequence=np.array([row.exposure.letter == science_letter(spec) for row in rows]),
            dither=np.array([row.exposure.dither for row in rows], np.int64),
            dit=np.array([row.exposure.dit_s for row in rows]),
            mjd=np.array([row.mjd for row in rows]),
            parang=np.array([row.parallactic_deg for row in rows]),
            epsilon=np.array([row.epsilon_deg for row in rows]),
            derot=np.array([row.derotation_deg for row in rows]),
            center=np.stack([row.center for row in rows]),
            trans=np.array([row.transmission for row in rows]),
            core=np.stack([row.core for row in rows]),
            jitter_mas=np.stack([row.motion_mas for row in rows]),
            pix=(bands[0].scale_mas, bands[1].scale_mas),
            wave=(1000.0 * bands[0].wavelength_um, 1000.0 * bands[1].wavelength_um),
            companions=spec.star.companions,
            flux_star=spec.star.flux_adu_s,
            strehl0=self._strehl[index],
            thermal=np.stack([row.thermal for row in rows]),
            flat=self.detector.response,
            pedestal=self.detector.pedestal,
            bad=self.detector.bad,
            new_hot=self._detector_of(index)[1],
            folder=self._folder(index),
        )
