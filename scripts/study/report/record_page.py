"""The record on FER2013: what a network from scratch reaches in a given time, beside published results, and why.

Entry points:
    read_published(path) -> DataFrame                      results of others with their protocol, a row each
    budget(studies) -> [Reached]                           what is reached, by the time that it takes
    entries(study, reached, published) -> [Entry]          theirs and ours in one list, the highest first
    record(studies, published, figures, command) -> str    docs/RECORD.md
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from study.compare.ensemble import members, seeds_together, vote
from study.compare.leakage import LEAKAGE_COLUMNS, by_copies, copies_in_training
from study.compare.points import in_points, with_interval
from study.compare.power import smallest_of, variances_beside
from study.compare.runs import Run, Scores, Subset, by_recipe, choose, scores_by_split
from study.compare.seeds_and_images import POWER
from study.compare.statistics import level, wilson_interval
from study.elsewhere import from_file
from study.errors import StudyError
from study.files import read_table
from study.recipe import HYPERPARAMETERS, Recipe, difference_in_words, listed, shown_columns
from study.report.case_text import escape_markdown
from study.report.comparison_page import environment
from study.report.findings_page import FinishedStudy, conditions

# Of one PrivateTest image. Goodfellow et al. 2013, Challenges in Representation Learning, arXiv:1307.0414, section 2.
HUMAN, HUMAN_SPREAD = 0.65, 0.05
# On so many PrivateTest images FER2013's label is what most of ten taggers said, ties counted as wrong: FER+ (Barsoum
# et al. 2016, arXiv:1608.01041), fer2013new.csv of github.com/microsoft/FERPlus.
CROWD_AGREES, PRIVATE_TEST = 2775, 3589
TESTED, BOTH, UNTOLD = "PrivateTest", "both together", "not told"
CONFIDENCE = 0.95  # of the intervals of published results where no study of ours says another level
HONEST_CHOICES = ("PublicTest", "nothing: last epoch")  # of the epoch: without the images that are scored
# What the record is held against: the published VGG19, and the best network from scratch whose code chooses without the
# scored images.
TARGETS = (("Residual masking", "VGG19"), ("pooya-mohammadi/FER", "VGG of 8 convolutions with BN"))
PROTOCOL = ("scored_on", "chosen_on", "pretrained", "views")
COLUMNS = ("work", "network", "accuracy", *PROTOCOL, "remark", "source", "experiment")
CORES = 2  # that minutes are told for
MINUTES = 150  # that the record may take

T = TypeVar("T")


class RecordStudies(NamedTuple, Generic[T]):
    """The three studies, by whatever stands for them: the record, the search for it, and its ingredients left out."""

    record: T
    search: T
    ablation: T


@dataclass(frozen=True)
class Entry:
    """A result, published or measured.

    Attributes:
        name: the work, or our recipe.
        network: in words.
        accuracy: a share.
        low, high: interval for other images, Wilson's of a published result, of ours over seeds and images.
        protocol: scored_on, chosen_on, pretrained and views as in the table of published results.
        remark: what has to be known beside it.
        ours: whether it was measured here.
        networks: how many are averaged.
    """

    name: str
    network: str
    accuracy: float
    low: float
    high: float
    protocol: Mapping[str, str]
    remark: str = ""
    source: str = ""
    ours: bool = False
    networks: int = 1

    @property
    def honest(self) -> bool:
        """Whether the epoch was chosen without the images that are scored, which are PrivateTest."""
        return self.protocol["scored_on"] == TESTED and self.protocol["chosen_on"] in HONEST_CHOICES

    @property
    def from_scratch(self) -> bool:
        """Whether the network saw no other images."""
        return self.protocol["pretrained"] == "none"


@dataclass(frozen=True, eq=False)
class Reached:
    """What a network reaches, or several whose probabilities are averaged.

    Attributes:
        recipe: its name; the names of several with the seeds of each.
        network: in words.
        networks: how many are averaged.
        minutes: of all their trainings together, the mean over the scores.
        epochs: of each training.
        scores: of every so many seeds, per split; of one choice.
        low, high: interval of the PrivateTest accuracy over images, and over seeds where there are several scores.
        protocol: as an `Entry` has it.
        failure: of runs, in words.
        chosen: whether PublicTest decided which networks these are.
        pool: of a choice, how many networks it was made from, and the minutes of all of these.
    """

    recipe: str
    network: str
    networks: int
    minutes: float
    epochs: str
    scores: Sequence[Mapping[str, Scores]]
    low: float
    high: float
    protocol: Mapping[str, str]
    failure: str = ""
    chosen: bool = False
    pool: tuple[int, float] = (0, 0.0)

    @property
    def name(self) -> str:
        """The recipe, and how many of its networks if it is more than one; of a choice that it is one."""
        if self.chosen:
            return f"{self.networks} networks chosen on PublicTest"
        return self.recipe if self.networks == 1 else f"{self.recipe}, {self.networks} averaged"

    @property
    def val(self) -> float:
        """Accuracy on PublicTest, the mean over the scores."""
        return float(np.mean(self._each("val")))

    @property
    def test(self) -> float:
        """Accuracy on PrivateTest, the mean over the scores."""
        return float(np.mean(self.each))

    @property
    def each(self) -> list[float]:
        """Accuracy on PrivateTest of each."""
        return self._each("test")

    def _each(self, split: str) -> list[float]:
        return [float(scores[split].correct.mean()) for scores in self.scores]


def read_published(path: Path) -> pd.DataFrame:
    """Results of others, `COLUMNS`; accuracy is a share, experiment our row with that network's predictions, if any.

    Raises:
        StudyError: a column is missing, or an accuracy is no share.
    """
    table = read_table(path, text=[name for name in COLUMNS if name != "accuracy"])
    if "accuracy" not in table:
        raise StudyError(f"{path}, row 1: missing column accuracy; found: {', '.join(table.columns)}")
    if (wrong := ~table["accuracy"].between(0, 1)).any():
        row = int(wrong.argmax())
        raise StudyError(
            f"{path}, row {row + 2}, column 'accuracy': found {table['accuracy'][row]}, allowed is a share, 0 to 1"
        )
    return table


def entries(study: FinishedStudy | None, reached: Sequence[Reached], published: pd.DataFrame) -> list[Entry]:
    """Published results and ours, the highest accuracy first.

    Args:
        study: the record, which may have predictions from files.
        reached: what is to be shown of our networks.
    """
    confidence = study.comparison.confidence if study else CONFIDENCE
    found, protocols = [], {}
    for row in published.to_dict("records"):
        images = (1 + (row["scored_on"] == BOTH)) * PRIVATE_TEST  # PublicTest has as many
        low, high = wilson_interval(row["accuracy"] * images, images, confidence)
        protocol = protocols[row["experiment"]] = {name: row[name] for name in PROTOCOL}
        found.append(
            Entry(row["work"], row["network"], row["accuracy"], low, high, protocol, row["remark"], row["source"])
        )
    for group in study.comparison.recipes.values() if study else ():
        if study and from_file(group.recipe):  # the protocol is the published one, if any
            protocol = {**protocols.get(group.name, dict.fromkeys(PROTOCOL, UNTOLD)), "scored_on": TESTED}
            low, high = group.interval("test")
            words = group.recipe.left_out, group.recipe.source
            found.append(Entry(group.name, "", group.accuracy("test"), low, high, protocol, *words, ours=True))
    found += [
        Entry(one.name, one.network, one.test, one.low, one.high, one.protocol, ours=True, networks=one.networks)
        for one in reached
    ]
    return sorted(found, key=lambda entry: -entry.accuracy)


def _protocol(recipe: Recipe) -> dict[str, str]:
    """Of a recipe that is trained here."""
    return {
        "scored_on": TESTED,
        "chosen_on": "PublicTest",
        "pretrained": recipe["model.weights"],
        "views": recipe["evaluation.tta"].replace("_", "-"),
    }


def _network(recipe: Recipe) -> str:
    return f"{recipe['model.name']}, width {recipe['model.width']:g}"


def minutes(run: Run) -> float:
    """What a training would take if its threads were `CORES`."""
    return float(run.record["seconds"]) / 60 * run.record.get("provenance", {}).get("threads", 1) / CORES


def mean_minutes(runs: Iterable[Run]) -> float:
    """Over seeds."""
    return float(np.mean([minutes(run) for run in runs]))


def budget(studies: RecordStudies[FinishedStudy | None]) -> list[Reached]:
    """Each recipe that is trained, alone and averaged over two of its seeds and more, and the choice of all.

    Who averages k networks trains k, so that the minutes are theirs together. Which seeds of a recipe are averaged is
    not chosen: they are taken in their order, every k of them, and an accuracy is the mean over these. The quickest
    come first.
    """
    study, search, _ = studies
    if study is None:
        return []
    found = []
    for group in study.comparison.recipes.values():
        for networks in range(1, len(group) + 1) if group.recipe.trains else ():
            scores = seeds_together(group, networks)
            found.append(
                Reached(
                    group.name,
                    f"{networks} of {_network(group.recipe)}" if networks > 1 else _network(group.recipe),
                    networks,
                    networks * mean_minutes(group),
                    str(group.first.record["epochs"]),
                    scores,
                    *_interval(scores, study.comparison.confidence),
                    _protocol(group.recipe),
                    group.failure,
                )
            )
    if chosen := _chosen_networks(study, search):
        found.append(chosen)
    return sorted(found, key=lambda reached: reached.minutes)


def _chosen_networks(study: FinishedStudy, search: FinishedStudy | None) -> Reached | None:
    """Of all networks of the record and of the search those that vote best on PublicTest, within `MINUTES`.

    As `study.compare.ensemble.members` chooses; None if these are of one recipe. A network of the search that the
    record has too has one vote.

    Raises:
        StudyError: the search was evaluated on other images.
    """
    ours = [run for run in study.runs if run.recipe.trains]
    theirs = [run for run in search.runs if run.recipe.trains] if search else []
    if not ours or not theirs:
        return None
    for split, scores in ours[0].scores.items():
        if not np.array_equal(scores.image_ids, theirs[0].scores[split].image_ids):
            raise StudyError(f"results/{study.name} and the search for it were evaluated on different {split} images")
    known = [(run.seed, run.recipe.hyperparameters) for run in ours]
    pool = [*ours, *(run for run in theirs if (run.seed, run.recipe.hyperparameters) not in known)]
    chosen = members(replace(study.comparison, runs=pool), lambda runs: sum(map(minutes, runs)) <= MINUTES)
    of_recipes = by_recipe(sorted(chosen, key=pool.index))
    if len(of_recipes) < 2:
        return None
    voted = [scores_by_split(vote(chosen).scores)]
    return Reached(
        ", ".join(f"{name}, seed {' and '.join(str(run.seed) for run in group)}" for name, group in of_recipes.items()),
        ", ".join(f"{len(group)} of {_network(group.recipe)}" for group in of_recipes.values()),
        len(chosen),
        sum(map(minutes, chosen)),
        ", ".join(dict.fromkeys(str(run.record["epochs"]) for run in chosen)),
        voted,
        *_interval(voted, study.comparison.confidence),
        _protocol(chosen[0].recipe),
        chosen=True,
        pool=(len(pool), sum(map(minutes, pool))),
    )


def answers(rows: Sequence[Reached]) -> list[Reached]:
    """Of one network, of several of a recipe, and of those chosen: what takes the most of `MINUTES`, each if any."""
    alone = [row for row in rows if row.networks == 1]
    several = [row for row in rows if row.networks > 1 and not row.chosen and row.minutes <= MINUTES]
    fitting = [row for row in alone if row.minutes <= MINUTES] or alone[:1]
    return [*fitting[-1:], *several[-1:], *(row for row in rows if row.chosen)]


def shown(rows: Sequence[Reached]) -> list[Reached]:
    """Those that stand beside published results: every recipe alone, and the answers."""
    best = answers(rows)
    return [row for row in rows if row.networks == 1 or row in best]


def _interval(
    scores: Sequence[Mapping[str, Scores]], confidence: float, among: NDArray[np.bool_] | None = None
) -> tuple[float, float]:
    """Of the mean test accuracy of several scores, for other images, and for other seeds where there are several.

    Args:
        among: which test images count, (N,); all by default.
    """
    right, units = np.array([one["test"].correct for one in scores]), scores[0]["test"].units
    if among is not None:
        right, units = right[:, among], None if units is None else units[among]
    return Subset(right, units).interval(confidence)


def record(
    studies: RecordStudies[FinishedStudy | None],
    reached: Sequence[Reached],
    published: pd.DataFrame,
    figures: Sequence[str],
    command: str,
) -> str:
    """The page. Every number of ours in it is computed from the studies' files.

    Args:
        studies: as far as they have come; None for one without a finished run.
        reached: as `budget` gives it.
        published: as `read_published` gives it.
        figures: names of the files beside the page: beside published results, and by budget.
        command: what makes this page again.
    """
    whole, search, ablation = studies
    best = answers(reached)
    return (
        environment(html=False)
        .get_template("record.md.j2")
        .render(
            command=command,
            points=with_interval,
            answers=best,
            targets=_targets(best, whole.comparison.confidence, published) if whole else [],
            budget=reached,
            longest=MINUTES,
            most=whole.comparison.metrics["ensemble_members"] if whole else 0,
            figures=figures,
            entries=entries(whole, shown(reached), published),
            human=(HUMAN, HUMAN_SPREAD),
            crowd=CROWD_AGREES / PRIVATE_TEST,
            copies=_copies(whole, best),
            rounds=_rounds(search),
            tried=len(search.runs) if search else 0,
            planned=len(search.recipes) if search else 0,
            chosen=_chosen(whole, search),
            ingredients=_ingredients(ablation),
            epochs_of_parts=_epochs_of_parts(ablation),
            smallest_part=_smallest_part(ablation),
            conditions=[conditions(study) for study in studies if study],
            confidence=level(whole.comparison.confidence if whole else CONFIDENCE),
            images=PRIVATE_TEST,
            cores=CORES,
            power=f"{POWER:.0%}",
            missing=[line for study in studies if study for line in _missing(study, study is ablation)],
            unstarted=[name for name, study in zip(studies._fields, studies, strict=True) if study is None],
            words=escape_markdown,
        )
    )


def _targets(ours: Sequence[Reached], confidence: float, published: pd.DataFrame) -> list[dict[str, Any]]:
    """Each of `TARGETS`, and beside it what we reached: the differences with intervals.

    Newcombe's interval of a difference (1998, Statistics in Medicine 17:873–890, method 10) from theirs and ours, as if
    the images were others, which is the safe side: of theirs nothing is known but the share.
    """
    found = []
    for work, network in TARGETS:
        theirs = published[(published["work"] == work) & (published["network"] == network)]["accuracy"].iloc[0]
        their_low, their_high = wilson_interval(theirs * PRIVATE_TEST, PRIVATE_TEST, confidence)
        beside = []
        for one in ours:
            difference = one.test - theirs
            low = difference - math.hypot(one.test - one.low, their_high - theirs)
            high = difference + math.hypot(one.high - one.test, theirs - their_low)
            beside.append({"difference": difference, "low": low, "high": high, "reached": difference >= 0})
        found.append({"work": work, "network": network, "accuracy": theirs, "beside": beside})
    return found


def _copies(study: FinishedStudy | None, reached: Sequence[Reached]) -> list[dict[str, Any]]:
    """Accuracy on PrivateTest with and without the images that have a copy in Training, means over the seeds.

    Columns of `study.compare.leakage.leakage`, and low and high: the interval without copies of either kind.
    """
    if study is None:
        return []
    copies, confidence = copies_in_training(study.comparison), study.comparison.confidence
    networks: dict[str, Sequence[Mapping[str, Scores]]] = {
        group.name: [run.scores for run in group] for group in study.comparison.recipes.values()
    }
    networks |= {one.name: one.scores for one in reached if one.networks > 1}
    found, columns = [], [name for name in LEAKAGE_COLUMNS if name not in ("experiment", "seed")]
    for name, scores in networks.items():
        rows = pd.DataFrame([row for one in scores for row in by_copies(one, copies, confidence)], columns=columns)
        means = rows[rows["split"] == "test"].drop(columns="split").astype(float).mean()
        clean = ~np.isin(scores[0]["test"].image_ids, [*copies.exact, *(copies.near or [])])
        low, high = _interval(scores, confidence, clean)
        found.append({"experiment": name, **means, "low": low, "high": high})
    return sorted(found, key=lambda row: -row["accuracy"])


def _rounds(study: FinishedStudy | None) -> list[dict[str, Any]]:
    """The search, round by round: a round is a case of its table, its caption says what was asked."""
    if study is None:
        return []
    groups = study.comparison.recipes
    varied = [
        HYPERPARAMETERS[name]
        for name in shown_columns(study.recipes.values())
        if len({str(recipe[name]) for recipe in study.recipes.values()}) > 1
    ]
    rounds = []
    for case in sorted({recipe.case for recipe in study.recipes.values()}):
        recipes = [recipe for recipe in study.recipes.values() if recipe.case == case]
        done = [groups[recipe.experiment] for recipe in recipes if recipe.experiment in groups]
        best = choose(done).name if len(done) > 1 else None
        rows = [
            {
                "name": recipe.experiment,
                "values": [column.show(recipe[column.name]) for column in varied],
                "group": (group := groups.get(recipe.experiment)),
                "minutes": mean_minutes(group) if group else None,
                "best": recipe.experiment == best,
            }
            for recipe in recipes
        ]
        asked = study.captions.get(str(case), "")
        rounds.append({"case": case, "asked": asked, "columns": [one.heading for one in varied], "rows": rows})
    return rounds


def _chosen(record: FinishedStudy | None, search: FinishedStudy | None) -> dict[str, Any] | None:
    """The recipe of the search with the highest validation accuracy; what the record's reach and differ from it in."""
    if record is None or search is None:
        return None
    best = search.comparison.best
    trained = [recipe for recipe in record.recipes.values() if recipe.trains]
    columns = shown_columns([best.recipe, *trained])
    groups = record.comparison.recipes
    rows = [
        {
            "name": recipe.experiment,
            "val": groups[recipe.experiment].accuracy("val") if recipe.experiment in groups else None,
            "difference": difference_in_words(recipe, best.recipe, columns),
        }
        for recipe in trained
    ]
    return {"name": best.name, "val": best.accuracy("val"), "rows": rows}


def _ingredients(study: FinishedStudy | None) -> list[dict[str, Any]]:
    """Each recipe of the ablation minus the first, which has every ingredient; the largest loss first."""
    if study is None:
        return []
    groups, comparison = study.comparison.recipes, study.comparison
    whole = groups.get(next(iter(study.recipes)))
    if whole is None:
        return []
    verdicts = comparison.beside(whole, groups.values())
    rows = []
    for group in groups.values():
        row: dict[str, Any] = {"name": group.name, "minutes": mean_minutes(group), "seeds": len(group)}
        row |= {"val": group.accuracy("val"), "test": group.accuracy("test"), "failure": group.failure, "whole": True}
        if group is not whole:
            low, high = comparison.difference_interval(group, whole, "accuracy")
            verdict, p = verdicts[group.name]
            difference = group.accuracy("test") - whole.accuracy("test")
            row |= {"whole": False, "difference": difference, "low": low, "high": high, "p": p, "verdict": verdict}
        rows.append(row)
    return sorted(rows, key=lambda row: row.get("difference", -math.inf))


def _smallest_part(study: FinishedStudy | None) -> str:
    """The least worth of a part that the tests find with `POWER`, in points; "" where there is none to test."""
    whole = study.comparison.recipes.get(next(iter(study.recipes))) if study else None
    variances = variances_beside(study.comparison, whole) if study and whole else None
    if study is None or variances is None:
        return ""
    found = smallest_of(study.comparison, variances)
    return in_points(found) if found < 1 else ""


def _epochs_of_parts(study: FinishedStudy | None) -> str:
    """How many epochs the networks of the ablation were trained, in words."""
    if study is None:
        return ""
    return listed([str(count) for count in sorted({run.record["epochs"] for run in study.runs if run.recipe.trains})])


def _missing(study: FinishedStudy, of_seeds: bool) -> list[str]:
    """What is not finished of a study; `of_seeds`: of one that is to have several."""
    missing = [name for name in study.recipes if name not in study.comparison.recipes]
    lines = [f"{study.name}: {', '.join(missing)} (not trained to the end with every seed yet)"] if missing else []
    if of_seeds and len(study.config["seeds"]) == 1:
        lines.append(f"{study.name}: further seeds (one per recipe)")
    return lines
