"""Raw files gone wrong at random, the same for the same seed: in structure, in values, in the wrapper around them."""

from __future__ import annotations

import gzip
import io
import random
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from archive_proc.ingest.display import header_of_display
from archive_proc.simulate import headers as simulated
from archive_proc.simulate.demo import demo_spec
from archive_proc.simulate.lzw import compress
from archive_proc.simulate.raw_file import header_bytes
from archive_proc.simulate.timeline import timeline

FORMS = ("plain", "gz", "Z", "fz", "shell")
_CARD, _BLOCK = 80, 2880
_SHAPE = (3, 4, 8)
_STRUCTURE = (
    "SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "PCOUNT", "GCOUNT", "TFIELDS", "THEAP",
    "TFORM1", "TTYPE1", "ZIMAGE", "ZCMPTYPE", "ZBITPIX", "ZNAXIS", "ZNAXIS1", "ZNAXIS2", "ZNAXIS3", "ZTILE1", "ZTILE2",
    "ZTILE3", "ZNAME1", "ZVAL1", "ZNAME2", "ZVAL2", "ZQUANTIZ", "ZBLANK", "BZERO", "BSCALE", "BLANK", "EXTEND",
)  # fmt: skip
_VALUES = (
    "0", "-1", "1", "2", "3", "8", "16", "-32", "-64", "999", "1000", "2048", "32767", "65536", "2147483647",
    "-2147483648", "4294967296", "9223372036854775807", "9223372036854775808", "2000000", "1099511627776", "9" * 60,
    "1e999", "-1e999", "1E308", "1D-400", "nan", "NaN", "inf", "0x10", "1.5", "-0", "+", ".", "1.", "T", "F", "",
    "'", "''", "'never closed", "'1PB(2147483647)'", "'1QB(9223372036854775807)'", "'999999999J'", "'1PJ'", "'0A'",
    "'RICE_1'", "'GZIP_2'", "'HCOMPRESS_1'", "'PLIO_1'", "'NOCOMPRESS'",
    "'BLOCKSIZE'", "'BYTEPIX'", "'../../etc/passwd'", "'; rm -rf ~'",
    "'\"); DROP TABLE files;--'", "'\x1b[2J\x1b]0;title\x07'", "'\x00'", "'\xff\xfe'", "'<script>alert(1)</script>'",
    "'&'", "'CON'", "'2017-13-45T99:99:99'", "'9999-12-31T23:59:59.999'", "'0001-01-01T00:00:00'", "'SPHERE'",
    "'ZIMPOL'", "'IFS'", "'SPARTA'", "1 / 2 / 3", "/", "= =", "T / " + "x" * 60,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutant:
    """One file."""

    name: str
    """What was done: `plain: value, byte`."""
    content: bytes


def bases(displays: Path | None) -> tuple[bytes, ...]:
    """Headers to begin with, padded: displayed real ones (`SPHER.*.hdr`), else the simulator's."""
    shown = sorted(displays.glob("SPHER.*.hdr")) if displays and displays.is_dir() else []
    if shown:
        return tuple(header_of_display(one.read_text()) for one in shown)
    spec, rng = demo_spec(), np.random.default_rng(1)
    chosen = timeline(spec, rng)
    cards = [simulated.cards_of(one, spec.sequences[0], rng, n) for n, one in enumerate(chosen[:12])]
    return tuple(header_bytes(one) for one in cards)


class Mutator:
    """Makes mutants of some headers."""

    def __init__(self, headers: Sequence[bytes]) -> None:
        self._headers = [_small(header) for header in headers]
        self._tiled = [_tiled(header) for header in self._headers[:6]]

    def mutant(self, seed: int, number: int) -> Mutant:
        """The mutant of a seed and number: always the same one."""
        rng = random.Random(f"{seed}:{number}")  # noqa: S311  # varies files, guards nothing
        form = rng.choice(FORMS)
        content = bytearray(rng.choice(self._tiled) if form == "fz" else self._plain(rng))
        if form == "shell":
            content = bytearray(_shelled(bytes(content)))
        done = []
        for _ in range(rng.choice((1, 1, 2, 3, 6))):
            name = rng.choice(tuple(_MUTATIONS))
            _MUTATIONS[name](content, rng)
            # Something is left for the next one.
            content += b"" if content else b"S"
            done.append(name)
        wrapped = _WRAPPERS.get(form, bytes)(bytes(content))
        if form in _WRAPPERS and rng.random() < 0.4:
            wrapped = _broken(bytearray(wrapped), rng)
            done.append("wrapper")
        return Mutant(f"{form}: {', '.join(done)}", wrapped)

    def _plain(self, rng: random.Random) -> bytes:
        header = rng.choice(self._headers)
        if rng.random() < 0.5:
            header = _short(header)
        return header + np.arange(np.prod(_SHAPE), dtype=">f4").tobytes().ljust(_BLOCK, b"\0")


def _cards(header: bytes) -> list[bytes]:
    """Cards before END."""
    cards = [header[at : at + _CARD] for at in range(0, len(header), _CARD)]
    return cards[: next(n for n, card in enumerate(cards) if card.rstrip() == b"END")]


def _joined(cards: Sequence[bytes]) -> bytes:
    content = b"".join(cards) + b"END".ljust(_CARD)
    return content.ljust(-(-len(content) // _BLOCK) * _BLOCK)


def _small(header: bytes) -> bytes:
    """The header with small axes, so that its pixels can stand behind it."""
    axes = [b"NAXIS%d  = %20d" % (n, length) for n, length in enumerate(reversed(_SHAPE), 1)]
    head = [b"SIMPLE  =                    T", b"BITPIX  =                  -32", b"NAXIS   =                    3"]
    own = (b"SIMPLE ", b"BITPIX ", b"NAXIS", b"BZERO ", b"BSCALE ", b"HIERARCH ESO DET SEQ1 WIN N")
    return _joined(
        [*(one.ljust(_CARD) for one in (*head, *axes)), *(one for one in _cards(header) if not one.startswith(own))]
    )


def _short(header: bytes) -> bytes:
    """The cards that say something: quick to read, so that most of the time goes into odd ones."""
    cards = _cards(header)
    wanted = (b"SIMPLE", b"BITPIX", b"NAXIS", b"INSTRUME", b"DATE-OBS", b"MJD-OBS", b"OBJECT", b"RA ", b"DEC ",
              b"ARCFILE", b"ORIGFILE", b"EXPTIME")  # fmt: skip
    eso = (
        b"DPR",
        b"SEQ ARM",
        b"DET SEQ1",
        b"DET NDIT",
        b"DET ID",
        b"DET FRAM",
        b"OBS ",
        b"TPL ",
        b"INS COMB",
        b"INS4 DROT2",
        b"INS4 COMB",
        b"TEL AMBI",
    )
    starts = (*wanted, *(b"HIERARCH ESO " + one for one in eso))
    return _joined([card for card in cards if card.startswith(starts)][:150])


def _shelled(content: bytes) -> bytes:
    """The image in the first extension behind an empty primary unit."""
    shell = _joined([one.ljust(_CARD) for one in (
        b"SIMPLE  =                    T", b"BITPIX  =                    8", b"NAXIS   =                    0",
    )])  # fmt: skip
    return shell + b"XTENSION= 'IMAGE   '".ljust(_CARD) + content[_CARD:]


def _tiled(header: bytes) -> bytes:
    """A tile-compressed file with these cards, as fpack would write it."""
    from astropy.io import fits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cards = fits.Header.fromstring(_short(header).decode("ascii", "replace"))
        image = fits.CompImageHDU(np.arange(np.prod(_SHAPE), dtype=np.int32).reshape(_SHAPE), cards)
        held = io.BytesIO()
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(held)
    return held.getvalue()


def _byte(content: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 3, 30, 300))):
        content[rng.randrange(len(content))] = rng.randrange(256)


def _header_byte(content: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 3, 30))):
        content[rng.randrange(min(len(content), 4 * _BLOCK))] = rng.randrange(256)


def _value(content: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 5, 40))):
        at = _CARD * rng.randrange(max(1, len(content) // _CARD))
        _set(content, at, rng)


def _structure(content: bytearray, rng: random.Random) -> None:
    """Another value for a card that says how the file is made, wherever it stands."""
    for key in rng.sample(_STRUCTURE, rng.choice((1, 1, 2, 4))):
        places = [at for at in range(0, min(len(content), 80 * _BLOCK), _CARD) if content.startswith(key.encode(), at)]
        for at in places:
            _set(content, at, rng)


def _set(content: bytearray, at: int, rng: random.Random) -> None:
    card = bytes(content[at : at + _CARD])
    key, sign, _ = card.partition(b"=")
    if sign and len(card) == _CARD:
        content[at : at + _CARD] = (key + b"= " + rng.choice(_VALUES).encode("latin-1"))[:_CARD].ljust(_CARD)


def _card(content: bytearray, rng: random.Random) -> None:
    """A card taken out, doubled, moved, or a strange one put in."""
    count = max(2, min(len(content), 40 * _BLOCK) // _CARD)
    at, other = (_CARD * rng.randrange(count) for _ in range(2))
    card = bytes(content[at : at + _CARD])
    strange = rng.choice(
        (b"END", b"CONTINUE  'x&'", b"HIERARCH ESO NO SIGN", b"COMMENT \x1b[31m", b"", b"BADCARD", card)
    )
    if rng.random() < 0.5:
        content[other : other + _CARD] = strange[:_CARD].ljust(_CARD)
    elif rng.random() < 0.5:
        del content[at : at + _CARD]
    else:
        content[other:other] = strange[:_CARD].ljust(_CARD)


def _cut(content: bytearray, rng: random.Random) -> None:
    del content[rng.randrange(len(content)) :]


def _shift(content: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(content))
    content[at:at] = rng.randbytes(rng.choice((1, 79, _BLOCK)))


def _more(content: bytearray, rng: random.Random) -> None:
    content += rng.choice(
        (bytes(_BLOCK), rng.randbytes(5000), b"XTENSION= 'BINTABLE'".ljust(_BLOCK), b"END".ljust(_CARD))
    )


def _long(content: bytearray, rng: random.Random) -> None:
    """Many cards: below, at and above what a header may have."""
    at = _CARD * rng.randrange(3, 12)
    count = rng.choice((50, 50, 50, 1000, 9000, 12000))
    content[at:at] = b"".join((b"HIERARCH ESO X%d = %d" % (n, n)).ljust(_CARD) for n in range(count))


def _blank(content: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(content))
    stop = min(len(content), at + rng.choice((80, 500, _BLOCK)))
    content[at:stop] = rng.choice((b"\0", b" ", b"\xff", b"'")) * (stop - at)


_MUTATIONS: dict[str, Callable[[bytearray, random.Random], None]] = {
    "byte": _byte, "header byte": _header_byte, "value": _value, "structure": _structure, "card": _card, "cut": _cut,
    "shift": _shift, "more": _more, "blank": _blank, "structure again": _structure,
    "value again": _value, "long": _long,
}  # fmt: skip


def _gzipped(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


def _lzw(content: bytes) -> bytes:
    return compress(content, literal=True)


_WRAPPERS: dict[str, Callable[[bytes], bytes]] = {"gz": _gzipped, "Z": _lzw}


def _broken(content: bytearray, rng: random.Random) -> bytes:
    """A stream damaged, cut or followed by something."""
    what = rng.randrange(4)
    if what == 0:
        del content[rng.randrange(2, len(content)) :]
    elif what == 1:
        content += rng.choice((b"garbage", bytes(100), bytes(content[:200]), rng.randbytes(3000)))
    else:
        for _ in range(rng.choice((1, 5, 100))):
            content[rng.randrange(2, len(content))] = rng.randrange(256)
    return bytes(content)
