"""The house is as its doors say: every module is in its room's list, and tests have the rooms of the library."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "scripts/study"
ROOMS = ("data", "train", "evaluate", "compare", "report", "commands")


@pytest.mark.parametrize("room", ["", *ROOMS, "report/figures"])
def test_every_module_is_named_where_its_room_opens(room: str) -> None:
    folder = STUDY / room
    opening = (folder / "__init__.py").read_text(encoding="utf-8")
    modules = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("__")}
    modules |= {path.parent.name for path in folder.glob("*/__init__.py") if room}
    lines = re.findall(r"^    (\w+)/?  +(.*(?:\n {9,}.*)*)", opening, re.MULTILINE)
    listed = {name for name, _ in lines}
    beside = {word for _, text in lines for word in re.findall(r"\w+", text)}  # "manifest_building makes it"
    assert sorted(modules - listed - beside) == []
    assert sorted(name for name in listed if not list(folder.glob(f"{name}*"))) == []


def test_every_folder_of_code_is_a_package() -> None:
    """Else the check of the directions would not see it."""
    folders = {path.parent for path in STUDY.rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_the_tests_have_the_rooms_of_the_library() -> None:
    for path in (ROOT / "tests/unit").glob("*/test_*.py"):
        room, name = path.parent.name, path.stem.removeprefix("test_")
        assert room in ROOMS
        tested = STUDY / room / name
        assert tested.with_suffix(".py").exists() or tested.is_dir() or name == "main", path
