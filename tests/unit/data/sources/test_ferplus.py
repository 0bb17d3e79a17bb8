"""FER+'s votes belong to FER2013's rows one by one; most votes win, and what has no class is left out and counted."""

from pathlib import Path

import pytest
from example_images import data_settings, pixel_cell, pixels, write_csv

from study.data.data_settings import source_fingerprint
from study.data.folder_tree import Entry
from study.data.sources import open_source
from study.errors import StudyError

HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
# Four with a class, one that was removed, one that most think unknown, one of equal votes.
VOTES = (
    "Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0",
    "Training,fer0000001.png,6,0,1,1,0,0,0,0,2,0",
    "Training,fer0000002.png,1,8,0,0,1,0,0,0,0,0",
    "PublicTest,fer0028638.png,0,9,0,0,0,0,0,0,1,0",
    "Training,,0,0,0,0,0,0,0,0,0,10",
    "Training,fer0000006.png,2,0,0,0,0,0,0,0,7,1",
    "PrivateTest,fer0032220.png,0,5,5,0,0,0,0,0,0,0",
)


def fer_plus(folder: Path, votes: tuple[str, ...] = VOTES) -> Path:
    rows = [f"{n % 3},{pixel_cell(n)},{line.split(',')[0]}" for n, line in enumerate(VOTES)]
    write_csv(folder / "fer2013.csv", rows)
    return write_csv(folder / "fer2013new.csv", votes, HEADER)


def test_most_votes_win_and_rows_keep_fer2013s_ids(tmp_path: Path) -> None:
    source = open_source(data_settings(fer_plus(tmp_path)))
    assert source.entries == [
        Entry("row_2", "neutral", "train"),
        Entry("row_3", "neutral", "train"),
        Entry("row_4", "happiness", "train"),
        Entry("row_5", "happiness", "val"),
        Entry("row_8", "happiness", "test"),
    ]
    assert source.ignored == {"removed": ["row_6", "row_7"]}
    assert " ".join(map(str, pixels(source, "row_5").ravel())) == pixel_cell(3)
    assert any("left out are 1 images that FER+ removed and 1 that most think unknown" in note for note in source.notes)
    assert any("in 1 rows several have as many" in note for note in source.notes)


def test_rows_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"fer2013new\.csv: 6 rows, but .*fer2013\.csv has 7; row i of one belongs"):
        open_source(data_settings(fer_plus(tmp_path, VOTES[:6])))
    with pytest.raises(StudyError, match=r"fer2013new\.csv, row 2: 'Usage' says val, but train in the same row"):
        open_source(data_settings(fer_plus(tmp_path, (VOTES[3], *VOTES[1:3], VOTES[0], *VOTES[4:]))))
    path = fer_plus(tmp_path)
    before = source_fingerprint(str(path), data_settings(path))
    (tmp_path / "fer2013.csv").rename(tmp_path / "icml_face_data.csv")
    assert source_fingerprint(str(path), data_settings(path)) == before
    write_csv(tmp_path / "icml_face_data.csv", [])
    assert source_fingerprint(str(path), data_settings(path)) != before
    (tmp_path / "icml_face_data.csv").unlink()
    with pytest.raises(StudyError, match=r"FER\+ has no images; place fer2013\.csv or icml_face_data\.csv beside it"):
        open_source(data_settings(path))
