"""Sums over rows of ROW numbers, as vectors of the machine: what the joint fit spends its time in.

A template is seventeen short rows. Written as a loop it is cut into slices, checked for overlap and finished number by
number, which takes longer than the sum itself; here the loop over whole rows is spelt out for the compiler. Numbers are
taken from where they lie: arrays in C order (others do not compile), addressed by the place of their first number in
the flat array. Nothing else is checked: whoever calls knows that the rows lie inside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.extending import intrinsic

ROW = 16
"""Numbers in a row."""
_SUMS = 4
"""Sums that are kept apart: each waits for its own last addition only."""
_VECTOR = ir.VectorType(ir.FloatType(), ROW)
_FREE = ("reassoc", "contract")

# Any: numba and llvmlite have no types of their own to speak of.
_build: Any = cgutils
_Made = tuple[Any, Callable[[Any, Any, Any, Any], Any]]


def _in_place_of_a_call(make: Callable[..., _Made]) -> Callable[..., Any]:
    """What loops call: the compiler puts the code there that `make` generates for the arguments' types."""
    return cast(Callable[..., Any], intrinsic(make))


def _in_order(*arrays: Any) -> None:
    """Raise TypingError for an array whose numbers do not follow each other, or are of another kind."""
    for one in arrays:
        if getattr(one, "layout", "") != "C" or one.dtype not in (types.float32, types.int16):
            raise TypingError(f"rows of float32 or int16 in C order are asked for, not {one}")


def _first(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    """Pointer to the number at a place of an array."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [at])


def _row(builder: Any, kind: Any, pointer: Any) -> Any:
    """A row as floats; 16-bit counts are turned into them."""
    if kind.dtype == types.int16:
        counts = ir.VectorType(ir.IntType(16), ROW)
        return builder.sitofp(builder.load(builder.bitcast(pointer, counts.as_pointer()), align=2), _VECTOR)
    return builder.load(builder.bitcast(pointer, _VECTOR.as_pointer()), align=4)


def _keep(builder: Any, row: Any, pointer: Any) -> None:
    builder.store(row, builder.bitcast(pointer, _VECTOR.as_pointer()), align=4)


def _total(builder: Any, row: Any) -> Any:
    """Sum of a row."""
    kind = ir.FunctionType(ir.FloatType(), [ir.FloatType(), _VECTOR])
    add = _build.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fadd.v{ROW}f32")
    return builder.call(add, [ir.Constant(ir.FloatType(), 0.0), row], fastmath=_FREE)


def _sum(term: Callable[[Any, Any, Any], Any], arguments: Any) -> _Made:
    """Sum over rows of a term of the rows of two arrays."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        one, at_one, two, at_two, rows = given
        kind_one, kind_two = signature.args[0], signature.args[2]
        from_one, from_two = (
            _first(context, builder, kind_one, one, at_one),
            _first(context, builder, kind_two, two, at_two),
        )
        number = rows.type
        sums = [_build.alloca_once_value(builder, ir.Constant(_VECTOR, [0.0] * ROW)) for _ in range(_SUMS)]

        def add(into: Any, row: Any) -> None:
            at = builder.mul(row, number(ROW))
            pair = (
                _row(builder, kind_one, builder.gep(from_one, [at])),
                _row(builder, kind_two, builder.gep(from_two, [at])),
            )
            builder.store(builder.fadd(builder.load(into), term(builder, *pair), flags=_FREE), into)

        whole = builder.and_(rows, number(-_SUMS))
        with _build.for_range_slice(builder, number(0), whole, number(_SUMS), inc=True) as (row, _):
            for place, into in enumerate(sums):
                add(into, builder.add(row, number(place)))
        with _build.for_range_slice(builder, whole, rows, number(1), inc=True) as (row, _):
            add(sums[0], row)
        total = builder.load(sums[0])
        for into in sums[1:]:
            total = builder.fadd(total, builder.load(into), flags=_FREE)
        return _total(builder, total)

    return types.float32(*arguments), generate


@_in_place_of_a_call
def dot_rows(_typing: Any, one: Any, at_one: Any, two: Any, at_two: Any, rows: Any) -> _Made:
    """Sum of the products of `rows` rows of two arrays (float32 or int16 counts) from these places on: float32."""
    _in_order(one, two)
    arguments = (one, types.intp, two, types.intp, types.intp)
    return _sum(lambda builder, a, b: builder.fmul(a, b, flags=_FREE), arguments)


@_in_place_of_a_call
def dot_square_rows(_typing: Any, one: Any, at_one: Any, two: Any, at_two: Any, rows: Any) -> _Made:
    """The same of the first array's squares and the second array."""
    _in_order(one, two)
    arguments = (one, types.intp, two, types.intp, types.intp)

    def term(builder: Any, a: Any, b: Any) -> Any:
        return builder.fmul(builder.fmul(a, a, flags=_FREE), b, flags=_FREE)

    return _sum(term, arguments)


@_in_place_of_a_call
def add_rows(_typing: Any, one: Any, at_one: Any, times: Any, two: Any, at_two: Any, rows: Any) -> _Made:
    """Add `times` the rows of the first array (float32 or counts) to those of the second (float32), in place."""
    _in_order(one, two)

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        one, at_one, times, two, at_two, rows = given
        kind_one, kind_two = signature.args[0], signature.args[3]
        from_, to = (
            _first(context, builder, kind_one, one, at_one),
            _first(context, builder, kind_two, two, at_two),
        )
        number, lane = rows.type, ir.Constant(ir.IntType(32), 0)
        nothing = ir.Constant(_VECTOR, ir.Undefined)
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), ROW), [0] * ROW)
        factor = builder.shuffle_vector(builder.insert_element(nothing, times, lane), nothing, everywhere)
        with _build.for_range_slice(builder, number(0), rows, number(1), inc=True) as (row, _):
            at = builder.mul(row, number(ROW))
            more = builder.fmul(_row(builder, kind_one, builder.gep(from_, [at])), factor, flags=_FREE)
            place = builder.gep(to, [at])
            _keep(builder, builder.fadd(_row(builder, kind_two, place), more, flags=_FREE), place)
        return context.get_dummy_value()

    return types.void(one, types.intp, types.float32, two, types.intp, types.intp), generate


@_in_place_of_a_call
def copy_rows(
    _typing: Any, one: Any, at_one: Any, next_one: Any, two: Any, at_two: Any, next_two: Any, rows: Any
) -> _Made:
    """Copy rows of one array into another (float32 both); `next_one`, `next_two`: from a row to the next."""
    _in_order(one, two)

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        one, at_one, next_one, two, at_two, next_two, rows = given
        kind_one, kind_two = signature.args[0], signature.args[3]
        from_, to = (
            _first(context, builder, kind_one, one, at_one),
            _first(context, builder, kind_two, two, at_two),
        )
        number = rows.type
        with _build.for_range_slice(builder, number(0), rows, number(1), inc=True) as (row, _):
            what = _row(builder, kind_one, builder.gep(from_, [builder.mul(row, next_one)]))
            _keep(builder, what, builder.gep(to, [builder.mul(row, next_two)]))
        return context.get_dummy_value()

    place = types.intp
    return types.void(one, place, place, two, place, place, place), generate
