"""What is measured for the pages of a calibration set or of a single raw frame: each product by its kind."""

from __future__ import annotations

import numpy as np

from archive_proc.errors import ArchiveProcError
from archive_proc.instruments.tables import load_tables
from archive_proc.quality.master_kinds import kind_of
from archive_proc.quality.master_sheet import MasterReading
from archive_proc.quality.measured import Measured
from archive_proc.quality.orders import PageOrder
from archive_proc.storage.products import load_product


def measure_master(order: PageOrder) -> Measured:
    """Read the products of one subject; what cannot be read is noted in words, never raised."""
    found = Measured()
    found.facts["band"] = "+".join(order.bands)
    for product in order.products.values():
        kind = product.product_type
        try:
            loaded = load_product(product.group, load_tables().product_types[kind], of_any_version=True)
            # What has no value is not drawn; that it came of a division by zero need not be said twice.
            with np.errstate(all="ignore"):
                kind_of(kind).read(MasterReading(kind, product.group, loaded, found))
        except (ArchiveProcError, KeyError, ValueError, IndexError) as problem:
            found.notes[kind] = f"{kind} cannot be shown: {problem}"
    return found
