"""A made-up study of many classes is one that Snakemake finishes; what a run is read into does not grow with K × K."""

import json
import tracemalloc
from pathlib import Path

import pytest

from benchmarks import scale
from benchmarks.record import results_page
from study.compare.comparison import Comparison
from study.compare.run_table import run_table
from study.compare.runs import files_of, load_runs
from study.paths import RunPaths
from study.recipe_table import read_recipes


def test_the_rules_run_on_a_made_up_study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("benchmarks.record.RESULTS", tmp_path / "records")
    monkeypatch.setattr(scale, "OPENINGS", 1)
    sizes = ["--classes", "35", "--images", "200", "--recipes", "2"]
    scale.main(["classes", *sizes, "--name", "tiny", "--folder", str(tmp_path)])
    record = json.loads((tmp_path / "records/tiny.json").read_text(encoding="utf-8"))
    assert set(record["rules"]) == set(scale.RULES) and record["sizes"]["classes"] == 35
    assert max(size for file, size in record["bytes"].items() if file.endswith(".svg")) < 1_500_000
    page = results_page([record])
    assert "### 35 classes, 2 recipes, 1 seed, 200 images of each split" in page and "| figures | " in page
    assert "- report.html under 20 MB: " in page
    assert record["command"].startswith("python -m benchmarks.scale classes --classes 35")


def peak(root: Path, classes: int) -> int:
    """Bytes that the table of all runs takes, the same images with so many classes."""
    (root / "config").mkdir(parents=True)
    scale.write_study(root, classes, 3000, 2)
    results = root / "results" / scale.STUDY
    recipes = read_recipes([root / scale.TABLE], study=None)
    tracemalloc.start()
    runs = load_runs(recipes, *files_of([RunPaths(results, name, 0) for name in recipes]))
    run_table(Comparison(runs, {"confidence": 0.95, "bootstrap_samples": 100, "ece_bins": 15, "ensemble_members": 2}))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def test_memory_grows_no_faster_than_the_classes(tmp_path: Path) -> None:
    few, many = peak(tmp_path / "few", 100), peak(tmp_path / "many", 800)
    assert many < 8 * few and many < 40e6
