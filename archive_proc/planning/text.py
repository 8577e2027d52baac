"""A plan as JSON text, and back. One process a line, so that two plans can be compared with any diff.

Equal plans give equal bytes. Reading checks that every id is what its contents give: a plan edited by hand is refused
instead of being run under a name that means something else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from archive_proc.errors import MisuseError
from archive_proc.model.frames import Arm
from archive_proc.model.ids import PlanId, ProcessId, canonical_json
from archive_proc.model.packed import PACKED_FROM, packed
from archive_proc.model.processes import (
    NotPlanned,
    Parameter,
    Plan,
    PlannedProcess,
    Prediction,
    Process,
    ProcessInput,
    Reason,
    Subject,
)
from archive_proc.planning.keys import ingredients, plan_id, process_id

FORMAT = 1
"""Raised when a reader of the old text would misread the new."""

# Any: JSON values, typed as they are taken out.
Json = Mapping[str, Any]


def process_to_json(process: Process) -> dict[str, Any]:
    """A process as JSON values; inputs as rows of the fields of `ProcessInput` in their order."""
    return {
        "process_id": process.process_id,
        "recipe": process.recipe,
        "recipe_version": process.recipe_version,
        "preset": process.preset,
        "subject": [process.subject.kind, process.subject.subject_id, process.subject.arm],
        "parameters": {name: list(v) if isinstance(v, tuple) else v for name, v in process.parameters.items()},
        "excluded_planes": [list(one) for one in process.excluded_planes],
        "tables_digest": process.tables_digest,
        "inputs": [
            [i.role, i.kind, i.input_id, i.content, list(i.serves), i.frame_role, i.level, i.dt_days, i.method]
            for i in process.inputs
        ],
        "corrections": [list(one) for one in process.corrections],
        "product_types": list(process.product_types),
        "night": process.night,
        "period_date": process.period_date,
        "level": process.level,
        "override_ids": list(process.override_ids),
        "fallbacks": list(process.fallbacks),
    }


def process_from_json(value: Json) -> Process:
    """The process of these JSON values. Raises KeyError, ValueError or TypeError where they are not one."""
    return Process(
        process_id=ProcessId(value["process_id"]),
        recipe=value["recipe"],
        recipe_version=value["recipe_version"],
        preset=value["preset"],
        subject=_subject(value["subject"]),
        parameters={name: _parameter(one) for name, one in value["parameters"].items()},
        excluded_planes=tuple((int(a), int(b)) for a, b in value["excluded_planes"]),
        tables_digest=value["tables_digest"],
        inputs=tuple(
            ProcessInput(role, kind, input_id, content, tuple(serves), frame_role, level, dt_days, method)
            for role, kind, input_id, content, serves, frame_role, level, dt_days, method in value["inputs"]
        ),
        corrections=tuple((a, b, c) for a, b, c in value["corrections"]),
        product_types=tuple(value["product_types"]),
        night=value["night"],
        period_date=value["period_date"],
        level=value["level"],
        override_ids=tuple(value["override_ids"]),
        fallbacks=tuple(value["fallbacks"]),
    )


def _subject(value: list[str]) -> Subject:
    kind, subject_id, arm = value
    return Subject(kind, subject_id, Arm(arm))


def _parameter(value: Any) -> Parameter:
    if isinstance(value, list):
        return tuple(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{value!r} is no parameter value")


_PREDICTION = ("cpu_s", "memory_gb", "bytes_in", "bytes_out", "inodes", "planes", "source", "cpu_s_low", "cpu_s_high")


def plan_to_json(plan: Plan) -> bytes:
    """The plan's text: a head line, then a line a process, then a line a product that is not planned."""
    return b"".join(plan_lines(plan))


def plan_lines(plan: Plan) -> Iterator[bytes]:
    """The same piece by piece: of 100,000 processes it is half a gigabyte."""
    parts = Counter((one.process.night, one.process.subject.arm.value) for one in plan.processes)
    head = {
        "format": FORMAT,
        "plan_id": plan.plan_id,
        "as_of": plan.as_of,
        "ruleset_version": plan.ruleset_version,
        "preset": plan.preset,
        "selection": plan.selection,
        # For people and for those who cut a plan into parts; not read back.
        "partitions": [[night, arm, n] for (night, arm), n in sorted(parts.items())],
    }
    yield b'{"head":'
    yield canonical_json(head)
    yield b',\n"processes":['
    for number, one in enumerate(plan.processes):
        yield b",\n" if number else b"\n"
        yield canonical_json(
            {
                "process": process_to_json(one.process),
                "reason": one.reason,
                "because": one.because,
                "prediction": [getattr(one.prediction, name) for name in _PREDICTION],
            }
        )
    yield b'],\n"not_planned":['
    for number, missing in enumerate(plan.not_planned):
        yield b",\n" if number else b"\n"
        yield canonical_json(
            {
                "subject": [missing.subject.kind, missing.subject.subject_id, missing.subject.arm],
                "product_type": missing.product_type,
                "code": missing.code,
                "message": missing.message,
                "remedy": missing.remedy,
            }
        )
    yield b"]}\n"


class _Text(msgspec.Struct):
    """A plan's text, of which only the head is unfolded."""

    head: dict[str, Any]
    processes: msgspec.Raw
    not_planned: msgspec.Raw


def plan_from_json(text: bytes, source: str = "plan", *, small: bool = False) -> Plan:
    """The plan of a text; `source` names it in messages. `small`: a large plan's processes hold their inputs packed.

    They are packed as they are read: all unfolded, 100,000 of them take gigabytes.

    Raises MisuseError where the text is no plan of this format (AP-PLN-020) or an id is not what its contents give
    (AP-PLN-021).
    """
    try:
        value = msgspec.json.decode(text, type=_Text)
        head = value.head
        if head["format"] != FORMAT:
            raise ValueError(f"format {head['format']}, this version reads {FORMAT}")
        lines = msgspec.json.decode(value.processes, type=list[msgspec.Raw])
        plan = Plan(
            plan_id=PlanId(head["plan_id"]),
            processes=tuple(_planned(lines, source, pack=small and len(lines) >= PACKED_FROM)),
            not_planned=tuple(
                NotPlanned(_subject(one["subject"]), one["product_type"], one["code"], one["message"], one["remedy"])
                for one in msgspec.json.decode(value.not_planned)
            ),
            as_of=head["as_of"],
            ruleset_version=head["ruleset_version"],
            preset=head["preset"],
            selection=head["selection"],
        )
    except (msgspec.MsgspecError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise MisuseError(
            "AP-PLN-020", f"this is not a plan: {problem}", subject=source, remedy="save it again with `plan --save`"
        ) from problem
    if plan_id(one.process for one in plan.processes) != plan.plan_id:
        raise _edited(source, f"plan {plan.plan_id}")
    return plan


def _planned(lines: list[msgspec.Raw], source: str, *, pack: bool) -> Iterator[PlannedProcess]:
    known: dict[ProcessId, ProcessId] = {}
    for line in lines:
        one = msgspec.json.decode(line)
        found = PlannedProcess(
            process_from_json(one["process"]),
            Reason(one["reason"]),
            one["because"],
            Prediction(**dict(zip(_PREDICTION, one["prediction"], strict=True))),
        )
        if process_id(ingredients(found.process)) != found.process.process_id:
            raise _edited(source, f"process {found.process.process_id}")
        yield packed(found, known) if pack else found


def _edited(source: str, what: str) -> MisuseError:
    return MisuseError(
        "AP-PLN-021",
        f"the contents of {what} do not give its id: the text was edited or damaged",
        subject=source,
        remedy="plan again; use an override to change what is done",
    )
