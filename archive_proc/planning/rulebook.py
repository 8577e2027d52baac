"""The rules that turn a universe into processes: cookbook, preset, instrument tables, human decisions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from archive_proc.instruments.tables import TableDigests, Tables
from archive_proc.model.frames import Arm, RawFrame
from archive_proc.model.ids import FileId, GroupId
from archive_proc.model.processes import Subject
from archive_proc.planning.preset import Preset, check_preset
from archive_proc.recipes.recipe import Recipe, TableRead


@dataclass(frozen=True, slots=True)
class Effect:
    """What human decisions change about one process."""

    excluded_planes: tuple[tuple[FileId, int], ...] = ()
    """(main file, plane) that feed no sequence-wide step."""
    parameters: Mapping[str, object] = field(default_factory=dict)
    """As written; typed and checked against the recipe when they are used."""
    corrections: tuple[tuple[FileId, str, str], ...] = ()
    """(main file, keyword, new value); the universe's frames have them applied already."""
    override_ids: tuple[str, ...] = ()
    """Sorted; pins of its calibrations included."""
    source: str = ""
    """File and line of the override that sets a parameter, for messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One recipe on one subject: what decisions are asked about."""

    recipe: Recipe
    subject: Subject
    files: tuple[FileId, ...]
    """Main raw files, in order of time; empty when the main input is a product."""
    left_out: tuple[FileId, ...] = ()
    """Files of the subject that are not main inputs: quarantined, truncated, without calibrations."""
    groups: tuple[GroupId, ...] = ()
    """Exposure groups of the main files; of the subject's own frames when the main input is a product."""
    pinned: tuple[tuple[GroupId, str, GroupId], ...] = ()
    """Pinned associations it uses: (consumer group, role, calibration group)."""


def no_effect(work: Work) -> Effect:
    """The effect of no decisions at all."""
    return Effect()


TableDigest = Callable[[Sequence[TableRead], RawFrame | None], str]
"""Digest of the instrument-table rows that a recipe declares it reads, for its first main frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rulebook:
    """Everything but the frames that decides what is planned."""

    cookbook: tuple[Recipe, ...]
    finals: Mapping[Arm, tuple[str, ...]]
    """Product types made of an observation when none is asked for."""
    table_digest: TableDigest
    ruleset_version: str
    preset: Preset = field(default_factory=Preset)
    effects: Callable[[Work], Effect] = no_effect


def make_rulebook(
    cookbook: Sequence[Recipe],
    tables: Tables,
    preset: Preset | None = None,
    effects: Callable[[Work], Effect] = no_effect,
) -> Rulebook:
    """The rulebook of the packaged tables. Raises MisuseError for a preset that does not fit the cookbook."""
    chosen = preset or Preset()
    check_preset(chosen, tuple(cookbook))
    finals: dict[Arm, tuple[str, ...]] = {}
    for arm in sorted({one.arm for one in cookbook}):
        made = {
            each for one in cookbook if one.arm is arm and one.subject_kind == "observation" for each in one.outputs
        }
        types = [tables.product_types[one] for one in sorted(made & set(tables.product_types))]
        finals[arm] = tuple(one.type for one in types if one.final)
    return Rulebook(
        cookbook=tuple(cookbook),
        finals=finals,
        table_digest=TableDigests(tables),
        ruleset_version=tables.ruleset_version,
        preset=chosen,
        effects=effects,
    )
