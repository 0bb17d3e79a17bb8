"""Studies are known by what Snakemake left, else by a configuration of their name; the default lies below all."""

import re
import shutil
from pathlib import Path

import pytest
from example_images import ROOT

from study.commands import configuration
from study.commands.configuration import planned_study, read_configuration
from study.errors import StudyError
from study.paths import RunPaths
from study.planned import PlannedStudy

TABLE = [
    line for line in (ROOT / "config/experiments.tsv").read_text(encoding="utf-8").splitlines() if line[:1] not in "#"
]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_study_that_never_ran_is_known_by_its_configuration() -> None:
    assert len(planned_study("fer2013").runs) == 14
    assert planned_study("digits").runs[0] == RunPaths(Path("results/digits"), "sgd_ver1", 0)
    with pytest.raises(StudyError, match=r"study 'nix': no configuration in .* allowed: digits, fer2013"):
        planned_study("nix")


def test_a_study_is_what_snakemake_ran_with_the_tables_as_they_are_now() -> None:
    table = Path("own.tsv")
    table.write_text("\n".join(TABLE[:4]) + "\n", encoding="utf-8")
    config = {**read_configuration(), "study": "own", "seeds": [3, 4]}
    given = PlannedStudy(Path("results/own"), config, planned_study("digits").recipes, {"model": 1}, {"split": 2})
    given.write()
    assert planned_study("own") == given and len(given.runs) == 28
    PlannedStudy(given.results, {**config, "experiments": "own.tsv"}, given.recipes).write()
    assert len(planned_study("own").runs) == 2 * 3
    table.write_text("no table", encoding="utf-8")
    assert len(planned_study("own").runs) == 28
    Path("results/own/study.json").write_text("{", encoding="utf-8")
    with pytest.raises(StudyError, match=r"results/own/study\.json: damaged"):
        planned_study("own")


def test_a_working_directory_may_have_a_default_of_its_own() -> None:
    assert read_configuration()["seeds"] == [0]
    Path("config").mkdir()
    Path("config/config.yaml").write_text("seeds: [5]", encoding="utf-8")
    Path("more.yaml").write_text("model: {width: 0.5}", encoding="utf-8")
    config = read_configuration("more.yaml")
    assert config["seeds"] == [5] and config["model"]["width"] == 0.5 and config["model"]["name"] == "vgg19"


@pytest.mark.parametrize(("text", "found"), [("- seeds", "a list"), ("seeds", "'seeds'"), ("0", "0"), ("[]", "a list")])
def test_a_file_that_holds_no_configuration_is_named_and_disturbs_no_other_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, found: str
) -> None:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    path = tmp_path / "config/a.yaml"
    path.write_text(text, encoding="utf-8")
    message = f"{path}: found {found}, allowed is a mapping: lines of a key and its value, 'study: mine'"
    with pytest.raises(StudyError, match=f"^{re.escape(message)}$"):
        read_configuration(path)
    monkeypatch.setattr(configuration, "ROOT", tmp_path)
    assert len(planned_study("fer2013").runs) == 14
    assert capsys.readouterr().err == f"note: {message}; it is left out\n"


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    Path("empty.yaml").write_text("# nothing yet\n", encoding="utf-8")
    assert read_configuration("empty.yaml") == read_configuration()


def test_runs_without_a_study_json_and_a_configuration_say_what_is_missing() -> None:
    run = RunPaths(Path("results/old"), "one", 3)
    run.trained.mkdir(parents=True)
    run.run.write_text("{}", encoding="utf-8")
    with pytest.raises(StudyError, match=r"^results/old/study\.json: missing, .* run Snakemake for this study"):
        planned_study("old")


def test_configurations_of_the_working_directory_are_known() -> None:
    Path("config").mkdir()
    Path("config/fer2013.yaml").write_text("study: fer2013\nseeds: [0, 1]", encoding="utf-8")
    assert len(planned_study("fer2013").runs) == 28  # and not the pipeline's of this name, with one seed
    Path("config/config.yaml").write_text("study: of_ones_own\nseeds: [0, 1, 2]", encoding="utf-8")
    assert len(planned_study("of_ones_own").runs) == 42  # and not a layer's over it
