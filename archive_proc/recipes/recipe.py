"""What a recipe is: main input, associated inputs, parameters, passes over planes, products.

A recipe is a frozen value made of plain functions. The planner reads `main`, `inputs` and `outputs`; a worker
reads `passes` and `close`. Neither knows any recipe by name: a new one is a module and a line in `cookbook.py`.

How it runs (DESIGN 4): for each pass, `block` is called on one shard of 16 planes at a time (on one stripe of
64 rows of all planes for `axis="rows"`), never on more or fewer whatever the chunk; `reduce` sees all summaries in
plane (stripe) order and gives `shared` to the next pass; `close` turns the last `shared` into the products' whole
arrays, coordinates, quality figures and remarks. Arrays that follow the frame axis (`flux`, `variance`, `flags` of a
cube) are returned by `block` of the last pass and written as they come.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.processes import Parameter, QcValue, Remark, Subject

# Any: arrays of several dtypes travel under one name; product_types.toml says which.
Array = NDArray[Any]
Arrays = Mapping[str, Array]
T = TypeVar("T")

SHARD_PLANES = 16
"""Planes of one block and of one Zarr shard (notes/storage 2.1)."""
STRIPE_ROWS = 64
"""Rows of one block when `axis = "rows"`."""
MAX_ROW_PLANES = 256
"""Planes a row-wise master uses at most, evenly chosen and recorded."""


@dataclass(frozen=True, slots=True)
class PlaneTable:
    """The planes of the main input in order of time (n of them)."""

    file: NDArray[np.int32]
    """(n,) position among the main files."""
    plane: NDArray[np.int32]
    """(n,) plane within the file."""
    usable: NDArray[np.bool_]
    """(n,) False where an override excludes the plane: kept on the axis, feeds no sequence-wide step."""
    reason: tuple[str, ...]
    """(n,) why not usable, else empty."""

    def __len__(self) -> int:
        return int(self.file.size)


@dataclass(frozen=True, slots=True)
class Calibration:
    """A product given to a recipe, loaded: its arrays and attributes."""

    product_id: str
    product_type: str
    arrays: Arrays
    """Decoded arrays by variable name, read-only."""
    attrs: Mapping[str, Any]
    """Group attributes (JSON values)."""
    serves: tuple[int, ...] = ()
    """Positions of the main files it serves; empty: all."""
    method: str = "match"
    """`match`, or the association fallback that brought it (`rate_from_other_dits`)."""
    level: int = 0


@dataclass(frozen=True, slots=True)
class RecipeInputs:
    """Everything a pass may look at besides its block. A recipe never picks its inputs: the plan did."""

    subject: Subject
    # Any: each recipe knows its own parameter dataclass; `Recipe.parameters` names it.
    parameters: Any
    frames: tuple[RawFrame, ...]
    """Main raw files in order of time (empty when the main input is a product)."""
    frame_roles: tuple[str, ...]
    """OBJECT, CENTER, FLUX, SKY or CALIB of each main file."""
    planes: PlaneTable
    calibrations: Mapping[str, tuple[Calibration, ...]]
    """By role."""
    frame_levels: tuple[int, ...] = ()
    """Association level of each main file: above 0 it is of another acquisition. Empty: all are the subject's own."""
    main: Calibration | None = None
    """The main product without its frame-axis pixels (coordinates and attributes only), else None."""

    def serving(self, role: str, file: int) -> tuple[Calibration, ...]:
        """The calibrations of a role that serve one main file."""
        return tuple(one for one in self.calibrations.get(role, ()) if not one.serves or file in one.serves)

    def borrowed(self) -> NDArray[np.bool_]:
        """(n,) planes of main files of another acquisition: another OB of the night, or a pinned one."""
        if not self.frame_levels:
            return np.zeros(len(self.planes), np.bool_)
        return np.asarray(np.array(self.frame_levels)[self.planes.file] > 0)

    def only(self, role: str) -> Calibration | None:
        """The single calibration of a role, None where the role is empty."""
        found = self.calibrations.get(role, ())
        return found[0] if found else None


class Room:
    """What one block leaves to the next ones of its task, be it of the same pass or of a later one.

    Large arrays, for touching new memory costs as much as computing on it; and what follows from the inputs alone.
    """

    def __init__(self) -> None:
        self._held: dict[str, Array] = {}
        # Any: each recipe knows what it left.
        self._made: dict[str, Any] = {}

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What `make` gives: made by the task's first block. It may depend on the process's inputs only."""
        if name not in self._made:
            self._made[name] = make()
        made: T = self._made[name]
        return made

    def array(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """An array of this shape with any content; what it held before is lost."""
        held = self._held.get(name)
        if held is None or held.dtype != dtype or held.shape[1:] != shape[1:] or len(held) < shape[0]:
            held = self._held[name] = np.empty(shape, dtype)
        return held[: shape[0]]


@dataclass(frozen=True, slots=True)
class Block:
    """One shard of planes, or one stripe of rows of all planes."""

    first: int
    """First plane (axis planes) or first row (axis rows)."""
    planes: NDArray[np.int32]
    """(n,) rows of the plane table that the pixels belong to."""
    pixels: Arrays
    """Raw main input: `raw` (n, ny, nx) float32 ADU per DIT, the block's own: it may be worked on in place. Product
    main input: its frame-axis arrays."""
    halo_planes: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    """(m,) neighbours that the pass's halo rule asked for, in plane order, block's own planes excluded."""
    halo_pixels: Arrays = field(default_factory=dict)
    """As `pixels`, for the halo planes."""
    room: Room = field(default_factory=Room)
    """Where the arrays that are written may be made: they are written before the next block begins."""


@dataclass(frozen=True, slots=True)
class BlockOutput:
    """What one block gives: a small summary, and (last pass only) frame-axis arrays by product type."""

    summary: Arrays = field(default_factory=dict)
    planes: Mapping[str, Arrays] = field(default_factory=dict)
    """product type -> variable -> (n, ...) array; n = the block's planes."""


@dataclass(frozen=True, slots=True)
class Halo:
    """Neighbouring planes a block needs: up to `n` on each side that share `within` with one of its planes."""

    n: int = 0
    within: Literal["any", "file", "dither"] = "any"
    enough: int = 0
    """A plane with so many usable mates in its own block asks for none from other blocks: at the ends of a chunk those
    are read a second time. 0: it always does."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One sweep over the main input."""

    name: str
    block: Callable[[Block, RecipeInputs, Arrays], BlockOutput]
    """(block, inputs, shared of the pass before)."""
    reduce: Callable[[Sequence[Arrays], RecipeInputs, Arrays], Arrays]
    """(summaries in plane order, inputs, shared of the pass before) -> shared."""
    halo: Halo = Halo()


@dataclass(frozen=True, slots=True)
class ProductContent:
    """The parts of a product that `close` gives: whole arrays, coordinates, attributes."""

    arrays: Arrays
    """Variables of the product type (product_types.toml) that blocks did not write."""
    attrs: Mapping[str, Any] = field(default_factory=dict)
    """JSON values only."""


@dataclass(frozen=True, slots=True)
class RecipeResult:
    """What a process ends with."""

    products: Mapping[str, ProductContent]
    qc: tuple[QcValue, ...] = ()
    remarks: tuple[Remark, ...] = ()
    planes: Arrays = field(default_factory=dict)
    """Figures of single planes, columns of the catalog table `plane_qc`: (n,) of a plane (`file_id`, `plane`,
    `frame_type`, `time`, `dit_s`, `usable`), (n, channels) of each half. Empty: it judged no plane."""


@dataclass(frozen=True, slots=True)
class RawMain:
    """Main input of raw frames.

    Subject group: the group's files; `frame_types` says which groups. Subject observation: the observation's files of
    `roles` (SCIENCE: its science planes, whatever their type), including CENTER and FLUX groups that rules associated.
    """

    frame_types: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProductMain:
    """Main input that is a product of the same subject, worked through along its frame axis."""

    product_type: str


@dataclass(frozen=True, slots=True)
class InputRole:
    """An associated input.

    source `association`: products of the groups that the rules of this `role` chose for the main files' groups;
    source `subject`: a product of the same subject; source `pinned`: a library product pinned by an override; source
    `frames`: a product of each raw frame of the observation whose role is one of `for_roles`, made for that frame alone
    (`subject_kind` frame); science planes of that role are no such frames. Frames of which none can be made, or whose
    product was refused, are left out and named.
    """

    role: str
    product_types: tuple[str, ...]
    source: Literal["association", "subject", "pinned", "frames"] = "association"
    association_roles: tuple[str, ...] = ()
    """Rule roles to follow; empty: the role's own name."""
    required: bool = True
    """A required role that stays empty means the process is not planned (or blocked), with an issue."""
    for_roles: tuple[str, ...] = ()
    """Frame roles of the main files it serves (SCIENCE for science planes); empty: all. Source `frames`: of the
    observation's files that it is made of."""
    whole: bool = False
    """Frame-axis pixels are loaded too: for products of a few planes."""
    without: tuple[str, ...] = ()
    """Arrays of its products that the recipe does not look at: they are not read."""
    once: tuple[str, ...] = ()
    """Arrays that the recipe looks at once, to make something of its own of them: read when it asks, and not kept."""
    each_may_lack: bool = False
    """Of many products, each may lack (of an optional role): one that failed before, or rests on one that did, or whose
    raw files are known by their headers only, is done without. Else what needs it waits until somebody mended it."""


@dataclass(frozen=True, slots=True)
class TableRead:
    """Instrument-table rows a recipe reads; their digest is in its process ids."""

    table: str
    """`irdis.filters`: file stem and table name."""
    by: str | None = None
    """Manifest column whose value (of the first main file) picks the one row `name == value`; None: whole table."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Predicted cost without history: linear in main planes."""

    cpu_s: float
    cpu_s_per_plane: float
    memory_gb: float
    bytes_out: int
    bytes_out_per_plane: int
    inodes: int = 18


# Any: parameters are read back from plans as JSON; the dataclass named in `parameters` types them.
ParameterSet = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A named, versioned, typed function in passes. Frozen; listed once in `cookbook.py`."""

    name: str
    version: str
    """By hand; a test compares the code's fingerprint (DESIGN 6)."""
    arm: Arm
    subject_kind: Literal["group", "observation", "frame"]
    main: RawMain | ProductMain
    inputs: tuple[InputRole, ...]
    outputs: tuple[str, ...]
    """Product types."""
    parameters: type
    """Frozen dataclass, all fields with defaults; floats, ints, bools, strings or tuples of them."""
    tables: tuple[TableRead, ...]
    axis: Literal["planes", "rows"] = "planes"
    sizes: Callable[[RecipeInputs], Mapping[str, Mapping[str, int]]] | None = None
    """product type -> dim -> size, for products whose frame-axis arrays are written by blocks."""
    passes: tuple[Pass, ...]
    close: Callable[[RecipeInputs, Arrays], RecipeResult]
    cost: Cost
    modes: tuple[str, ...] = ()
    """Observation modes it is for (`dual_band`, `classical`); empty: all reduced ones of the arm."""

    def fill(self, given: ParameterSet) -> dict[str, Parameter]:
        """All parameters with defaults filled in.

        Raises KeyError naming the first unknown one.
        """
        values: dict[str, Parameter] = {
            one.name: one.default
            for one in dataclasses.fields(self.parameters)
            if one.default is not dataclasses.MISSING
        }
        for name, value in given.items():
            if name not in values:
                raise KeyError(name)
            values[name] = tuple(value) if isinstance(value, list) else value
        return values


def no_reduce(summaries: Sequence[Arrays], inputs: RecipeInputs, shared: Arrays) -> Arrays:
    """Pass `shared` on unchanged: for last passes whose blocks only write."""
    return shared
