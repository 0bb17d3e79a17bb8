"""What lies among images and is none, told by its name: left by a system or a tool, or of another kind by its suffix.

A file without a suffix, or with one that is not named here, may be an image; `study.data.decode` finds out. Light
enough to load while planning.

Entry points:
    kind_of(path) -> str                                   a key of KINDS, or "" for what may be an image
    in_words(ignored) -> str                               how many of each kind, with the first names
"""

import functools
from collections.abc import Mapping, Sequence

# In words, by the key that audit.json counts them under. Those below "archive" are told by their place or their table.
KINDS = {
    "system": "left by systems, tools and downloads",
    "sidecar": "notes of cameras and photo programs beside a picture",
    "video": "videos and sound",
    "document": "texts, tables, code and other data",
    "archive": "archives, which are not looked into",
    "outside": "images outside the class folders",
    "unlabelled": "images in a folder of a split without class folders",
    "set_to_ignore": "images in folders that data.split_folders says to ignore",
    "without_row": "images without a row in the table",
    "no_label": "images whose row names no class",
    "left_out": "images that data.table.splits says to ignore",
    "removed": "images that FER+ removed or gives no class",
}
SHOWN = 3  # names of a kind in a sentence

# Folders of macOS, Windows, Linux, NAS systems (Synology, QNAP) and Python, beside the hidden ones, with a dot.
SYSTEM_FOLDERS = {
    *("__macosx", "network trash folder", "temporary items"),
    *("$recycle.bin", "recycler", "system volume information", "found.000", "lost+found", "__pycache__"),
    *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@__thumb", "@tmp"),
}
# "Icon" ends in a carriage return, which a network drive shows as U+F00D.
SYSTEM_FILES = {
    *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "icon\uf00d"),
    *("picasa.ini", "zbthumbnail.info", "pspbrwse.jbf", "wpsettings.dat", "indexervolumeguid", "sync.ffs_db"),
}
SUFFIXES = {
    "system": "part partial crdownload download opdownload filepart aria2 !ut !qb tmp temp swp lnk url webloc desktop",
    "sidecar": "aae xmp thm pp3 dop cos ctg",
    "video": "mov mp4 m4v avi mkv mpg mpeg wmv 3gp mts m2ts webm flv lrv wav mp3 m4a aac ogg",
    "document": (
        "txt text csv tsv json jsonl ndjson geojson xml md rst htm html pdf doc docx xls xlsx ppt pptx rtf odt ods odp "
        "yaml yml toml ini cfg conf log py pyc ipynb sh bat ps1 js css cpp java sql db sqlite mat npy npz pkl pickle "
        "parquet feather h5 hdf5 tfrecord lmdb pt pth safetensors onnx md5 sha1 sha256 exe dll"
    ),
    "archive": "zip tar gz tgz bz2 xz zst 7z rar",
}
KIND_OF_SUFFIX = {suffix: kind for kind, suffixes in SUFFIXES.items() for suffix in suffixes.split()}


def kind_of(path: str) -> str:
    """The key of KINDS that a file belongs to by its name and its folders' names; "" for what may be an image.

    Args:
        path: relative, with "/" between the parts; a folder's ends in "/" and is "system" or "".
    """
    parent, _, name = path.rpartition("/")
    if in_system_folder(parent) or name.startswith((".", "~$")):
        return "system"
    lower = name.lower()
    if lower in SYSTEM_FILES or lower.endswith("~"):
        return "system"
    return KIND_OF_SUFFIX.get(lower.rpartition(".")[2], "") if "." in lower else ""


@functools.lru_cache(maxsize=1024)
def in_system_folder(folder: str) -> bool:
    """Whether one of the parts of a folder's path is a hidden folder or one that a system made."""
    return any(name.startswith(".") or name.lower() in SYSTEM_FOLDERS for name in folder.split("/"))


def in_words(ignored: Mapping[str, Sequence[str]]) -> str:
    """How many files of each kind there are, with the first names: "2 left by systems … (a/.DS_Store, …)"."""
    parts = []
    for kind, names in ignored.items():
        more = ", …" if len(names) > SHOWN else ""
        parts.append(f"{len(names)} {KINDS[kind]} ({', '.join(map(_printable, names[:SHOWN]))}{more})")
    return "; ".join(parts)


def _printable(name: str) -> str:
    """A name as it is, but for line breaks and other characters that would spoil a line of a log."""
    return name if name.isprintable() else ascii(name)
