"""Process ids and plan ids (DESIGN 6): what decides a result enters, and nothing else does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from archive_proc.model.ids import PlanId, ProcessId, digest32, sha256_hex
from archive_proc.model.processes import Parameter, Process, ProcessInput

MAIN = "main"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingredients:
    """All that a process id is made from."""

    recipe: str
    recipe_version: str
    parameters: Mapping[str, Parameter]
    """Defaults filled in."""
    tables_digest: str
    inputs: Sequence[ProcessInput]
    """Main inputs in order of time; the others in any order."""
    excluded_planes: Sequence[tuple[int, int]] = ()
    """(position among main inputs, plane), any order."""
    corrections: Sequence[tuple[str, str, str]] = ()
    """(content_id, keyword, new value), any order."""


def ordered_inputs(inputs: Iterable[ProcessInput]) -> tuple[ProcessInput, ...]:
    """Main inputs first, in the order given (of time); the others by role, id and what they serve."""
    given = tuple(inputs)
    others = sorted((one for one in given if one.role != MAIN), key=lambda one: (one.role, one.input_id, one.serves))
    return (*(one for one in given if one.role == MAIN), *others)


def process_id(made_from: Ingredients) -> ProcessId:
    """First 32 hex digits of the sha256 of the canonical JSON of the ingredients.

    A raw input enters by content id and by the role it has for its observation (the rules may change what a file is
    taken for), a product by its product id. Level, time distance and the name of a fallback do not enter.
    """
    inputs = [
        [one.role, one.kind, one.content, list(one.serves), one.frame_role] for one in ordered_inputs(made_from.inputs)
    ]
    return ProcessId(
        digest32(
            "process",
            {
                "recipe": made_from.recipe,
                "version": made_from.recipe_version,
                "parameters": dict(made_from.parameters),
                "tables": made_from.tables_digest,
                "inputs": inputs,
                "excluded": sorted(list(one) for one in made_from.excluded_planes),
                "corrections": sorted(list(one) for one in made_from.corrections),
            },
        )
    )


def ingredients(process: Process) -> Ingredients:
    """What the id of this process must be made from."""
    return Ingredients(
        recipe=process.recipe,
        recipe_version=process.recipe_version,
        parameters=process.parameters,
        tables_digest=process.tables_digest,
        inputs=process.inputs,
        excluded_planes=process.excluded_planes,
        corrections=process.corrections,
    )


def plan_id(processes: Iterable[Process]) -> PlanId:
    """sha256 of the sorted (process id, edges, slots), 64 hex digits."""
    rows = sorted(
        [
            one.process_id,
            list(one.sources),
            [[one.subject.kind, one.subject.subject_id, made, one.preset] for made in sorted(one.product_types)],
        ]
        for one in processes
    )
    return PlanId(sha256_hex(["plan", rows]))
