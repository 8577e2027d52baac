"""Sums over LANES small systems at once, as vectors of the machine: each system has a lane of its own.

A banded system of forty unknowns is too short for vectors: its rows end before they are worth their beginning. Eight of
them side by side, number by number, need no row at all. Arrays are flat: the numbers of the lanes follow each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.extending import intrinsic

LANES = 8
"""Systems at once: a vector of 512 bits, or two of 256."""
BESIDE = 4
"""Results that are summed together: each waits for its own last addition only."""
_VECTOR = ir.VectorType(ir.DoubleType(), LANES)
_FREE = ("reassoc", "contract")

# Any: numba and llvmlite have no types of their own to speak of.
_build: Any = cgutils
_Made = tuple[Any, Callable[[Any, Any, Any, Any], Any]]


def _in_place_of_a_call(make: Callable[..., _Made]) -> Callable[..., Any]:
    """What loops call: the compiler puts the code there that `make` generates for the arguments' types."""
    return cast(Callable[..., Any], intrinsic(make))


@_in_place_of_a_call
def settle_lanes(
    _typing: Any,
    one: Any,
    at_one: Any,
    next_one: Any,
    two: Any,
    at_two: Any,
    next_two: Any,
    beside_two: Any,
    count: Any,
    out: Any,
    at_out: Any,
    beside_out: Any,
    times: Any,
    at_times: Any,
) -> _Made:
    """Put (out - sum of products) x times in the place of out, for BESIDE results of all lanes.

    Products: of `count` numbers of the first array, `next_one` from one to the next, and as many of the second for each
    result, which stand `beside_two` from each other; the results stand `beside_out` apart. All float64 and flat;
    `times` one number a lane.
    """
    for array in (one, two, out, times):
        if getattr(array, "layout", "") != "C" or array.dtype != types.float64:
            raise TypingError(f"lanes of float64 in C order are asked for, not {array}")

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        one, at_one, next_one, two, at_two, next_two, beside_two, count, out, at_out, beside_out, times, at_times = (
            given
        )

        def pointer(place: int, array: Any, at: Any) -> Any:
            return builder.gep(context.make_array(signature.args[place])(context, builder, array).data, [at])

        def load(from_: Any, at: Any) -> Any:
            return builder.load(builder.bitcast(builder.gep(from_, [at]), _VECTOR.as_pointer()), align=8)

        number = count.type
        first, second = pointer(0, one, at_one), pointer(3, two, at_two)
        to, factor = pointer(8, out, at_out), load(pointer(11, times, at_times), number(0))
        sums = [_build.alloca_once_value(builder, ir.Constant(_VECTOR, [0.0] * LANES)) for _ in range(BESIDE)]
        with _build.for_range_slice(builder, number(0), count, number(1), inc=True) as (step, _):
            shared = load(first, builder.mul(step, next_one))
            start = builder.mul(step, next_two)
            for place, into in enumerate(sums):
                other = load(second, builder.add(start, builder.mul(number(place), beside_two)))
                product = builder.fmul(shared, other, flags=_FREE)
                builder.store(builder.fadd(builder.load(into), product, flags=_FREE), into)
        for place, into in enumerate(sums):
            at = builder.mul(number(place), beside_out)
            found = builder.fmul(builder.fsub(load(to, at), builder.load(into), flags=_FREE), factor, flags=_FREE)
            builder.store(found, builder.bitcast(builder.gep(to, [at]), _VECTOR.as_pointer()), align=8)
        return context.get_dummy_value()

    place = types.intp
    arguments = (one, place, place, two, place, place, place, place, out, place, place, times, place)
    return types.void(*arguments), generate
