"""Product types: what a product of each type holds (`product_types.toml`, the authority of DESIGN 8)."""

from __future__ import annotations

from typing import Literal

import msgspec


class Variable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One array of a product type."""

    name: str
    dims: tuple[str, ...]
    dtype: Literal["float32", "float64", "int32", "int64", "uint16", "uint8", "bool", "string"]
    units: str
    long_name: str
    by_block: bool = False
    """Written along the frame axis by the blocks of the last pass."""
    chunks: tuple[int, ...] | None = None
    shards: tuple[int, ...] | None = None
    significant_bits: int | None = None
    """Mantissa bits kept when it is written (variances: 7)."""
    ancillary: str = ""
    """Names of the arrays that qualify it, CF `ancillary_variables`."""
    coordinate: bool = True
    """False: a result of its own, though it has one value a frame or channel."""


class ProductRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One product type as the file has it."""

    type: str
    arm: Literal["IRDIS", "IFS", "both"]
    subject: Literal["group", "observation", "frame", "library"]
    title: str
    final: bool = False
    """What users ask for: a plan without a named product type aims at these."""
    same_variables_as: str | None = None
    variable: tuple[Variable, ...] = ()


class ProductsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """product_types.toml."""

    product: tuple[ProductRow, ...]


class ProductType(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One product type with all its variables."""

    type: str
    arm: Literal["IRDIS", "IFS", "both"]
    subject: Literal["group", "observation", "frame", "library"]
    title: str
    final: bool
    """What users ask for: a plan without a named product type aims at these."""
    variables: tuple[Variable, ...]

    def variable(self, name: str) -> Variable:
        """The variable of this name.

        Raises KeyError for a name the type does not have.
        """
        for one in self.variables:
            if one.name == name:
                return one
        raise KeyError(f"{self.type}: {name}")


def resolved(rows: tuple[ProductRow, ...]) -> dict[str, ProductType]:
    """Product types by name, `same_variables_as` followed (checked before, see checks.py)."""
    by_name = {row.type: row for row in rows}
    types: dict[str, ProductType] = {}
    for row in rows:
        own = {one.name for one in row.variable}
        inherited = by_name[row.same_variables_as].variable if row.same_variables_as else ()
        types[row.type] = ProductType(
            type=row.type,
            arm=row.arm,
            subject=row.subject,
            title=row.title,
            final=row.final,
            variables=(*(one for one in inherited if one.name not in own), *row.variable),
        )
    return types
