"""The page on the record on FER2013: what it says of made-up runs whose truth is known."""

import re
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import made_runs
import numpy as np
import pandas as pd
import pytest
from made_runs import Made, comparison_of, recipe
from sklearn.metrics import accuracy_score, log_loss
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from study.compare.runs import Subset
from study.errors import StudyError
from study.evaluate.predictions import read_predictions
from study.recipe_table import read_captions, read_recipes
from study.report.figures.record import draw_budget, draw_published, mark
from study.report.findings_page import FinishedStudy, conditions
from study.report.record_page import (
    MINUTES,
    PRIVATE_TEST,
    RecordStudies,
    answers,
    budget,
    entries,
    minutes,
    read_published,
    record,
    shown,
)

CONFIG = Path(__file__).parents[3] / "config"
PUBLISHED = read_published(CONFIG / "fer2013_published.csv")
SPLITS = {split: {"images": 400} for split in ("train", "val", "test")}
FIGURES = ["published.svg", "budget.svg"]


def study(folder: Path, made: list[Made], name: str, minutes: dict[str, float]) -> FinishedStudy:
    """Made-up runs of one thread; the first ten test images have a copy in training, the next ten a near one."""
    runs = made_runs.study(folder, made)
    ids = list(runs[0].scores["test"].image_ids)
    rows = [(one, "test", one, f"near {one}" if 10 <= k < 20 else "") for k, one in enumerate(ids)]
    rows += [(f"copy of {one}", "train", one, "") for one in ids[:10]]
    rows += [(f"near {one}", "train", f"near {one}", f"near {one}") for one in ids[10:20]]
    columns = ["image_id", "split", "sha256", "near_duplicate_group"]
    manifest = pd.DataFrame(rows, columns=columns).assign(status="kept")
    for run in runs:
        run.record.update({"seconds": 60 * minutes[run.experiment], "provenance": {"threads": 1, "platform": "Linux"}})
    comparison = replace(comparison_of(runs, 300), manifest=manifest)
    recipes = {one.recipe.experiment: one.recipe for one in made}
    model, seeds = {"name": "vgg11_bn", "width": 0.5, "weights": "none"}, sorted({one.seed for one in made})
    config = {
        "model": model,
        "seeds": seeds,
        "data": {"image_size": 40},
        "training": {"max_epochs": None},
    }
    return FinishedStudy(name, config, recipes, {"1": "which?"}, comparison, {"kept": {"splits": SPLITS}})


def page_of(studies: RecordStudies[FinishedStudy | None]) -> str:
    return record(studies, budget(studies), PUBLISHED, FIGURES, "make record")


@pytest.fixture
def studies(made_up: RecordStudies[FinishedStudy | None]) -> RecordStudies[FinishedStudy | None]:
    """To be changed at will."""
    return deepcopy(made_up)


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> RecordStudies[FinishedStudy | None]:
    tmp_path = tmp_path_factory.mktemp("studies")
    base = {"activation": "logits", "reported": None, "training.lr_scheduler": "OneCycleLR"}
    of = {seed: seed for seed in (0, 1, 2)}
    whole = study(
        tmp_path / "record",
        [
            Made(recipe(f"record_{m}", max_epochs=m, **base), skill, seed=s)
            for m, skill in ((20, 0.6), (150, 0.9))
            for s in of
        ],
        "record",
        {"record_20": 40, "record_150": 300},
    )
    search = study(
        tmp_path / "search",
        [Made(recipe("quick", lr=0.1, max_epochs=20, **base), 0.7), Made(recipe("slow", lr=1e-3, **base), 0.3)],
        "record_search",
        {"quick": 40, "slow": 40},
    )
    parts = {"whole": 0.8, "without_norm": 0.3, "without_nothing": 0.8}
    ablation = study(
        tmp_path / "ablation",
        [Made(recipe(name, **base), skill, seed=s) for name, skill in parts.items() for s in of],
        "record_ablation",
        dict.fromkeys(parts, 40),
    )
    return RecordStudies(whole, search, ablation)


def test_the_answer_is_of_the_longest_training_and_told_beside_what_was_published(studies: RecordStudies) -> None:
    page = page_of(studies)
    accuracy = studies.record.comparison.recipes["record_150"].accuracy("test")
    assert f"**One network** of record_150 classifies **{accuracy:.1%}** of PrivateTest correctly" in page
    assert "after 150 minutes of 2 cores" in page and "| record_20 | 1 | 12 | 20 |" in page
    assert "| Residual masking, VGG19 | 70.8% | reached, " in page
    assert "no run has finished" not in page and "Nothing that the tables of recipes name." in page


def test_networks_are_averaged_as_far_as_the_time_goes(studies: RecordStudies) -> None:
    comparison = studies.record.comparison
    quick = replace(studies.record, comparison=replace(comparison, runs=comparison.recipes["record_20"].runs))
    rows = budget(RecordStudies(quick, None, None))
    assert [(row.networks, row.minutes, len(row.each)) for row in rows] == [(1, 20, 3), (2, 40, 1), (3, 60, 1)]
    runs = comparison.recipes["record_20"].runs
    assert rows[0].each == [run.test_accuracy for run in runs]
    saved = [read_predictions(run.predictions) for run in runs if run.predictions]
    test = (saved[0].scores["split"] == "test").to_numpy()
    answers = sum(np.exp(one.log_p[test].astype(float)) for one in saved).argmax(axis=1)
    labels = saved[0].scores["label"].cat.codes[test]
    assert rows[2].test == pytest.approx(accuracy_score(labels, answers))
    assert rows[2].low < rows[2].test < rows[2].high

    page = page_of(RecordStudies(quick, None, None))
    assert "**3 networks** of record_20, trained alike with other seeds" in page and f"**{rows[2].test:.1%}**" in page
    assert "after 60 minutes for all of them" in page and "| record_20 | 2 | 12 | 40 |" in page
    assert "| held against | | one network | 3 averaged |" in page
    assert "| **record_20, 3 averaged** | 3 of vgg19, width 0.25 |" in page
    of_copies = [line for line in page.splitlines() if line.startswith("| record_20, 3 averaged |")]
    assert len(of_copies) == 1 and f"| {rows[2].test:.1%} |" in of_copies[0]
    marks = {entry.name: mark(entry) for entry in entries(quick, shown(rows), PUBLISHED) if entry.ours}
    assert marks == {"record_20": "ours, from scratch", "record_20, 3 averaged": "ours, several networks averaged"}


def test_what_takes_longer_than_the_record_may_is_not_the_answer(studies: RecordStudies) -> None:
    rows = budget(RecordStudies(studies.record, None, None))
    assert [row.minutes for row in rows] == [20, 40, 60, 150, 300, 450]
    assert [row.name for row in answers(rows)] == ["record_150", "record_20, 3 averaged"]
    assert [row.name for row in answers(rows[4:])] == [] and answers([]) == []
    late = [replace(row, minutes=200) for row in rows]
    assert [row.name for row in answers(late)] == ["record_20"]
    assert [row.name for row in shown(rows)] == ["record_20", "record_20, 3 averaged", "record_150"]


def test_networks_of_several_recipes_are_chosen_on_publictest_within_the_time(studies: RecordStudies) -> None:
    """Of record_150's networks one fits into the time beside a quick one; the rest do not, though they vote better."""
    comparison = studies.record.comparison
    by_time = {"record_150": 260, "record_20": 20, "quick": 40, "slow": 40}
    for run in [*studies.record.runs, *studies.search.runs]:
        run.record["seconds"] = 60 * by_time[run.experiment]
    (row,) = (row for row in budget(studies) if row.chosen)
    assert row.minutes <= MINUTES and "record_150" in row.recipe and row.networks > 1
    assert row.low < row.test < row.high and len(row.scores) == 1

    labels = comparison.runs[0].scores["val"].labels
    pool = {f"{run.experiment}, {run.seed}": run for run in [*studies.record.runs, *studies.search.runs]}
    said = {name: read_predictions(run.predictions) for name, run in pool.items() if run.predictions}
    p = {name: np.exp(one.log_p[(one.scores["split"] == "val").to_numpy()].astype(float)) for name, one in said.items()}

    def loss(names: list[str]) -> float:
        mean = sum(p[name] for name in names) / len(names)
        return float(log_loss(labels, mean / mean.sum(axis=1, keepdims=True), labels=range(7)))

    chosen: list[str] = []
    while len(chosen) < comparison.metrics["ensemble_members"]:
        spent = sum(minutes(pool[name]) for name in chosen)
        free = [name for name in pool if name not in chosen and spent + minutes(pool[name]) <= MINUTES]
        if not free or (len(chosen) > 1 and min(loss([*chosen, name]) for name in free) >= loss(chosen)):
            break
        chosen.append(min(free, key=lambda name: loss([*chosen, name])))
    assert len(chosen) == row.networks and sum(minutes(pool[name]) for name in chosen) == pytest.approx(row.minutes)
    right = sum(p[name] for name in chosen).argmax(axis=1) == labels
    assert row.val == pytest.approx(right.mean())

    page = page_of(studies)
    assert f"**{row.networks} networks chosen on PublicTest** ({row.recipe}) classify" in page.replace("\\", "")
    everything = sum(map(minutes, pool.values()))
    assert (
        f"\n{len(pool)} that they were chosen from, all of the record and of the search, took {everything:.0f}." in page
    )
    assert f"| {row.networks} chosen |" in page and "(Caruana et al. 2004)" in page


def test_a_network_of_the_record_and_of_the_search_has_one_vote(studies: RecordStudies) -> None:
    comparison, network = studies.record.comparison, studies.record.runs[0]
    alone = replace(studies.record, comparison=replace(comparison, runs=[network]))
    for seed, voters in ((network.seed, 1), (9, 2)):
        named_otherwise = replace(network, recipe=network.recipe.but(experiment="again"), seed=seed)
        search = replace(studies.search, comparison=replace(comparison, runs=[named_otherwise]))
        chosen = [row.networks for row in budget(RecordStudies(alone, search, None)) if row.chosen]
        assert chosen == ([] if voters == 1 else [voters])


def test_a_search_on_other_images_is_refused(studies: RecordStudies) -> None:
    for run in studies.search.runs:
        run.scores["val"] = replace(run.scores["val"], image_ids=run.scores["val"].image_ids[::-1])
    with pytest.raises(StudyError, match="evaluated on different val images"):
        budget(studies)


def test_a_difference_from_a_published_share_counts_both_as_uncertain(studies: RecordStudies) -> None:
    comparison = studies.record.comparison
    of_several = page_of(studies._replace(search=None))
    one_seed = replace(comparison, runs=[run for run in comparison.runs if run.seed == 0])
    page = page_of(RecordStudies(replace(studies.record, comparison=one_seed), None, None))
    right = one_seed.recipes["record_150"].accuracy("test") * 400
    low, high = confint_proportions_2indep(right, 400, 0.708 * PRIVATE_TEST, PRIVATE_TEST, method="newcomb")
    found = _interval_of(page)
    assert found == pytest.approx((100 * low, 100 * high), abs=0.051)
    several = _interval_of(of_several)
    assert several[1] - several[0] > found[1] - found[0], "three seeds that differ count"


def _interval_of(page: str) -> tuple[float, float]:
    """Of the first difference from the published VGG19."""
    line = next(line for line in page.splitlines() if line.startswith("| Residual masking, VGG19"))
    low, high = line.split("(")[1].split(")")[0].split(" to ")
    return float(low), float(high)


def test_parts_are_told_from_the_whole_recipe(studies: RecordStudies) -> None:
    page = page_of(studies)
    rows = {
        line.split("|")[1].strip(): line
        for line in page.split("## What each part is worth")[1].splitlines()
        if "|" in line
    }
    found = re.search(r"A part that is worth (\d+(?:\.\d+)?) points or more is found in 80% of such\nstudies", page)
    assert found and 0 < float(found[1]) < 100
    assert rows["without_norm"].endswith("| worse |") and rows["without_nothing"].endswith("| not distinguishable |")
    assert rows["whole"].endswith("| – | – | the whole recipe |")
    assert (
        "3 seeds each, trained for 12 epochs;" in page
        and "Intervals and tests are over seeds and images, paired," in page
    )
    ablation = studies.ablation.comparison
    first = replace(ablation, runs=[run for run in ablation.runs if run.seed == 0])
    page = page_of(studies._replace(ablation=replace(studies.ablation, comparison=first)))
    assert (
        "1 seed each, trained for 12 epochs;" in page
        and "(McNemar's, exact) are over images, of these networks" in page
    )


def test_the_search_shows_what_it_left_behind_and_what_the_record_changed(studies: RecordStudies) -> None:
    page = page_of(studies)
    search = page.split("## How it was chosen")[1].split("## What each part")[0]
    assert "1. which?" in search and "| **quick** |" in search and "| slow |" in search
    assert "The highest of these is quick" in search and "maximum epochs 150" in search
    reached = studies.record.comparison.recipes["record_150"].accuracy("val")
    assert f"| record_150 | {reached:.1%} |" in search


def test_a_recipe_alone_in_its_round_is_the_best_of_nothing(studies: RecordStudies) -> None:
    alone = replace(studies.search, recipes={"quick": studies.search.recipes["quick"]})
    page = page_of(studies._replace(search=alone))
    assert "| quick |" in page and "| **quick** |" not in page


def test_copies_of_test_images_are_told_apart(studies: RecordStudies) -> None:
    page = page_of(studies)
    assert "Of 400 images 10 have an exact copy and 10 more a near one." in page
    group = studies.record.comparison.recipes["record_20"]
    clean = np.arange(400) >= 20
    low, high = Subset(np.array([run.correct[clean] for run in group]), None).interval(0.95)
    line = next(line for line in page.split("## With and without")[1].splitlines() if line.startswith("| record_20 |"))
    assert f"({low:.1%}–{high:.1%})" in line


def test_a_record_of_which_no_near_copies_were_looked_for_has_a_page(studies: RecordStudies) -> None:
    comparison = studies.record.comparison
    manifest = comparison.manifest.assign(near_duplicate_group="")
    alone = replace(studies.record, comparison=replace(comparison, manifest=manifest))
    part = page_of(RecordStudies(alone, None, None)).split("## With and without")[1].split("\n## ")[0]
    assert "| record_20 |" in part and "Of 400 images 10 have an exact copy" in part
    assert "nan" not in part and part.endswith("have an exact copy; near ones were not looked for.\n")


def test_an_interval_of_a_published_result_is_of_the_images_it_was_scored_on() -> None:
    found = {entry.name: entry for entry in entries(None, [], PUBLISHED)}["oarriaga/face_classification"]
    expected = proportion_confint(0.66 * 2 * PRIVATE_TEST, 2 * PRIVATE_TEST, method="wilson")
    assert (found.low, found.high) == pytest.approx(expected)


def test_what_is_not_finished_is_said(studies: RecordStudies) -> None:
    page = page_of(RecordStudies(None, studies.search, None))
    assert "Not measured yet: no run of `record` has finished." in page
    assert "- The chosen recipe with every seed and budget: no run has finished." in page
    assert "| Residual masking | VGG19 | 70.8% (69.3%–72.3%) |" in page and "| **quick** |" in page
    late = replace(studies.record, recipes={**studies.record.recipes, "record_600": recipe("record_600")})
    page = page_of(studies._replace(record=late))
    assert "- record: record_600 (not trained to the end with every seed yet)" in page
    once = replace(studies.ablation, config={**studies.ablation.config, "seeds": [0]})
    missing = page_of(studies._replace(ablation=once)).split("## Not measured")[1]
    assert missing == "\n\n- record_ablation: further seeds (one per recipe)\n", (
        "a search has one seed for every recipe"
    )


def test_the_figures_name_every_result(studies: RecordStudies, tmp_path: Path) -> None:
    reached = budget(studies)
    found = entries(studies.record, shown(reached), PUBLISHED)
    draw_published(found, tmp_path / "published.svg")
    texts = [
        "".join(node.itertext())
        for node in ElementTree.parse(tmp_path / "published.svg").iter()
        if node.tag.endswith("text")
    ]
    assert {"record_150: vgg19, width 0.25", "Residual masking: VGG19", "a human", "ten taggers' majority"} <= set(
        texts
    )
    draw_budget(reached, tmp_path / "budget.svg")
    assert "150" in (tmp_path / "budget.svg").read_text(encoding="utf-8")
    draw_budget([], tmp_path / "none.svg")
    assert "No run has finished yet." in (tmp_path / "none.svg").read_text(encoding="utf-8")


def test_published_results_are_marked_by_who_chose_the_epoch() -> None:
    marks = {(entry.name, entry.network): mark(entry) for entry in entries(None, [], PUBLISHED)}
    assert marks["pooya-mohammadi/FER", "VGG of 8 convolutions with BN"].startswith(
        "from scratch, epoch chosen without"
    )
    assert marks["WuJie1010", "VGG19-BN"].startswith("epoch chosen on the scored images")
    assert marks["usef-kh/fer", "VGG of 8 convolutions with BN"].endswith("or scored on PublicTest")
    assert marks["Residual masking", "VGG19"] == "pre-trained on ImageNet"
    assert marks["Pramerdorfer & Kampel 2016", "ResNet34"] == "from scratch, choice not told"


def test_predictions_from_a_file_have_the_protocol_of_their_network(tmp_path: Path) -> None:
    made = [Made(made_runs.imported(name)) for name in ("fer_package", "theirs")]
    comparison = comparison_of(made_runs.study(tmp_path, made), 100)
    recipes = {one.recipe.experiment: one.recipe for one in made}
    found = entries(FinishedStudy("record", {}, recipes, {}, comparison, {}), [], PUBLISHED)
    chosen_on = {entry.name: entry.protocol["chosen_on"] for entry in found if entry.ours}
    assert chosen_on == {"fer_package": "both together", "theirs": "not told"}


def test_the_conditions_are_of_what_was_trained(studies: RecordStudies) -> None:
    theirs = made_runs.imported("theirs")
    recipes, config = {**studies.record.recipes, "theirs": theirs}, {**studies.record.config, "seeds": [0, 1, 2]}
    facts = conditions(replace(studies.record, recipes=recipes, config=config))["facts"]
    assert facts["runs"] == "6 of 6, seeds 0, 1, 2" and facts["network"].startswith("vgg19, width 0.25, weights none, ")


def test_a_study_of_files_alone_has_its_conditions(tmp_path: Path) -> None:
    made = [Made(made_runs.imported("theirs"), seed=seed) for seed in (0, 1)]
    comparison = comparison_of(made_runs.study(tmp_path, made), 100)
    config = {"seeds": [0, 1], "data": {"image_size": 40}, "training": {"max_epochs": None}}
    recipes = {"theirs": made[0].recipe, "ours": recipe("ours")}
    facts = conditions(FinishedStudy("record", config, recipes, {}, comparison, {"kept": {"splits": SPLITS}}))["facts"]
    assert facts["runs"] == "0 of 2, seeds 0, 1; from files: theirs" and facts["network"].startswith("none trained, ")


def test_a_published_accuracy_is_a_share(tmp_path: Path) -> None:
    table = PUBLISHED.assign(accuracy=73.2)
    table.to_csv(tmp_path / "published.csv", index=False)
    with pytest.raises(StudyError, match=r"row 2, column 'accuracy': found 73.2, allowed is a share"):
        read_published(tmp_path / "published.csv")
    PUBLISHED.drop(columns="accuracy").to_csv(tmp_path / "published.csv", index=False)
    with pytest.raises(StudyError, match="row 1: missing column accuracy"):
        read_published(tmp_path / "published.csv")


def test_the_three_tables_are_of_one_recipe() -> None:
    """What the ablation calls whole is the record but for its epochs; every round of the search says what it asks."""
    from study.commands.configuration import read_configuration
    from study.recipe import values_of

    values = values_of(read_configuration(CONFIG / "record.yaml"))
    table = {
        name: read_recipes(CONFIG / f"{name}.tsv", study=values)
        for name in ("record", "record_search", "record_ablation")
    }
    shortest = min(table["record"].values(), key=lambda one: one.max_epochs)
    whole = table["record_ablation"]["whole"]
    assert whole.but(max_epochs=shortest.max_epochs).hyperparameters == shortest.hyperparameters
    cases = {str(one.case) for one in table["record_search"].values()}
    assert cases == set(read_captions([CONFIG / "record_search.tsv"]))
