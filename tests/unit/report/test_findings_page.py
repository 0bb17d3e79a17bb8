"""The page of findings says what the runs say, and "not measured" where there are none."""

import re
from dataclasses import replace
from pathlib import Path

import made_runs
import pytest
import yaml
from made_runs import Made, fourteen
from snakemake.utils import update_config

from study.errors import StudyError
from study.recipe_table import read_recipes
from study.report.findings_page import FinishedStudy, findings, load
from study.settings import captions

CONFIG = Path(__file__).parents[3] / "config"
FIGURES = {"comparison": "findings_comparison.svg", "effects": "findings_effects.svg"}


def config_of(study: str) -> dict:
    config = yaml.safe_load((CONFIG / "config.yaml").read_text(encoding="utf-8"))
    update_config(config, yaml.safe_load((CONFIG / f"{study}.yaml").read_text(encoding="utf-8")))
    config["metrics"]["bootstrap_samples"] = 50
    return config


def study(folder: Path, made: list[Made], name: str = "fer2013") -> FinishedStudy:
    """A study with made-up runs; ten test images have a copy in training."""
    made_runs.finished(folder, made)
    recipes = {one.recipe.experiment: one.recipe for one in made}
    config = {**config_of(name), "experiments": ["config/experiments.tsv", "config/ablations.tsv"]}
    config["seeds"] = sorted({one.seed for one in made})
    planned = {**read_recipes(CONFIG / "experiments.tsv"), **recipes}
    return load(folder, config, planned, captions(config, folder=CONFIG.parent))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of all fourteen recipes, and the first failure once more with log-softmax; two runs of the original study."""
    failed = fourteen()[6]
    assert failed.recipe.experiment == "adam_ver1"
    mended = failed.recipe.but(experiment="adam_ver1_log_softmax", case=7, activation="log_softmax", reported_note="")
    repaired = Made(mended, 0.66)
    folder = tmp_path_factory.mktemp("studies")
    made = fourteen()
    made[1] = replace(made[1], recipe=made[1].recipe.but(reported=0.6133))
    sound = study(folder / "sound", [*made, repaired])
    return findings(sound, study(folder / "original", made[:2], "original"), None, FIGURES, "make findings")


def test_it_answers_every_question(page: str) -> None:
    for title in (
        "Which recipe wins", "The cases", "Why did the failures fail?", "What each treatment does", "× batch size",
        "Leakage", "How optimistic", "The original protocol", "Do the reported conclusions hold?", "Not measured",
    ):  # fmt: skip
        assert f"\n## {title}" in page or title in page
    assert "    make findings\n" in page
    assert page.count("**Case ") == 6
    assert page.count("The baseline, always answering") == 2, "of each protocol once"
    assert page.index("](findings_comparison.svg)") < page.index("## The cases") < page.index("](findings_effects.svg)")


def test_it_opens_with_what_was_found(page: str) -> None:
    short = page.split("## In short\n")[1].split("\n## ")[0]
    assert short.startswith("\n- **sgd_ver6** is the best recipe of 15: ")
    assert "- **batch size**, 64 → 128, " in short and "- **learning rate**, " in short and " (1e-4 → " in short
    assert "- adam_ver1: with softmax collapsed; with log-softmax learns, " in short
    claims = re.search(r"- Of (\d+) claims read off the reported accuracies: (.+)\.", short)
    assert claims and sum(map(int, re.findall(r"\d+", claims[2]))) == int(claims[1])
    assert "not measured yet" not in short
    assert short.endswith("Verdicts compare the trained networks of one seed: another may say otherwise.\n")


def test_a_failure_that_log_softmax_mends_is_blamed_on_the_double_softmax(page: str) -> None:
    assert "- adam_ver1: with softmax collapsed; with log-softmax learns, " in page
    assert "at this learning rate and batch size it is the double softmax that makes it fail" in page
    assert "- adam_ver2: not measured yet." in page


def test_a_failure_in_some_seeds_has_a_verdict_and_no_one_to_blame(tmp_path: Path) -> None:
    failed = fourteen()[6].recipe
    seeds = [Made(failed, 0.6, seed=0), Made(failed, 0.0, "collapsed", seed=1)]
    mended = failed.but(experiment="adam_ver1_log_softmax", case=7, activation="log_softmax", reported_note="")
    text = findings(
        study(tmp_path, [*seeds, *(Made(mended, 0.66, seed=seed) for seed in (0, 1))]),
        None,
        None,
        FIGURES,
        "make findings",
    )
    row = next(line for line in text.splitlines() if line.startswith("| adam_ver1 | collapsed in 1 of 2 seeds |"))
    assert not row.endswith("| – |")
    assert "with softmax collapsed in 1 of 2 seeds; with log-softmax learns, " in text
    assert "not in every seed alike, so neither is to blame for all of it." in text


def test_the_best_of_all_is_no_claim_of_the_few_with_further_seeds(tmp_path: Path) -> None:
    pair = [replace(one, recipe=one.recipe.but(reported=0.6 + 0.1 * k)) for k, one in enumerate(fourteen()[1:3])]
    third = replace(fourteen()[0], recipe=fourteen()[0].recipe.but(reported=0.5))
    sound = study(tmp_path / "sound", [*pair, third])
    again = study(tmp_path / "again", [replace(one, seed=seed) for one in pair for seed in (1, 2)])
    again = replace(again, recipes={one.recipe.experiment: one.recipe for one in pair})
    sound = replace(sound, recipes={one.recipe.experiment: one.recipe for one in (*pair, third)})
    text = findings(sound, None, again, FIGURES, "make findings")
    claim = next(line for line in text.splitlines() if " is the best of the reported recipes |" in line)
    assert claim.split(" | ")[3] == "not measured yet"
    assert "how much another seed would change is told below, of some." in text


def test_what_is_not_measured_is_said(page: str) -> None:
    missing = page.split("## Not measured")[1]
    assert "original: sgd_ver3, sgd_ver4" in missing and "not trained yet" in missing
    assert "**sampler**: not measured yet" in page and "**weight decay**" not in page


def test_copies_are_counted_with_the_accuracy_on_them(page: str) -> None:
    assert "10 of 400 test images have an exact copy in training" in page
    assert "| sgd_ver1 | test | 10 of 400 |" in page


def test_numbers_are_those_of_the_runs(tmp_path: Path) -> None:
    made = study(tmp_path, fourteen()[:6])
    text = findings(made, made, None, FIGURES, "make findings")
    best = made.comparison.best.first
    assert f"**{best.experiment}** is the best recipe of 6" in text
    assert f"{best.val_accuracy:.1%}" in text and f"{best.test_accuracy:.1%}" in text
    assert "Not measured yet: no family of recipes" in text


def test_claims_are_judged_under_both_protocols(page: str) -> None:
    claims = page.split("## Do the reported conclusions hold?")[1].split("## Not measured")[0]
    rows = {cells[1]: cells for line in claims.splitlines() if len(cells := line.strip("| ").split(" | ")) == 5}
    _, _, sound, original, _ = rows["sgd_ver2 against sgd_ver1"]
    assert re.match(r"(holds|reversed|not distinguishable): [+-]\d+\.\d \(", sound) and original == sound
    assert rows["adam_ver2"][2].startswith("holds: ") and rows["adam_ver2"][3] == "not measured yet"
    original = page.split("## The original protocol")[1].split("\n## ")[0]
    assert "| sgd_ver2 | early stopped |" in original and "61.3%" in original


def test_claims_are_judged_again_with_further_seeds(tmp_path: Path) -> None:
    pair = [fourteen()[1], fourteen()[2]]
    pair = [
        replace(one, recipe=one.recipe.but(reported=0.6 + 0.1 * k), skill=0.5 + 0.3 * k) for k, one in enumerate(pair)
    ]
    sound = study(tmp_path / "sound", pair)
    again = study(tmp_path / "again", [replace(one, seed=seed) for one in pair for seed in (1, 2, 3)])
    text = findings(sound, sound, again, FIGURES, "make findings")
    part = text.split("## The same over several seeds")[1].split("\n## ")[0]
    row = next(line for line in part.splitlines() if line.startswith("| sgd_ver3"))
    each = [run.test_accuracy for one in (sound, again) for run in one.comparison.recipes["sgd_ver3"]]
    assert len(each) == 4 and row.endswith("| " + ", ".join(f"{one:.1%}" for one in each) + " |")
    assert "several seeds: 0, 1, 2, 3, in this order" in part
    assert "| runs | 6 of 42, seeds 1, 2, 3 |" in text, "the conditions are those of the study alone"
    assert (
        "| claim | recipes | sound protocol | the same, seeds 0, 1, 2, 3 | original protocol | what would settle it |"
        in text
    )
    claim = next(line for line in text.splitlines() if "| sgd_ver3 against sgd_ver2 |" in line)
    assert claim.count("holds: ") == 3 and "further seeds" not in claim


def test_seeds_of_a_study_that_was_cut_otherwise_are_not_put_together(tmp_path: Path) -> None:
    pair = fourteen()[1:3]
    sound = study(tmp_path / "sound", pair)
    again = study(tmp_path / "again", [replace(one, seed=seed) for one in pair for seed in (1, 2)])
    assert again.with_seeds_of(sound).seeds_in_words == "0, 1, 2"
    config = {**again.config, "training": {**again.config["training"], "max_epochs": 6}}
    assert replace(again, config=config).with_seeds_of(sound).seeds_in_words == "1, 2"


def test_the_recipes_with_further_seeds_are_those_of_the_study() -> None:
    known = read_recipes(CONFIG / "experiments.tsv")
    chosen = read_recipes(CONFIG / "claims.tsv")
    assert len(chosen) == 5 and chosen == {name: known[name] for name in chosen}


def test_a_network_from_elsewhere_stands_beside_the_recipes(tmp_path: Path) -> None:
    sound = study(tmp_path, [*fourteen()[:3], Made(made_runs.imported("theirs", 9), 0.75)])
    text = findings(sound, None, None, FIGURES, "make findings")
    assert "\n| theirs | imported | – | " in text
    assert "over the 3 runs that did not fail" in text


def test_a_page_can_be_made_before_the_original_protocol_is_trained(tmp_path: Path) -> None:
    sound = study(tmp_path, fourteen())
    text = findings(sound, None, None, FIGURES, "make findings")
    assert "Not measured yet: none of its runs is finished." in text.split("## The original protocol")[1]
    claim = next(line for line in text.splitlines() if line.startswith("| adam_ver2 fails |"))
    assert claim.split(" | ")[2].startswith("holds: ") and claim.split(" | ")[3] == "not measured yet"
    missing = text.split("## Not measured")[1]
    assert "- the original protocol (none of its runs is finished)" in missing
    assert "(one seed per recipe)" in missing


def test_what_no_other_seed_was_trained_of_is_said(tmp_path: Path) -> None:
    made = fourteen()[:2]
    sound = study(tmp_path / "sound", made)
    again = study(tmp_path / "again", [replace(made[0], seed=seed) for seed in (1, 2)])
    missing = findings(sound, None, again, FIGURES, "make findings").split("## Not measured")[1]
    assert missing.count("another seed") == 1 and "(one seed per recipe, but for those with further seeds)" in missing


def test_a_study_without_a_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no finished run to report"):
        load(tmp_path, config_of("fer2013"), read_recipes(CONFIG / "experiments.tsv"), {})
