"""Every figure of a study, declared once: the rule, the report's menu, the first page and the drawing read it here.

Loads nothing heavy until a figure is drawn, as planning (`snakemake -n`) comes here. Entry points:
    FIGURES                                                the declarations, in the order of the first page
    figures_of(recipes, each_up_to) -> list[Figure]        those of a study: of many recipes none for each
    keys_of(figure, recipes) -> list                       what there is one figure for each of
    draw_many(material, figures, workers)                  many of them, over processes
"""

import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from study.recipe import Recipe

if TYPE_CHECKING:
    from study.report.figures.material import Material

Key = str | int
OF_A_RECIPE = ("experiment", "training")  # in `Figure.per`


@dataclass(frozen=True)
class Figure:
    """One figure, or one for each experiment, case or optimizer.

    In texts "{key}" stands for which one of them.

    Attributes:
        name: of the rule's output.
        draw_with: the function, by its dotted path; takes the material, the path, and the key if it has one.
        file: its name below {results}/figures.
        category: in the menu of the report.
        labels: in the menu of the report.
        caption: file in report/.
        alt: what it shows, for those who do not see it.
        section: of the first page, by its anchor.
        heading: above it on the first page.
        folded: what is written on the fold that it lies under on the first page, one for each key; the best recipe's
            is open. "{mark}" stands for the cross of a failed recipe.
        wide: whether it takes the page's whole width.
        per: what of a recipe there is one figure for each of, such as "experiment" or "case", or "training" for
            experiments with one of their own; "" for a single figure.
    """

    name: str
    draw_with: str
    file: str
    category: str
    labels: Mapping[str, str]
    caption: str
    alt: str
    section: str
    heading: str = ""
    folded: str = ""
    wide: bool = True
    per: str = ""

    def path(self, key: Key = "") -> str:
        """Name of the file below {results}/figures."""
        return self.file.format(key=key)

    def draw(self, material: "Material", path: str | Path, *key: Key) -> None:
        """Draw it into a file."""
        pkgutil.resolve_name(self.draw_with)(material, path, *key)


def figures_of(recipes: Mapping[str, Recipe], each_up_to: int) -> list[Figure]:
    """The figures of a study; where nothing is trained, none of trainings.

    Args:
        each_up_to: of more recipes there are none for each of them: drawing takes half a second a figure, and the
            seconds and the memory of Snakemake's report grow with the square of their number.
    """
    many = len(recipes) > each_up_to
    drawn = [figure for figure in FIGURES if not (many and figure.per in OF_A_RECIPE)]
    return [figure for figure in drawn if not figure.per or keys_of(figure, recipes)]


def keys_of(figure: Figure, recipes: Mapping[str, Recipe]) -> list[Key]:
    """What there is one figure for each of: experiments as the table has them, the others sorted; [] for one figure.

    Recipes without training have figures of their predictions alone, which are those `per` experiment. A case of such
    recipes has its figure.
    """
    if not figure.per:
        return []
    if figure.per == "experiment":
        return list(recipes)
    if figure.per == "case":
        return sorted({recipe.case for recipe in recipes.values()})
    trained = {name: recipe for name, recipe in recipes.items() if recipe.trains}
    if figure.per == "training":
        return list(trained)
    return sorted({getattr(recipe, figure.per) for recipe in trained.values()})


COMPARISON, CURVES, ERRORS, DATA = "2 Comparison", "3 Curves", "4 Errors", "5 Data"

FIGURES = (
    Figure(
        "comparison", "study.report.figures.recipes.comparison", "comparison.svg", COMPARISON,
        {"figure": "all recipes", "of": "test accuracy"}, "figure_comparison.rst",
        alt="Test accuracy of every recipe with its interval, validation accuracy and failures", section="answer",
    ),
    Figure(
        "effects", "study.report.figures.effects.effects", "effects.svg", COMPARISON,
        {"figure": "all recipes", "of": "effects of single treatments"}, "figure_effects.rst",
        alt="Difference in test accuracy that each treatment makes, with its interval", section="effects",
    ),
    Figure(
        "cost", "study.report.figures.cost.cost", "cost.svg", COMPARISON,
        {"figure": "all recipes", "of": "accuracy against cost"}, "figure_cost.rst",
        alt="Test accuracy of every recipe against the time of its training, the frontier named", section="cost",
    ),
    Figure(
        "cases", "study.report.figures.curves.case_curves", "case_{key}.svg", COMPARISON,
        {"figure": "case {key}", "of": "curves side by side"}, "figure_case.rst",
        alt="Validation accuracy and loss of the recipes of case {key}", section="cases", per="case",
    ),
    Figure(
        "curves", "study.report.figures.curves.curves", "curves_{key}.svg", CURVES,
        {"experiment": "{key}"}, "figure_curves.rst",
        alt="Loss and accuracy of {key} by epoch", section="curves", folded="{mark}{key}", per="training",
    ),
    Figure(
        "map", "study.report.figures.recipes.map_of_two", "map_{key}.svg", COMPARISON,
        {"figure": "{key}", "of": "two hyperparameters"}, "figure_map.rst",
        alt="Best test accuracy by two hyperparameters, one optimizer", section="map", wide=False, per="optimizer",
    ),
    Figure(
        "class_recall", "study.report.figures.errors.class_recall", "class_recall.svg", ERRORS,
        {"figure": "recall with intervals", "experiment": "the best ones"}, "figure_class_recall.rst",
        alt="Recall of each class with its interval, for the best recipes", section="errors",
        heading="Which classes are recognised",
    ),
    Figure(
        "confused", "study.report.figures.errors.confused_pairs", "confused_pairs.svg", ERRORS,
        {"figure": "most confused pairs", "experiment": "the best one"}, "figure_confused_pairs.rst",
        alt="Most confused pairs of classes with example images", section="errors",
        heading="Which are mistaken for which",
    ),
    Figure(
        "confusion", "study.report.figures.classes.confusion", "confusion_{key}.svg", ERRORS,
        {"figure": "confusion matrix", "experiment": "{key}"}, "figure_confusion.rst",
        alt="Confusion matrix of {key} on the test images", section="errors", folded="Confusion matrix: {mark}{key}",
        wide=False, per="experiment",
    ),
    Figure(
        "reliability", "study.report.figures.errors.reliability", "reliability.svg", ERRORS,
        {"figure": "reliability diagram", "experiment": "all"}, "figure_reliability.rst",
        alt="Reliability diagram of every recipe", section="errors", heading="How far confidence can be trusted",
    ),
    Figure(
        "recall", "study.report.figures.classes.recall", "recall.svg", COMPARISON,
        {"figure": "all recipes", "of": "recall per class"}, "figure_recall.rst",
        alt="Recall per class and recipe in percent", section="errors", heading="Every recipe and class",
    ),
    Figure(
        "label_hints", "study.report.figures.label_hints.label_hints", "label_hints.svg", ERRORS,
        {"figure": "labels that may be wrong", "experiment": "the best ones"}, "figure_label_hints.rst",
        alt="Images on which most of the good recipes agree on another class than the label", section="errors",
        heading="Labels that may be wrong",
    ),
    Figure(
        "subgroups", "study.report.figures.subgroups.subgroups", "subgroups.svg", COMPARISON,
        {"figure": "the best recipes", "of": "accuracy by subgroup"}, "figure_subgroups.rst",
        alt="Test accuracy of the best recipes on the images with each value of each further column",
        section="subgroups",
    ),
    Figure(
        "class_counts", "study.report.figures.classes.class_counts", "class_counts.svg", DATA,
        {"figure": "images and weight per class"}, "figure_classes.rst",
        alt="Images and weight per class", section="data",
    ),
    Figure(
        "samples", "study.report.figures.classes.samples", "samples.svg", DATA,
        {"figure": "sample images per class"}, "figure_samples.rst",
        alt="Training images of every class", section="data",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class _Draw:
    """Draws one figure of those that there are several of; goes to every process once."""

    material: "Material"

    def __call__(self, item: tuple[str, Key, str]) -> None:
        name, key, path = item
        figure = next(figure for figure in FIGURES if figure.name == name)
        figure.draw(self.material, path, key)


def draw_many(material: "Material", figures: Sequence[tuple[str, Key, str]], workers: int) -> None:
    """Draw figures that there is one of for each experiment, case or optimizer, over so many processes.

    They show no images, so that these, which may be larger than memory, go to no process.

    Args:
        figures: name, key and path of each.
    """
    from study.progress import in_parallel

    for _ in in_parallel("Drawing figures", _Draw(replace(material, packed=None)), figures, workers, chunk=1):
        pass
