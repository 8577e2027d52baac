"""Pixel flags of all products (DESIGN 8): one table for both arms."""

from __future__ import annotations

from enum import IntFlag


class Flag(IntFlag):
    """Reasons why a pixel is not, or not fully, to be trusted; uint16 in products."""

    OUTSIDE = 1
    DEAD = 2
    HOT = 4
    NOISY = 8
    NONLINEAR = 16
    SATURATED = 32
    COSMIC = 64
    PERSISTENCE = 128
    FILLED = 256
    LOW_WEIGHT = 512
    BACKGROUND_UNCONSTRAINED = 1024
    NEW_BAD = 2048
    SUSPECT = 4096
    EDGE = 8192
    NEVER_WRITTEN = 32768


FLAG_MEANINGS: tuple[str, ...] = tuple(flag.name for flag in Flag if flag.name)
FLAG_MASKS: tuple[int, ...] = tuple(int(flag) for flag in Flag)
