"""A folder of images."""

import os
from pathlib import Path

from study.data.data_settings import DataSettings, files_below
from study.data.decode import Picture, UnreadableError, decode
from study.data.folder_tree import check_name, read_tree


def recognises(source: str) -> bool:
    """Whether it names a folder."""
    return Path(source).is_dir()


class FolderSource:
    """A tree of image files; links are followed."""

    def __init__(self, data: DataSettings) -> None:
        self.folder, self.max_pixels = Path(data.source), data.max_pixels
        paths = files_below(self.folder)
        for path in paths:
            check_name(str(self.folder), path)
        tree = read_tree(data, paths)
        self.entries, self.ignored, self.notes = tree.entries, tree.ignored, tree.notes

    def read(self, image_id: str) -> Picture:
        file = self.folder / image_id
        if not os.path.isfile(file):  # noqa: PTH113 (Path.is_file fails for a link into a folder that is closed)
            raise UnreadableError("not a regular file, or a link that leads nowhere")
        return decode(file, self.max_pixels)
