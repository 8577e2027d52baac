"""Sums over rows of ROW numbers, as vectors of the machine: what the joint fit spends its time in.

A template is seventeen short rows. Written as a loop it is cut into slices, checked for overlap and finished number by
number, which takes longer than the sum itself; here the loop over whole rows is spelt out for the compiler. Numbers are
taken from where they lie: arrays in C order (others do not compile), addressed by the place of their first number in
the flat array. Nothing else is checked: whoever calls knows that the rows lie inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    return _load(builder, pointer)


def _load(builder: Any, pointer: Any) -> Any:
    """A row of floats."""
    return builder.load(builder.bitcast(pointer, _VECTOR.as_pointer()), align=4)


def _keep(builder: Any, row: Any, pointer: Any) -> None:
    builder.store(row, builder.bitcast(pointer, _VECTOR.as_pointer()), align=4)


def _total(builder: Any, row: Any) -> Any:
    """Sum of a row."""
    kind = ir.FunctionType(ir.FloatType(), [ir.FloatType(), _VECTOR])
    add = _build.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fadd.v{ROW}f32")
    return builder.call(add, [ir.Constant(ir.FloatType(), 0.0), row], fastmath=_FREE)


def _everywhere(builder: Any, number: Any) -> Any:
    """A row that holds one number."""
    nothing, lane = ir.Constant(_VECTOR, ir.Undefined), ir.Constant(ir.IntType(32), 0)
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), ROW), [0] * ROW)
    return builder.shuffle_vector(builder.insert_element(nothing, number, lane), nothing, lanes)


def _of_rows(builder: Any, name: str, *rows: Any) -> Any:
    """What a function of the machine, `llvm.NAME`, gives for each place of rows."""
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * len(rows))
    return builder.call(_build.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{ROW}f32"), rows)


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
        number, factor = rows.type, _everywhere(builder, times)
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


@_in_place_of_a_call
def mix_rows(
    _typing: Any, one: Any, places: Any, weights: Any, count: Any, next_one: Any, two: Any, at_two: Any, rows: Any
) -> _Made:
    """Rows of the second array: sums of `count` runs of rows of the first, each from its own place on and times its own
    weight.

    places (int64) and weights (float32) hold `count` numbers at least; `next_one` from a row of a run to the next. All
    float32. Sums stay in the machine until they are whole.
    """
    _in_order(one, weights, two)
    if getattr(places, "layout", "") != "C" or places.dtype != types.int64:
        raise TypingError(f"places are int64 in C order, not {places}")

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        one, places, weights, count, next_one, two, at_two, rows = given
        number = rows.type
        from_ = _first(context, builder, signature.args[0], one, number(0))
        place_of = _first(context, builder, signature.args[1], places, number(0))
        weight_of = _first(context, builder, signature.args[2], weights, number(0))
        to = _first(context, builder, signature.args[5], two, at_two)
        sums = [_build.alloca_once_value(builder, ir.Constant(_VECTOR, [0.0] * ROW)) for _ in range(_SUMS)]

        def together(row: Any, some: Sequence[Any]) -> None:
            for into in some:
                builder.store(ir.Constant(_VECTOR, [0.0] * ROW), into)
            with _build.for_range_slice(builder, number(0), count, number(1), inc=True) as (run, _):
                weight = _everywhere(builder, builder.load(builder.gep(weight_of, [run])))
                start = builder.add(builder.load(builder.gep(place_of, [run])), builder.mul(row, next_one))
                for place, into in enumerate(some):
                    at = builder.add(start, builder.mul(number(place), next_one))
                    product = builder.fmul(_load(builder, builder.gep(from_, [at])), weight, flags=_FREE)
                    builder.store(builder.fadd(builder.load(into), product, flags=_FREE), into)
            for place, into in enumerate(some):
                at = builder.mul(builder.add(row, number(place)), number(ROW))
                _keep(builder, builder.load(into), builder.gep(to, [at]))

        whole = builder.and_(rows, number(-_SUMS))
        with _build.for_range_slice(builder, number(0), whole, number(_SUMS), inc=True) as (row, _):
            together(row, sums)
        with _build.for_range_slice(builder, whole, rows, number(1), inc=True) as (row, _):
            together(row, sums[:1])
        return context.get_dummy_value()

    place = types.intp
    return types.void(one, places, weights, place, place, two, place, place), generate


@_in_place_of_a_call
def largest_in_rows(_typing: Any, one: Any, at_one: Any, rows: Any) -> _Made:
    """The largest number of `rows` rows (float32), whatever its sign: float32."""
    _in_order(one)

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        one, at_one, rows = given
        from_, number = _first(context, builder, signature.args[0], one, at_one), rows.type
        most = _build.alloca_once_value(builder, ir.Constant(_VECTOR, [0.0] * ROW))
        with _build.for_range_slice(builder, number(0), rows, number(1), inc=True) as (row, _):
            here = _load(builder, builder.gep(from_, [builder.mul(row, number(ROW))]))
            builder.store(_of_rows(builder, "maxnum", builder.load(most), _of_rows(builder, "fabs", here)), most)
        kind = ir.FunctionType(ir.FloatType(), [_VECTOR])
        largest = _build.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fmax.v{ROW}f32")
        return builder.call(largest, [builder.load(most)])

    return types.float32(one, types.intp, types.intp), generate


@_in_place_of_a_call
def count_rows(_typing: Any, one: Any, at_one: Any, times: Any, two: Any, at_two: Any, rows: Any) -> _Made:
    """Rows of the first array (float32) times a number, rounded, into the second (int16); the sum of these: int32."""
    _in_order(one, two)

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        one, at_one, times, two, at_two, rows = given
        from_ = _first(context, builder, signature.args[0], one, at_one)
        to = _first(context, builder, signature.args[3], two, at_two)
        number, factor = rows.type, _everywhere(builder, times)
        wide, narrow = (ir.VectorType(ir.IntType(bits), ROW) for bits in (32, 16))
        total = _build.alloca_once_value(builder, ir.Constant(wide, [0] * ROW))
        with _build.for_range_slice(builder, number(0), rows, number(1), inc=True) as (row, _):
            at = builder.mul(row, number(ROW))
            exact = builder.fmul(_load(builder, builder.gep(from_, [at])), factor)
            whole = builder.fptosi(_of_rows(builder, "rint", exact), wide)
            builder.store(builder.add(builder.load(total), whole), total)
            place = builder.bitcast(builder.gep(to, [at]), narrow.as_pointer())
            builder.store(builder.trunc(whole, narrow), place, align=2)
        kind = ir.FunctionType(ir.IntType(32), [wide])
        add = _build.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.add.v{ROW}i32")
        return builder.call(add, [builder.load(total)])

    return types.int32(one, types.intp, types.float32, two, types.intp, types.intp), generate
