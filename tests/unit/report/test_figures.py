"""Every figure is drawn for ordinary and awkward studies, says what it should, and comes out the same twice."""

import itertools
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_runs
import numpy as np
import pandas as pd
import pytest
from made_runs import Made, comparison_of, fourteen, recipe

from study.compare.all_tables import read_written
from study.compare.cost import costs
from study.compare.effects import effects
from study.compare.label_hints import label_hints
from study.compare.runs import Run
from study.compare.subgroups import subgroups
from study.data.packed import PackedData
from study.errors import StudyError
from study.files import write_table
from study.names import SPLITS
from study.report.all_figures import FIGURES, draw_many, keys_of
from study.report.figures.classes import GROUPS, MANY, groups_of
from study.report.figures.errors import most_confused
from study.report.figures.material import Material
from study.report.figures.recipes import batches_per_epoch
from study.report.figures.style import name, percent
from study.train.batches import batch_bounds

AWKWARD = ["<script>alert(1)</script>", "$x_1$ & $y$", "_hidden", "a long class name that does not end soon", "0", "\t"]


def material(runs: list[Run], class_weights: pd.DataFrame | None = None, **changes: Any) -> Material:
    """What figures need of made-up runs; the images are in another order than the scores."""
    ids = {split: [str(image_id) for image_id in scores.image_ids[::-1]] for split, scores in runs[0].scores.items()}
    ids = dict.fromkeys(SPLITS, ids["test"]) | ids
    pixels = np.random.default_rng(0).integers(0, 256, (len(ids["test"]), 1, 8, 8), dtype=np.uint8)
    classes = tuple(runs[0].classes)
    labels = np.arange(len(ids["test"])) % len(classes)
    counts = {"images": 29_144, "counts": dict.fromkeys(classes, 100)}
    weights = pd.DataFrame({"class": classes, "count": 100, "weight": 0.5}) if class_weights is None else class_weights
    comparison = comparison_of(runs, 20, reported_protocol={}, class_weights=weights)
    fields = {
        "questions": {str(case): "Which <b>?" for case in comparison.cases},
        "pack": {"classes": list(classes), "splits": dict.fromkeys(SPLITS, counts)},
        "packed": PackedData(classes, dict.fromkeys(SPLITS, pixels), dict.fromkeys(SPLITS, labels), ids, ""),
    }
    return Material(comparison, **{**fields, **changes})


DRAWN = {figure.name: figure for figure in FIGURES}
TABLES = {"effects": effects, "subgroups": subgroups, "label_hints": label_hints}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    return made_runs.study(tmp_path_factory.mktemp("runs"), fourteen())


def texts(path: Path) -> list[str]:
    """Every text of an SVG, which has to be XML."""
    return ["".join(node.itertext()) for node in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]


def images(runs: list[Run]) -> int:
    """How many are evaluated."""
    return sum(len(scores.image_ids) for scores in runs[0].scores.values())


def draw(name: str, runs: list[Run], folder: Path, key: str | int = "", **changes: Any) -> list[str]:
    """The texts of a figure, of the last key if there are several."""
    figure, path = DRAWN[name], folder / f"{name}.svg"
    if name in TABLES:  # the other figures do without these tables, which take a while
        here = made_runs.manifest(runs, site=itertools.islice(itertools.cycle(AWKWARD), images(runs)))
        changes = {name: TABLES[name](comparison_of(runs, 20, manifest=here)), **changes}
    keys = [key] if key else keys_of(figure, {run.experiment: run.recipe for run in runs})[-1:]
    figure.draw(material(runs, **changes), path, *keys)
    return texts(path)


def test_curves_mark_lr_drops_and_best_epoch(runs: list[Run], tmp_path: Path) -> None:
    shown = draw("curves", runs, tmp_path, "sgd_ver1")
    assert {"lr 1e-3", "lr 1e-4", "Epoch", "Loss (nats per image)", "Accuracy"} <= set(shown)
    assert f"best epoch: {runs[0].record['best_epoch']}" in shown
    assert "sgd_ver1: early stopped after 12 epochs" in shown
    assert any(text.startswith("ln 7") for text in shown)


def test_curves_say_what_else_the_best_epoch_was_chosen_by(tmp_path: Path) -> None:
    (run,) = made_runs.study(tmp_path, [Made(recipe("a"))])
    run.record["facts"]["best_by"] = "macro_f1"
    shown = draw("curves", [run], tmp_path, "a")
    assert f"best epoch: {run.record['best_epoch']} (highest validation macro-F1)" in shown


def test_curves_show_from_where_deferred_weights_act(tmp_path: Path) -> None:
    changes = {"loss": "weighted_ldam", "activation": "logits", "defer_until": 0.5}
    (run,) = made_runs.study(tmp_path, [Made(recipe("a", **changes))])
    shown = draw("curves", [run], tmp_path, "a")
    assert f"deferred until epoch {run.recipe.acts_from(run.record['max_epochs'])}" in shown
    assert "Loss (of the NLL: nats per image)" in shown


def test_curves_of_a_diverged_run_have_no_best_epoch(runs: list[Run], tmp_path: Path) -> None:
    shown = draw("curves", runs, tmp_path, "adam_ver2")
    assert "adam_ver2: diverged after 3 epochs" in shown
    assert not any("best epoch" in text for text in shown)


def test_comparison_says_winner_failures_and_reported(runs: list[Run], tmp_path: Path) -> None:
    shown = draw("comparison", runs, tmp_path)
    assert shown.count("★ best") == 1
    assert shown.count("✕ collapsed") == 2
    assert shown.count("✕ diverged") == 1
    assert "reported (validation)" in shown
    assert f"interval of {comparison_of(runs).best.name}" in shown
    assert {run.experiment for run in runs} <= set(shown)
    DRAWN["comparison"].draw(Material(comparison_of(runs)), tmp_path / "plain.svg")
    assert "reported (validation)" not in texts(tmp_path / "plain.svg")


def test_comparison_and_curves_mark_the_largest_class(tmp_path: Path) -> None:
    rare = made_runs.with_rare_class(tmp_path)
    share = (rare.runs[0].scores["test"].labels == 0).mean()
    DRAWN["comparison"].draw(Material(rare), tmp_path / "comparison.svg")
    assert f"always common: {share:.1%} of the test images" in texts(tmp_path / "comparison.svg")
    DRAWN["curves"].draw(Material(rare), tmp_path / "curves.svg", "both")
    assert "always the largest class" in texts(tmp_path / "curves.svg")


def test_the_map_holds_the_optimizers_recipes(runs: list[Run], tmp_path: Path) -> None:
    shown = " ".join(draw("map", runs, tmp_path, "Adam"))
    for run in runs:
        assert (run.experiment in shown) == (run.recipe.optimizer == "Adam")
    assert "adam_ver1 ✕ collapsed" in shown
    assert "no recipe" in shown


def test_the_map_says_what_the_best_recipe_of_a_cell_cost(tmp_path: Path) -> None:
    """Means over the seeds of the best recipe; a failed recipe is never the best, whatever its accuracy."""
    made = [Made(recipe("good", batch_size=100), 0.8), Made(recipe("lost", batch_size=100), 0.9, "diverged", epochs=3)]
    runs = made_runs.study(tmp_path, [replace(one, seed=seed) for one in made for seed in (0, 1)])
    for run, epochs, seconds in zip(runs, (10, 20, 3, 3), (7000.0, 6000.0, 1.0, 1.0), strict=True):
        run.record.update(epochs=epochs, seconds=seconds)
    shown = draw("map", runs, tmp_path, pack={"splits": {"train": {"images": 10_001}}})
    assert "1,500 steps · 1.8 h" in shown
    lines = [text for text in shown if text.startswith(("good", "lost"))]
    assert lines == [f"good {np.mean([run.test_accuracy for run in runs[:2]]):.1%}", "lost ✕ diverged in 2 of 2 seeds"]


@pytest.mark.parametrize(("seconds", "words"), [(2.4, "2.4 s"), (99.4, "99 s"), (150.0, "2.5 min"), (6300.0, "1.8 h")])
def test_the_map_says_wall_time_in_words(seconds: float, words: str, runs: list[Run], tmp_path: Path) -> None:
    run = replace(runs[0], record={**runs[0].record, "seconds": seconds, "epochs": 1})
    shown = draw("map", [run], tmp_path, pack={"splits": {"train": {"images": 640}}})
    assert f"10 steps · {words}" in shown


def test_a_case_of_rows_without_training_shows_the_training_that_they_take(tmp_path: Path) -> None:
    runs = made_runs.study(tmp_path, [Made(recipe("trained", 1), 0.6), Made(recipe("adjusted", 2), 0.7)])
    taken = runs[1].recipe.but(trained_as="trained", posthoc="temperature")
    shown = draw("cases", [runs[0], replace(runs[1], recipe=taken)], tmp_path, 2)
    assert "trained" in shown and "adjusted" not in shown


def test_the_map_takes_any_two_numeric_columns(tmp_path: Path) -> None:
    """A recipe in which one of the two means nothing has no place in it."""
    momenta = [Made(recipe(f"m{k}", optimizer="SGD", momentum=k / 10, dropout=0.1 * (k % 2)), 0.5) for k in range(3)]
    made = [*momenta, Made(recipe("adam", optimizer="Adam"), 0.6)]
    runs = made_runs.study(tmp_path, made)
    more = {"pack": {"splits": {"train": {"images": 640}}}, "map": ("model.dropout", "momentum")}
    shown = draw("map", runs, tmp_path, "SGD", **more)
    assert {"Dropout", "Momentum", "0.2", "m0 50.0%"} & set(shown) >= {"Dropout", "Momentum", "0.2"}
    assert sum(text == "no recipe" for text in shown) == 3
    assert sum(text == "no recipe" for text in draw("map", runs, tmp_path, "Adam", **more)) == 1


def test_batches_per_epoch_are_those_of_the_training() -> None:
    for images in range(1, 60):
        for batch_size in range(1, images + 1):
            assert batches_per_epoch(images, batch_size) == len(batch_bounds(images, batch_size))


def effects_texts(runs: list[Run], folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """The table of effects, and the texts of its figure when the table is read back from its file."""
    table = effects(comparison_of(runs, 100))
    write_table(table, folder / "effects.csv")
    return table, draw("effects", runs, folder, effects=read_written(folder / "effects.csv"))


def test_effects_say_what_changed_by_how_much_and_the_verdict(tmp_path: Path) -> None:
    log = {"activation": "log_softmax"}
    made = [
        Made(recipe("low"), 0.4),
        Made(recipe("high", **log), 0.9),
        Made(recipe("same", batch_size=128, **log), 0.9),
        Made(recipe("lost", batch_size=256, **log), 0.0, "collapsed"),
    ]
    table, shown = effects_texts(made_runs.study(tmp_path, made), tmp_path)
    assert shown.count("Activation") == shown.count("Batch size") == 1
    for row in table.to_dict("records"):
        assert row["change"] in shown
        assert f"{row['experiment_from']} → {row['experiment_to']}" in shown
        assert f"{100 * row['accuracy_difference']:+.1f}".replace("-", "−") in shown
    assert [text for text in shown if text[0] in "▲▼≈"] == [
        "▲ higher", "≈ not distinguishable", "▼ lower", "▼ lower",
    ]  # fmt: skip
    assert shown.count("✕ lost collapsed") == 2
    ticks = [float(text.replace("−", "-")) for text in shown if text.lstrip("+−").isdigit()]
    assert min(ticks) > 100 * table["accuracy_difference"].min()  # a failure does not stretch the axis


def test_effects_of_two_failures_cannot_be_judged(runs: list[Run], tmp_path: Path) -> None:
    lost = [run for run in runs if run.experiment in ("adam_ver1", "adam_ver4")]
    _, shown = effects_texts(lost, tmp_path)
    assert "cannot be judged" in shown
    assert "✕ adam_ver4 collapsed✕ adam_ver1 collapsed" in "".join(shown)
    assert "0.0" in shown


def test_effects_of_recipes_that_differ_in_more_than_one_treatment(runs: list[Run], tmp_path: Path) -> None:
    table, shown = effects_texts([run for run in runs if run.experiment in ("sgd_ver1", "adam_ver8")], tmp_path)
    assert table.empty
    assert "No two recipes differ in one treatment alone." in shown


def test_recall_names_the_rarest_class_first(runs: list[Run], tmp_path: Path) -> None:
    rarest = [text for text in draw("recall", runs, tmp_path) if "rarest" in text]
    assert len(rarest) == 1
    assert rarest[0].startswith("disgust, n = ")


def test_confusion_shows_images_per_row(runs: list[Run], tmp_path: Path) -> None:
    count = runs[0].metrics["test"]["class_images"]["happy"]
    assert f"happy ({count})" in draw("confusion", runs, tmp_path, "sgd_ver1")


@pytest.mark.parametrize("figure", DRAWN)
def test_awkward_names_and_several_seeds(figure: str, tmp_path: Path) -> None:
    made = [
        Made(recipe("a")),
        Made(recipe("b", lr=1.0, reported=None), 0.0, "collapsed"),
        Made(recipe("c", 2), epochs=1),
    ]
    made = [replace(one, seed=seed) for one in made for seed in (0, 1)]
    runs = made_runs.study(tmp_path, made, AWKWARD)
    shown = " ".join(draw(figure, runs, tmp_path))
    assert "<script" not in (tmp_path / f"{figure}.svg").read_text(encoding="utf-8")
    if figure in ("confusion", "recall"):
        assert "$x_1$ & $y$" in shown
        assert "_hidden" in shown


@pytest.mark.parametrize("figure", DRAWN)
def test_a_study_of_one_recipe(figure: str, runs: list[Run], tmp_path: Path) -> None:
    assert draw(figure, runs[:1], tmp_path)


@pytest.mark.parametrize("figure", DRAWN)
def test_a_study_of_failures(figure: str, runs: list[Run], tmp_path: Path) -> None:
    assert draw(figure, [run for run in runs if run.failed], tmp_path)


@pytest.mark.parametrize("figure", DRAWN)
def test_the_same_data_give_the_same_bytes(figure: str, runs: list[Run], tmp_path: Path) -> None:
    draw(figure, runs[:3], tmp_path)
    first = (tmp_path / f"{figure}.svg").read_bytes()
    draw(figure, runs[:3], tmp_path)
    assert (tmp_path / f"{figure}.svg").read_bytes() == first
    assert b"http://" not in first.replace(b"http://www.w3.org", b"").replace(b"http://purl.org", b"").replace(
        b"http://creativecommons.org", b""
    )


def test_a_class_without_test_images_is_an_empty_row(tmp_path: Path) -> None:
    (run,) = made_runs.study(tmp_path, [Made(recipe("a"))], ["cat", "dog"])
    scores = run.scores["test"]
    cats = replace(scores, labels=np.zeros_like(scores.labels))
    counts = {"class_images": {"cat": 400, "dog": 0}, "recall": {"cat": cats.correct.mean(), "dog": None}}
    runs = [replace(run, scores={"test": cats}, metrics={**run.metrics, "test": {**run.metrics["test"], **counts}})]
    assert "dog (0)" in draw("confusion", runs, tmp_path)
    assert any(text.startswith("cat") and "rarest" in text for text in draw("recall", runs, tmp_path))


def test_class_counts_and_weights(runs: list[Run], tmp_path: Path) -> None:
    counts = {"train": [700, 5, 90], "val": [150, 0, 20], "test": [150, 1, 20]}
    classes = ["01", "None", "<b>"]
    splits = {s: {"images": sum(n), "counts": dict(zip(classes, n, strict=True))} for s, n in counts.items()}
    weights = pd.DataFrame({"class": classes, "count": counts["train"], "weight": [0.12, 0.99375, 0.887]})
    shown = draw("class_counts", runs, tmp_path, pack={"classes": classes, "splits": splits}, class_weights=weights)
    assert {"01", "None", "<b>", "700", "0.994"} <= set(shown)


@pytest.mark.parametrize("channels", [1, 3])
def test_samples_take_few_images_and_none(channels: int, runs: list[Run], tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, channels, 8, 8), dtype=np.uint8)
    labels = np.array([0] * 11 + [1])
    packed = PackedData(("many", "one", "none"), {"train": images}, {"train": labels}, {}, "")
    shown = draw("samples", runs, tmp_path, packed=packed)
    assert {"11 images", "1 images", "0 images"} <= set(shown)
    assert "data:image/png;base64," in (tmp_path / "samples.svg").read_text()


def test_unknown_optimizer(runs: list[Run], tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"no recipe uses the optimizer LBFGS; found: \['Adam', 'SGD'\]"):
        draw("map", runs, tmp_path, "LBFGS")


def test_long_names_keep_both_ends() -> None:
    assert name("short") == "short"
    assert name("mushroom_edible_boletus_edulis", 20) == "mushroom_edi…_edulis"
    assert name("two\nlines\x00") == "two lines\N{REPLACEMENT CHARACTER}"


def test_reliability_names_every_recipe_with_its_error(runs: list[Run], tmp_path: Path) -> None:
    shown = " ".join(draw("reliability", runs, tmp_path))
    assert "✕ adam_ver1" in shown
    assert f"ECE {runs[0].metrics['test']['ece']:.3f}" in shown


def test_subgroups_name_values_sizes_and_those_told_apart(tmp_path: Path) -> None:
    runs = made_runs.study(tmp_path, [Made(recipe("a"), 0.9, mislabelled=40), Made(recipe("b"), 0.8, mislabelled=40)])
    site = (["new"] * 40 + ["old"] * 360) * 2
    here = made_runs.manifest(runs, site=site, file=[f"{k}.png" for k in range(800)])
    table = subgroups(comparison_of(runs, manifest=here))
    shown = draw("subgroups", runs, tmp_path, subgroups=table)
    assert {"site", "new, n = 40", "old, n = 360", "▼ lower", "▲ higher", "a", "b"} <= set(shown)
    assert "file" not in shown
    empty = subgroups(comparison_of(runs, manifest=made_runs.manifest(runs)))
    (text,) = [text for text in draw("subgroups", runs, tmp_path, subgroups=empty) if "says nothing" in text]
    assert text.startswith("The source")


def test_of_many_columns_those_that_differ_most_are_shown(tmp_path: Path) -> None:
    runs = made_runs.study(tmp_path, [Made(recipe("a"), 0.9, mislabelled=40)])
    columns = {f"column {k}": (["x"] * (40 + 30 * k) + ["y"] * (360 - 30 * k)) * 2 for k in range(8)}
    table = subgroups(comparison_of(runs, manifest=made_runs.manifest(runs, **columns)))
    shown = draw("subgroups", runs, tmp_path, subgroups=table)
    assert [text for text in shown if text.startswith("column")] == [f"column {k}" for k in range(6)]
    assert any("(6 of 8 columns)" in text for text in shown)


def test_label_hints_say_both_classes_and_how_many_agree(tmp_path: Path) -> None:
    made = [Made(recipe(name), 0.9, mislabelled=40) for name in ("a", "b", "c")]
    runs = made_runs.study(tmp_path, made)
    here = made_runs.manifest(runs).assign(label="x")
    table = label_hints(comparison_of(runs, manifest=here))
    shown = draw("label_hints", runs, tmp_path, label_hints=table)
    first = table.iloc[0]
    assert f"label: {first['label']}" in shown and f"recipes: {first['recipes_say']}" in shown
    assert f"3 of 3 say so, p = {first['p_recipes_say']:.2f}" in shown
    assert sum(text.startswith("recipes: ") for text in shown) == 24
    assert (tmp_path / "label_hints.svg").read_text().count("data:image/png;base64,") == 24
    one = label_hints(comparison_of(runs[:1], manifest=here))
    assert any("None: on no image do most" in text for text in draw("label_hints", runs[:1], tmp_path, label_hints=one))


def test_class_recall_starts_with_the_recipe_chosen(runs: list[Run], tmp_path: Path) -> None:
    shown = draw("class_recall", runs, tmp_path)
    assert comparison_of(runs).best.name in shown and "adam_ver1" not in shown
    assert shown.index(next(t for t in shown if t.startswith("disgust, n = "))) < shown.index(
        next(t for t in shown if t.startswith("happy, n = "))
    )


def test_most_confused_pairs_are_counted_as_by_a_loop(runs: list[Run]) -> None:
    run = runs[0]
    scores = run.scores["test"]
    counts: dict[tuple[int, int], int] = {}
    for label, guess in zip(scores.labels, scores.predicted, strict=True):
        if label != guess:
            counts[int(label), int(guess)] = counts.get((int(label), int(guess)), 0) + 1
    confusions = most_confused(run, 5)
    assert [len(rows) for *_, rows in confusions] == sorted(counts.values(), reverse=True)[:5]
    for true, guess, rows in confusions:
        assert len(rows) == counts[true, guess]
        confidence = scores.confidence[rows]
        assert (np.diff(confidence) <= 0).all()


def test_confused_pairs_without_a_mistake(tmp_path: Path) -> None:
    runs = made_runs.study(tmp_path, [Made(recipe("a"), 1.0)], images=30)
    scores = runs[0].scores["test"]
    runs = [replace(runs[0], scores={"test": replace(scores, predicted=scores.labels)})]
    assert "No test image is mistaken." in draw("confused", runs, tmp_path)


def test_cost_names_the_frontier_and_the_best_and_marks_failures(runs: list[Run], tmp_path: Path) -> None:
    shown = draw("cost", runs, tmp_path)
    table = costs(comparison_of(runs))
    named = {text.split()[0] for text in shown if text.endswith("%") and " s, " in text}
    assert named == {*table["experiment"][table["on_frontier"]], comparison_of(runs).best.name}
    assert "failed in a seed or in all" in shown


MANY_CLASSES = [f"class {k:03d}" for k in range(120)]
BY_CLASS = ("class_recall", "confused", "confusion", "reliability", "recall", "class_counts", "samples")


@pytest.mark.parametrize("figure", BY_CLASS)
def test_figures_of_many_classes_are_small_and_the_same_twice(figure: str, tmp_path: Path) -> None:
    runs = made_runs.study(tmp_path, [Made(recipe("a"), 0.7), Made(recipe("b"), 0.4)], MANY_CLASSES, images=1500)
    drawn = []
    for k in range(2):
        path = tmp_path / f"{k}.svg"
        DRAWN[figure].draw(material(runs), path, *(["a"] if DRAWN[figure].per else []))
        drawn.append(path.read_bytes())
    assert drawn[0] == drawn[1] and len(drawn[0]) < 1_500_000
    shown = texts(tmp_path / "0.svg")
    assert len([text for text in shown if text.startswith("class ")]) <= MANY
    if figure in ("class_recall", "recall"):
        assert len([text for text in shown if re.match(r"\d+ classes of ", text)]) == GROUPS


def test_groups_hold_every_class_with_an_image_once() -> None:
    images = np.random.default_rng(0).integers(0, 50, 200)
    groups = groups_of(images)
    assert sorted(np.concatenate([some for _, some in groups])) == np.flatnonzero(images).tolist()
    ends = [(images[some].min(), images[some].max()) for _, some in groups]
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(ends))


def test_many_figures_over_processes_are_those_of_one(
    runs: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.progress.SECONDS_TO_START", 0)
    monkeypatch.setattr("study.progress.SECONDS_ALONE", 0)
    whole, three = material(runs), [run.experiment for run in runs[:3]]
    for folder, workers in (("one", 1), ("two", 2)):
        (tmp_path / folder).mkdir()
        draw_many(whole, [("curves", one, str(tmp_path / folder / f"{one}.svg")) for one in three], workers)
    for one in three:
        assert (tmp_path / "one" / f"{one}.svg").read_bytes() == (tmp_path / "two" / f"{one}.svg").read_bytes()


@pytest.mark.parametrize(("share", "said"), [(0.7, "70%"), (0.695, "69.5%"), (0.1 + 0.2, "30%"), (0.0, "0%")])
def test_a_tick_has_the_decimals_that_tell_it_from_its_neighbour(share: float, said: str) -> None:
    assert percent(share, 0) == said
