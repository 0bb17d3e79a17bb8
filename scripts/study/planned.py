"""A study as it is planned: what belongs to it, and which finished runs no longer do, with the reason.

Snakemake leaves the plan in results/<study>/study.json whenever it runs the study, so that commands know it however it
was configured. The tables of recipes are read anew: a row that was taken out is out at once.

Entry points:
    PlannedStudy.read(results, checkout) -> PlannedStudy   the study that Snakemake last ran
    PlannedStudy.differences(run) -> [str]                 what a finished run was made with that is otherwise now
    PlannedStudy.leftovers() -> {run: reason}              finished runs that take part in nothing
    without_idle_limit(training, recipe) -> dict           the section `training` but for a limit that cuts nothing
    leftover_lines(leftovers) -> [str]                     the same for a reader, with what removes them
"""

import contextlib
import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from study.elsewhere import from_file, made_elsewhere, predictions_file
from study.errors import StudyError
from study.files import file_sha256, json_text, read_json, write_atomically
from study.paths import RunPaths, class_weights_file, evaluated_in, runs_in
from study.provenance import digest
from study.recipe import HYPERPARAMETERS, Recipe, recipes_of, values_of
from study.recipe_table import read_recipes
from study.starts import start_of

FROM_FILES, UNRECORDED = "recipes_from_files", "unrecorded"  # in study.json
SHOWN = 10  # differences of one run, or lines, at most
NOT_IN_TABLE, NOT_IN_SEEDS = "its recipe is not in the table of recipes any more", "its seed is not in `seeds` any more"
TRAINED_ELSEWHERE = "its row takes the training of another one now"
READ_FROM_FILE = "its row has predictions from a file now"


@dataclass(frozen=True)
class PlannedStudy:
    """What a study consists of.

    Attributes:
        results: its folder, results/{study}.
        config: the merged configuration.
        recipes: the rows of its tables.
        training: all that decides a training beside the recipe, as in the params of the rule train, by experiment; None
            if unknown.
        data: what decides which images there are and what becomes of them; None if unknown.
    """

    results: Path
    config: Mapping[str, Any]
    recipes: Mapping[str, Recipe]
    training: Mapping[str, Any] | None = None
    data: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, results: Path, checkout: Path) -> "PlannedStudy":
        """The study as Snakemake last ran it, its tables of recipes as they are now.

        Raises:
            StudyError: there is no study.json, or it is damaged.
        """
        path = results / "study.json"
        try:
            content = read_json(path)
            config, recipes = content["config"], recipes_of(content["recipes"] | content.get(FROM_FILES, {}))
            training, data = content["training"], content["data"]
        except FileNotFoundError:
            raise StudyError(f"{path}: missing; run Snakemake for this study, which writes it") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StudyError(f"{path}: damaged ({error}); run Snakemake for this study, which writes it anew") from None
        with contextlib.suppress(StudyError):  # moved, or being edited: as they were
            recipes = read_recipes(recipe_tables(config, checkout), study=values_of(config))
        return cls(results, config, recipes, training, data)

    def write(self, unrecorded: Mapping[str, Any] | None = None) -> None:
        """Leave the plan where `read` finds it.

        Recipes from files stand apart: the rule pack reads the batch sizes of the others.

        Args:
            unrecorded: what files were made with that this plan leaves as they are, see
                `study.planning.check_unrecorded`.
        """
        fields = {name: dict(vars(recipe)) for name, recipe in self.recipes.items()}
        apart = {name for name, recipe in self.recipes.items() if from_file(recipe)}
        content = {
            "config": self.config,
            "recipes": {name: of for name, of in fields.items() if name not in apart},
            FROM_FILES: {name: of for name, of in fields.items() if name in apart},
            "training": self.training,
            "data": self.data,
        } | ({UNRECORDED: unrecorded} if unrecorded else {})
        self.results.mkdir(parents=True, exist_ok=True)
        write_atomically(self.results / "study.json", json_text(content).encode())

    @property
    def runs(self) -> list[RunPaths]:
        """Every run, finished or not, in the order of the table."""
        return [
            RunPaths(self.results, name, seed, "" if recipe.trains else recipe.training)
            for name, recipe in self.recipes.items()
            for seed in self.config["seeds"]
        ]

    @property
    def trainings(self) -> list[RunPaths]:
        """Those of them that have a training of their own."""
        return [run for run in self.runs if run.trains]

    @cached_property
    def images(self) -> str | None:
        """Digest of the packed images as they are now, as run.json has it under `provenance.data`; None without any."""
        try:
            return digest(read_json(self.results / "data/pack.json"))
        except (OSError, ValueError):
            return None

    def class_weights(self, experiment: str) -> Path | None:
        """The file of weights of the classes that a recipe reads; None for a loss without any."""
        scheme = self.recipes[experiment].class_weights
        return class_weights_file(self.results, scheme) if scheme else None

    def _sha256_of_weights(self, experiment: str) -> str | None:
        path = self.class_weights(experiment)
        return file_sha256(path) if path and path.is_file() else None

    def start(self, run: RunPaths) -> RunPaths | None:
        """The run whose weights a training starts from; None for any other start."""
        experiment = start_of(self.recipes[run.experiment])
        return RunPaths(self.results, experiment, run.seed) if experiment else None

    def sha256_of_start(self, run: RunPaths) -> str | None:
        """As the run that is started from states it; None where there is none, or none yet."""
        start = self.start(run)
        return weights_sha256(start) if start else None

    def differences(self, run: RunPaths) -> list[str]:
        """What a finished run of the study was made with, where that is otherwise now: "max_epochs 100, now 200".

        Facts that a run does not state are not compared. Another version of the code is no difference.
        """
        try:
            record = read_json(run.run)
            made = record.get("provenance", {})
        except (OSError, ValueError, AttributeError) as error:
            return [f"run.json cannot be read ({error})"]
        found = [*self._recipe(run, record), *self._surroundings(run, made)]
        return found or [*self._start(run, made.get("initial_weights"))]

    def states_its_data(self, run: RunPaths) -> bool:
        """Whether a run without differences says so itself: its images, and its class weights where it uses them."""
        made = read_json(run.run).get("provenance", {})
        used = {"data": self.images, "class_weights": self._sha256_of_weights(run.experiment)}
        used["initial_weights"] = self.sha256_of_start(run)
        return all(made.get(what) == digest for what, digest in used.items())

    def _recipe(self, run: RunPaths, record: Mapping[str, Any]) -> Iterator[str]:
        recipe = self.recipes[run.experiment]
        if "recipe" not in record:
            return
        try:
            # What a record lacks is a column that came later: its default is what training did before.
            unsaid = {name: recipe[name] for name, column in HYPERPARAMETERS.items() if "default" not in column.node}
            trained = Recipe.of(run.experiment, study=unsaid, **record["recipe"])
        except TypeError:
            yield "a recipe with columns that the table does not know, or without some that it has"
            return
        before, now = trained.deciding, recipe.deciding
        differing = [name for name in HYPERPARAMETERS if before.get(name) != now.get(name)]
        yield from changes({name: trained[name] for name in differing}, {name: recipe[name] for name in differing})

    def _surroundings(self, run: RunPaths, made: Mapping[str, Any]) -> Iterator[str]:
        settings = (self.training or {}).get(run.experiment)  # none of a row that came since Snakemake last ran
        if settings is not None and made.get("settings", now := digest(settings)) != now:
            known = made.get("configuration")
            if known and "training" in known:
                limited = without_idle_limit(known["training"], self.recipes[run.experiment])
                known = {**known, "training": limited}
            yield from changes(known, settings) if known else ["another configuration of the training"]
        if None not in (self.images, made.get("data")) and made["data"] != self.images:
            yield f"other images than those in {self.results / 'data'} now"
        weights, here = made.get("class_weights"), self._sha256_of_weights(run.experiment)
        if None not in (weights, here) and weights != here:
            yield f"other class weights than those in {self.class_weights(run.experiment)} now"

    def _start(self, run: RunPaths, used: str | None) -> Iterator[str]:
        """How the run that a training starts from is another one now, or is about to be."""
        start = self.start(run)
        if start is None:
            return
        if not start.run.exists():
            yield f"weights of {start.name}, which is not trained now"
        elif found := self.differences(start):
            yield f"weights of {start.name}, which was trained with {'; '.join(found)}"
        elif used != weights_sha256(start):
            yield f"other weights of {start.name} than those in {start.weights} now"

    def leftovers(self) -> dict[RunPaths, str]:
        """Finished runs that take part in nothing, each with the reason."""
        planned, others = set(self.trainings), {run.name: run for run in self.runs if not run.trains}
        reasons = {}
        for run in runs_in(self.results, "run.json"):
            if run in planned:
                found = self.differences(run)
                if found:
                    reasons[run] = f"it was trained with {'; '.join(found)}"
                elif self.recipes[run.experiment]["evaluation.tta"] == "none" and _evaluated_before_training(run):
                    reasons[run] = "it was trained again after it was evaluated"
            else:
                reasons[run] = _without_its_own(others[run.name]) if run.name in others else self._not_planned(run)
        for run in evaluated_in(self.results):
            if run.name in others:
                if why := self.evaluated_otherwise(others[run.name], reasons):
                    reasons[others[run.name]] = why
            elif run not in planned and run not in reasons:
                reasons[run] = self._not_planned(run)
        return reasons

    def _not_planned(self, run: RunPaths) -> str:
        return NOT_IN_SEEDS if run.experiment in self.recipes else NOT_IN_TABLE

    def evaluated_otherwise(self, run: RunPaths, reasons: Mapping[RunPaths, str] = MappingProxyType({})) -> str:
        """Why the predictions of an evaluated run without training are not those of now; "" if they are.

        Args:
            reasons: the same of the runs that were trained.
        """
        trained, recipe = RunPaths(self.results, run.training, run.seed), self.recipes[run.experiment]
        if made_elsewhere(run.training):
            return self._read_otherwise(run)
        if trained in reasons:
            return f"of {trained.name}, whose training it takes: {reasons[trained]}"
        if not trained.run.exists():
            return f"{trained.name}, whose training it takes, is not trained"
        if not recipe.adjusted:
            return ""
        try:
            made = read_json(run.metrics)["adjustment"]
            fixed = recipe.meant("evaluation.posthoc_tau")
            if made["method"] != (method := recipe["evaluation.posthoc"]) or fixed not in (None, made["value"]):
                return f"it was adjusted by {made['method']} ({made['value']}), now {method}"
            if made["predictions_sha256"] != file_sha256(trained.predictions):
                return f"{trained.name} was evaluated again after it was adjusted"
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"its metrics.json does not say what was adjusted ({error})"
        return ""

    def _read_otherwise(self, run: RunPaths) -> str:
        """The same of a run whose predictions come from a file."""
        path = predictions_file(self.recipes[run.experiment], run.seed)
        try:
            made = read_json(run.metrics)["file"]
            if made["path"] != str(path):
                return f"its predictions were read from {made['path']}, now {path}"
            if path.exists() and made["sha256"] != file_sha256(path):
                return f"its predictions were read from {path}, which has changed since"
            if self.images not in (None, made["data"]):
                return f"it was evaluated on other images than those in {self.results / 'data'} now"
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"its metrics.json does not say which file its predictions are from ({error})"
        return ""


def without_idle_limit(training: Mapping[str, Any], recipe: Recipe) -> dict[str, Any]:
    """The section `training` without a limit of epochs that cuts nothing: another such limit then changes nothing."""
    cuts = (training.get("max_epochs") or recipe.max_epochs) < recipe.max_epochs
    return dict(training) if cuts else {**training, "max_epochs": None}


def _without_its_own(run: RunPaths) -> str:
    """Why the training of a run without training is of no use."""
    return READ_FROM_FILE if made_elsewhere(run.training) else TRAINED_ELSEWHERE


def weights_sha256(run: RunPaths) -> str | None:
    """SHA-256 of a finished run's weights, as its run.json states it; None if it does not."""
    try:
        return str(read_json(run.run)["sha256"][run.weights.name])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def recipe_tables(config: Mapping[str, Any], checkout: Path) -> list[str]:
    """The study's tables of recipes: in the working directory, else beside the Snakefile."""
    named = config["experiments"]
    paths = [named] if isinstance(named, str) else list(named)
    return [path if Path(path).exists() or not (checkout / path).exists() else str(checkout / path) for path in paths]


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Each value that is another one now: "lr 0.01, now 0.02", keys of sections with a point; `SHOWN` at most."""
    old, new = dict(_flat(before)), dict(_flat(now))
    found = [
        f"{key} {_shown(old.get(key, 'not set'))}, now {_shown(new.get(key, 'not set'))}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key)
    ]
    return found if len(found) <= SHOWN else [*found[: SHOWN - 1], f"{len(found) - SHOWN + 1} more differences"]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value):  # a digest
        return f"{value[:8]}…"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _evaluated_before_training(run: RunPaths) -> bool:
    """Whether metrics.json is older than the weights and says another accuracy: a time stamp alone proves nothing."""
    try:
        older = run.metrics.stat().st_mtime_ns < run.run.stat().st_mtime_ns
        if not older:
            return False
        trained, evaluated = read_json(run.run)["best_val_accuracy"], read_json(run.metrics)["val"]["accuracy"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return trained is not None and not math.isclose(trained, evaluated, abs_tol=1e-6)


def leftover_lines(leftovers: Mapping[RunPaths, str]) -> list[str]:
    """A line for each recipe and reason, with the command that removes the runs; `SHOWN` at most."""
    groups: dict[tuple[str, str], list[RunPaths]] = {}
    for run, reason in leftovers.items():
        groups.setdefault((run.experiment, reason), []).append(run)
    lines = []
    for (experiment, reason), runs in groups.items():
        seeds = ", ".join(str(run.seed) for run in runs)
        what = "seed" if len(runs) == 1 else "seeds"
        lines.append(
            f"{experiment}, {what} {seeds}: takes part in nothing, because {reason}; to remove it: "
            f"{_removal(runs, reason)}"
        )
    return lines if len(lines) <= SHOWN else [*lines[: SHOWN - 1], f"{len(lines) - SHOWN + 1} more lines like these"]


def _removal(runs: Sequence[RunPaths], reason: str) -> str:
    """The command that removes the runs, for a shell, but for what belongs to others."""
    folders = [
        folder
        for run in runs
        for folder, own in (
            (run.trained, run.trains),
            (run.evaluated, reason not in (TRAINED_ELSEWHERE, READ_FROM_FILE)),
        )
        if own and folder.exists()
    ]
    return shlex.join(["rm", "-r", "--", *map(str, folders)])
