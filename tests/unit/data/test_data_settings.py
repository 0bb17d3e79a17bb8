"""The source's fingerprint, and that planning stays light."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from example_images import ROOT, write_tree, write_zip

from study.data.data_settings import as_yaml, source_fingerprint


@pytest.mark.parametrize("text", ["a", "0", "no", "null", "a: b", "a, b", "it's", 'a "b"', "größe", "x/y z", "k" * 200])
def test_a_text_in_advice_is_read_back_as_it_was(text: str) -> None:
    assert yaml.safe_load(f"{{{as_yaml(text)}: ignore}}") == {text: "ignore"}


def test_the_fingerprint_follows_the_source(tmp_path: Path) -> None:
    assert source_fingerprint("digits") == "digits"
    assert source_fingerprint(str(tmp_path / "nothing")) == "missing"
    folder = write_tree(tmp_path / "tree", {"a": 1, "b": 1})
    path = write_zip(tmp_path / "images.zip", folder)
    before = source_fingerprint(str(folder)), source_fingerprint(str(path))
    (folder / "a/0.png").touch()
    assert source_fingerprint(str(folder)) == before[0]
    (folder / "a/.DS_Store").write_text("the window's place")
    write_tree(folder, {"@eaDir/a": 1})
    assert source_fingerprint(str(folder)) == before[0], "what a system leaves is no change"
    write_tree(folder, {"c": 1}, seed=9)
    write_zip(path, folder)
    assert source_fingerprint(str(folder)) != before[0]
    assert source_fingerprint(str(path)) != before[1]


def loaded(module: str) -> set[str]:
    """Which slow packages an import of the module loads."""
    code = f"import sys, {module}; print(*{{'numpy', 'pandas', 'PIL', 'sklearn', 'torch'}} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT / "scripts", capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_planning_loads_nothing_heavy() -> None:
    assert loaded("study.data.data_settings") == set()


@pytest.mark.parametrize("module", ["manifest", "class_weights"])
def test_readers_of_tables_load_no_decoder(module: str) -> None:
    assert loaded(f"study.data.{module}") == {"numpy", "pandas"}
