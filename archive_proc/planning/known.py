"""What the archive already has: sealed processes and what fills each slot, and why a planned process is not that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from archive_proc.model.ids import ProcessId, shown
from archive_proc.model.processes import Parameter, Process, ProcessInput, Reason, Subject


@dataclass(frozen=True, slots=True)
class Slot:
    """The place that one current product fills."""

    subject_kind: str
    subject_id: str
    product_type: str
    preset: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownProcess:
    """The facts of a sealed process that decide its id, read from its record."""

    process_id: ProcessId
    recipe: str
    recipe_version: str
    parameters: Mapping[str, Parameter]
    tables_digest: str
    inputs: tuple[ProcessInput, ...]
    excluded_planes: tuple[tuple[int, int], ...] = ()
    corrections: tuple[tuple[str, str, str], ...] = ()
    override_ids: tuple[str, ...] = ()

    @classmethod
    def of(cls, process: Process) -> KnownProcess:
        """The facts of a process, as its record keeps them."""
        return cls(
            process_id=process.process_id,
            recipe=process.recipe,
            recipe_version=process.recipe_version,
            parameters=process.parameters,
            tables_digest=process.tables_digest,
            inputs=tuple(process.inputs),
            excluded_planes=process.excluded_planes,
            corrections=process.corrections,
            override_ids=process.override_ids,
        )


@dataclass(frozen=True, slots=True)
class KnownProducts:
    """Sealed process ids, and the process whose product is current in each slot."""

    sealed: frozenset[ProcessId] = frozenset()
    slots: Mapping[Slot, KnownProcess] = field(default_factory=dict)
    pruned: Container[ProcessId] = frozenset()
    """Sealed once, deleted on purpose since."""


def slots(subject: Subject, product_types: Iterable[str], preset: str) -> tuple[Slot, ...]:
    """The slots that these products of a subject fill."""
    return tuple(Slot(subject.kind, subject.subject_id, made, preset) for made in product_types)


def reason_for(process: Process, known: KnownProducts, label: str) -> tuple[Reason, str]:
    """Why a process is in the plan, and the same in words; `label` names its subject.

    The slot's current process is compared in the order recipe, table, override, parameter, input; a difference that
    an override can make (planes, header values, parameters, inputs) counts as one where the overrides in force differ.
    """
    if process.process_id in known.sealed:
        return Reason.CACHED, "sealed"
    filled = (known.slots.get(slot) for slot in slots(process.subject, process.product_types, process.preset))
    before = next((one for one in filled if one is not None), None)
    if before is None:
        return Reason.NEW, label
    now = KnownProcess.of(process)
    if (before.recipe, before.recipe_version) != (now.recipe, now.recipe_version):
        return Reason.RECIPE, f"{before.recipe} {before.recipe_version} -> {now.recipe} {now.recipe_version}"
    if before.tables_digest != now.tables_digest:
        return Reason.TABLE, f"instrument tables {before.tables_digest[:12]} -> {now.tables_digest[:12]}"
    if before.override_ids != now.override_ids:
        return Reason.OVERRIDE, _override_words(before, now, label)
    if dict(before.parameters) != dict(now.parameters):
        return Reason.PARAMETER, _parameter_words(before, now)
    if before.process_id == now.process_id:
        return Reason.NEW, f"{label} (its product is no longer there)"
    return Reason.INPUT, _input_words(before, now)


def _override_words(before: KnownProcess, now: KnownProcess, label: str) -> str:
    gone, come = (
        sorted(set(a) - set(b))
        for a, b in ((before.override_ids, now.override_ids), (now.override_ids, before.override_ids))
    )
    words = [*(f"+{one}" for one in come), *(f"-{one}" for one in gone)]
    return f"{label}: {', '.join(words)}"


def _parameter_words(before: KnownProcess, now: KnownProcess) -> str:
    names = sorted(set(before.parameters) | set(now.parameters))
    changed = [one for one in names if before.parameters.get(one) != now.parameters.get(one)]
    return ", ".join(f"{one} {before.parameters.get(one)!r} -> {now.parameters.get(one)!r}" for one in changed)


def _input_words(before: KnownProcess, now: KnownProcess) -> str:
    was, become = (Counter((i.role, i.content, i.serves, i.frame_role) for i in one.inputs) for one in (before, now))
    gone = [one for one in before.inputs if (one.role, one.content, one.serves, one.frame_role) in was - become]
    come = [one for one in now.inputs if (one.role, one.content, one.serves, one.frame_role) in become - was]
    for one in come:
        replaced = next((old for old in gone if old.role == one.role), None)
        if replaced is None:
            return f"{one.role} {_input_name(one)} is new"
        if replaced.content == one.content:
            return f"{one.role} {_input_name(one)} is used for other frames"
        levels = f" (level {replaced.level} -> {one.level})" if replaced.level != one.level else ""
        return f"{one.role} {_input_name(one)} in place of {_input_name(replaced)}{levels}"
    if gone:
        return f"{gone[0].role} {_input_name(gone[0])} is no longer there"
    if before.excluded_planes != now.excluded_planes:
        return "other planes are excluded"
    if before.corrections != now.corrections:
        return "other header values are corrected"
    return "the inputs come in another order"


def _input_name(one: ProcessInput) -> str:
    if one.kind == "file":
        return one.input_id
    process, _, product_type = one.input_id.partition(".")
    return f"{product_type} {shown('proc', process)}"
