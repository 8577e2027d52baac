"""Whether a template's files are all there: TPL NEXP against the exposure numbers of both arms."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from archive_proc.instruments.rows import pattern_fits
from archive_proc.instruments.tables import Tables
from archive_proc.model.frames import Arm, RawFrame

_Key = tuple[int | None, dt.datetime]


@dataclass(frozen=True, slots=True)
class TemplateFiles:
    """The files of each template, of all arms."""

    of_template: Mapping[_Key, tuple[RawFrame, ...]]

    @classmethod
    def of(cls, frames: Iterable[RawFrame]) -> TemplateFiles:
        """By OB id and TPL START; telemetry counts no exposure."""
        found: defaultdict[_Key, list[RawFrame]] = defaultdict(list)
        for one in frames:
            if one.tpl_start is not None and one.arm is not Arm.SPARTA and one.tpl_expno is not None:
                found[one.ob_id, one.tpl_start].append(one)
        return cls({key: tuple(some) for key, some in found.items()})

    def counted(self, frame: RawFrame) -> tuple[set[int], int | None, frozenset[Arm]]:
        """Exposure numbers present, number planned (None when unsaid), arms delivered, of a frame's template."""
        if frame.tpl_start is None:
            return set(), None, frozenset()
        some = self.of_template.get((frame.ob_id, frame.tpl_start), ())
        numbers = {one.tpl_expno for one in some if one.tpl_expno is not None}
        planned = max((one.tpl_nexp for one in some if one.tpl_nexp), default=None)
        return numbers, planned, frozenset(one.arm for one in some)


def is_two_arm(frame: RawFrame, tables: Tables) -> bool:
    """Whether the frame's template counts the exposures of both arms."""
    return frame.tpl_id is not None and pattern_fits(tables.grouping.two_arm_templates, frame.tpl_id)


def template_complete(frame: RawFrame, templates: TemplateFiles, tables: Tables) -> bool | None:
    """True when every planned exposure is there; None when the header does not say, or one arm of two was delivered."""
    numbers, planned, arms = templates.counted(frame)
    if planned is None:
        return None
    if numbers >= set(range(1, planned + 1)):
        return True
    if is_two_arm(frame, tables) and len(arms) < 2:
        return None
    return False


def completeness_of(science: Sequence[RawFrame], templates: TemplateFiles, tables: Tables) -> bool | None:
    """Of a sequence: False when a template or a cube is cut short, None when that is unknown."""
    if any(one.truncated or (one.ndit is not None and one.n_planes < one.ndit) for one in science):
        return False
    firsts = {(one.ob_id, one.tpl_start): one for one in science}
    verdicts = [template_complete(one, templates, tables) for one in firsts.values()]
    if False in verdicts:
        return False
    return None if None in verdicts else True
