"""The findings of real runs as one Markdown page: each question of the study with what was measured, or "not yet".

Entry points:
    load(results, config, recipes, captions)               whatever runs of the study are finished
    findings(sound, original, again, figures, command)     docs/FINDINGS.md
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from study.compare import comparability
from study.compare.comparison import Comparison
from study.compare.conclusions import conclusions
from study.compare.diagnosis import diagnoses
from study.compare.effects import effects
from study.compare.leakage import leakage, leakage_facts
from study.compare.points import signed, with_interval
from study.compare.questionable import questionable
from study.compare.runs import RecipeRuns, Run, choose, files_of, load_runs
from study.compare.seeds_and_images import POWER
from study.compare.settling import cut_short, settling
from study.compare.tested_pairs import only_difference
from study.compare.verdicts import NOT_BETTER
from study.data.class_weights import read_class_weights
from study.data.manifest import read_groups, read_manifest
from study.elsewhere import from_file, made_elsewhere
from study.errors import StudyError
from study.files import read_json
from study.names import FAILURES
from study.paths import RunPaths
from study.planned import PlannedStudy
from study.recipe import HYPERPARAMETERS, NEUTRAL, TREATMENTS, Recipe, differ, listed, lr_text
from study.report.answer import answer, audit_facts, caution, chosen_otherwise
from study.report.case_text import escape_markdown
from study.report.comparison_page import environment
from study.report.figures.recipes import steps_and_seconds
from study.report.first_page import effect_row, provenance_rows
from study.settings import deciding, reported_protocol

SHOWN_OF_PROVENANCE = (
    *("processor", "platform", "precision", "training time", "trained", "commit", "torch", "predictions from files"),
)

NOT_YET = "not measured yet"


class NothingFinished(StudyError):
    """No recipe of a study is trained and evaluated with all its seeds yet."""


@dataclass(frozen=True)
class FinishedStudy:
    """A study as far as it has come.

    Attributes:
        name: of the folder below results/.
        config: its merged configuration.
        recipes: all that its tables of recipes name.
        captions: what its cases ask, by number as text.
        comparison: of the finished runs.
        audit: the content of audit.json.
    """

    name: str
    config: Mapping[str, Any]
    recipes: Mapping[str, Recipe]
    captions: Mapping[str, str]
    comparison: Comparison
    audit: Mapping[str, Any]

    @cached_property
    def effects(self) -> pd.DataFrame:
        """As `study.compare.effects.effects` makes them."""
        return effects(self.comparison)

    @cached_property
    def conclusions(self) -> pd.DataFrame:
        """As `study.compare.conclusions.conclusions` makes them."""
        return conclusions(self.comparison)

    @cached_property
    def leakage(self) -> pd.DataFrame:
        """As `study.compare.leakage.leakage` makes it."""
        return leakage(self.comparison)

    @property
    def runs(self) -> Sequence[Run]:
        """The finished runs."""
        return self.comparison.runs

    @property
    def seeds_in_words(self) -> str:
        """Those that the runs have, as a list."""
        return ", ".join(map(str, sorted({run.seed for run in self.runs})))

    def with_seeds_of(self, other: "FinishedStudy") -> "FinishedStudy":
        """The same over the seeds of both, see `Comparison.with_seeds_of`.

        As it is where images or trainings are set otherwise.
        """
        parts = ("data", "split", "training")
        if any(deciding(dict(self.config), part) != deciding(dict(other.config), part) for part in parts):
            return self
        return replace(self, comparison=self.comparison.with_seeds_of(other.comparison))


def load(
    results: Path, config: Mapping[str, Any], recipes: Mapping[str, Recipe], captions: Mapping[str, str]
) -> FinishedStudy:
    """Every run of the study that is trained and evaluated with all its seeds.

    A recipe of which a run was trained with other values or images than those of now counts as not trained.

    Raises:
        NothingFinished: if there is none.
        StudyError: a file that all tables need is missing.
    """
    study = PlannedStudy(results, config, recipes)
    out = {run.experiment for run in study.runs if not run.metrics.exists() or _made_otherwise(study, run)}
    done = [run for run in study.runs if not out & {run.experiment, recipes[run.experiment].training}]
    if not done:
        raise NothingFinished(f"{results}: no finished run to report; train some first (`make findings`)")
    for name in ("manifest.csv", "class_weights.csv", "audit.json"):
        if not (results / "data" / name).exists():
            raise StudyError(f"{results}/data/{name}: missing; run Snakemake for this study, which makes it")
    comparison = Comparison(
        load_runs(recipes, *files_of(done), groups=read_groups(results / "data/manifest.csv")),
        config["metrics"],
        read_class_weights(results / "data/class_weights.csv"),
        read_manifest(results / "data/manifest.csv"),
        reported_protocol(dict(config)),
        config["tables"]["all_pairs_up_to"],
    )
    audit = read_json(results / "data/audit.json")
    return FinishedStudy(results.name, config, recipes, captions, comparison, audit)


def _made_otherwise(study: PlannedStudy, run: RunPaths) -> bool:
    """Whether a finished run is not of the study as it is now."""
    return bool(study.evaluated_otherwise(run) if made_elsewhere(run.training) else study.differences(run))


def findings(
    sound: FinishedStudy,
    original: FinishedStudy | None,
    again: FinishedStudy | None,
    figures: Mapping[str, str],
    command: str,
) -> str:
    """The page. Every number in it is computed from the studies' files.

    Args:
        sound: the study under the sound protocol; it answers most questions.
        original: the study under the original protocol; what its leak is worth, and how far its results agree. None
            if none of it has finished.
        again: some recipes of the sound study, trained again with other seeds; None if none of it has finished.
        figures: their addresses beside the page, by name: comparison and effects, of the sound study.
        command: what makes this page again.
    """
    finished = [study for study in (sound, again, original) if study]
    every_seed = again.with_seeds_of(sound) if again else None
    protocols = [study for study in (sound, original) if study]
    named = sound.config["experiments"]
    told = [recipe for recipe in sound.recipes.values() if recipe.reported is not None or recipe.reported_note]
    effect_summary, blame = _effect_summary(sound), _blame(sound)
    return (
        environment(html=False)
        .get_template("findings.md.j2")
        .render(
            command=command,
            tables=listed([f"[{table}](../{table})" for table in ([named] if isinstance(named, str) else named)]),
            told=len(told),
            doubled=sum(recipe.double_softmax for recipe in told),
            figures=figures,
            in_short=_in_short(sound, every_seed, [*effect_summary, *blame]),
            studies=[conditions(study) for study in finished],
            again=_again(every_seed) if every_seed else None,
            one_seed=len(sound.config["seeds"]) == 1,
            headline=_answer(sound.comparison),
            reported_headline=_reported_answer(sound.comparison),
            caution=caution(sound.comparison, again=bool(again)),
            power=f"{POWER:.0%}",
            runs=_run_rows(sound),
            cases=_cases(sound),
            failures=_failures(sound),
            effects=_effect_rows(sound.effects),
            effect_summary=effect_summary,
            blame=blame,
            lr_batch=_lr_batch(sound),
            best_rates=_best_rates(sound.comparison),
            leakage={study.name: _leakage(study) for study in reversed(protocols)},
            leakage_rows=_leakage_rows(original) if original else [],
            optimism={study.name: _optimism(study.runs) for study in protocols},
            conclusions=_conclusions(sound, original, every_seed),
            original=_original(original) if original else None,
            missing=[line for study in finished for line in _missing(study, bool(again) and study is sound)]
            + ([] if original else ["the original protocol (none of its runs is finished)"]),
        )
    )


def _in_short(sound: FinishedStudy, again: FinishedStudy | None, found: Sequence[str]) -> list[str]:
    """The page in a few lines: the winner, what was found of treatments and failures, the claims."""
    winner = f"{_sentences(sound.comparison)[0]} {chosen_otherwise(sound.comparison, escape_markdown)}".strip()
    lines = [winner, *(line for line in found if NOT_YET not in line)]
    for study, words in ((sound, ""), (again, f", over the seeds {again.seeds_in_words}" if again else "")):
        verdicts = Counter(row["verdict"] for row in _judged(study, _reported(sound)).values()) if study else Counter()
        if verdicts:
            counts = ", ".join(f"{verdict} {count}" for verdict, count in verdicts.most_common())
            claims = f"{verdicts.total()} claim{'s' * (verdicts.total() > 1)}"
            lines.append(f"Of {claims} read off the reported accuracies{words}: {counts}.")
    return lines


def _sentences(comparison: Comparison, within: bool = False) -> list[str]:
    return answer(comparison, escape_markdown, lambda text: f"**{text}**", baseline_told=within)


def _answer(comparison: Comparison, within: bool = False) -> str:
    """The answer as one paragraph.

    Args:
        within: whether it is one of several of a study, of which the first has told the baseline's scores.
    """
    return " ".join(_sentences(comparison, within))


def _reported_answer(comparison: Comparison) -> str:
    """The answer among the recipes that a publication reported on; "" where these are all or none."""
    reported = comparison.reported_on()
    if reported is None or len(reported.recipes) == len(comparison.recipes):
        return ""
    return _answer(reported, within=True)


def _percent(value: float | None) -> str:
    return "–" if value is None or pd.isna(value) else f"{value:.1%}"


def network_in_words(recipe: Recipe) -> str:
    """Its name, width and first weights."""
    return f"{recipe['model.name']}, width {recipe['model.width']:g}, weights {recipe['model.weights']}"


def conditions(study: FinishedStudy) -> dict[str, Any]:
    """Under what conditions the runs of a study were made."""
    facts: dict[str, str] = dict(provenance_rows(study.runs))
    counts = {name: part["images"] for name, part in study.audit["kept"]["splits"].items()}
    seeds, trained = study.config["seeds"], [run for run in study.runs if run.recipe.trains]
    files = {run.experiment for run in study.runs if from_file(run.recipe)}
    planned = [recipe for recipe in study.recipes.values() if not from_file(recipe)]
    networks = dict.fromkeys(network_in_words(run.recipe) for run in trained)
    shown: dict[str, str] = {
        "runs": f"{len(study.runs) - len(files) * len(seeds)} of {len(planned) * len(seeds)}, "
        f"seeds {', '.join(map(str, seeds))}" + (f"; from files: {', '.join(sorted(files))}" if files else ""),
        "network": f"{'; '.join(networks) or 'none trained'}, {facts.get('parameters', '')} parameters, "
        f"{study.config['data']['image_size']} pixels",
        "epochs": f"at most {study.config['training']['max_epochs'] or 'as many as the recipe says'}",
        "images": ", ".join(f"{count:,} {name}" for name, count in counts.items()),
        "hardware": f"{facts.get('device', 'unknown')}, {facts.get('threads', 'unknown')} thread(s) per training",
        **{key: facts[key] for key in SHOWN_OF_PROVENANCE if key in facts},
    }
    note = comparability.note(study.comparison)
    return {"name": study.name, "facts": shown, "note": escape_markdown(note)}


def _run_rows(study: FinishedStudy) -> list[dict[str, str]]:
    rows = []
    for group in sorted(study.comparison.recipes.values(), key=lambda group: -group.accuracy("val")):
        low, high = group.interval("test")
        reported = group.recipe.reported
        rows.append(
            {
                "name": escape_markdown(group.name),
                "outcome": group.failure or "no failure" if group.several_seeds else _spaced(group.first.outcome),
                "best_epoch": _best_epochs(group),
                "val": _percent(group.accuracy("val")),
                "reported": _percent(reported),
                "difference": "–" if reported is None else signed(group.accuracy("val") - reported),
                "test": f"{_percent(group.accuracy('test'))} ({_percent(low)}–{_percent(high)})",
                "each": ", ".join(_percent(run.test_accuracy) for run in group),
                "verdict": "–" if group.failed else _verdict(study.comparison, group),
            }
        )
    return rows


def _best_epochs(group: RecipeRuns) -> str:
    """Of every seed: "3 of 10"; "–" where they are not known."""
    if from_file(group.recipe):
        return "–"
    return ", ".join(f"{run.record['best_epoch'] or '–'} of {run.record['epochs']}" for run in group)


def _verdict(comparison: Comparison, group: RecipeRuns) -> str:
    """How the recipe compares with the best one, and whether it is no better than always answering one class."""
    lost = comparison.vs_baseline(group) == NOT_BETTER
    return group.verdict + (", not better than the baseline" if lost else "")


def _spaced(word: str) -> str:
    return word.replace("_", " ")


def _cases(study: FinishedStudy) -> list[dict[str, str]]:
    cases = []
    for case in sorted({recipe.case for recipe in study.recipes.values()}):
        question = escape_markdown(study.captions.get(str(case), ""))
        measured = case in study.comparison.cases
        text = _answer(study.comparison.of_case(case), within=True) if measured else "Not measured yet."
        cases.append({"number": str(case), "question": question, "answer": text})
    return cases


def _failures(study: FinishedStudy) -> list[str]:
    """What happened in the runs that failed, and in those that were reported as failed."""
    reported = {name for name, recipe in study.recipes.items() if recipe.reported is None and recipe.reported_note}
    rows = diagnoses(study.comparison)
    failed = rows["outcome"].isin(FAILURES)
    return [
        f"**{escape_markdown(row['experiment'])}** ({_spaced(row['outcome'])}"
        + (", reported as failed" if row["experiment"] in reported else "")
        + f"): {escape_markdown(row['what_happened'])}"
        for row in rows[failed | rows["experiment"].isin(reported)].to_dict("records")
    ]


def _effect_rows(table: pd.DataFrame) -> list[dict[str, str]]:
    rows = map(effect_row, table.to_dict("records"))
    return [{key: escape_markdown(cell) for key, cell in row.items()} for row in rows]


def _effect_summary(study: FinishedStudy) -> list[str]:
    """How often each treatment that the study's recipes differ in made a difference."""
    table, lines = study.effects, []
    for treatment, columns in TREATMENTS.items():
        if len({tuple(str(recipe.meant(name)) for name in columns) for recipe in study.recipes.values()}) < 2:
            continue
        pairs = table[table["treatment"] == treatment]
        if len(pairs):
            changes = pairs["change"].map(lambda text, of=treatment: text.removeprefix(f"{of} "))
            alike = len(set(changes)) == 1
            counts = [
                f"{verdict} in {len(some)}" + _in_brackets([] if alike else changes[some.index], some["failed"])
                for verdict, some in pairs.groupby("verdict", sort=False)
            ]
            change = f", {changes.iloc[0]}" if alike else ""
            text = f"{change}, {len(pairs)} pair{'s' * (len(pairs) > 1)}: accuracy {', '.join(counts)}"
            text += _reach_of_weights(study) if treatment == "loss" else ""
            lines.append(f"**{treatment}**{escape_markdown(text)}")
        else:
            lines.append(f"**{treatment}**: {NOT_YET}, no two finished recipes differ in it alone")
    return lines


def _in_brackets(changes: Iterable[str], failed: pd.Series) -> str:
    """Each change once, and in how many of the pairs a recipe failed; "" if there is neither."""
    parts = list(dict.fromkeys(changes))
    if count := int((failed != "").sum()):
        parts.append(f"a recipe failed in {f'{count} of them' if count < len(failed) else 'each'}")
    return f" ({'; '.join(parts)})" if parts else ""


def _reach_of_weights(study: FinishedStudy) -> str:
    """How far apart the weights of the classes are; "" where recipes have several schemes."""
    schemes = {recipe["loss.class_weights"] for recipe in study.recipes.values() if recipe.weighted}
    table = study.comparison.class_weights
    own_beta = "effective_number" in schemes  # each recipe may have another β, and other weights
    if schemes != {study.config["loss"]["class_weights"]} or own_beta or table is None:
        return ""
    ratio = table["weight"].max() / table["weight"].min()
    return f"; the weights are '{schemes.pop()}', with which no class counts more than {ratio:.2f} times another"


def _blame(study: FinishedStudy) -> list[str]:
    """Recipes reported as failed, beside the same recipe with log-softmax: learning rate or double softmax?"""
    groups = study.comparison.recipes
    lines = []
    for name, recipe in study.recipes.items():
        if recipe.reported is not None or not recipe.reported_note:
            continue
        repaired = (group for group in groups.values() if group.recipe.activation == "log_softmax")
        partner = next((group for group in repaired if only_difference(recipe, group.recipe) == "activation"), None)
        if name not in groups or partner is None:
            lines.append(f"{escape_markdown(name)}: {NOT_YET}.")
            continue
        pair = groups[name], partner
        softmax, log = (_fails(study.comparison, group) for group in pair)
        words = [_how_far(study.comparison, group) for group in pair]
        verdicts: dict[tuple[bool | None, bool | None], str] = {
            (True, False): "at this learning rate and batch size it is the double softmax that makes it fail",
            (True, True): "it fails with the correct loss as well, so it needs no double softmax to fail",
            (False, False): "it does not fail here, with either",
            (False, True): "it fails only with the correct loss",
        }
        verdict = verdicts.get((softmax, log), "not in every seed alike, so neither is to blame for all of it")
        lines.append(f"{escape_markdown(name)}: with softmax {words[0]}; with log-softmax {words[1]}: {verdict}.")
    return lines


def _fails(comparison: Comparison, group: RecipeRuns) -> bool | None:
    """Whether every seed fails, or gets no further than always answering one class; None if some fail."""
    if group.failure and not group.failed:
        return None
    return group.failed or comparison.vs_baseline(group) == NOT_BETTER


def _how_far(comparison: Comparison, group: RecipeRuns) -> str:
    accuracy = f"{_percent(group.accuracy('test'))} test"
    if group.failure:
        return group.failure
    return (
        f"gets to {accuracy}, no further than always one class" if _fails(comparison, group) else f"learns, {accuracy}"
    )


def _lr_batch(study: FinishedStudy) -> list[dict[str, str]]:
    images = study.audit["kept"]["splits"]["train"]["images"]
    rows = []
    groups = [group for group in study.comparison.recipes.values() if group.recipe.trains]
    for group in sorted(groups, key=lambda g: (g.recipe.optimizer, g.recipe.lr, g.recipe.batch_size)):
        recipe, (steps, seconds) = group.recipe, steps_and_seconds(group, images)
        rows.append(
            {
                "optimizer": recipe.optimizer,
                "lr": lr_text(recipe.lr),
                "batch": str(recipe.batch_size),
                "name": escape_markdown(recipe.experiment),
                "test": group.failure or _percent(group.accuracy("test")),
                "steps": f"{steps:,.0f}",
                "minutes": f"{seconds / 60:.1f}",
            }
        )
    return rows


def _best_rates(comparison: Comparison) -> list[str]:
    """Of recipes that share everything else: the best learning rate at each batch size."""
    families: list[list[RecipeRuns]] = []
    varied = (NEUTRAL, "learning rate", "batch size")
    shared = [name for name, column in HYPERPARAMETERS.items() if column.treatment not in varied]
    for group in comparison.recipes.values():
        if not group.recipe.trains:
            continue
        for family in families:
            if not any(differ(family[0].recipe, group.recipe, name) for name in shared):
                family.append(group)
                break
        else:
            families.append([group])
    lines = []
    for family in families:
        by_batch: dict[int, list[RecipeRuns]] = {}
        for group in family:
            by_batch.setdefault(group.recipe.batch_size, []).append(group)
        rates = {batch: sorted({group.recipe.lr for group in groups}) for batch, groups in by_batch.items()}
        if len(rates) < 2 or any(len(tried) < 2 for tried in rates.values()):
            continue
        parts = []
        for batch, groups in sorted(by_batch.items()):
            tried = ", ".join(map(lr_text, rates[batch]))
            parts.append(f"at batch size {batch} it is {lr_text(choose(groups).recipe.lr)} (of {tried})")
        words = ", ".join(_spaced(family[0].recipe[name]) for name in ("optimizer", "loss", "activation", "sampler"))
        lines.append(f"{words}: the learning rate with the highest validation accuracy: {'; '.join(parts)}.")
    return lines


def _leakage(study: FinishedStudy) -> list[str]:
    facts = [fact for fact in audit_facts(study.audit) if "cop" in fact]
    facts += leakage_facts(study.leakage, study.comparison.best.name)
    return [escape_markdown(fact) for fact in facts]


def _leakage_rows(study: FinishedStudy) -> list[dict[str, str]]:
    shares = ("accuracy", "accuracy_without_copies", "accuracy_of_copies")
    return [
        {name: _percent(row[name]) for name in shares}
        | {"name": escape_markdown(row["experiment"]), "split": row["split"]}
        | {"copied": f"{row['copied']:,} of {row['images']:,}"}
        for row in study.leakage.to_dict("records")
        if row["copied"]
    ]


def _optimism(runs: Sequence[Run]) -> str:
    trained = [run for run in runs if run.recipe.trains]
    alive = [run for run in trained if not run.failed]
    if not alive:
        return f"Not measured: {'every run failed' if trained else 'nothing was trained'}."
    gaps = pd.Series([run.val_accuracy - run.test_accuracy for run in alive])
    counted = f"{len(alive)} run{'s' * (len(alive) > 1)}"
    return (
        f"Validation accuracy of the best epoch minus test accuracy, over the {counted} that did not fail: "
        f"{signed(gaps.mean())} points on average, from {signed(gaps.min())} to {signed(gaps.max())}. The best epoch "
        f"was chosen from at most {max(run.record['epochs'] for run in alive)} epochs; the reported one from up to "
        f"{max(run.recipe.max_epochs for run in alive)}."
    )


def _again(again: FinishedStudy) -> dict[str, Any]:
    """The recipes that were trained with further seeds, the best first, and each seed's accuracy."""
    headline = _answer(again.comparison, within=True)
    return {"rows": _run_rows(again), "seeds": again.seeds_in_words, "headline": headline}


def _original(study: FinishedStudy) -> dict[str, Any]:
    """The study under the original protocol, and what is questionable about that."""
    return {"headline": _answer(study.comparison), "runs": _run_rows(study), "choices": _choices(study)}


def _conclusions(
    sound: FinishedStudy, original: FinishedStudy | None, again: FinishedStudy | None
) -> list[dict[str, str]]:
    """Each claim that can be judged in one of the studies, what each says of it, and what would settle it.

    What would settle it is read off the study with several seeds where it has the claim, else off the sound one.
    """
    of = {"sound": sound, "again": again, "original": original}
    sides = {side: _judged(study, _reported(sound)) if study else {} for side, study in of.items()}
    claims = {key: row["claim"] for rows in sides.values() for key, row in rows.items()}
    found = []
    for key, claim in claims.items():
        told_by = next((side for side in ("again", "sound") if key in sides[side]), None)
        settles = ""
        if told_by and (study := of[told_by]):
            tests = sum(bool(row["experiment_b"]) for row in sides[told_by].values())
            settles = settling(study.comparison, sides[told_by][key], max(tests, 1))
        found.append(
            {
                "claim": escape_markdown(claim[0].upper() + claim[1:] if key[2] else claim),
                "pair": escape_markdown(" against ".join(name for name in key[1:] if name)),
                **{side: _judgement(rows[key]) if key in rows else NOT_YET for side, rows in sides.items()},
                "settles": escape_markdown(settles) or "–",
            }
        )
    return found


def _reported(study: FinishedStudy) -> set[str]:
    """The recipes with a reported accuracy."""
    return {name for name, recipe in study.recipes.items() if recipe.reported is not None}


def _judged(study: FinishedStudy, reported: set[str]) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Rows of conclusions.csv by kind and recipes; the best recipe only if all that were reported are here."""
    table = study.conclusions
    if reported - set(study.comparison.recipes):
        table = table[table["kind"] != "best recipe"]
    rows = table.astype({"experiment_b": object}).fillna({"experiment_b": ""}).to_dict("records")
    return {(row["kind"], row["experiment_a"], row["experiment_b"]): row for row in rows}


def _judgement(row: Mapping[str, Any]) -> str:
    """The verdict on a claim with what it rests on."""
    if not row["experiment_b"]:
        return f"{row['verdict']}: {row['accuracy_a']:.1%}"
    return f"{row['verdict']}: {with_interval(row['difference'], row['low'], row['high'])}"


def _choices(study: FinishedStudy) -> list[str]:
    official = study.audit["source"]["official_splits"] is not None
    return [
        f"`{choice.key}`: {escape_markdown(choice.value)} – {choice.why}"
        for choice in questionable(study.config, study.recipes.values(), official)
    ]


def _missing(study: FinishedStudy, some_again: bool) -> list[str]:
    """What this page cannot say of a study, of which some recipes may have been trained again with other seeds."""
    missing = [name for name in study.recipes if name not in study.comparison.recipes]
    lines = []
    if missing:
        lines.append(f"{study.name}: {', '.join(map(escape_markdown, missing))} (not trained yet)")
    model = study.config["model"]
    if model["width"] != 1 or model["weights"] != "imagenet":
        lines.append(f"{study.name}: the full network with ImageNet weights, which the reported accuracies belong to")
    cut = [run for run in study.runs if run.recipe.trains and cut_short(run)]
    if cut:
        runs = f"{len(cut)} run{'s' * (len(cut) > 1)}"
        lines.append(f"{study.name}: what {runs} would do in the epochs that the recipe allows beyond the cap")
    if len(study.config["seeds"]) == 1:
        others = ", but for those with further seeds" if some_again else ""
        lines.append(f"{study.name}: how much another seed would change (one seed per recipe{others})")
    return lines
