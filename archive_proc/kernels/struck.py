"""A plane's fit without some of its pixels: only the lenslets that these touch are fitted again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from archive_proc.kernels.joint_fit import Equations, relax

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]

LEAST_LOST, LEAST_PULL = 0.01, 0.2
"""Share of a channel's information that pixels hold, sigma that they move a channel by: below both, a lenslet is left
as it is."""
CHANGED = 0.25
"""Mean share of a lenslet's channels that hits hold, beyond which they are none: a track crosses a spectrum in a few
channels, a star that moved brightens all of them."""


class Struck:
    """The fit of a plane without some pixels: whenever these change, the lenslets they touch are fitted again."""

    def __init__(self, equations: Equations, sweeps: int) -> None:
        self._equations, self._sweeps = equations, sweeps
        self._without = np.zeros(equations.weight.shape, np.uint8)
        self.variance = equations.covariance[:, 0].copy()
        """(n, m) by the planes' common weights."""

    def follow(self, missing: UInt8, residual: Float32, flux: Float32) -> bool:
        """Bring flux (1, n, m) and residual (ny, nx) in line with the missing pixels; False: nothing changed."""
        changed = missing ^ self._without
        if not changed.any():
            return False
        self._without = missing.copy()
        lost, pull = touched_by(self._equations, changed, residual)
        members = np.flatnonzero((lost.max(axis=1) > LEAST_LOST) | (pull > LEAST_PULL)).astype(np.int32)
        with self._equations.without(np.flatnonzero(missing), members) as own:
            relax(own, residual[None], flux, self._sweeps)
            self.variance[members] = own.covariance[:, 0]
        return True


def touched_by(equations: Equations, missing: UInt8, residual: Float32) -> tuple[Float32, Float32]:
    """What some pixels are to every channel (n, m) and lenslet (n,): `touched_lenslets`."""
    from archive_proc.kernels.loops.touched import touched_lenslets

    lost, pull = np.empty(equations.information.shape, np.float32), np.empty(len(equations.information), np.float32)
    touched_lenslets(*equations.place, equations.weight, missing, residual, equations.information, lost, pull)
    return lost, pull


def changed_windows(equations: Equations, hits: NDArray[np.intp], light: Float32) -> Mask | None:
    """(ny, nx) True in the windows of lenslets that hits (flat places) run along; None where there is no such lenslet.

    Out of the fit such a spectrum would stay out: nothing but its own pixels says what it holds.
    """
    from archive_proc.kernels.loops.touched import mark_windows

    if not hits.size:
        return None
    missing = np.zeros(light.shape, np.uint8)
    missing.reshape(-1)[hits] = 1
    changed = np.flatnonzero(touched_by(equations, missing, light)[0].mean(axis=1) > CHANGED)
    if not changed.size:
        return None
    beyond = np.ones_like(missing)
    mark_windows(equations.templates.x0[changed], equations.templates.y0[changed], beyond)
    return np.asarray(beyond == 0)
