"""What the rules make of an archive's raw frames, as one value: `check` prints it, plans start from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import FileId, TargetId
from archive_proc.model.observations import (
    Association,
    ClassifiedFrame,
    ExposureGroup,
    Issue,
    Observation,
    Refusal,
    RefusalCount,
    Target,
)

if TYPE_CHECKING:
    # For their types only: a catalog is published without reading a rule table.
    from archive_proc.decisions.overrides import Override
    from archive_proc.instruments.rows import RuleRow
    from archive_proc.recipes.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Understanding:
    """Frames, and everything that rules and decisions say about them. Equal inputs in any order give equal tables."""

    frames: tuple[RawFrame, ...]
    """As the manifests have them, without header corrections."""
    classified: tuple[ClassifiedFrame, ...]
    groups: tuple[ExposureGroup, ...]
    observations: tuple[Observation, ...]
    targets: tuple[Target, ...]
    associations: tuple[Association, ...]
    refusals: tuple[Refusal, ...]
    counts: tuple[RefusalCount, ...]
    issues: tuple[Issue, ...]
    """Of ingest and of the rules."""
    overrides: tuple[Override, ...]
    ruleset_version: str
    as_of: str
    """ISO time that expiries were judged against."""
    file_targets: Mapping[FileId, TargetId] = field(default_factory=dict)
    """Star of each raw frame that points at one; where empty, the observations say."""
    quarantined: frozenset[FileId] = frozenset()
    """Files that an override takes out."""
    rules: tuple[RuleRow, ...] = ()
    """Association rules in force (`Tables.rules`)."""
    recipes: tuple[Recipe, ...] = ()
    """The cookbook of this package."""

    def has_recipe(self, observation: Observation) -> bool:
        """Whether the rules and some recipe reduce observations of this arm and mode."""
        made = [one for one in self.recipes if one.subject_kind == "observation" and one.arm is observation.arm]
        by_mode = any(not one.modes or observation.mode in one.modes for one in made)
        return observation.reduced and (by_mode or not self.recipes)
