"""The command that writes docs/FINDINGS.md: from the studies as Snakemake last planned them."""

import argparse
from pathlib import Path

import made_runs
import pytest
import yaml
from example_images import ROOT
from made_runs import Made, fourteen
from snakemake.utils import update_config

from study.commands import findings
from study.errors import StudyError
from study.planned import PlannedStudy


def arguments(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    findings.add_arguments(parser)
    return parser.parse_args([*given, "--command", "make findings"])


def planned(name: str, made: list[Made], **changes: object) -> None:
    """The files of a study, the fourteen planned and some of them finished."""
    results = Path("results", name)
    made_runs.finished(results, made)
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    update_config(config, {"metrics": {"bootstrap_samples": 50}, **changes})
    PlannedStudy(results, config, {one.recipe.experiment: one.recipe for one in fourteen()}).write()


def test_the_page_is_of_the_studies_as_they_were_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudyError, match=r"no finished run to report in results/fer2013_small; train some first"):
        findings.run(arguments("--suffix=_small"))
    planned("fer2013_small", fourteen()[:4])
    findings.run(arguments("--suffix=_small"))
    page = Path("docs/FINDINGS.md").read_text(encoding="utf-8")
    assert "docs/FINDINGS.md written from 4 runs" in capsys.readouterr().out
    assert "| runs | 4 of 14, seeds 0 |" in page and "width 1" in page
    assert "Not measured yet: none of its runs is finished." in page and "over several seeds" not in page
    for name in findings.FIGURES:
        assert f"(findings_{name}.svg)" in page
        assert Path(f"docs/findings_{name}.svg").stat().st_size > 1000

    planned("original_small", fourteen()[:2])
    again = [Made(fourteen()[0].recipe, 0.5, seed=seed) for seed in (1, 2)]
    planned("fer2013_small_seeds", again, seeds=[1, 2])
    findings.run(arguments("--suffix=_small", "--out", "docs/page.md"))
    page = Path("docs/page.md").read_text(encoding="utf-8")
    assert "docs/page.md written from 4, 2 and 2 runs" in capsys.readouterr().out
    assert "## The same over several seeds" in page and "none of its runs is finished" not in page
    assert "(page_comparison.svg)" in page
