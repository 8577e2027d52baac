"""What is measured for the page of an IFS observation, from its sealed products and one raw plane."""

from __future__ import annotations

from archive_proc.errors import ArchiveProcError
from archive_proc.quality.ifs_cube import read_centered, read_psf
from archive_proc.quality.ifs_spectra import read_spectra
from archive_proc.quality.ifs_tracks import read_center, read_photometry
from archive_proc.quality.measured import Measured
from archive_proc.quality.observation import measure_raw
from archive_proc.quality.orders import PageOrder


def measure_ifs_observation(order: PageOrder) -> Measured:
    """Read and reduce everything the page shows; what cannot be read is noted in words, never raised."""
    found = Measured()
    # Spectra first: wavelengths and times of the planes are theirs.
    for name, read in (
        ("ifs_spectra", read_spectra), ("ifs_centered_cube", read_centered), ("psf", read_psf),
        ("center", read_center), ("photometry", read_photometry),
    ):  # fmt: skip
        product = order.products.get(name)
        if product is None:
            continue
        try:
            read(order, product, found)
        except (ArchiveProcError, KeyError, ValueError, IndexError) as problem:
            found.notes[name] = f"{name} cannot be shown: {problem}"
    measure_raw(order, found)
    return found
