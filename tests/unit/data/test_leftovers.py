"""Files that are no images are told by their names, whatever the system that left them; others are tried."""

import pytest

from study.data.leftovers import KINDS, SUFFIXES, in_words, kind_of

LEFT = (
    *(".DS_Store", "._x.jpg", "__MACOSX/a/._x.jpg", "__MACOSX/x.jpg", "Icon\r", ".Trashes/x.png", ".AppleDouble/x.png"),
    *("Thumbs.db", "THUMBS.DB", "ehthumbs.db", "desktop.ini", "Desktop.ini", "$RECYCLE.BIN/S-1/x.jpg"),
    *(
        "System Volume Information/x.jpg",
        "x.lnk",
        "x.url",
        "~$labels.xlsx",
        "lost+found/x.png",
        ".nfs0000012",
        "x.png~",
    ),
    *("@eaDir/x.jpg/SYNOPHOTO_THUMB_M.jpg", "#recycle/x.jpg", "@Recycle/x.jpg", ".@__thumb/x.jpg", "@__thumb/x.jpg"),
    *(".ipynb_checkpoints/x-checkpoint.png", "__pycache__/x.png", "x.jpg.part", "x.crdownload", "x.tmp", "Picasa.ini"),
)
IMAGES = (
    *(
        "x.jpg",
        "x.JPEG",
        "x",
        "1234",
        "x.1",
        "x.dat",
        "x.heic",
        "x.tif",
        "Thumbs",
        "desktop",
        "$x.png",
        "~x.png",
        "a.b/x",
    ),
    *(
        "@x/y.png",
        "recycle/x.png",
        "#1/x.png",
        "macosx/x.png",
        "txt",
        "x.txt.png",
        "mov",
        "x.txt/y.png",
        "x.",
        "…/x.png",
    ),
)


@pytest.mark.parametrize("path", LEFT)
def test_what_systems_and_tools_leave(path: str) -> None:
    assert kind_of(path) == kind_of(f"cat/{path}") == "system"


@pytest.mark.parametrize("path", IMAGES)
def test_what_may_be_an_image(path: str) -> None:
    assert kind_of(path) == kind_of(f"train/cat/{path}") == ""


def test_other_kinds_by_their_suffix_in_any_case() -> None:
    for name, kind in {
        "IMG_1.AAE": "sidecar", "IMG_1.xmp": "sidecar", "MVI_1.THM": "sidecar",
        "IMG_1.MOV": "video", "x.mp4": "video",
        "x.txt": "document", "labels.CSV": "document", "x.jpg.json": "document", "x.xml": "document",
        "README.md": "document", "index.html": "document", "paper.pdf": "document", "train.py": "document",
        "train.zip": "archive", "data.tar.gz": "archive",
    }.items():  # fmt: skip
        assert kind_of(f"cat/{name}") == kind, name


def test_a_suffix_has_one_kind_and_every_kind_has_words() -> None:
    suffixes = " ".join(SUFFIXES.values()).split()
    assert len(suffixes) == len(set(suffixes))
    assert set(SUFFIXES) <= set(KINDS)


def test_ignored_files_are_told_by_kind_with_the_first_names() -> None:
    ignored = {"system": ["a/Icon\r"], "document": [f"a/{n}.txt" for n in range(5)]}
    assert in_words(ignored) == (
        "1 left by systems, tools and downloads ('a/Icon\\r'); "
        "5 texts, tables, code and other data (a/0.txt, a/1.txt, a/2.txt, …)"
    )
