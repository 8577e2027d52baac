"""Values as they are compared: the digest is the published one, and large arrays are treated as small ones are."""

from __future__ import annotations

import hashlib

import numpy as np

from archive_proc.storage.values import PIECE_BYTES, array_digest, round_mantissa, value_digest


def test_a_large_array_is_digested_by_the_xxh64_of_its_pieces_and_what_is_left() -> None:
    at = np.arange(2 * PIECE_BYTES + 6)
    content = ((at * at * 7 + at // 251) % 256).astype(np.uint8)
    # XXH64, seed 0, of the two pieces by xxHash 0.8.4.
    hashes = np.array([0xF2056C4F72551D45, 0x3B716611AD6EC3A9], "<u8").tobytes()
    expected = hashlib.sha256(hashes + content[2 * PIECE_BYTES :].tobytes()).hexdigest()
    assert value_digest(content) == expected
    assert value_digest(content.view(np.uint16)) == expected
    assert array_digest(content, by_block=False) == f"xxh64-sha256:{expected}"
    shifted = np.empty(content.size + 1, np.uint8)[1:]  # words that begin between two words
    shifted[:] = content
    assert value_digest(shifted) == expected
    few = content[:1000]
    assert value_digest(few) == hashlib.sha256(few.tobytes()).hexdigest()


def test_no_change_of_a_large_array_goes_unseen() -> None:
    rng = np.random.default_rng(11)
    values = rng.normal(size=3 * PIECE_BYTES // 4 + 5).astype(np.float32)
    seen = {value_digest(values), value_digest(values[::-1]), value_digest(values[:-1]), value_digest(-values)}
    for place in (0, 1, values.size - 1, *rng.integers(0, values.size, 40)):
        changed = values.copy()
        changed.view(np.uint32)[place] ^= np.uint32(1 << int(rng.integers(32)))
        seen.add(value_digest(changed))
    assert len(seen) >= 4 + 40  # of 43 changes two may be the same


def test_many_values_are_rounded_as_few_are() -> None:
    rng = np.random.default_rng(12)
    # Every kind of number: with payloads in NaN, infinities, subnormal ones.
    values = rng.integers(0, 1 << 32, 70_000, dtype=np.uint32).view(np.float32)
    values[:4] = np.inf, -np.inf, np.nan, 1e-40
    for bits in (7, 12):
        few = np.concatenate([round_mantissa(part, bits) for part in np.split(values, 7)])
        np.testing.assert_array_equal(round_mantissa(values, bits).view(np.uint32), few.view(np.uint32))
    assert (values.view(np.uint32) != few.view(np.uint32)).any()
