"""Who makes what: the cookbook, indexed by product type and subject, so that no recipe is ever named."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from archive_proc.errors import MisuseError
from archive_proc.model.ids import FileId, GroupId, ObsId
from archive_proc.model.processes import Subject
from archive_proc.planning.universe import Universe
from archive_proc.recipes.recipe import RawMain, Recipe


@dataclass(frozen=True, slots=True)
class Makers:
    """The recipes of a cookbook by (arm, subject kind, product type)."""

    by_product: Mapping[tuple[str, str, str], tuple[Recipe, ...]]
    by_subject: Mapping[tuple[str, str], tuple[Recipe, ...]]

    @classmethod
    def of(cls, cookbook: Sequence[Recipe]) -> Makers:
        """Index a cookbook. Raises MisuseError (AP-PLN-001) where two recipes claim one product of one subject."""
        products: defaultdict[tuple[str, str, str], list[Recipe]] = defaultdict(list)
        subjects: defaultdict[tuple[str, str], list[Recipe]] = defaultdict(list)
        for recipe in sorted(cookbook, key=lambda one: one.name):
            subjects[recipe.arm, recipe.subject_kind].append(recipe)
            for made in recipe.outputs:
                for rival in products[recipe.arm, recipe.subject_kind, made]:
                    if _overlap(recipe, rival):
                        raise MisuseError(
                            "AP-PLN-001",
                            f"{rival.name} and {recipe.name} both make {made} of the same {recipe.subject_kind}",
                            subject="cookbook",
                            remedy="let them differ in main.frame_types or modes",
                        )
                products[recipe.arm, recipe.subject_kind, made].append(recipe)
        return cls(
            by_product={key: tuple(some) for key, some in products.items()},
            by_subject={key: tuple(some) for key, some in subjects.items()},
        )

    def maker(self, universe: Universe, subject: Subject, product_type: str) -> Recipe | None:
        """The recipe that makes this product of this subject, None where there is none."""
        candidates = self.by_product.get((subject.arm, subject.kind, product_type), ())
        return next((one for one in candidates if _takes(one, universe, subject)), None)

    def recipes_of(self, universe: Universe, subject: Subject) -> tuple[Recipe, ...]:
        """All recipes that work on this subject, by name."""
        candidates = self.by_subject.get((subject.arm, subject.kind), ())
        return tuple(one for one in candidates if _takes(one, universe, subject))


def _takes(recipe: Recipe, universe: Universe, subject: Subject) -> bool:
    if subject.kind == "observation":
        observation = universe.observations[ObsId(subject.subject_id)]
        return observation.mode in recipe.modes if recipe.modes else observation.reduced
    if not isinstance(recipe.main, RawMain) or not recipe.main.frame_types:
        return True
    if subject.kind == "group":
        return universe.groups[GroupId(subject.subject_id)].frame_type in recipe.main.frame_types
    return universe.classified[FileId(subject.subject_id)].frame_type in recipe.main.frame_types


def _overlap(one: Recipe, other: Recipe) -> bool:
    if one.subject_kind == "observation":
        return not one.modes or not other.modes or bool(set(one.modes) & set(other.modes))
    if isinstance(one.main, RawMain) and isinstance(other.main, RawMain):
        mine, theirs = set(one.main.frame_types), set(other.main.frame_types)
        return not mine or not theirs or bool(mine & theirs)
    return True
