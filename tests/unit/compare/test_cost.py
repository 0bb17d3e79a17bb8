"""What trainings cost, and the frontier beside a loop over all pairs."""

from dataclasses import replace
from pathlib import Path

import made_runs
import numpy as np
import pytest
from made_runs import Made, comparison_of, recipe

from study.compare.cost import cost_in_words, costs, duration, frontier


def test_the_frontier_is_what_no_other_recipe_beats() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        seconds, accuracy = random.integers(1, 8, (2, 12))  # with ties
        alive = random.random(12) < 0.8

        def beaten(k: int, seconds=seconds, accuracy=accuracy, alive=alive) -> bool:  # type: ignore[no-untyped-def]
            as_good = alive & (accuracy >= accuracy[k]) & (seconds <= seconds[k])
            return bool((as_good & ((accuracy > accuracy[k]) | (seconds < seconds[k]))).any())

        assert frontier(seconds, accuracy, alive) == [bool(alive[k]) and not beaten(k) for k in range(12)]


def test_seconds_are_means_and_sums_over_seeds(tmp_path: Path) -> None:
    runs = made_runs.study(tmp_path, [Made(recipe("a"), seed=0), Made(recipe("a"), seed=1), Made(recipe("b"), 0.9)][:2])
    for run, seconds, memory in zip(runs, (10.0, 20.0), (1 << 30, 2 << 30), strict=True):
        run.record.update(seconds=seconds, peak_memory_bytes=memory)
    row = costs(comparison_of(runs)).iloc[0]
    assert (row["seconds"], row["seconds_total"], row["peak_memory_bytes"], row["seeds"]) == (15.0, 30.0, 2 << 30, 2)
    assert row["test_accuracy"] == np.mean([run.test_accuracy for run in runs])


def test_rows_without_training_and_second_stages_cost_what_they_rest_on(tmp_path: Path) -> None:
    made = [Made(recipe("first"), 0.5), Made(recipe("second"), 0.6), Made(recipe("adjusted"), 0.7)]
    runs = made_runs.study(tmp_path, made)
    changes = [{}, {"init_from": "first"}, {"trained_as": "second", "posthoc": "temperature"}]
    runs = [replace(run, recipe=run.recipe.but(**change)) for run, change in zip(runs, changes, strict=True)]
    for run, seconds in zip(runs, (100.0, 7.0, 7.0), strict=True):
        run.record["seconds"] = seconds
    table = costs(comparison_of(runs)).set_index("experiment")
    assert table["seconds"].to_dict() == {"first": 100.0, "second": 107.0, "adjusted": 107.0}
    assert table["trained_as"].to_dict() == {"first": "", "second": "", "adjusted": "second"}
    assert table["starts_from"].to_dict() == {"first": "", "second": "first", "adjusted": "first"}


def test_failures_are_neither_on_the_frontier_nor_cheaper_than_it(tmp_path: Path) -> None:
    runs = made_runs.study(tmp_path, [Made(recipe("good"), 0.8), Made(recipe("lost"), 0.0, "collapsed")])
    runs[1].record["seconds"] = 0.5
    table = costs(comparison_of(runs))
    assert list(table["experiment"]) == ["lost", "good"] and list(table["on_frontier"]) == [False, True]
    assert list(table["failure"]) == ["collapsed", ""]


def test_the_words_name_the_cheapest_that_is_not_distinguishable(tmp_path: Path) -> None:
    runs = made_runs.study(
        tmp_path, [Made(recipe("slow"), 0.71), Made(recipe("quick"), 0.70), Made(recipe("bad"), 0.1)]
    )
    for run, seconds in zip(runs, (300.0, 60.0, 6.0), strict=True):
        run.record["seconds"] = seconds
    comparison = comparison_of(runs)
    first, second = cost_in_words(costs(comparison))
    best, other = ("slow", "quick") if comparison.best.name == "slow" else ("quick", "slow")
    assert first.startswith(f"{best} takes {duration(300.0 if best == 'slow' else 60.0)} to train")
    assert other in first or best == "quick"
    assert "bad (6 s, " in second


@pytest.mark.parametrize(
    ("seconds", "words"), [(2.44, "2.4 s"), (60.0, "60 s"), (190.0, "3.2 min"), (2700.0, "45 min"), (6300.0, "1.8 h")]
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
