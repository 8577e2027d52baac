"""Why something cannot be planned: one `NotPlanned` per cause, each with what to do."""

from __future__ import annotations

from collections.abc import Sequence

from archive_proc.errors import MisuseError
from archive_proc.model.ids import GroupId, ObsId, shown
from archive_proc.model.observations import Issue
from archive_proc.model.processes import NotPlanned, Subject
from archive_proc.planning.universe import BLOCKING, Universe
from archive_proc.recipes.recipe import InputRole, RawMain


def shown_subject(subject: Subject) -> str:
    """A subject's id as people see it: `obs:5d20b7e91c44`."""
    if subject.kind == "frame":
        return subject.subject_id
    return shown("obs" if subject.kind == "observation" else subject.kind, subject.subject_id)


def by_issue(issue: Issue, subject: Subject, product_type: str) -> NotPlanned:
    """The rules have named the cause already."""
    return NotPlanned(subject, product_type, issue.code, issue.message, issue.remedy)


def no_recipe(universe: Universe, subject: Subject, product_type: str) -> NotPlanned:
    """The cookbook has nothing for this product of this subject."""
    if subject.kind == "observation":
        observation = universe.observations[ObsId(subject.subject_id)]
        if not observation.reduced or not product_type:
            return NotPlanned(
                subject,
                product_type,
                "AP-PLN-003",
                f"{_kind(subject.arm.value, observation.mode)} sequences are recognised and not reduced",
                "none: there are no recipes for them yet",
            )
    return NotPlanned(
        subject,
        product_type,
        "AP-PLN-004",
        f"no recipe makes {product_type or 'anything'} of {universe.label(subject)}",
        "ask for a product type that a recipe of this arm and mode makes",
    )


def nothing_left(
    universe: Universe, main: RawMain, subject: Subject, product_type: str, left_out: Sequence[str]
) -> NotPlanned:
    """No main frame is left to work on; `left_out` says of each file why."""
    what = f" ({', '.join(main.roles)})" if main.roles else ""
    why = f": {left_out[0]}" if left_out else ""
    return NotPlanned(
        subject,
        product_type,
        "AP-PLN-005",
        f"no usable main frame{what} of {universe.label(subject)}{why}",
        "deliver readable files, or lift the quarantine, and ingest again",
    )


def no_calibration(
    universe: Universe, role: InputRole, subject: Subject, product_type: str, groups: Sequence[GroupId]
) -> NotPlanned:
    """A required role is empty: the rules' own issue about it where there is one."""
    names = {role.role, *role.association_roles}
    issues = [issue for one in groups for issue in universe.issues_of("group", one)]
    issues += universe.issues_of(subject.kind, subject.subject_id)
    about = [one for one in issues if names & set(one.message.lower().replace(",", " ").replace(":", " ").split())]
    if about:
        return by_issue(min(about, key=lambda one: one.severity != BLOCKING), subject, product_type)
    return NotPlanned(
        subject,
        product_type,
        "AP-PLN-006",
        f"no {role.role} ({' or '.join(role.product_types)}) for {universe.label(subject)}",
        f"`archive-proc explain {shown_subject(subject)}` names the candidates; ingest more calibrations or pin one",
    )


def circle(chain: Sequence[str], subject: Subject) -> MisuseError:
    """Recipes that need each other's products: a mistake of the cookbook, not of the night."""
    return MisuseError(
        "AP-PLN-002",
        f"these recipes need each other: {' -> '.join(chain)}",
        subject=shown_subject(subject),
        remedy="take the product out of one recipe's inputs",
    )


def _kind(arm: str, mode: str) -> str:
    """`IRDIS polarimetry`; a mode that is the arm's own name is not said twice."""
    return arm if mode.lower() == arm.lower() else f"{arm} {mode.replace('_', ' ')}"
