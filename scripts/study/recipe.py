"""A recipe: the configuration of a training with one row of the table of recipes laid over it.

What a column is called, what it may hold, which treatment it belongs to: all of that is in the schema, under
`$defs.recipe` and in the sections it names, whose keys are columns too ("model.dropout"). A column that is added there
is read, shown, compared and explained without a line of code here. Nothing heavy is loaded, as planning
(`snakemake -n`) comes here.

Entry points:
    Recipe.of(experiment, case, **columns) -> Recipe       one made in code, defaults filled in
    HYPERPARAMETERS                                        the columns that decide a training, by name
    TREATMENTS                                             treatment -> its columns
    column_named("dropout") -> "model.dropout"             a column by its full name or, where no other has it, its own
    shown_columns(recipes) -> names                        the columns that tables of these recipes show
    difference_in_words(recipe, other, columns) -> str     "batch size 64", "cross entropy with plain shuffling"
"""

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from study.provenance import only_words
from study.schema import FILE, SCHEMA

_SCHEMA = SCHEMA["$defs"]["recipe"]
NEUTRAL = "neutral"  # in the place of a treatment
FOR_ALL = "for_all"  # marks a key of a recipe's sections that is no column
LISTED = 8  # parts of a sentence named one by one; beyond that the first ones and the last
TOLD = ("reported", "reported_note", "source", "left_out")  # what is said of a recipe and decides nothing
NO_HYPERPARAMETERS = ("experiment", "case", *TOLD)


@dataclass(frozen=True)
class Column:
    """A column of the table of recipes, as the schema describes it.

    Attributes:
        name: of the column; of a key of a section "section.key".
        node: its part of the schema.
    """

    name: str
    node: Mapping[str, Any]

    def __post_init__(self) -> None:
        needed = () if self.name in NO_HYPERPARAMETERS else ("label", "treatment")
        if missing := [word for word in (*needed, "description") if word not in self.node]:
            raise ValueError(f"{FILE}, column '{self.name}': missing {', '.join(missing)}")
        if needed and self.treatment not in (NEUTRAL, *_SCHEMA["treatments"]):
            known = ", ".join([*_SCHEMA["treatments"], NEUTRAL])
            raise ValueError(f"{FILE}, column '{self.name}': found treatment '{self.treatment}', allowed is {known}")

    @property
    def section(self) -> str:
        """The section of the configuration that it is a key of; "" for a column of the table alone."""
        return self.name.rpartition(".")[0]

    @property
    def key(self) -> str:
        """Its name within the section."""
        return self.name.rpartition(".")[2]

    @property
    def optional(self) -> bool:
        """Whether its cells may be empty."""
        return bool(self.section) or "default" in self.node

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that it may hold; empty for a number or a flag."""
        return tuple(self.node.get("enum", ()))

    @property
    def numeric(self) -> bool:
        """Whether it holds a number."""
        return self.node.get("type") in ("integer", "number", ["integer", "null"], ["number", "null"])

    @property
    @only_words
    def label(self) -> str:
        """What it is called in tables and sentences."""
        return str(self.node["label"])

    @property
    @only_words
    def heading(self) -> str:
        """The label as the head of a column."""
        return str(self.node.get("heading", self.label[0].upper() + self.label[1:]))

    @property
    def treatment(self) -> str:
        """The treatment that it belongs to, or `NEUTRAL`."""
        return str(self.node["treatment"])

    @only_words
    def show(self, value: Any) -> str:
        """A value as tables and figures write it."""
        if isinstance(value, str) and not self.choices:  # a name
            return value
        if self.node.get("show") == "lr":
            return lr_text(value)
        if isinstance(value, bool):
            return "yes" if value else "no"
        if value is None or value == []:
            return "none"
        if isinstance(value, list):
            return ", ".join(map(self.show, value))
        if self.node.get("show") == "text":
            return str(value)
        return f"{value:g}" if isinstance(value, float) else str(value).replace("_", " ")

    @only_words
    def in_words(self, value: Any) -> str:
        """A value within a sentence: "batch size 64", "weighted cross entropy"."""
        if self.choices:
            return str(self.node.get("words", {}).get(value, self.show(value)))
        return f"{self.label} {self.show(value)}"

    def rank(self, value: Any) -> Any:
        """What puts the values of two recipes into an order: that of the schema for words, else the number itself.

        Of names "none" is the first, of numbers that there is none.
        """
        if self.choices:
            return self.choices.index(value)
        return value not in (None, "none"), value


RECIPE_SECTIONS = tuple(_SCHEMA["sections"])  # of the configuration
EVALUATION = "evaluation"  # the one of them that decides no training
# Keys of these sections -> their part of the schema.
KEYS: dict[str, Mapping[str, Any]] = {
    f"{section}.{key}": node
    for section in RECIPE_SECTIONS
    for key, node in SCHEMA["properties"][section]["properties"].items()
}
COLUMNS = {name: Column(name, node) for name, node in {**_SCHEMA["properties"], **KEYS}.items() if FOR_ALL not in node}
HYPERPARAMETERS = {name: column for name, column in COLUMNS.items() if name not in NO_HYPERPARAMETERS}
TREATMENTS: dict[str, tuple[str, ...]] = {
    treatment: tuple(name for name, column in HYPERPARAMETERS.items() if column.treatment == treatment)
    for treatment in _SCHEMA["treatments"]
}


@functools.cache
def column_named(name: str) -> str | None:
    """The column that a name stands for: its own, or the key of a section that no other column shares; else None."""
    if name in COLUMNS:
        return name
    meant = [column.name for column in COLUMNS.values() if column.key == name]
    return meant[0] if len(meant) == 1 else None


def values_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the columns that are keys of a configuration, which are a recipe's where its cells are empty."""
    return {
        name: config.get(column.section, {}).get(column.key, column.node.get("default"))
        for name, column in HYPERPARAMETERS.items()
        if column.section
    }


@functools.cache
def _shipped_values() -> dict[str, Any]:
    """Those of the shipped configuration."""
    return values_of(yaml.safe_load((FILE.parents[1] / "config.yaml").read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Recipe:
    """One training recipe. A hyperparameter is an attribute, `recipe.lr`, or an item, `recipe["model.name"]`.

    Attributes:
        experiment: unique name; the `{experiment}` wildcard.
        case: number of the comparison (table) the recipe belongs to.
        hyperparameters: column -> value of all that decides the training, in the order of the schema.
        reported: best validation accuracy a publication reported, or None.
        reported_note: what it reported in words where there is no such number.
        source: where the recipe is published.
        left_out: what of the published recipe is approximated or left out.
    """

    experiment: str
    case: int
    hyperparameters: Mapping[str, Any]
    reported: float | None = None
    reported_note: str = ""
    source: str = ""
    left_out: str = ""

    @classmethod
    def of(cls, experiment: str, case: int = 0, study: Mapping[str, Any] | None = None, **columns: Any) -> "Recipe":
        """A recipe from values of its columns; what is missing and optional stands at its default or the study's value.

        Args:
            columns: by their names; a key of a section by its own ("dropout") where no other column has it.
            study: `values_of` the study's configuration; those of the shipped one without. What it lacks stands at its
                default, or without one as shipped.

        Raises:
            TypeError: a column that does not exist, or one that has no default and is missing.
        """
        columns = {column_named(name) or name: value for name, value in columns.items()}
        if unknown := columns.keys() - COLUMNS.keys():
            raise TypeError(f"a recipe has no column {', '.join(sorted(unknown))}")
        if missing := [n for n, column in HYPERPARAMETERS.items() if n not in columns and not column.optional]:
            raise TypeError(f"a recipe needs the column {', '.join(missing)}")
        shipped = _shipped_values()
        defaults = {
            name: column.node["default"] if "default" in column.node else shipped.get(name)
            for name, column in HYPERPARAMETERS.items()
        }
        values = {**defaults, **(shipped if study is None else study)}
        values |= {name: value for name, value in columns.items() if name in HYPERPARAMETERS}
        shown = {name: columns[name] for name in TOLD if name in columns}
        return cls(experiment, case, values, **shown)

    def __getattr__(self, name: str) -> Any:
        if name in HYPERPARAMETERS:
            return self.hyperparameters[name]
        raise AttributeError(f"a recipe has no {name!r}")

    def __getitem__(self, name: str) -> Any:
        return self.hyperparameters[name]

    def but(self, **columns: Any) -> "Recipe":
        """The same recipe with other values in some columns."""
        columns = {column_named(name) or name: value for name, value in columns.items()}
        shown = {name: getattr(self, name) for name in TOLD}
        kept = {"experiment": self.experiment, "case": self.case, **self.hyperparameters, **shown}
        return Recipe.of(**{**kept, **columns})

    @property
    def deciding(self) -> dict[str, Any]:
        """The hyperparameters that decide the training and mean something, but for those at a default of the schema: a
        column that comes later changes nothing here.

        `Recipe.of(experiment, study={}, **deciding)` trains what the recipe trains.
        """
        return {name: value for name, value in self._set.items() if HYPERPARAMETERS[name].section != EVALUATION}

    @property
    def of_training(self) -> dict[str, Any]:
        """The hyperparameters but for those of the evaluation, which come after the training."""
        return {
            name: value for name, value in self.hyperparameters.items() if HYPERPARAMETERS[name].section != EVALUATION
        }

    @property
    def evaluation(self) -> dict[str, Any]:
        """What decides, beside the training, of the predictions; without what stands at its default."""
        return {name: value for name, value in self._set.items() if HYPERPARAMETERS[name].section == EVALUATION}

    @property
    def _set(self) -> dict[str, Any]:
        """The hyperparameters that mean something and do not stand at a default of the schema."""
        return {
            name: value
            for name, value in self.hyperparameters.items()
            if self.takes(name) and ("default" not in (node := HYPERPARAMETERS[name].node) or value != node["default"])
        }

    @property
    def training(self) -> str:
        """The experiment that is trained for it: its own, or of a row without training the one it names."""
        return self.hyperparameters["evaluation.trained_as"] or self.experiment

    @property
    def trains(self) -> bool:
        """Whether there is a training of its own."""
        return self.training == self.experiment

    @property
    def adjusted(self) -> bool:
        """Whether its predictions are another experiment's, adjusted."""
        return bool(self.hyperparameters["evaluation.posthoc"] != "none")

    def section(self, name: str) -> dict[str, Any]:
        """The keys of a section of the configuration, such as "training", with the recipe's values."""
        return {
            column.key: self.hyperparameters[column.name]
            for column in HYPERPARAMETERS.values()
            if column.section == name
        }

    @property
    def weighted(self) -> bool:
        """Whether the loss weighs the classes."""
        return self.loss in HYPERPARAMETERS["loss"].node["weighted"]

    @property
    def class_weights(self) -> str:
        """Name of the weights of the classes in the loss, "balanced", "effective_number_0.999"; "" for none."""
        scheme, beta = self.meant("loss.class_weights"), self.meant("loss.effective_number_beta")
        return f"{scheme or ''}{'' if beta is None else f'_{beta}'}"

    @property
    def cross_entropy(self) -> bool:
        """Whether the loss is cross entropy, weighted or not, its labels smoothed or not."""
        return self.loss in HYPERPARAMETERS["loss"].node["cross_entropies"]

    @property
    def formulas_hold(self) -> bool:
        """Whether what is computed of cross entropy holds for the loss: of labels as they are, alike in every epoch."""
        return self.cross_entropy and not self["loss.label_smoothing"] and not self["loss.defer_until"]

    @property
    def treats_imbalance(self) -> bool:
        """Whether the loss makes rare classes count for more: by weights, or by how many images each class has."""
        weighs = self.meant("loss.class_weights") not in (None, "none")
        return weighs or self.loss in HYPERPARAMETERS["loss"].node["from_counts"]

    @property
    def normed(self) -> bool:
        """Whether the network ends in a normalised layer, as LDAM needs it."""
        return self.takes("loss.ldam_s")

    @property
    def double_softmax(self) -> bool:
        """Whether a softmax stands in front of a cross entropy, which applies one itself."""
        return self.cross_entropy and self.activation == "softmax"

    @property
    def mixes_images(self) -> bool:
        """Whether training images are mixed, so that they have two labels."""
        return bool(self["augmentation.mixup_alpha"] or self["augmentation.cutmix_alpha"])

    def epochs(self, limit: int | None) -> int:
        """Those that a run may take, where `training.max_epochs` is the limit."""
        return min(self.max_epochs, limit or self.max_epochs)

    @property
    def bound_to_epochs(self) -> str | None:
        """The first column by whose value an epoch depends on how many the run may take; None where it does not, and a
        longer run begins as a shorter one does.
        """
        bound: Mapping[str, Any] = HYPERPARAMETERS["max_epochs"].node["bound_with"]
        return next((column for column, values in bound.items() if self.has(column, values)), None)

    def acts_from(self, epochs: int) -> int:
        """The first epoch, of a run of so many, in which class weights and the sampler act, see `loss.defer_until`."""
        return 1 + int(self["loss.defer_until"] * epochs + 1e-9)  # 0.07 · 100 is a little more than 7

    def meant(self, column: str) -> Any:
        """The value of a hyperparameter, None where it means nothing in this recipe."""
        return self.hyperparameters[column] if self.takes(column) else None

    def takes(self, column: str) -> bool:
        """Whether a hyperparameter means anything in this recipe: momentum does not with Adam."""
        return self.bar(column) is None

    def bar(self, column: str) -> str | None:
        """The first column whose value keeps a hyperparameter from meaning anything: "optimizer" for momentum."""
        node = HYPERPARAMETERS[column].node
        without = [other for other, values in node.get("not_with", {}).items() if self.hyperparameters[other] in values]
        needed = [other for other, values in node.get("only_with", {}).items() if not self.has(other, values)]
        return next(iter([*without, *needed]), None)

    def has(self, column: str, values: Sequence[Any] | Mapping[str, float]) -> bool:
        """Whether a hyperparameter means something and has one of these values, or one above {"above": 0}."""
        value = self.hyperparameters[column]
        among = value is not None and value > values["above"] if isinstance(values, Mapping) else value in values
        return among and self.takes(column)


def recipes_of(params: Mapping[str, Mapping[str, Any]]) -> dict[str, Recipe]:
    """Recipes that came through the params of a rule, where each is the mapping of its fields: `vars(recipe)`."""
    return {name: Recipe(**fields) for name, fields in params.items()}


def shown_columns(recipes: Iterable[Recipe]) -> list[str]:
    """Names of the columns that tables of these recipes show: of the sections' keys only those that differ."""
    every = list(recipes)
    return [
        name
        for name, column in HYPERPARAMETERS.items()
        if not column.section or any(recipe[name] != every[0][name] for recipe in every)
    ]


def differ(one: Recipe, two: Recipe, column: str) -> bool:
    """Whether two recipes differ in a hyperparameter that is not neutral in both.

    Where it means nothing it counts as its default: a loss without label smoothing has 0 of it.
    """
    default = HYPERPARAMETERS[column].node.get("default")
    values = [recipe[column] if recipe.takes(column) else default for recipe in (one, two)]
    return values[0] != values[1] and not (_neutral_in(one, column) and _neutral_in(two, column))


def _neutral_in(recipe: Recipe, column: str) -> bool:
    neutral = HYPERPARAMETERS[column].node.get("neutral_with")
    return neutral is not None and all(recipe.has(other, values) for other, values in neutral.items())


@only_words
def difference_in_words(recipe: Recipe, other: Recipe, columns: Sequence[str]) -> str:
    """In which of these columns the recipe differs from the other: "batch size 64", "SGD with momentum 0.9"."""
    values = {name: recipe[name] for name in columns if recipe.takes(name)}
    neutral = {name for name in values if _neutral_in(recipe, name) and _neutral_in(other, name)}
    differing = {name: value for name, value in values.items() if value != other[name] and name not in neutral}
    first, *others = [HYPERPARAMETERS[name].in_words(value) for name, value in differing.items()] or [""]
    return f"{first} with {', '.join(others)}" if others else first


@only_words
def lr_text(lr: float) -> str:
    """A learning rate as papers write it: 1e-2, 5e-4, 0.5, 0."""
    return f"{lr:g}" if lr == 0 or lr >= 0.1 else re.sub(r"\.?0*e-0*", "e-", f"{lr:.3e}")


@only_words
def listed(parts: Sequence[str]) -> str:
    """In words: "3", "3 and 9", "3, 9 and 12"; of more than `LISTED` the first ones and the last, "3, 9, …, 88"."""
    if len(parts) > LISTED:
        return f"{', '.join(parts[: LISTED - 2])}, …, {parts[-1]}"
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
