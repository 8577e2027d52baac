"""Hostile files: what the bounded scanner answers, in what time and memory, beside astropy reading the same header."""

from __future__ import annotations

import gzip
import multiprocessing
import os
import random
import resource
import tempfile
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from archive_proc.bench.figures import Figure, Report
from archive_proc.bench.one_case import Meter, answer
from archive_proc.simulate.lzw import compress
from archive_proc.storage.fits import format_card

AIM_MS, AIM_MB = 10.0, 50.0
_REPEATS = 5
_BLOCK = 2880
_ASTROPY_S, _ASTROPY_BYTES = 60, 4 << 30
"""Astropy's limits: CPU seconds, address space."""
Value = str | bool | int | float
_STATED: tuple[tuple[str, Value], ...] = (
    ("INSTRUME", "SPHERE"),
    ("OBJECT", "51 Eri"),
    ("RA", 69.40055),
    ("DEC", -2.47355),
    ("EXPTIME", 16.0),
    ("MJD-OBS", 58024.34245341),
    ("DATE-OBS", "2017-09-28T08:13:07.975"),
    ("DPR CATG", "SCIENCE"),
    ("DPR TYPE", "OBJECT"),
    ("DPR TECH", "IMAGE,DUAL,CORONOGRAPHY"),
    ("SEQ ARM", "IRDIS"),
    ("DET SEQ1 DIT", 16.0),
    ("DET NDIT", 3),
    ("INS COMB IFLT", "DB_H23"),
    ("OBS ID", 1547110),
    ("OBS PROG ID", "099.C-9999(A)"),
)


@dataclass(frozen=True, slots=True)
class HostileFile:
    """One case."""

    name: str
    answer: str
    """What the scanner says: a code, `problems`, `truncated` or `read`."""
    write: Callable[[Path], None]
    for_astropy: bool = True
    """False where astropy would wait for ever."""


def _header(*cards: str, axes: tuple[object, ...] = (8, 4, 3), bitpix: object = -32, end: str = "END") -> bytes:
    lines = ["SIMPLE  =                    T", f"BITPIX  = {bitpix:>20}", f"NAXIS   = {len(axes):>20}"]
    lines += [f"NAXIS{n}  = {axis:>20}" for n, axis in enumerate(axes, 1)]
    lines += [*(format_card(*one) for one in _STATED), *cards]
    content = b"".join(line.encode("latin-1").ljust(80) for line in [*lines, *([end] if end else [])])
    return content.ljust(-(-len(content) // _BLOCK) * _BLOCK)


_PIXELS = bytes(_BLOCK)
_GOOD = _header() + _PIXELS


def _bytes(content: bytes | Callable[[], bytes]) -> Callable[[Path], None]:
    """A file of these bytes, or of what is made when it is written."""

    def write(path: Path) -> None:
        path.write_bytes(content() if callable(content) else content)

    return write


def _repeated(head: bytes, piece: bytes, times: int, tail: bytes = b"") -> Callable[[Path], None]:
    """A large file, written piece by piece."""

    def write(path: Path) -> None:
        with path.open("wb") as file:
            file.write(head)
            for _ in range(times):
                file.write(piece)
            file.write(tail)

    return write


def _bomb(head: bytes, megabytes: int) -> Callable[[Path], None]:
    """A gzip file of so many MB of zeros behind a header, made of one compressed piece: quick to write."""

    def write(path: Path) -> None:
        packer, piece = zlib.compressobj(wbits=31), zlib.compressobj(wbits=-15)
        zeros = piece.compress(bytes(1 << 20)) + piece.flush(zlib.Z_FULL_FLUSH)
        size = len(head) + (megabytes << 20)
        with path.open("wb") as file:
            file.write(packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH))
            for _ in range(megabytes):
                file.write(zeros)
            # An empty last block, a checksum that nobody reaches, the size.
            file.write(b"\x03\0" + bytes(4) + (size % 2**32).to_bytes(4, "little"))

    return write


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _linked(target: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.symlink_to(target)

    return write


def _noise() -> bytes:
    return random.Random(1).randbytes(1 << 20)  # noqa: S311  # noise


def _units(count: int) -> bytes:
    return (
        b"".join(
            [
                b"XTENSION= 'IMAGE   '".ljust(80),
                b"BITPIX  =                    8".ljust(80),
                b"NAXIS   =                    0".ljust(80),
                b"PCOUNT  =                    0".ljust(80),
                b"GCOUNT  =                    1".ljust(80),
                b"END".ljust(_BLOCK - 400),
            ]
        )
        * count
    )


def _tiles() -> bytes:
    shell_cards = (
        b"SIMPLE  =                    T",
        b"BITPIX  =                    8",
        b"NAXIS   =                    0",
        b"EXTEND  =                    T",
    )
    shell = b"".join(line.ljust(80) for line in shell_cards)
    table = (
        "BITPIX  =                    8",
        "NAXIS   =                    2",
        "NAXIS1  =                    8",
        "NAXIS2  =                   10",
        "PCOUNT  =                    0",
        "GCOUNT  =                    1",
        "TFIELDS =                    1",
        "TTYPE1  = 'COMPRESSED_DATA'",
        "TFORM1  = '1PB(100)'",
        "ZIMAGE  =                    T",
        "ZCMPTYPE= 'RICE_1  '",
        "ZBITPIX =                  -32",
        "ZNAXIS  =                    2",
        "ZNAXIS1 =              2000000",
        "ZNAXIS2 =              2000000",
    )
    cards = ["XTENSION= 'BINTABLE'", *table, *(format_card(*one) for one in _STATED), "END"]
    held = b"".join(one.encode().ljust(80) for one in cards)
    return (shell + b"END".ljust(80)).ljust(_BLOCK) + held.ljust(-(-len(held) // _BLOCK) * _BLOCK) + _PIXELS


_COMMENT = b"COMMENT".ljust(80)
_LARGE = _header(axes=(2048, 1024, 2))

CASES: tuple[HostileFile, ...] = (
    HostileFile("no END within 64 MB", "AP-ING-004", _repeated(_header(end=""), _COMMENT * 13_107, 64)),
    HostileFile("32 MB of cards", "AP-ING-004", _repeated(_header(end=""), _COMMENT * 13_107, 32, b"END".ljust(80))),
    HostileFile(
        "600 000 cards",
        "AP-ING-004",
        _repeated(_header(end=""), b"HIERARCH ESO DET X = 1.5".ljust(80) * 10_000, 60, b"END".ljust(80)),
    ),
    HostileFile(
        "a header of 9 170 cards",
        "truncated",
        _bytes(lambda: _header(*(f"HIERARCH ESO X{n} = {n}.5" for n in range(9150)))),
    ),
    HostileFile("noise", "AP-ING-003", _bytes(_noise)),
    HostileFile("zeros", "AP-ING-003", _bytes(bytes(1 << 20))),
    HostileFile("empty", "AP-ING-002", _bytes(b"")),
    HostileFile("HTML page", "AP-ING-003", _bytes(b"<!DOCTYPE html><html><body>503</body></html>")),
    HostileFile("cut in the header", "AP-ING-004", _bytes(_GOOD[:1000])),
    HostileFile("cut in the data", "truncated", _bytes(_header(axes=(64, 64, 8)) + _PIXELS)),
    HostileFile("pipe", "AP-ING-001", _pipe, for_astropy=False),
    HostileFile("link to a device", "AP-ING-001", _linked("/dev/zero"), for_astropy=False),
    HostileFile("link to itself", "AP-ING-001", _linked("SPHER.2017-09-28T08_13_07.975.fits")),
    HostileFile("axes near 2^63", "AP-ING-005", _bytes(_header(axes=(2**63 - 1, 2**63 - 1)) + _PIXELS)),
    HostileFile("axis of 60 digits", "AP-ING-005", _bytes(_header(axes=("9" * 60,)) + _PIXELS)),
    HostileFile("axes of 2 000 000", "AP-ING-005", _bytes(_header(axes=(2_000_000, 2_000_000)) + _PIXELS)),
    HostileFile("negative axis", "AP-ING-005", _bytes(_header(axes=(8, -4)) + _PIXELS)),
    HostileFile(
        "999 axes, none stated",
        "AP-ING-005",
        _bytes(_header().replace(b"=                    3", b"=                  999", 1)),
    ),
    HostileFile("BITPIX 12", "AP-ING-005", _bytes(_header(bitpix=12) + _PIXELS)),
    HostileFile("control bytes", "problems", _bytes(_header("CTRL    = 'a\x00\x07\x1b[31mb'") + _PIXELS)),
    HostileFile("bytes above 127", "problems", _bytes(_header("HIGH    = '\xff\xfe\x80'") + _PIXELS)),
    HostileFile("string without end", "problems", _bytes(_header("HIERARCH ESO OBS NAME = 'never") + _PIXELS)),
    HostileFile("value 1e999", "problems", _bytes(_header("HIERARCH ESO TEL AMBI RHUM = 1e999") + _PIXELS)),
    HostileFile("repeated keyword", "problems", _bytes(_header("HIERARCH ESO DET SEQ1 DIT = 99.") + _PIXELS)),
    HostileFile("HIERARCH without =", "problems", _bytes(_header("HIERARCH ESO NO SIGN AT ALL") + _PIXELS)),
    HostileFile("END inside values", "read", _bytes(_header("NOTE    = 'END     END'", "COMMENT END     ") + _PIXELS)),
    HostileFile("gzip bomb, 1 GB declared", "AP-ING-006", _bomb(_header(axes=(2048, 1024, 128)), 1024)),
    HostileFile("gzip bomb behind the data", "problems", _bomb(_GOOD, 1024)),
    HostileFile("gzip stream cut", "truncated", _bytes(lambda: gzip.compress(_LARGE + _noise(), 1)[:-9])),
    HostileFile("gzip stream damaged", "AP-ING-006", _bytes(gzip.compress(_GOOD)[:40] + b"damaged" * 99)),
    HostileFile("LZW bomb", "read", _bytes(lambda: compress(_header(axes=(1024, 1024)) + bytes(1 << 22)))),
    HostileFile("LZW stream damaged", "AP-ING-006", _bytes(compress(_GOOD)[:200] + b"\xff" * 600)),
    HostileFile(
        "20 000 units", "AP-ING-005", _repeated(_header(axes=()).replace(b"INSTRUME", b"INSTRUMX"), _units(1000), 20)
    ),
    HostileFile("20 000 units of a SPHERE file", "AP-ING-005", _repeated(_header(axes=()), _units(1000), 20)),
    HostileFile("forged compressed image", "AP-ING-005", _bytes(_tiles())),
)
"""Of notes/storage 3.1 and notes/workflow 9, and some of their kind."""


def bench_hostile(folder: Path, *, astropy: bool = True) -> Report:
    """Every case: CPU ms and MB of the answer, beside astropy's for the header alone."""
    figures: list[Figure] = []
    good = folder / "SPHER.2017-09-28T08_13_00.000.fits"
    good.write_bytes(_GOOD)
    answer(good, scan_only=True)
    for case in CASES:
        place = Path(tempfile.mkdtemp(dir=folder))
        path = place / "SPHER.2017-09-28T08_13_07.975.fits"
        case.write(path)
        words, costs = set(), []
        for _ in range(_REPEATS):
            meter = Meter()
            words.add(answer(path, scan_only=True)[0])
            costs.append(meter.cost())
        theirs = _astropy(path) if astropy and case.for_astropy else None
        path.unlink()
        said = ", ".join(sorted(words))
        right = words == {case.answer}
        name = f"{case.name} -> {said}" + ("" if right else f" (not {case.answer})")
        reference = (
            "astropy: would wait for ever" if not case.for_astropy else f"astropy: {theirs[2]}" if theirs else ""
        )
        figures.append(
            Figure(
                case=name,
                name="answer",
                unit="ms CPU",
                aim=AIM_MS,
                n=_REPEATS,
                value=1000 * min(one.cpu_s for one in costs) if right else None,
                reference=reference,
                reference_value=theirs[0] if theirs else None,
            )
        )
        figures.append(
            Figure(
                case=name,
                name="peak memory",
                unit="MB",
                aim=AIM_MB,
                n=_REPEATS,
                value=max(one.peak_bytes for one in costs) / 1e6 if right else None,
                reference=reference,
                reference_value=theirs[1] if theirs else None,
            )
        )
    return Report("hostile", tuple(figures))


def _astropy(path: Path) -> tuple[float, float, str]:
    """CPU ms, MB and outcome of astropy reading the header, in a process of its own."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=_read_by_astropy, args=(str(path), theirs))
    process.start()
    theirs.close()
    try:
        found: tuple[float, float, str] = ours.recv()
    except EOFError:
        found = (1000.0 * _ASTROPY_S, _ASTROPY_BYTES / 1e6, "killed at its limit")
    process.join()
    return found


def _read_by_astropy(path: str, to: Connection) -> None:
    from astropy.io import fits

    resource.setrlimit(resource.RLIMIT_CPU, (_ASTROPY_S, _ASTROPY_S))
    resource.setrlimit(resource.RLIMIT_AS, (_ASTROPY_BYTES, _ASTROPY_BYTES))
    meter = Meter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with fits.open(path, memmap=False) as units:
                said = f"{sum(len(unit.header) for unit in units)} cards"
        except BaseException as error:  # whatever it is, it is what astropy says
            said = type(error).__name__
    cost = meter.cost()
    to.send((1000 * cost.cpu_s, cost.peak_bytes / 1e6, said))
