"""Zarr products: whole shards only, nothing lost in silence, rounding as promised."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from archive_proc.errors import InfraFailure
from archive_proc.storage.asked import AskedArrays
from archive_proc.storage.blocks import pack, read_blocks, unpack, write_blocks
from archive_proc.storage.forms import array_plan
from archive_proc.storage.products import (
    PlaneSource,
    ProductFormError,
    create_product,
    create_store,
    finish_product,
    load_product,
    plan_product,
    write_arrays,
    write_planes,
)
from archive_proc.storage.values import array_digest, combined_digest, of_form, round_mantissa


@dataclass(frozen=True)
class Form:
    name: str
    dims: tuple[str, ...]
    dtype: str = "float32"
    units: str = "adu"
    long_name: str = "toy"
    by_block: bool = False
    chunks: tuple[int, ...] | None = None
    shards: tuple[int, ...] | None = None
    significant_bits: int | None = None
    ancillary: str = ""
    coordinate: bool = True


@dataclass(frozen=True)
class Product:
    variables: tuple[Form, ...]


CUBE = ("frame", "channel", "y", "x")
FORM = Product(
    (
        Form("flux", CUBE, by_block=True, chunks=(4, 1, 4, 4), shards=(16, 2, 8, 8)),
        Form("flags", CUBE, "uint16", by_block=True, chunks=(4, 1, 4, 4), shards=(16, 2, 8, 8)),
        Form("name", ("frame",), "string"),
        Form("level", ("frame", "channel"), "float64"),
    )
)
SIZES = {"frame": 20, "channel": 2, "y": 6, "x": 10}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "product.zarr"
    create_store(path, {"process_id": "p"})
    create_product(path, "cube", plan_product(FORM, "cube", SIZES, by_block=True))
    return path


def planes(n: int, first: int = 0) -> dict[str, np.ndarray]:
    flux = np.arange(first, first + n, dtype=np.float32)[:, None, None, None] * np.ones((n, 2, 6, 10), np.float32)
    return {"flux": flux, "flags": flux.astype(np.uint16)}


def test_blocks_written_apart_read_back_as_one(store: Path) -> None:
    plans = plan_product(FORM, "cube", SIZES, by_block=True)
    later = write_planes(store, "cube", plans, 16, planes(4, 16))
    sooner = write_planes(store, "cube", plans, 0, planes(16))
    assert [one.name for one in sooner.objects] == [
        f"product.zarr/cube/{array}/c.0.0.{y}.{x}" for array in ("flux", "flags") for y in (0,) for x in (0, 1)
    ]
    assert all((store.parent / one.name).stat().st_size == one.size for one in (*later.objects, *sooner.objects))
    source = PlaneSource(store / "cube", ["flux", "flags"])
    assert source.n_planes == 20
    assert source.plane_bytes == 2 * 6 * 10 * (4 + 2)
    np.testing.assert_array_equal(source.read(np.arange(20, dtype=np.int32))["flux"], planes(20)["flux"])
    np.testing.assert_array_equal(source.read(np.array([17, 3], np.int32))["flags"], planes(20)["flags"][[17, 3]])
    joined = array_digest(planes(20)["flux"], by_block=True)
    by_first = sorted((one.first, one.digest) for one in (*later.digests, *sooner.digests) if one.array == "flux")
    assert of_form(combined_digest([digest for _, digest in by_first])) == joined


@pytest.mark.parametrize(("first", "n"), [(4, 16), (0, 12), (16, 16), (16, 3)])
def test_a_region_that_is_not_whole_shards_is_refused(store: Path, first: int, n: int) -> None:
    plans = plan_product(FORM, "cube", SIZES, by_block=True)
    with pytest.raises(ProductFormError, match="AP-STO-012"):
        write_planes(store, "cube", plans, first, planes(n))


def test_arrays_that_the_type_does_not_describe_are_refused(store: Path) -> None:
    plans = plan_product(FORM, "cube", SIZES, by_block=True)
    with pytest.raises(ProductFormError, match=r"AP-STO-013.*missing flags"):
        write_planes(store, "cube", plans, 0, {"flux": planes(16)["flux"]})
    with pytest.raises(ProductFormError, match=r"AP-STO-013.*shape"):
        write_planes(store, "cube", plans, 0, {name: one[:, :1] for name, one in planes(16).items()})
    with pytest.raises(ProductFormError, match=r"AP-STO-013.*expected \(20, 2\)"):
        write_arrays(store, "cube", FORM, {"name": np.array(["a"] * 20), "level": np.zeros((19, 2))}, 20)
    with pytest.raises(ProductFormError, match="AP-STO-010"):
        write_planes(store, "cube", plans, 0, {"flux": planes(16)["flux"], "flags": planes(16)["flux"]})
    with pytest.raises(ProductFormError, match=r"AP-STO-011.*channel"):
        plan_product(FORM, "cube", {"frame": 1, "y": 1, "x": 1}, by_block=True)


def test_signed_flags_within_range_are_taken(store: Path) -> None:
    plans = plan_product(FORM, "cube", SIZES, by_block=True)
    write_planes(store, "cube", plans, 0, {**planes(16), "flags": planes(16)["flags"].astype(np.int64)})
    with pytest.raises(ProductFormError, match="AP-STO-010"):
        write_planes(store, "cube", plans, 0, {**planes(16), "flags": planes(16)["flags"].astype(np.int64) - 1})


def test_a_closed_product_loads_without_its_frame_axis_pixels(store: Path) -> None:
    plans = plan_product(FORM, "cube", SIZES, by_block=True)
    write_planes(store, "cube", plans, 0, planes(16))
    write_planes(store, "cube", plans, 16, planes(4))
    given = {"name": np.array([f"n{one}" for one in range(20)]), "level": np.arange(40.0).reshape(20, 2)}
    write_arrays(store, "cube", FORM, given, 20)
    by_zarr = shutil.copytree(store, store.with_name("by_zarr.zarr"))
    finish_product(store, "cube", {"about": "toy ü", "at": [1, {"x": 0.1}]})
    group = zarr.open_group(by_zarr, mode="r+")["cube"]
    group.update_attributes({"about": "toy ü", "at": [1, {"x": 0.1}]})
    with pytest.warns(match="Consolidated metadata"):
        zarr.consolidate_metadata(by_zarr, path="cube")
    assert (store / "cube" / "zarr.json").read_bytes() == (by_zarr / "cube" / "zarr.json").read_bytes()
    loaded = load_product(store / "cube", FORM)
    assert sorted(loaded.arrays) == ["level", "name"]
    assert loaded.by_block == ("flux", "flags")
    assert loaded.arrays["name"][19] == "n19"
    assert not loaded.arrays["level"].flags.writeable
    assert loaded.attrs["about"] == "toy ü"
    whole = load_product(store / "cube", FORM, whole=True)
    np.testing.assert_array_equal(whole.arrays["flux"][16:], planes(4)["flux"])
    assert whole.by_block == ()
    assert sorted(load_product(store / "cube", FORM, without=("level",)).arrays) == ["name"]
    array = zarr.open_array(store / "cube" / "flux", mode="r")
    assert math.isnan(float(array.fill_value))
    assert zarr.open_array(store / "cube" / "flags", mode="r").fill_value == 32768
    assert zarr.open_array(store / "cube" / "frame", mode="r")[...].tolist() == list(range(20))


def test_an_array_for_one_look_is_read_each_time_and_kept_by_nobody(store: Path) -> None:
    names, level = np.array([f"n{one}" for one in range(20)]), np.arange(40.0).reshape(20, 2)
    write_arrays(store, "cube", FORM, {"name": names, "level": level}, 20)
    write_planes(store, "cube", plan_product(FORM, "cube", SIZES, by_block=True), 0, planes(20))
    finish_product(store, "cube", {})
    kept = load_product(store / "cube", FORM, without=("level",)).arrays
    asked = AskedArrays(store / "cube", FORM, kept, ("level", "no array of this type"))
    assert sorted(asked) == ["level", "name"]
    assert asked["name"] is kept["name"]
    np.testing.assert_array_equal(asked["level"], level)
    assert not np.shares_memory(asked["level"], asked["level"])
    with pytest.raises(KeyError):
        asked["no array of this type"]
    shutil.rmtree(store / "cube" / "level")
    with pytest.raises(InfraFailure, match=r"AP-STO-014 .*level"):
        asked["level"]


def test_a_product_of_an_older_type_can_be_looked_at_and_not_be_worked_with(store: Path) -> None:
    frames = {"name": np.array(["a"] * 20, object), "level": np.zeros((20, 2))}
    write_arrays(store, "cube", FORM, frames, 20)
    write_planes(store, "cube", plan_product(FORM, "cube", SIZES, by_block=True), 0, planes(20))
    finish_product(store, "cube", {})
    newer = Product((*FORM.variables, Form("amplitude", ("frame", "channel"))))
    assert set(load_product(store / "cube", newer, of_any_version=True).arrays) == {"name", "level"}
    with pytest.raises(InfraFailure, match=r"AP-STO-014 .*amplitude"):
        load_product(store / "cube", newer)
    shutil.rmtree(store / "cube" / "level")
    with pytest.raises(InfraFailure, match=r"AP-STO-014 .*level"):
        load_product(store / "cube", newer, of_any_version=True)


def test_every_flipped_bit_is_an_error_and_never_wrong_pixels(store: Path) -> None:
    plans = plan_product(FORM, "cube", SIZES, by_block=True)
    rng = np.random.default_rng(3)
    noise = rng.normal(size=(16, 2, 6, 10)).astype(np.float32)
    write_planes(store, "cube", plans, 0, {"flux": noise, "flags": np.zeros(noise.shape, np.uint16)})
    shard = store / "cube" / "flux" / "c.0.0.0.0"
    whole = shard.read_bytes()
    for position in rng.integers(0, len(whole), 40):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        shard.write_bytes(bytes(damaged))
        try:
            read = PlaneSource(store / "cube", ["flux"]).read(np.arange(16, dtype=np.int32))["flux"]
        except InfraFailure as failure:
            assert failure.code == "AP-STO-014"  # noqa: PT017 - either an error, or the pixels as they were
        else:
            np.testing.assert_array_equal(read, noise)


@given(st.floats(width=32, allow_nan=True, allow_infinity=True), st.integers(3, 20))
def test_rounding_keeps_the_bits_promised(value: float, bits: int) -> None:
    rounded = round_mantissa(np.array([value], np.float32), bits)[0]
    if math.isnan(value):
        assert math.isnan(rounded)
    elif math.isinf(value):
        assert rounded == value
    elif abs(value) > np.finfo(np.float32).tiny and abs(value) < 1e38:
        assert abs(float(rounded) - value) <= abs(value) * 2.0 ** -(bits + 1)
    assert not np.isfinite(value) or not np.array([rounded]).view(np.uint32)[0] & ((1 << (23 - bits)) - 1)


def test_images_have_chunks_of_512_in_one_shard() -> None:
    plan = array_plan(Form("level", ("y", "x")), {"y": 1024, "x": 2048}, (), "dark")
    assert (plan.chunks, plan.shards) == ((512, 512), (1024, 2048))
    assert plan.objects() == ("level/c.0.0",)


def test_blocks_of_summaries_read_back_bit_by_bit(tmp_path: Path) -> None:
    arrays = {
        "b": np.arange(6, dtype=">f4").reshape(2, 3),
        "a": np.array(3.5),
        "words": np.array(["x", "yz"], dtype=np.dtypes.StringDType()),
        "none": np.empty((0, 4), np.int16),
        "yes": np.array([True, False]),
    }
    _, digest = write_blocks(tmp_path / "s.blocks", arrays)
    back = read_blocks(tmp_path / "s.blocks", digest)
    assert sorted(back) == sorted(arrays)
    for name, array in arrays.items():
        assert back[name].tolist() == array.tolist()
        assert back[name].shape == array.shape
    assert pack(arrays) == pack(dict(reversed(arrays.items())))
    with pytest.raises(ValueError, match="cut short"):
        unpack(pack(arrays)[:-20])
    with pytest.raises(TypeError):
        pack({"o": np.array([object()])})


def test_values_of_a_frame_are_coordinates_of_its_cube_unless_the_type_says_otherwise() -> None:
    own = Form("chi", ("frame", "channel"), "float64", coordinate=False)
    form = Product((*FORM.variables, own))
    plans = {one.name: one for one in plan_product(form, "cube", SIZES, by_block=True)}
    assert plans["flux"].attrs["coordinates"] == "name level"


@pytest.mark.parametrize("shape", [(20, 2, 6, 10), (16, 2, 8, 8), (3, 1, 5, 17)])
@pytest.mark.parametrize("dtype", ["float32", "uint16", "float64", "uint8"])
def test_shards_are_the_bytes_that_zarr_writes(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    form = Product((Form("values", CUBE, dtype, by_block=True, chunks=(4, 1, 4, 4), shards=(16, 2, 8, 8)),))
    sizes = dict(zip(CUBE, shape, strict=True))
    rng = np.random.default_rng(9)
    values = (rng.normal(0.0, 50.0, shape) ** 2 % 250).astype(dtype)
    stores = tmp_path / "ours.zarr", tmp_path / "theirs.zarr"
    for store in stores:
        create_store(store, {})
        create_product(store, "cube", plan_product(form, "cube", sizes, by_block=True))
    for first in range(0, shape[0], 16):
        block = {"values": values[first : first + 16]}
        write_planes(stores[0], "cube", plan_product(form, "cube", sizes, by_block=True), first, block)
        target = zarr.open_array(stores[1] / "cube" / "values", mode="r+", config={"write_empty_chunks": True})
        target[first : first + 16] = block["values"]
    names = [sorted(one.relative_to(store) for one in store.rglob("*") if one.is_file()) for store in stores]
    assert names[0] == names[1]
    for name in names[0]:
        assert (stores[0] / name).read_bytes() == (stores[1] / name).read_bytes(), name
    np.testing.assert_array_equal(zarr.open_array(stores[0] / "cube" / "values", mode="r")[...], values)
    planes = np.arange(1, shape[0] - 1, dtype=np.int32)
    read = PlaneSource(stores[1] / "cube", ["values"]).read(planes)["values"]
    np.testing.assert_array_equal(read, values[1:-1])


def test_a_lost_shard_is_an_error_and_never_fill_values(store: Path) -> None:
    write_planes(store, "cube", plan_product(FORM, "cube", SIZES, by_block=True), 0, planes(16))
    source = PlaneSource(store / "cube", ["flux"])
    with pytest.raises(InfraFailure, match="AP-STO-014"):
        source.read(np.arange(12, 18, dtype=np.int32))
