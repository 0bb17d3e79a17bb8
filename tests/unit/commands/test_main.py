"""One entry with subcommands: it starts from the folder, names what there is, and ends a mistake with one line."""

import subprocess
import sys
from pathlib import Path

import pytest
import warm
from example_images import ROOT

from study.__main__ import COMMANDS


def run(*words: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *words]
    environment = {"PYTHONPATH": str(ROOT / "scripts")} if words[0] == "-m" else {}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_overview_names_every_command() -> None:
    done = run("scripts/study", "--help")
    assert done.returncode == 0
    assert all(f"\n    {name}" in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    done = warm.run(str(ROOT / "scripts/study"), [command, "--help"], ROOT)
    assert done.returncode == 0, done.stdout
    assert f"usage: python scripts/study {command}" in done.stdout
    assert COMMANDS[command].split(" (")[0].split()[0] in done.stdout


def test_every_module_with_arguments_is_a_command() -> None:
    modules = [path.stem for path in (ROOT / "scripts/study/commands").glob("*.py") if "def run(" in path.read_text()]
    assert sorted(modules) == sorted(COMMANDS)


@pytest.mark.parametrize("entry", [["scripts/study"], ["-m", "study"]])
def test_a_mistake_is_one_line_and_a_status(entry: list[str]) -> None:
    done = run(*entry, "watch", "--study", "nix", "--once")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: study 'nix': no configuration in ") and done.stderr.count("\n") == 1


def test_an_unknown_command_is_named_with_those_that_there_are() -> None:
    done = run("scripts/study", "wacht")
    assert done.returncode == 2
    assert "invalid choice: 'wacht'" in done.stderr and "'watch'" in done.stderr


def test_a_light_command_loads_no_network(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r})\n"
        "from study.__main__ import main\n"
        "main(['watch', '--once'])\n"
        "assert not {'torch', 'pandas', 'numpy'} & set(sys.modules), sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "0 of 14 done, 14 waiting" in done.stdout
