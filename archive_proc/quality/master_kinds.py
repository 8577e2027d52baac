"""Which page shows which product of a calibration set or single frame, listed once; any other gets a plain page."""

from __future__ import annotations

from collections.abc import Mapping

from archive_proc.quality.detector_master import PICTURES, read_detector
from archive_proc.quality.detector_page import detector_height, draw_detector
from archive_proc.quality.frame_page import FRAME_SPECTRA
from archive_proc.quality.lattice_page import LATTICE
from archive_proc.quality.lenslet_flat_page import LENSLET_FLAT
from archive_proc.quality.master_sheet import MasterKind
from archive_proc.quality.plain_page import PLAIN
from archive_proc.quality.psflet_page import PSFLETS
from archive_proc.quality.wavelength_page import WAVELENGTH

DETECTOR = MasterKind(read=read_detector, height=detector_height, draw=draw_detector, pictures=PICTURES)

KINDS: Mapping[str, MasterKind] = {
    "dark": DETECTOR,
    "instrument_background": DETECTOR,
    "detector_flat": DETECTOR,
    "bad_pixels": DETECTOR,
    "sky_basis": DETECTOR,
    "ifs_spectra_positions": LATTICE,
    "ifs_wavelength_solution": WAVELENGTH,
    "ifs_psflets": PSFLETS,
    "ifs_lenslet_flat": LENSLET_FLAT,
    "ifs_spectra": FRAME_SPECTRA,
}


def kind_of(product_type: str) -> MasterKind:
    """How a product type is shown."""
    return KINDS.get(product_type, PLAIN)
