"""The command that writes docs/RECORD.md: from the studies that there are, in the folder it is called in."""

import argparse
from pathlib import Path

import made_runs
import pytest
import yaml
from example_images import ROOT
from made_runs import Made, recipe

from study.commands import record
from study.errors import StudyError
from study.planned import PlannedStudy


def arguments(folder: Path) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    record.add_arguments(parser)
    return parser.parse_args(["--out", str(folder / "docs/RECORD.md"), "--command", "make record"])


def test_the_page_and_its_figures_are_written_from_what_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    results = Path("results/record_search")
    made = [Made(recipe("one")), Made(recipe("two", batch_size=128), 0.9)]
    runs = made_runs.finished(results, made)
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    config["metrics"]["bootstrap_samples"] = 100
    config["experiments"] = str(tmp_path / "table.tsv")  # being edited: only its caption is there
    Path("table.tsv").write_text("# case 1: Which batch size?\n", encoding="utf-8")
    PlannedStudy(results, config, {run.experiment: run.recipe for run in runs}).write()

    record.run(arguments(tmp_path))
    page = (tmp_path / "docs/RECORD.md").read_text(encoding="utf-8")
    assert "docs/RECORD.md written from 2 runs\n" in capsys.readouterr().out
    assert "1. Which batch size?" in page and "| 1 | **two** | 128 |" in page
    assert "Not measured yet: no run of `record` has finished." in page
    for name in record.FIGURES:
        assert (tmp_path / "docs" / name).stat().st_size > 1000
    assert f"({record.FIGURES[0]})" in page

    metrics = [results / f"evaluate/{run.experiment}/seed_0/metrics.json" for run in runs]
    kept = [path.read_bytes() for path in metrics]
    for path in metrics:  # trained, not evaluated yet
        path.unlink()
    with pytest.raises(StudyError, match="no finished run to report in results/record"):
        record.run(arguments(tmp_path))
    for path, content in zip(metrics, kept, strict=True):
        path.write_bytes(content)
    (results / "data/class_weights.csv").unlink()
    with pytest.raises(StudyError, match=r"data/class_weights.csv: missing; run Snakemake for this study"):
        record.run(arguments(tmp_path))


def test_without_a_finished_run_there_is_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudyError, match="no finished run to report in results/record, results/record_search"):
        record.run(arguments(tmp_path))
