"""The tables say what the runs say: arrangement, marks, failures, seeds, intervals and tests between recipes."""

import io
import math
from dataclasses import replace
from pathlib import Path

import made_runs
import pandas as pd
import pytest
from made_runs import Made, fourteen, recipe
from statsmodels.stats.multitest import multipletests

from study.compare import tables
from study.compare.runs import Run
from study.compare.statistics import mcnemar, wilson_interval
from study.compare.tables import BEST, BETTER, SAME, WORSE
from study.errors import StudyError

UNLIKE = {one.recipe.experiment: "weights, width" for one in fourteen()}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    return made_runs.study(tmp_path_factory.mktemp("runs"), fourteen())


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    made = [Made(recipe("a"), 0.7), Made(recipe("b"), 0.4), Made(recipe("c"), 0.0, "collapsed")]
    made = [replace(one, seed=seed) for one in made for seed in (0, 1, 2)]
    made[4] = replace(made[4], skill=0.0, outcome="diverged")
    return made_runs.study(tmp_path_factory.mktemp("seeds"), made)


def rows(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_index("property")


def test_case_table_has_the_studys_arrangement(runs: list[Run]) -> None:
    table = rows(tables.case_table(runs, 1, 0.95, 50, unlike=UNLIKE))
    assert list(table.columns) == ["sgd_ver1", "sgd_ver2", "sgd_ver3"]
    assert list(table.index) == [
        "optimizer", "learning rate", "minimum learning rate", "batch size", "maximum epochs", "loss", "activation",
        "sampler", "momentum", "weight decay", "Nesterov", "epochs allowed here", "outcome", "reason", "epochs",
        "best epoch", "validation accuracy", "test accuracy", "test accuracy low", "test accuracy high",
        "test macro-F1", "test macro-F1 low", "test macro-F1 high", "test NLL", "test NLL low", "test NLL high",
        "compared with best", "reported accuracy", "measured minus reported",
        "reported with other", "note",
    ]  # fmt: skip
    assert table.loc["learning rate", "sgd_ver1"] == 0.01
    assert table.loc["sampler"].tolist() == ["shuffle", "balanced", "balanced"]
    run = runs[0]
    assert table.loc["test accuracy", "sgd_ver1"] == run.test_accuracy
    low, high = wilson_interval(round(400 * run.test_accuracy), 400, 0.95)
    assert table.loc["test accuracy low", "sgd_ver1"] == low
    assert table.loc["test accuracy high", "sgd_ver1"] == high
    assert table.loc["measured minus reported", "sgd_ver1"] == pytest.approx(run.val_accuracy - 0.5)


def test_reported_values_appear_only_on_request(runs: list[Run]) -> None:
    assert not {"reported accuracy", "note"} & set(tables.case_table(runs, 1, 0.95, 50, unlike=None)["property"])


def test_failures_stand_with_their_reason_and_are_never_best(runs: list[Run]) -> None:
    table = tables.case_table(runs, 3, 0.95, 50, unlike=UNLIKE)
    assert rows(table).loc["outcome"].tolist() == ["collapsed", "diverged", "collapsed"]
    assert "one class since epoch 2" in rows(table).loc["reason", "adam_ver1"]
    assert rows(table).loc["best epoch", "adam_ver2"] is None
    assert rows(table).loc["reported accuracy", "adam_ver1"] is None
    assert rows(table).loc["note", "adam_ver1"] == "stopped; accuracy stuck at 0.1111"
    assert not any(best for _, cells in tables.case_cells(table) for _, best in cells)
    text = tables.case_markdown(table, 3, "Why?", 0.95)
    assert "**" not in text
    assert "Every recipe of this case failed" in text


def test_the_best_value_of_a_row_is_bold(runs: list[Run]) -> None:
    table = tables.case_table(runs, 1, 0.95, 50, unlike=None)
    cells = dict(tables.case_cells(table))
    for label, pick in (("validation accuracy", max), ("test macro-F1", max), ("test NLL", min)):
        values = rows(table).loc[label].tolist()
        assert [best for _, best in cells[label]] == [value == pick(values) for value in values]
    assert not any(best for _, best in cells["learning rate"])


def test_markdown_reads_like_the_study(runs: list[Run]) -> None:
    text = tables.case_markdown(tables.case_table(runs, 1, 0.95, 50, unlike=UNLIKE), 1, "Which loss?", 0.95)
    assert text.startswith("# Case 1\n\nWhich loss?\n\n| | sgd_ver1 | sgd_ver2 | sgd_ver3 |\n")
    assert "| learning rate | 1e-2 | 1e-2 | 1e-2 |" in text
    assert "| activation | softmax | softmax | log softmax |" in text
    assert "weight decay" not in text  # no recipe uses it


def test_treatments_that_change_together_are_pointed_out(runs: list[Run]) -> None:
    remarks = {
        case: " ".join(tables.case_remarks(tables.case_table(runs, case, 0.95, 50, None))) for case in range(1, 6)
    }
    assert "Loss and sampler change together" in remarks[1]
    assert "Loss and sampler change together" in remarks[2]
    assert not remarks[4]
    assert not remarks[5]


def test_a_cap_on_epochs_is_shown(runs: list[Run]) -> None:
    assert "| epochs allowed here | 18 | 18 | 12 |" in tables.case_markdown(
        tables.case_table(runs, 1, 0.95, 50, unlike=None), 1, "", 0.95
    )


def test_seeds_are_summarised(seeds: list[Run]) -> None:
    table = tables.case_table(seeds, 1, 0.95, 50, unlike=None)
    values = [run.test_accuracy for run in seeds[:3]]
    assert rows(table).loc["test accuracy", "a"] == pytest.approx(sum(values) / 3)
    assert rows(table).loc["test accuracy spread", "a"] == pytest.approx(pd.Series(values).std())
    assert rows(table).loc["outcome", "b"] == "2 × completed, 1 × diverged"
    assert rows(table).loc["best epoch", "b"].count(",") == 2
    cells = dict(tables.case_cells(table))
    assert "±" in cells["test accuracy"][0][0]
    assert "standard deviation over seeds" in tables.case_markdown(table, 1, "", 0.95)


def test_a_case_of_one_recipe(tmp_path: Path) -> None:
    runs = made_runs.study(tmp_path, [Made(recipe("only"))])
    table = tables.case_table(runs, 1, 0.95, 50, unlike={"only": ""})
    assert rows(table).loc["compared with best", "only"] == BEST
    assert not any(best for _, cells in tables.case_cells(table) for _, best in cells)
    assert len(tables.comparison(runs, 0.95, 50)) == 1
    assert list(tables.pairwise(runs, 0.95, 50).columns) == tables.PAIRWISE_COLUMNS


def test_unknown_case(runs: list[Run]) -> None:
    with pytest.raises(StudyError, match=r"case 9: no recipe belongs to it; .* has \[1, 2, 3, 4, 5\]"):
        tables.case_table(runs, 9, 0.95, 50, unlike=None)


def test_names_and_notes_cannot_break_markdown() -> None:
    assert tables.escape_markdown("a|b <b>\n*x* sgd_ver1") == r"a\|b \<b\> \*x\* sgd_ver1"


@pytest.mark.parametrize(
    ("lr", "text"), [(1e-2, "1e-2"), (5e-4, "5e-4"), (1.5e-3, "1.5e-3"), (1e-10, "1e-10"), (0.5, "0.5"), (0.0, "0")]
)
def test_learning_rates_as_papers_write_them(lr: float, text: str) -> None:
    assert tables.lr_text(lr) == text


def test_verdicts_compare_with_the_winner_of_validation_on_test(runs: list[Run]) -> None:
    found = tables.verdicts(runs, 0.95)
    best = max((run for run in runs if not run.failed), key=lambda run: run.val_accuracy)
    assert found[best.experiment, 0][0] == BEST
    others = [run for run in runs if run is not best]
    raw = [mcnemar(run.scores["test"].correct, best.scores["test"].correct) for run in others]
    adjusted = multipletests(raw, method="holm")[1]
    for run, p in zip(others, adjusted, strict=True):
        verdict, shown = found[run.experiment, 0]
        assert shown == pytest.approx(p)
        assert verdict == (SAME if p > 0.05 else WORSE if run.test_accuracy < best.test_accuracy else BETTER)
    assert found["adam_ver1", 0][0] == WORSE


def test_test_may_contradict_validation(tmp_path: Path) -> None:
    runs = made_runs.study(tmp_path, [Made(recipe("a"), 0.3), Made(recipe("b"), 0.9)])
    runs[0].metrics["val"]["accuracy"] = 1.0
    assert tables.verdicts(runs, 0.95)["b", 0][0] == BETTER


def test_a_recipe_differs_only_if_every_seed_does(seeds: list[Run]) -> None:
    found = tables.verdicts(seeds, 0.95)
    assert {found["a", seed][0] for seed in (0, 1, 2)} == {BEST}
    assert tables.recipe_verdict([WORSE, WORSE, WORSE]) == WORSE
    assert tables.recipe_verdict([WORSE, SAME, WORSE]) == SAME
    assert tables.recipe_verdict([WORSE, BETTER]) == SAME


def test_comparison_has_a_row_per_run(runs: list[Run]) -> None:
    table = tables.comparison(runs, 0.95, 200, reported=True)
    promised = {
        "experiment", "seed", "case", "optimizer", "lr", "min_lr", "batch_size", "max_epochs", "loss", "activation",
        "sampler", "outcome", "reason", "epochs", "best_epoch", "val_accuracy", "val_accuracy_low",
        "val_accuracy_high", "test_accuracy", "test_accuracy_low", "test_accuracy_high", "test_balanced_accuracy",
        "test_macro_f1", "test_nll", "test_ece", "images_per_second", "seconds", "vs_best", "reported",
    }  # fmt: skip
    assert promised <= set(table.columns)
    assert len(table) == 14
    for name in ("test_accuracy", "test_macro_f1", "test_balanced_accuracy", "test_nll", "val_accuracy"):
        assert (table[f"{name}_low"] <= table[name]).all()
        assert (table[name] <= table[f"{name}_high"]).all()
    assert (table["vs_best"] == BEST).sum() == 1


def test_comparison_survives_csv(runs: list[Run]) -> None:
    table = tables.comparison(runs, 0.95, 50)
    read = pd.read_csv(io.StringIO(table.to_csv(index=False)))
    assert read["min_lr"].tolist() == table["min_lr"].tolist()
    assert math.isnan(read.loc[read["experiment"] == "adam_ver2", "best_epoch"].item())
    assert "reported" not in read


def test_pairwise_lists_every_pair_once(runs: list[Run]) -> None:
    table = tables.pairwise(runs, 0.95, 200)
    assert len(table) == 14 * 13 // 2
    row = table[(table["experiment_a"] == "sgd_ver1") & (table["experiment_b"] == "adam_ver1")].iloc[0]
    assert row["accuracy_difference"] == pytest.approx(runs[0].test_accuracy - runs[6].test_accuracy)
    assert row["accuracy_low"] < row["accuracy_difference"] < row["accuracy_high"]
    assert row["distinguishable"]
    gained = row["only_a_correct"] - row["only_b_correct"]
    assert gained / row["images"] == pytest.approx(row["accuracy_difference"])
    assert table["p_holm"].tolist() == pytest.approx(multipletests(table["p_mcnemar"], method="holm")[1])


def test_pairs_share_their_seed(seeds: list[Run]) -> None:
    assert (tables.pairwise(seeds, 0.95, 20)["seed"] != "all").sum() == 3 * 3


def test_several_seeds_are_tested_over_seeds_as_well(seeds: list[Run]) -> None:
    table = tables.pairwise(seeds, 0.95, 200)
    over = table[table["seed"] == "all"]
    assert len(over) == 3
    for row in over.itertuples():
        a, b = (
            [r.test_accuracy for r in seeds if r.experiment == name] for name in (row.experiment_a, row.experiment_b)
        )
        assert row.accuracy_difference == pytest.approx(sum(a) / len(a) - sum(b) / len(b))
        assert row.accuracy_low <= row.accuracy_difference <= row.accuracy_high
        assert row.p_seeds >= 2.0 ** (1 - len(a))
    assert not over["distinguishable"].any()  # so few seeds cannot show anything
    assert table.loc[table["seed"] != "all", "p_seeds"].isna().all()


def test_a_diverged_run_without_numbers_is_a_row(tmp_path: Path) -> None:
    runs = made_runs.study(tmp_path, [Made(recipe("fine")), Made(recipe("lost"), 0.0, "diverged")])
    runs[1].metrics["test"].update(nll=None, ece=None)
    runs[1].metrics["val"].update(nll=None)
    runs[1].scores["test"].nll[:] = math.nan
    table = tables.comparison(runs, 0.95, 50)
    assert math.isnan(table.loc[1, "test_nll"])
    assert math.isnan(tables.pairwise(runs, 0.95, 50)["nll_difference"].iloc[0])
    assert dict(tables.case_cells(tables.case_table(runs, 1, 0.95, 50, unlike=None)))["test NLL"][1][0] == "–"
