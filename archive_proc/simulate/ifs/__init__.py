"""The integral-field spectrograph: raw nights in the modes YJ and YH with known truth (notes/ifs.md sections 1, 2, 10).

Optics, geometry and detector are this package's own; nothing is shared with kernels or recipes. What a seed draws, and
from which range, stands with what is drawn:

- `geometry.make_lenslets`, `make_grid`: throughput, the grid's place, distortion, each lenslet's own displacement
- `psflets.draw_optics`, `assign_nodes`: aberrations over field and wavelength, slit image, scatter, charge diffusion
- `spectra.draw_passband`: filter edges, fringes; `instrument._lamps`: spectra, levels and slopes of lamps and lasers
- `detector.make_detector`: response, background, bad pixels, noise, cosmic rays
- `instrument.draw_flexure`, `make_instrument`: flexure, long-range halo
- `starlight.StarScene`: aberrations, halo, air, the star's place
"""
