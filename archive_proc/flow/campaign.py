"""The stages in order, on one page: what the raw frames are, what is to be done about them, and doing it.

    manifests + overrides ─▶ understand ─▶ plan ─▶ run (rounds) ─▶ publish

Everything before `run` is a pure function of what lies in the archive; the archive's state is never in memory only.
"""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from archive_proc.association.associate import Associations, associate
from archive_proc.association.classify import classify
from archive_proc.association.completeness import check
from archive_proc.association.explain import Explanation, explain_group, explain_observation
from archive_proc.association.group import group
from archive_proc.association.observe import observations, sequence_targets
from archive_proc.association.targets import resolve_targets
from archive_proc.association.values import with_filters
from archive_proc.catalog.standing import standing
from archive_proc.decisions.effects import Decisions, apply_corrections, decide
from archive_proc.decisions.overrides import Override, parse_overrides
from archive_proc.decisions.validate import Known, validate
from archive_proc.errors import MisuseError
from archive_proc.execution.cookbooks import recipes_of
from archive_proc.flow.expecting import expectation_issues, expected_manifests
from archive_proc.flow.understanding import Understanding
from archive_proc.ingest.examine import frame_issues
from archive_proc.instruments.tables import Tables, load_tables
from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import FileId, GroupId, ObsId, TargetId
from archive_proc.model.observations import ClassifiedFrame, ExposureGroup, Issue, Observation, Target
from archive_proc.model.processes import Parameter, Plan
from archive_proc.planning.deciding import effects_of
from archive_proc.planning.plan import Selection, Standing, make_settled_plan
from archive_proc.planning.preset import SHIPPED, Preset
from archive_proc.planning.rulebook import make_rulebook
from archive_proc.planning.universe import Universe
from archive_proc.recipes.cookbook import COOKBOOK
from archive_proc.recipes.recipe import Recipe
from archive_proc.settings import ArchiveSettings
from archive_proc.storage.layout import Layout
from archive_proc.storage.manifests import merge_manifests

NEVER = dt.datetime(1970, 1, 1)
"""`as_of` of an archive that nothing was ingested into."""


@dataclass(frozen=True)
class Campaign:
    """An archive as the rules and decisions read it: the value that `check`, `explain`, `plan` and `run` start from."""

    layout: Layout
    settings: ArchiveSettings
    tables: Tables
    cookbook: tuple[Recipe, ...]
    as_of: dt.datetime
    raw_frames: tuple[RawFrame, ...]
    """As the manifests have them."""
    frames: Mapping[FileId, RawFrame]
    """Header corrections applied, filters of silent headers filled in."""
    classified: tuple[ClassifiedFrame, ...]
    groups: tuple[ExposureGroup, ...]
    observations: tuple[Observation, ...]
    targets: tuple[Target, ...]
    file_targets: Mapping[FileId, TargetId]
    overrides: tuple[Override, ...]
    decisions: Decisions
    early_issues: tuple[Issue, ...]
    """Of ingest, classification and sequences."""
    cookbook_module: str | None = None
    """Where workers find the recipes; None: the package's own."""

    def associated(self, refused: frozenset[GroupId] = frozenset()) -> Associations:
        """Calibration associations that use none of the refused groups; each set of these is associated once."""
        if refused not in self._associated:
            self._associated[refused] = associate(
                self.groups, self.observations, self.frames, self.tables, self.decisions, refused
            )
        return self._associated[refused]

    @cached_property
    def _associated(self) -> dict[frozenset[GroupId], Associations]:
        return {}

    @cached_property
    def _universes(self) -> dict[frozenset[GroupId], Universe]:
        return {}

    def _universe(self, banned: frozenset[GroupId]) -> Universe:
        if banned not in self._universes:
            found = self.associated(banned)
            self._universes[banned] = Universe.of(
                classified=self.classified,
                groups=self.groups,
                observations=self.observations,
                associations=found.chosen,
                targets=self.targets,
                issues=self.issues_of(found),
                quarantined=self.decisions.quarantined,
            )
        return self._universes[banned]

    @cached_property
    def associations(self) -> Associations:
        """Calibration associations as plans use them: without groups whose own process refused them."""
        return self.associated(self.refused_groups)

    @cached_property
    def refused_groups(self) -> frozenset[GroupId]:
        """Calibration groups whose own process, as it would be planned now, refused them."""
        stands = standing(self.layout, self.as_of.isoformat())
        if not stands.refused:
            return frozenset()
        return self._settled([one.obs_id for one in self.observations if one.reduced], (), "everything", stands)[1]

    def issues_of(self, found: Associations) -> tuple[Issue, ...]:
        """All issues, those of these associations included."""
        return check(self.classified, self.observations, self.tables, [*self.early_issues, *found.issues])

    @cached_property
    def understanding(self) -> Understanding:
        """The same as one value for the catalog."""
        found = self.associations
        return Understanding(
            frames=self.raw_frames,
            classified=self.classified,
            groups=self.groups,
            observations=self.observations,
            targets=self.targets,
            associations=found.chosen,
            refusals=found.refusals,
            counts=found.refusal_counts,
            issues=self.issues_of(found),
            overrides=self.overrides,
            ruleset_version=self.tables.ruleset_version,
            as_of=self.as_of.isoformat(),
            file_targets=self.file_targets,
            quarantined=self.decisions.quarantined,
            rules=self.tables.rules,
            recipes=self.cookbook,
        )

    def plan(
        self,
        obs_ids: Iterable[ObsId],
        product_types: Sequence[str] = (),
        words: str = "",
        *,
        file_ids: Iterable[FileId] = (),
        retry: bool = False,
        again: bool = False,
    ) -> Plan:
        """The plan of some observations: equal input gives equal bytes. Refused calibrations give way to the next.

        `file_ids`: raw frames of which the types are wanted by themselves. `retry`: those refused before are tried
        again. `again`: a further round of a command, which waits for nothing that failed in it, whatever the cause.
        Observations and files that overrides took away meanwhile are left out.

        Raises MisuseError AP-CLI-010 for a product type that no recipe makes.
        """
        self._expect_known(product_types)
        present = {one.obs_id for one in self.observations}
        wanted = [one for one in obs_ids if one in present]
        files = [one for one in file_ids if one in self.frames]
        return self._settled(wanted, product_types, words, self._standing(retry=retry, again=again), files)[0]

    def _standing(self, *, retry: bool, again: bool) -> Standing:
        found = standing(self.layout, self.as_of.isoformat(), retry=retry)
        return replace(found, failed=found.failed | found.passing) if again else found

    def _expect_known(self, product_types: Sequence[str]) -> None:
        made = sorted({one for recipe in self.cookbook for one in recipe.outputs})
        for wanted in product_types:
            if wanted not in made:
                near = difflib.get_close_matches(wanted, made, n=3, cutoff=0.5)
                raise MisuseError(
                    "AP-CLI-010",
                    f"no recipe makes this product type; nearest: {', '.join(near or made)}",
                    subject=f"--to {wanted}",
                    remedy="correct it",
                )

    def _settled(
        self,
        obs_ids: Iterable[ObsId],
        product_types: Sequence[str],
        words: str,
        stands: Standing,
        file_ids: Iterable[FileId] = (),
    ) -> tuple[Plan, frozenset[GroupId]]:
        pinned: dict[tuple[GroupId, str, GroupId], str] = {}

        def universe(banned: frozenset[GroupId]) -> Universe:
            pinned.clear()
            pinned.update(self.associated(banned).pinned_by)
            return self._universe(banned)

        raw = {one.file_id: one for one in self.raw_frames}
        full = group(self.classified, self.tables) if self.decisions.quarantined else ()
        effects = effects_of(self.decisions, universe(frozenset()), raw, pinned, full_groups=full)
        rulebook = make_rulebook(self.cookbook, self.tables, preset_of(self.settings), effects)
        selection = Selection(
            obs_ids=frozenset(obs_ids),
            file_ids=frozenset(file_ids),
            product_types=tuple(product_types),
            words=words,
        )
        return make_settled_plan(universe, selection, rulebook, stands)

    def explain_observation(self, obs_id: ObsId) -> Explanation:
        """Every candidate of every role of an observation, criterion by criterion."""
        return explain_observation(
            obs_id, self.groups, self.observations, self.frames, self.tables, self.decisions, self.refused_groups
        )

    def explain_group(self, group_id: GroupId) -> Explanation:
        """Every candidate of every role of an exposure group."""
        return explain_group(
            group_id, self.groups, self.observations, self.frames, self.tables, self.decisions, self.refused_groups
        )


def makes_of_frames(cookbook_module: str | None, product_types: Iterable[str]) -> bool:
    """Whether a recipe of the package, or of another module, makes one of these types of a single raw frame."""
    cookbook = COOKBOOK if cookbook_module is None else recipes_of(cookbook_module)
    made = {one for recipe in cookbook if recipe.subject_kind == "frame" for one in recipe.outputs}
    return not made.isdisjoint(product_types)


def open_campaign(
    layout: Layout,
    settings: ArchiveSettings,
    cookbook_module: str | None = None,
    as_of: dt.datetime | None = None,
) -> Campaign:
    """Read an archive: manifests, overrides, rules. No pixel is touched.

    Raises MisuseError for an override that does not fit (AP-OVR-...), a table or preset that is wrong.
    """
    cookbook = COOKBOOK if cookbook_module is None else recipes_of(cookbook_module)
    tables = load_tables()
    merged = merge_manifests(layout)
    moment = as_of or merged.last_ingest or NEVER
    overrides = read_overrides(layout)
    decisions = decide(overrides, moment.date())
    frames = with_filters(apply_corrections(merged.frames, decisions), tables)
    classified, unclear = classify(frames, tables)
    pointed = resolve_targets(classified, tables)
    groups = group(classified, tables, decisions.quarantined, pointed)
    found, odd = observations(classified, groups, tables, decisions.quarantined, pointed)
    if overrides:
        known = Known(
            frames={one.file_id: one for one in merged.frames},
            groups=groups,
            observations=found,
            roles=frozenset(rule.role for rule in tables.rules),
            parameters={one.name: frozenset(one.fill({})) for one in cookbook},
            subject_kinds={one.name: one.subject_kind for one in cookbook},
            rules=tables.rules,
            corrected={one.file_id: one for one in frames},
        )
        validate(overrides, known, moment.date())
    return Campaign(
        layout=layout,
        settings=settings,
        tables=tables,
        cookbook=cookbook,
        as_of=moment,
        raw_frames=merged.frames,
        frames={one.file_id: one for one in frames},
        classified=classified,
        groups=groups,
        observations=found,
        targets=pointed.targets,
        file_targets={**pointed.of_file, **sequence_targets(found, pointed)},
        overrides=overrides,
        decisions=decisions,
        early_issues=(
            *merged.issues,
            *expectation_issues(expected_manifests(layout), merged.frames),
            *frame_issues(frames),
            *unclear,
            *odd,
        ),
        cookbook_module=cookbook_module,
    )


def read_overrides(layout: Layout) -> tuple[Override, ...]:
    """All `overrides/*.yaml`, in the order of file names. Raises MisuseError naming file and line."""
    files: list[Path] = sorted(layout.overrides.glob("*.yaml")) if layout.overrides.is_dir() else []
    return tuple(one for file in files for one in parse_overrides(file.read_text(), f"overrides/{file.name}"))


def preset_of(settings: ArchiveSettings) -> Preset:
    """The parameter set that is asked for, with the parameters that `archive.toml` sets for the whole archive.

    Raises MisuseError AP-PLN-013 for a preset that nobody defined.
    """
    known = {Preset().name, *SHIPPED, *settings.presets}
    if settings.preset not in known:
        raise MisuseError(
            "AP-PLN-013",
            f"there is no preset {settings.preset!r}",
            subject="archive",
            remedy=f"use one of {', '.join(sorted(known))}, or define it under [presets] in archive.toml",
        )
    values: dict[str, dict[str, Parameter]] = {
        recipe: dict(parameters) for recipe, parameters in SHIPPED.get(settings.preset, {}).items()
    }
    for recipe, parameters in settings.presets.get(settings.preset, {}).items():
        values.setdefault(recipe, {}).update(parameters)
    for recipe, parameters in settings.parameters.items():
        values.setdefault(recipe, {}).update(parameters)
    return replace(Preset(), name=settings.preset, values=values)
