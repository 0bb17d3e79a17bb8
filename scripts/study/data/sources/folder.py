"""A folder of images."""

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
        self.entries, self.ignored = read_tree(str(self.folder), paths)

    def read(self, image_id: str) -> Picture:
        file = self.folder / image_id
        if not file.is_file():
            raise UnreadableError("not a regular file, or a link that leads nowhere")
        return decode(file, self.max_pixels)
