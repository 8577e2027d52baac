"""Candidates of a role: which groups a rule looks at, and each criterion that it holds them to."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from archive_proc.association.executions import executions
from archive_proc.association.values import Value, column_value, group_value, is_thermal
from archive_proc.instruments.rows import CandidateRow, RuleRow, Scope, pattern_fits
from archive_proc.instruments.tables import Tables
from archive_proc.model.decisions import CalibrationDecision, CalibrationDecisions
from archive_proc.model.frames import RawFrame
from archive_proc.model.ids import FileId, GroupId, ObsId
from archive_proc.model.observations import ExposureGroup, Observation

Times = tuple[Sequence[float], Sequence[ExposureGroup]]


@dataclass(frozen=True, slots=True)
class Criterion:
    """One test of a candidate."""

    name: str
    """The column, or only_if, where, scope, window, min_files, quarantined, whole, banned, refused_by_qc."""
    wanted: str
    found: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Consumer:
    """A group, or the part of it with one value of what must match, that needs a calibration in a role."""

    group: ExposureGroup
    role: str
    """OBJECT, WAFFLE, CENTER, FLUX, SKY or its frame type, as the rule names it."""
    selector: str
    file_ids: tuple[FileId, ...]
    values: Mapping[str, Value]
    """Of the rule's match columns."""
    thermal: bool
    mjd: float
    """Time that distances are measured from."""


class GroupIndex:
    """Exposure groups by type, time and match values: built once, searched by bisection."""

    def __init__(
        self,
        groups: Iterable[ExposureGroup],
        observations: Iterable[Observation],
        frames: Mapping[FileId, RawFrame],
        tables: Tables,
        decisions: CalibrationDecisions,
        refused: frozenset[GroupId],
    ) -> None:
        self.frames, self.tables, self.decisions, self.refused = frames, tables, decisions, refused
        self.groups = sorted(groups, key=lambda one: (one.mjd_mid, one.group_id))
        self._by_id = {one.group_id: one for one in self.groups}
        self.by_type: defaultdict[str, list[ExposureGroup]] = defaultdict(list)
        for one in self.groups:
            self.by_type[one.frame_type].append(one)
        self.observations_of: defaultdict[GroupId, list[Observation]] = defaultdict(list)
        for found in sorted(observations, key=lambda one: (one.mjd_start, one.obs_id)):
            for group_id in dict.fromkeys(entry.group_id for entry in found.files):
                self.observations_of[group_id].append(found)
        self.run_of = self._runs()
        self._matching: dict[tuple[str, str, tuple[str, ...]], dict[tuple[Value, ...], Times]] = {}
        self._other_dits: dict[tuple[str, str, tuple[tuple[str, Value], ...]], Mapping[int, Times]] = {}
        self._times: dict[tuple[str, ...], Times] = {}
        self._ids: dict[tuple[str, ...], frozenset[GroupId]] = {}
        self._usable: dict[GroupId, int] = {}
        self._rules: dict[tuple[str, str, str], tuple[RuleRow, ...]] = {}
        self.pins_on = self._spoken_of(decisions.pins)
        self.bans_on = self._spoken_of(decisions.bans)

    def _runs(self) -> dict[GroupId, str]:
        roles = ("OBJECT", "CENTER", "FLUX", "SKY")
        some = {file_id: one.group_id for one in self.groups if one.role in roles for file_id in one.file_ids}
        place_of = {
            entry.file_id: one.target_id
            for several in self.observations_of.values()
            for one in several
            for entry in one.files
        }
        runs = executions((self.frames[one] for one in some), place_of, self.tables)
        return {some[one.file_id]: run.key for run in runs for one in run.frames}

    def rules_for(self, group: ExposureGroup) -> tuple[RuleRow, ...]:
        """The rules that groups of this arm, type and role may be consumers of, in the table's order."""
        key = (group.arm.value, group.frame_type, group.role)
        if key not in self._rules:
            roles = {group.frame_type, group.role, *(["WAFFLE"] if group.role == "CENTER" else [])}
            self._rules[key] = tuple(
                one for one in self.tables.rules if one.arm == key[0] and not roles.isdisjoint(one.consumers)
            )
        return self._rules[key] if group.reduced else ()

    def _spoken_of(self, some: Sequence[CalibrationDecision]) -> dict[GroupId, list[CalibrationDecision]]:
        """Decisions by the calibration groups they name, in order of time: asked once, not for every consumer."""
        found: defaultdict[GroupId, list[CalibrationDecision]] = defaultdict(list)
        for group in self.groups if some else ():
            for one in some:
                if one.names(group):
                    found[group.group_id].append(one)
        return dict(found)

    def pinned_groups(self, frame_types: tuple[str, ...]) -> list[ExposureGroup]:
        """Groups of these types that some pin names, in order of time."""
        return self._named(self.pins_on, frame_types)

    def banned_groups(self, frame_types: tuple[str, ...]) -> list[ExposureGroup]:
        """Groups of these types that some ban names, in order of time."""
        return self._named(self.bans_on, frame_types)

    def _named(self, some: Iterable[GroupId], frame_types: tuple[str, ...]) -> list[ExposureGroup]:
        named = (self._by_id[one] for one in some)
        return [one for one in named if one.frame_type in frame_types]

    def obs_ids(self, group: ExposureGroup) -> tuple[ObsId, ...]:
        """The observations a group belongs to."""
        return tuple(one.obs_id for one in self.observations_of.get(group.group_id, ()))

    def usable_files(self, group: ExposureGroup) -> int:
        """Files that a master can be made of: not quarantined, not truncated, with planes."""
        if group.group_id not in self._usable:
            left = (self.frames[one] for one in group.file_ids if one not in self.decisions.quarantined)
            self._usable[group.group_id] = sum(not one.truncated and one.n_planes > 0 for one in left)
        return self._usable[group.group_id]

    def in_time(self, frame_types: tuple[str, ...]) -> Times:
        """All groups of these types and their times, in order of time."""
        if frame_types not in self._times:
            some = [one for name in dict.fromkeys(frame_types) for one in self.by_type.get(name, ())]
            some.sort(key=lambda one: (one.mjd_mid, one.group_id))
            self._times[frame_types] = [one.mjd_mid for one in some], some
        return self._times[frame_types]

    def ids_of(self, frame_types: tuple[str, ...]) -> frozenset[GroupId]:
        """Ids of all groups of these types."""
        if frame_types not in self._ids:
            self._ids[frame_types] = frozenset(one.group_id for one in self.in_time(frame_types)[1])
        return self._ids[frame_types]

    def matching(self, candidate: CandidateRow, consumer: Consumer, rule: RuleRow) -> Times:
        """Groups of the candidate's type that agree with the consumer in every match column, in order of time."""
        columns = match_columns(candidate, consumer)
        boxes_of = self._boxes(candidate, columns, rule)
        wanted = [boxes_of[one] for one in self._tolerated(columns, consumer, rule) if one in boxes_of]
        if len(wanted) == 1:
            return wanted[0]
        some = sorted((one for _, several in wanted for one in several), key=lambda one: (one.mjd_mid, one.group_id))
        return [one.mjd_mid for one in some], some

    def other_dits(self, candidate: CandidateRow, consumer: Consumer, rule: RuleRow) -> Mapping[int, Times]:
        """Groups of the candidate's type that agree with the consumer in every match column but `dit_ms`, by DIT, ms.

        `match_thermal` is not looked at: no fallback holds thermal light.
        """
        columns = candidate.match
        others = tuple((column, consumer.values[column]) for column in columns if column != "dit_ms")
        key = (candidate.frame_type, repr(sorted(candidate.where.items())), others)
        if key not in self._other_dits:
            found: dict[int, Times] = {}
            for values, some in self._boxes(candidate, columns, rule).items():
                of_box = dict(zip(columns, values, strict=True))
                dit = of_box.pop("dit_ms")
                if isinstance(dit, int) and dit > 0 and tuple(of_box.items()) == others:
                    found[dit] = some
            self._other_dits[key] = found
        return self._other_dits[key]

    def _boxes(
        self, candidate: CandidateRow, columns: tuple[str, ...], rule: RuleRow
    ) -> Mapping[tuple[Value, ...], Times]:
        """Groups of the candidate's type by their values of these columns, each in order of time."""
        key = (candidate.frame_type, repr(sorted(candidate.where.items())), columns)
        if key not in self._matching:
            boxes: defaultdict[tuple[Value, ...], list[ExposureGroup]] = defaultdict(list)
            for one in self.by_type.get(candidate.frame_type, ()):
                if one.arm.value == rule.arm and self._where(candidate, one):
                    boxes[tuple(group_value(one, c, self.frames, self.tables) for c in columns)].append(one)
            self._matching[key] = {values: ([one.mjd_mid for one in some], some) for values, some in boxes.items()}
        return self._matching[key]

    def _where(self, candidate: CandidateRow, group: ExposureGroup) -> bool:
        return all(
            pattern_fits(patterns, group_value(group, column, self.frames, self.tables))
            for column, patterns in candidate.where.items()
        )

    @staticmethod
    def _tolerated(columns: tuple[str, ...], consumer: Consumer, rule: RuleRow) -> Iterator[tuple[Value, ...]]:
        """The value tuples that count as the consumer's: DITs within the tolerance. Nothing matches a missing value."""
        values = [consumer.values[column] for column in columns]
        if any(value is None for value in values):
            return
        spread = range(-rule.dit_tolerance_ms, rule.dit_tolerance_ms + 1) if "dit_ms" in columns else (0,)
        for step in spread:
            yield tuple(
                value + step if column == "dit_ms" and isinstance(value, int) else value
                for column, value in zip(columns, values, strict=True)
            )

    # ------------------------------------------------------------------------------------------------ criteria

    def scope_rank(self, scopes: tuple[Scope, ...], consumer: Consumer, group: ExposureGroup) -> int | None:
        """Position of the first scope that holds the group; None outside all."""
        own = consumer.group
        for rank, scope in enumerate(scopes):
            if scope == "execution" and self.run_of.get(own.group_id, "-") == self.run_of.get(group.group_id, "+"):
                return rank
            near = abs(group.mjd_mid - own.mjd_mid) <= self.tables.grouping.same_ob_hours / 24.0
            if scope == "ob" and own.ob_id is not None and own.ob_id == group.ob_id and near:
                return rank
            if scope == "night" and own.night == group.night:
                return rank
        return None

    def banned(self, rule: RuleRow, consumer: Consumer, group: ExposureGroup) -> CalibrationDecision | None:
        """The ban that keeps a group from this consumer, None where there is none."""
        for ban in self.bans_on.get(group.group_id, ()):
            first = self.frames[consumer.file_ids[0]]
            if (not ban.role or ban.role == rule.role) and ban.match.fits_group(
                consumer.group, self.obs_ids(consumer.group), first
            ):
                return ban
        return None

    def judge(
        self, rule: RuleRow, candidate: CandidateRow, consumer: Consumer, group: ExposureGroup
    ) -> Iterator[Criterion]:
        """Every criterion of a rule for one group, in the order in which the first failed one is the reason."""
        n_files = len(group.file_ids)
        left = sum(one not in self.decisions.quarantined for one in group.file_ids)
        yield Criterion("quarantined", "files left", f"{left} of {n_files}", left > 0)
        usable = self.usable_files(group)
        yield Criterion("whole", ">= 1", f"{usable} of {n_files}", usable > 0)
        ban = self.banned(rule, consumer, group)
        yield Criterion("banned", "no", ban.override_id if ban else "no", ban is None)
        bad = group.group_id in self.refused
        yield Criterion("refused_by_qc", "no", "yes" if bad else "no", not bad)
        thermal = "thermal" if consumer.thermal else "not_thermal"
        yield Criterion("only_if", candidate.only_if, thermal, candidate.only_if in ("always", thermal))
        for column in match_columns(candidate, consumer):
            wanted, found = consumer.values[column], group_value(group, column, self.frames, self.tables)
            yield Criterion(column, _text(wanted), _text(found), self._equal(column, wanted, found, rule))
        for column, patterns in candidate.where.items():
            found = group_value(group, column, self.frames, self.tables)
            yield Criterion(column, "|".join(patterns), _text(found), pattern_fits(patterns, found))
        if candidate.scope:
            rank = self.scope_rank(candidate.scope, consumer, group)
            yield Criterion(
                "scope",
                "|".join(candidate.scope),
                "outside" if rank is None else candidate.scope[rank],
                rank is not None,
            )
        if rule.levels_days:
            away = abs(group.mjd_mid - consumer.mjd)
            yield Criterion("window", f"<= {rule.levels_days[-1]:g} d", f"{away:.3f} d", away <= rule.levels_days[-1])
        yield Criterion("min_files", f">= {rule.min_files}", str(usable), usable >= rule.min_files)

    @staticmethod
    def _equal(column: str, wanted: Value, found: Value, rule: RuleRow) -> bool:
        if wanted is None or found is None:
            return False
        if column == "dit_ms" and isinstance(wanted, int) and isinstance(found, int):
            return abs(wanted - found) <= rule.dit_tolerance_ms
        return wanted == found

    def passes(self, rule: RuleRow, candidate: CandidateRow, consumer: Consumer, group: ExposureGroup) -> bool:
        """Whether a group that matches already holds for the rest: decisions, scope, window, files."""
        if group.group_id in self.refused or self.usable_files(group) < max(1, rule.min_files):
            return False
        if candidate.scope and self.scope_rank(candidate.scope, consumer, group) is None:
            return False
        if rule.levels_days and abs(group.mjd_mid - consumer.mjd) > rule.levels_days[-1]:
            return False
        return self.banned(rule, consumer, group) is None


def nearest_first(times: Times, mjd: float) -> Iterator[ExposureGroup]:
    """Groups by absolute distance in time; equal distances by earlier time, then id."""
    moments, groups = times
    right = bisect_left(moments, mjd)
    left = right - 1
    while left >= 0 or right < len(groups):
        # Groups of one time on the left stand in order of id: take the first of them first.
        if left >= 0 and (right >= len(groups) or mjd - moments[left] <= moments[right] - mjd):
            first = bisect_left(moments, moments[left], 0, left + 1)
            yield from groups[first : left + 1]
            left = first - 1
        else:
            yield groups[right]
            right += 1


def match_columns(candidate: CandidateRow, consumer: Consumer) -> tuple[str, ...]:
    """The columns that must be equal for this consumer."""
    return (*candidate.match, *(candidate.match_thermal if consumer.thermal else ()))


def serves_consumer(candidate: CandidateRow, consumer: Consumer) -> bool:
    """Whether the candidate row is for this kind of consumer and filter."""
    thermal = "thermal" if consumer.thermal else "not_thermal"
    return candidate.only_if in ("always", thermal) and (
        not candidate.consumers or consumer.role in candidate.consumers
    )


def level_of(rule: RuleRow, candidate: CandidateRow, scope_rank: int | None, away: float) -> int:
    """Level 0-3 of a link: by its scope, or by absolute distance in days."""
    if rule.scope_levels and scope_rank is not None:
        return rule.scope_levels[candidate.scope[scope_rank]]
    return next((level for level, days in enumerate(rule.levels_days) if away <= days), 3)


def consumers_of(rule: RuleRow, group: ExposureGroup, index: GroupIndex) -> list[Consumer]:
    """The parts of a group that need this rule's role: one for each value of the columns that must match."""
    role = _consumer_role(rule, group, index)
    files = [one for one in group.file_ids if one not in index.decisions.quarantined]
    if role is None or not files:
        return []
    frames, tables = index.frames, index.tables
    first = frames[files[0]]
    if any(
        not pattern_fits(patterns, group_value(group, column, frames, tables))
        for column, patterns in rule.only_setup.items()
    ):
        return []
    if rule.coronagraphic_only:
        mask = tables.irdis.coronagraph(first.coro_ir)
        if mask is not None and not mask.occulting:
            return []
    rows = [one for one in rule.candidate if not one.consumers or role in one.consumers]
    columns = tuple(dict.fromkeys(column for row in rows for column in (*row.match, *row.match_thermal)))
    fixed = {name for name, _ in group.keys}
    parts: defaultdict[tuple[tuple[str, Value], ...], list[FileId]] = defaultdict(list)
    for one in files:
        parts[_varying(frames[one], columns, fixed, tables)].append(one)
    shown = {column for part in parts for column, value in part} if len(parts) > 1 else set()
    mjd = _anchor(rule, group, index)
    return [
        Consumer(
            group=group,
            role=role,
            selector=",".join(f"{column}={value}" for column, value in part if column in shown),
            file_ids=tuple(some),
            values={column: group_value(group, column, frames, tables) for column in columns} | dict(part),
            thermal=is_thermal(first, tables),
            mjd=mjd if mjd is not None else _middle([frames[one] for one in some]),
        )
        for part, some in sorted(parts.items(), key=lambda item: repr(item[0]))
    ]


def _varying(
    frame: RawFrame, columns: tuple[str, ...], fixed: set[str], tables: Tables
) -> tuple[tuple[str, Value], ...]:
    return tuple((column, column_value(frame, column, tables)) for column in columns if column not in fixed)


def _consumer_role(rule: RuleRow, group: ExposureGroup, index: GroupIndex) -> str | None:
    if group.arm.value != rule.arm or not group.reduced:
        return None
    if group.frame_type in rule.consumers:
        return group.frame_type
    role = group.role
    if role == "CENTER" and _is_science(group, index):
        role = "WAFFLE"
    return role if role in rule.consumers else None


def _is_science(group: ExposureGroup, index: GroupIndex) -> bool:
    return any(
        entry.science and entry.group_id == group.group_id
        for one in index.observations_of.get(group.group_id, ())
        for entry in one.files
    )


def _anchor(rule: RuleRow, group: ExposureGroup, index: GroupIndex) -> float | None:
    """Middle of the first observation a group is in, for rules anchored there; None: the part's own middle."""
    several = index.observations_of.get(group.group_id, ())
    if rule.anchor == "observation" and several:
        return 0.5 * (several[0].mjd_start + several[0].mjd_end)
    return None


def _middle(frames: Sequence[RawFrame]) -> float:
    return 0.5 * (min(one.mjd_obs for one in frames) + max(one.mjd_end for one in frames))


def _text(value: Value) -> str:
    return "missing" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Groups that a rule gives one consumer."""

    groups: tuple[tuple[ExposureGroup, CandidateRow, int, int], ...]
    """(group, candidate row, level, n_candidates)."""
    method: str = "match"
    pins: Mapping[GroupId, str] = field(default_factory=dict)
    """Pinned groups and the override that pins each."""
