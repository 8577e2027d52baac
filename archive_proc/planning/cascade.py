"""The cascade: from wanted products back through calibrations of calibrations to raw frames.

It reads `Recipe.main`, `inputs`, `outputs`, `subject_kind` and `modes` and the associations, and names no recipe.
Each (recipe, subject) is made once; what cannot be made is a `NotPlanned` that carries its root cause upwards.

A plan goes on without frames only where it says so: files that cannot be read, and CENTER or FLUX files that lack
what the recipe requires, are left out and named in `fallbacks`; science planes are never left out for want of a
calibration.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from archive_proc.model.frames import ABSENT, RawFrame
from archive_proc.model.ids import FileId, GroupId, ObsId, ProcessId, product_id
from archive_proc.model.observations import Issue
from archive_proc.model.processes import NotPlanned, Process, ProcessInput, Subject
from archive_proc.planning.dead_ends import by_issue, circle, no_calibration, no_recipe, nothing_left
from archive_proc.planning.keys import MAIN, Ingredients, ordered_inputs, process_id
from archive_proc.planning.links import Link
from archive_proc.planning.mains import MainFile, main_files, science_groups, unreadable
from archive_proc.planning.makers import Makers
from archive_proc.planning.material import Material, stand_ins
from archive_proc.planning.preset import parameters_of
from archive_proc.planning.rulebook import Rulebook, Work
from archive_proc.planning.universe import Universe
from archive_proc.recipes.recipe import InputRole, ProductMain, RawMain, Recipe


@dataclass(frozen=True, slots=True)
class Wanted:
    """A product that a selection asks for."""

    subject: Subject
    product_type: str


@dataclass(frozen=True, slots=True)
class Cascaded:
    """What the wanted products need."""

    processes: tuple[Process, ...]
    """Sorted by process id, each once."""
    not_planned: tuple[NotPlanned, ...]
    """Wanted products only, each with its root cause; sorted."""
    refused_groups: frozenset[GroupId]
    """Calibration groups in use whose process was refused before: associate again without them."""


def cascade(
    universe: Universe,
    wanted: Iterable[Wanted],
    rulebook: Rulebook,
    refused: frozenset[ProcessId] = frozenset(),
    failed: frozenset[ProcessId] = frozenset(),
) -> Cascaded:
    """All processes that the wanted products need.

    `failed`: gave up when last tried, whatever the cause; roles of which each may lack do without.

    Raises MisuseError for an ambiguous cookbook (AP-PLN-001), products that need each other (AP-PLN-002) and
    parameters that the recipe does not have (AP-PLN-010, AP-PLN-011).
    """
    run = _Cascade(universe, rulebook, refused, failed)
    missing = []
    for one in sorted(set(wanted), key=lambda w: (w.subject.kind, w.subject.subject_id, w.product_type)):
        made = run.make(one.subject, one.product_type)
        if isinstance(made, NotPlanned):
            missing.append(replace(made, subject=one.subject, product_type=one.product_type))
    return Cascaded(
        processes=tuple(sorted(run.needed(), key=lambda process: process.process_id)),
        not_planned=tuple(missing),
        refused_groups=frozenset(run.refused_groups),
    )


class _Cascade:
    """The memory of one cascade."""

    def __init__(
        self, universe: Universe, rulebook: Rulebook, refused: frozenset[ProcessId], failed: frozenset[ProcessId]
    ) -> None:
        self.universe = universe
        self.rulebook = rulebook
        self.refused = refused
        self.makers = Makers.of(rulebook.cookbook)
        self.made: dict[tuple[str, Subject], Process | NotPlanned] = {}
        self.by_id: dict[ProcessId, Process] = {}
        self.roots: set[ProcessId] = set()
        self.first_frame: dict[ProcessId, RawFrame | None] = {}
        self.in_the_making: list[tuple[str, Subject]] = []
        self.refused_groups: set[GroupId] = set()
        self.on_refused: set[ProcessId] = set()
        """Processes that are refused or rest on one that is."""
        self.on_failed: set[ProcessId] = set(failed)
        """Processes that failed before or rest on one that did."""

    def make(self, subject: Subject, product_type: str) -> Process | NotPlanned:
        """The process of a wanted product."""
        made = self._product(subject, product_type)
        if isinstance(made, Process):
            self.roots.add(made.process_id)
        return made

    def needed(self) -> list[Process]:
        """The wanted processes and all they rest on; what was tried for a product that failed is not among them."""
        todo, found = sorted(self.roots), set[ProcessId]()
        while todo:
            one = todo.pop()
            if one not in found:
                found.add(one)
                todo.extend(self.by_id[one].sources)
        return [self.by_id[one] for one in found]

    def _product(self, subject: Subject, product_type: str) -> Process | NotPlanned:
        recipe = self.makers.maker(self.universe, subject, product_type)
        if recipe is None:
            return no_recipe(self.universe, subject, product_type)
        stopped = self._stopped(subject)
        if stopped is not None:
            return by_issue(stopped, subject, product_type)
        key = (recipe.name, subject)
        if key not in self.made:
            if key in self.in_the_making:
                raise circle([name for name, _ in [*self.in_the_making, key]], subject)
            self.in_the_making.append(key)
            made = self._process(recipe, subject, product_type)
            self.in_the_making.pop()
            self.made[key] = made
            if isinstance(made, Process):
                self.by_id[made.process_id] = made
        return self.made[key]

    def _stopped(self, subject: Subject) -> Issue | None:
        """The issue that keeps a subject from being reduced at all."""
        found = self.universe.blocking(subject.kind, subject.subject_id)
        if found is None and subject.kind == "observation":
            groups = science_groups(self.universe, ObsId(subject.subject_id))
            found = next(filter(None, (self.universe.blocking("group", one) for one in groups)), None)
        return found

    def _process(self, recipe: Recipe, subject: Subject, product_type: str) -> Process | NotPlanned:
        fallbacks: list[str] = []
        left_out: set[FileId] = set()
        while True:
            material = self._material(recipe, subject, product_type, left_out, fallbacks)
            if isinstance(material, NotPlanned):
                return material
            links: list[tuple[InputRole, list[Link]]] = []
            for role in recipe.inputs:
                found = self._role(role, subject, product_type, material, fallbacks)
                if isinstance(found, NotPlanned):
                    return found
                some, lacking = found
                if lacking:
                    # Only files that are not science come here: they are left out, and what remains is tried again.
                    left_out |= {material.files[one].file_id for one in lacking}
                    fallbacks += [f"{material.files[one].file_id} left out: no {role.role}" for one in lacking]
                    break
                links.append((role, some))
            else:
                return self._finish(recipe, subject, material, links, left_out, fallbacks)

    def _material(
        self, recipe: Recipe, subject: Subject, product_type: str, left_out: set[FileId], fallbacks: list[str]
    ) -> Material | NotPlanned:
        if isinstance(recipe.main, ProductMain):
            made = self._product(subject, recipe.main.product_type)
            if isinstance(made, NotPlanned):
                return made
            product = product_id(made.process_id, recipe.main.product_type)
            consumers: tuple[GroupId, ...] = ()
            if subject.kind == "observation":
                consumers = science_groups(self.universe, ObsId(subject.subject_id))
            elif subject.kind == "group":
                consumers = (GroupId(subject.subject_id),)
            entry = ProcessInput(MAIN, "product", product, product)
            return Material((), (entry,), self.first_frame[made.process_id], consumers)
        files = []
        for one in main_files(self.universe, subject, recipe.main):
            why = "" if one.file_id in left_out else self._why_not(one)
            if why:
                left_out.add(one.file_id)
                fallbacks.append(f"{one.file_id} left out: {why}")
            if one.file_id not in left_out:
                files.append(one)
        if not any(one.science for one in files):
            return nothing_left(self.universe, recipe.main, subject, product_type, fallbacks)
        inputs = tuple(one.as_input(self.universe.frames[one.file_id].content_id) for one in files)
        consumers = tuple(dict.fromkeys(one.group_id for one in files))
        return Material(tuple(files), inputs, self.universe.frames[files[0].file_id], consumers)

    def _why_not(self, one: MainFile) -> str:
        """Why a file is left out before any role is looked at."""
        why = unreadable(self.universe, one.file_id)
        if not why and not one.science:
            issue = self.universe.blocking("group", one.group_id)
            why = f"{issue.code} {issue.message}" if issue else ""
        return why

    def _role(
        self, role: InputRole, subject: Subject, product_type: str, material: Material, fallbacks: list[str]
    ) -> tuple[list[Link], list[int]] | NotPlanned:
        """Products of a role, and positions of main files (never science) that a required role leaves without."""
        if role.source == "pinned":
            if not role.required:
                return [], []
            return no_calibration(self.universe, role, subject, product_type, material.consumers)
        if role.source == "subject":
            return self._own(role, subject)
        if role.source == "frames":
            return self._frames(role, subject, product_type, material, fallbacks)
        needing = [n for n, one in enumerate(material.files) if not role.for_roles or one.is_one_of(role.for_roles)]
        links, cause = self._associated(role, material, needing, fallbacks)
        if not role.required:
            return links, []
        covered = {position for one in links for position in one.positions}
        lacking = [one for one in needing if one not in covered]
        if (material.files and not any(material.files[one].science for one in lacking)) or (
            not material.files and links
        ):
            return links, lacking
        if cause is not None:
            return replace(cause, subject=subject, product_type=product_type)
        groups = tuple(dict.fromkeys(material.files[one].group_id for one in lacking)) or material.consumers
        return no_calibration(self.universe, role, subject, product_type, groups)

    def _own(self, role: InputRole, subject: Subject) -> tuple[list[Link], list[int]] | NotPlanned:
        """A product of the same subject: the first type of the role that can be made."""
        first: NotPlanned | None = None
        for one in role.product_types:
            made = self._product(subject, one)
            if isinstance(made, Process):
                return [Link(made, one)], []
            first = first or made
        if role.required and first is not None:
            return first
        return [], []

    def _frames(
        self, role: InputRole, subject: Subject, product_type: str, material: Material, fallbacks: list[str]
    ) -> tuple[list[Link], list[int]] | NotPlanned:
        """Products of single frames of the observation; what each frame that is left out lacks is named."""
        place = {one.file_id: position for position, one in enumerate(material.files)}
        links: list[Link] = []
        first: NotPlanned | None = None
        for one in main_files(self.universe, subject, RawMain(roles=role.for_roles)):
            if one.science and subject.kind == "observation":
                # Continuous waffle: its planes are in the observation's own product already.
                continue
            made, made_type, why = self._frame(one, role, subject)
            if isinstance(made, Process):
                found = Link(made, made_type, one.association)
                found.positions |= {place[one.file_id]} if one.file_id in place else set()
                found.level = one.association.level if one.association else 0
                links.append(found)
                continue
            first = first or made
            fallbacks.append(f"{one.file_id} left out of {role.role}: {why}")
        if links or not role.required:
            return links, []
        if first is not None:
            return replace(first, subject=subject, product_type=product_type)
        return no_calibration(self.universe, role, subject, product_type, material.consumers)

    def _frame(self, one: MainFile, role: InputRole, subject: Subject) -> tuple[Process | NotPlanned | None, str, str]:
        """The product of one frame, its type, and why there is none."""
        why = self._why_not(one)
        if why:
            return None, "", why
        of_frame = Subject("frame", one.file_id, subject.arm)
        first: NotPlanned | None = None
        for made_type in role.product_types:
            made = self._product(of_frame, made_type)
            if isinstance(made, NotPlanned):
                first = first or made
            elif made.process_id in self.refused and not any(each in self.on_refused for each in made.sources):
                # Nothing stands in for a frame: the sequence goes on without it.
                return None, "", f"{made.recipe} refused it"
            else:
                return made, made_type, ""
        return first, "", f"{first.code} {first.message}" if first else "nothing is made of it"

    def _associated(
        self, role: InputRole, material: Material, needing: Sequence[int], fallbacks: list[str]
    ) -> tuple[list[Link], NotPlanned | None]:
        """Products of the groups chosen for the main files, each once, and why the first that cannot be made cannot."""
        positions_of: defaultdict[GroupId, dict[FileId, int]] = defaultdict(dict)
        for position in needing:
            one = material.files[position]
            positions_of[one.group_id][one.file_id] = position
        links: dict[str, Link] = {}
        cause: NotPlanned | None = None
        for consumer in material.consumers:
            mine = positions_of[consumer]
            if material.files and not mine:
                continue
            for association_role in role.association_roles or (role.role,):
                for chosen in self.universe.serving(consumer, association_role):
                    served = {mine[file_id] for file_id in chosen.file_ids if file_id in mine}
                    if material.files and not served:
                        continue
                    made, product_type = self._master(chosen.calib_group_id, role.product_types)
                    if isinstance(made, NotPlanned):
                        cause = cause or made
                    elif made is not None and role.each_may_lack and (why := self._lacking(made, material)):
                        fallbacks.append(f"{chosen.calib_group_id} left out of {role.role}: {why}")
                    elif made is not None:
                        product = product_id(made.process_id, product_type)
                        link = links.setdefault(product, Link(made, product_type, chosen))
                        link.positions |= served
                        link.level = max(link.level, chosen.level)
        return [links[one] for one in sorted(links)], cause

    def _lacking(self, made: Process, material: Material) -> str:
        """Why a product is not waited for; empty where it is."""
        if made.process_id in self.on_failed:
            return f"{made.recipe} failed before"
        absent = {one.file_id for one in material.files if self.universe.frames[one.file_id].pixels == ABSENT}
        read = [FileId(one.input_id) for one in made.inputs if one.kind == "file"]
        if not absent and any(self.universe.frames[one].pixels == ABSENT for one in read):
            return "only headers of its files are known"
        return ""

    def _master(self, group_id: GroupId, product_types: Sequence[str]) -> tuple[Process | NotPlanned | None, str]:
        """The master of a calibration group in the first of these types that a recipe makes of it, None without."""
        subject = Subject("group", group_id, self.universe.groups[group_id].arm)
        for one in product_types:
            if self.makers.maker(self.universe, subject, one) is not None:
                made = self._product(subject, one)
                if (
                    isinstance(made, Process)
                    and made.process_id in self.refused
                    # With another dark the flat may be good: the deepest refused calibration goes first.
                    and not any(source in self.on_refused for source in made.sources)
                ):
                    self.refused_groups.add(group_id)
                return made, one
        return None, ""

    def _finish(
        self,
        recipe: Recipe,
        subject: Subject,
        material: Material,
        roles: Sequence[tuple[InputRole, Sequence[Link]]],
        left_out: set[FileId],
        fallbacks: Sequence[str],
    ) -> Process:
        inputs = ordered_inputs(
            [*material.inputs, *(one.as_input(role.role, len(material.files)) for role, some in roles for one in some)]
        )
        brought = [one.association for one in material.files] + [one.association for _, some in roles for one in some]
        files = tuple(one.file_id for one in material.files)
        effect = self.rulebook.effects(
            Work(
                recipe=recipe,
                subject=subject,
                files=files,
                left_out=tuple(sorted(left_out)),
                groups=material.consumers,
                pinned=tuple(
                    sorted({(a.consumer_group_id, a.role, a.calib_group_id) for a in brought if a and a.pinned})
                ),
            )
        )
        place = {file_id: position for position, file_id in enumerate(files)}
        sources = sorted({one.input_id.partition(".")[0] for one in inputs if one.kind == "product"})
        made_from = Ingredients(
            recipe=recipe.name,
            recipe_version=recipe.version,
            parameters=parameters_of(recipe, self.rulebook.preset, effect.parameters, effect.source),
            tables_digest=self.rulebook.table_digest(recipe.tables, material.first),
            inputs=inputs,
            excluded_planes=sorted((place[one], plane) for one, plane in set(effect.excluded_planes) if one in place),
            corrections=sorted(
                (self.universe.frames[one].content_id, keyword, value)
                for one, keyword, value in set(effect.corrections)
                if one in place
            ),
        )
        key = process_id(made_from)
        self.first_frame[key] = material.first
        if key in self.refused or any(ProcessId(one) in self.on_refused for one in sources):
            self.on_refused.add(key)
        if any(ProcessId(one) in self.on_failed for one in sources):
            self.on_failed.add(key)
        night, period_date = self.universe.night_of(subject)
        return Process(
            process_id=key,
            recipe=recipe.name,
            recipe_version=recipe.version,
            preset=self.rulebook.preset.name,
            subject=subject,
            parameters=made_from.parameters,
            excluded_planes=tuple(made_from.excluded_planes),
            tables_digest=made_from.tables_digest,
            inputs=inputs,
            corrections=tuple(made_from.corrections),
            product_types=tuple(recipe.outputs),
            night=night,
            period_date=period_date,
            level=max(
                (*(one.level for one in inputs), *(self.by_id[ProcessId(one)].level for one in sources)), default=0
            ),
            override_ids=tuple(sorted(effect.override_ids)),
            fallbacks=tuple(dict.fromkeys((*fallbacks, *stand_ins(recipe, material, roles)))),
        )
