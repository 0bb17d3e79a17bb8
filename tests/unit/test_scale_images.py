"""Images by the thousand: copies are found, memory grows by little per image, and the page says what was measured."""

import pickle
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
from example_images import data_settings, split_settings

from benchmarks import scale_images
from benchmarks.scale_reading import beside, reading
from study.data.manifest_building import build_manifest
from study.data.sources import open_source

MOST_PER_IMAGE = 1500  # bytes held by a source once it is open, its names and entries included


def test_made_up_images_differ_but_for_the_copies_that_the_audit_counts(tmp_path: Path) -> None:
    scale_images.write_zip(tmp_path / "images.zip", 1200, 64)
    data = data_settings(tmp_path / "images.zip", image_size=64)
    manifest, audit = build_manifest(data, split_settings(), 1)
    assert audit["found"]["duplicate_groups"] == scale_images.copies(1200) == 1
    assert audit["found"]["contradictory_groups"] == 0
    assert len(manifest) == 1200


def test_made_up_tables_are_read(tmp_path: Path) -> None:
    scale_images.write_csv(tmp_path / "images.csv", 30)
    source = open_source(data_settings(tmp_path / "images.csv"))
    assert len(source.entries) == 30
    pixels = {np.asarray(source.read(entry.image_id).image).tobytes() for entry in source.entries}
    assert len(pixels) == 30


def empty_files(path: Path, count: int) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            archive.writestr(zipfile.ZipInfo(f"class_{number % 10}/image_{number:07d}.jpg"), b"")
    return path


def held(path: Path) -> int:
    tracemalloc.start()
    source = open_source(data_settings(path))
    bytes_held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert source.entries
    return bytes_held


def test_an_open_zip_holds_little_per_image_and_hands_over_less(tmp_path: Path) -> None:
    small, large = (empty_files(tmp_path / f"{count}.zip", count) for count in (2000, 6000))
    assert (held(large) - held(small)) / 4000 < MOST_PER_IMAGE / 3
    sizes = [len(pickle.dumps(open_source(data_settings(path)))) for path in (small, large)]
    assert (sizes[1] - sizes[0]) / 4000 < 150


def test_reading_is_told_beside_memory_just_before_and_after(tmp_path: Path) -> None:
    rates = {"cold": [(100.0, 60.0, 20.0), (10.0, 9.0, 10.0), (10.0, 9.0, 10.0)], "cached": [(10.0, 10.0, 10.0)] * 3}
    assert beside(rates, "cold") == [1.0, 0.9, 0.9]
    about = {"date": "", "commit": "", "uncommitted_changes": False, "device": "", "command": ""}
    record = {**about, "images": 1, "bytes": 1, "steps": 1, "rates": rates}
    said = "\n".join(scale_images._reading(record))
    assert "every page from the disk: 0.900 (0.900 to 1.000); target 0.97: missed" in said
    assert "kernel's cache: 1.000 (1.000 to 1.000)" in said
    measured = reading(tmp_path, images=64, side=32, steps=1, rounds=1)["rates"]
    assert all(len(found) == 1 and min(found[0]) > 0 for found in measured.values())
