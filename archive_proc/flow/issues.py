"""Issues of a selection, and what an id speaks of."""

from __future__ import annotations

from collections.abc import Iterable

from archive_proc.catalog.identify import Identifier
from archive_proc.catalog.query import query
from archive_proc.errors import MisuseError
from archive_proc.flow.campaign import Campaign
from archive_proc.model.ids import ObsId
from archive_proc.model.observations import Issue
from archive_proc.storage.layout import Layout
from archive_proc.storage.snapshots import find_current

_SEVERITY = {"blocking": 0, "warning": 1, "note": 2}


def issues_of(campaign: Campaign, obs_ids: Iterable[ObsId] | None) -> tuple[Issue, ...]:
    """Issues of some observations (their files, groups and calibrations' groups), or all; blocking ones first.

    Those of the rules, and of figures beyond limits of what is current in the newest catalog.
    """
    found = (*campaign.understanding.issues, *_of_quality(campaign.layout))
    if obs_ids is not None:
        wanted = set(obs_ids)
        chosen = [one for one in campaign.observations if one.obs_id in wanted]
        groups = {entry.group_id for one in chosen for entry in one.files}
        files = {entry.file_id for one in chosen for entry in one.files}
        more = groups
        while more:
            more = {
                link.calib_group_id for link in campaign.associations.chosen if link.consumer_group_id in more
            } - groups
            groups |= more
        subjects = {*wanted, *groups, *files}
        found = tuple(one for one in found if {one.subject_id, one.obs_id, one.group_id, one.file_id} & subjects)
    return tuple(sorted(found, key=lambda one: (_SEVERITY[one.severity], one.code, one.subject_id, one.message)))


_QUALITY = """
SELECT i.code, i.severity, i.subject_kind, i.subject_id, i.message, i.remedy, i.obs_id, i.group_id, i.process_id
FROM issues i JOIN processes p USING (process_id)
WHERE i.origin = 'quality' AND i.state = 'open' AND p.is_current
"""


def _of_quality(layout: Layout) -> tuple[Issue, ...]:
    """Issues that broken limits raised, of current products; none where nothing was published yet."""
    if find_current(layout) is None:
        return ()
    return tuple(Issue(**{**row, "remedy": row["remedy"] or ""}) for row in query(layout, _QUALITY).to_pylist())


def subject_of(layout: Layout, what: Identifier) -> tuple[str, str]:
    """Kind (observation or group) and id that an id speaks of: a product or process speaks of its subject.

    Raises MisuseError AP-CLI-007 for what has no calibrations.
    """
    if what.kind == "obs":
        return "observation", what.value
    if what.kind == "group":
        return "group", what.value
    if what.kind in ("prod", "proc"):
        process = what.value.partition(".")[0]
        rows = query(
            layout, "SELECT subject_kind, subject_id FROM processes WHERE process_id = $id", {"id": process}
        ).to_pylist()
        if rows and rows[0]["subject_kind"] in ("observation", "group"):
            return str(rows[0]["subject_kind"]), str(rows[0]["subject_id"])
    raise MisuseError(
        "AP-CLI-007", "has no calibrations to explain", subject=what.shown, remedy="an observation, group or product id"
    )
