"""The same image file without its metadata, which may be damaged or huge where the pixels are good.

What decides about pixels stays: palettes, transparency, colour transforms, and the orientation as long as it is read.
"""

import struct
from collections.abc import Iterator

PNG = b"\x89PNG\r\n\x1a\n"
PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
JFIF = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"  # says that colours are YCbCr
WEBP_PIXELS = (b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF")
TIFF_ORIENTATION = 274
TIFF_PIXELS = (
    *(254, 256, 257, 258, 259, 262, 266, 273, TIFF_ORIENTATION, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324),
    *(325, 338, 339, 347, 512, 513, 514, 515, 519, 520, 521, 529, 530, 531, 532),
)


def without_metadata(content: bytes) -> Iterator[bytes]:
    """Files with the same pixels and less around them: first with, then without what tells the orientation.

    Nothing for a file of another format than PNG, JPEG, TIFF and WebP, or whose parts cannot be told apart.
    """
    for orientation in (True, False):
        try:
            if content.startswith(PNG):
                yield _png(content, orientation)
            elif content.startswith(b"\xff\xd8"):
                yield _jpeg(content, orientation)
            elif content[:4] in (b"II*\0", b"MM\0*"):
                yield _tiff(content, orientation)
            elif content[:4] == b"RIFF" and content[8:12] == b"WEBP":
                yield _webp(content, orientation)
        except (struct.error, IndexError):
            return


def _png(content: bytes, orientation: bool) -> bytes:
    kept, position = [PNG], len(PNG)
    while position + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        if kind in PNG_PIXELS or (orientation and kind == b"eXIf"):
            kept.append(content[position : position + 12 + length])
        position += 12 + length
    return b"".join(kept)


def _jpeg(content: bytes, orientation: bool) -> bytes:
    """Without APPn and comments, but for what says what the colours are: Adobe's, and a plain segment for JFIF's."""
    kept = [b"\xff\xd8"]
    for marker, segment in jpeg_segments(content):
        exif = marker == 0xE1 and segment[4:10] == b"Exif\0\0"
        if marker == 0xE0 and segment[4:8] == b"JFIF":
            kept.append(JFIF)
        elif marker == 0xEE or not (0xE0 <= marker <= 0xEF or marker == 0xFE) or (exif and orientation):
            kept.append(segment)
    return b"".join(kept)


def jpeg_segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and bytes of each segment, the last from the start of the first scan to the end of the file.

    Bytes between two segments are skipped, as a wrong length leaves them, but never into a thumbnail.
    """
    position = 2
    while position < len(content):
        while content[position] != 0xFF or content[position + 1] in (0x00, 0xFF, *range(0xD0, 0xD8)):
            position += 1
        marker = content[position + 1]
        if marker == 0xD8:  # an image of its own
            return
        end = position + 2 + max(2, struct.unpack_from(">H", content, position + 2)[0])
        if marker == 0xDA:
            end = len(content)
        yield marker, content[position:end]
        position = end


def _tiff(content: bytes, orientation: bool) -> bytes:
    """With a first directory of the tags that lay out the pixels; their values stay where they are."""
    order = "<" if content[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}I", content, 4)
    (count,) = struct.unpack_from(f"{order}H", content, start)
    entries = [content[place : place + 12] for place in range(start + 2, start + 2 + 12 * count, 12)]
    tags = [struct.unpack(f"{order}H", entry[:2])[0] for entry in entries]
    kept = [
        entry
        for tag, entry in zip(tags, entries, strict=True)
        if tag in TIFF_PIXELS and (orientation or tag != TIFF_ORIENTATION)
    ]
    directory = struct.pack(f"{order}H", len(kept)) + b"".join(kept) + bytes(4)
    return content[:start] + directory + content[start + len(directory) :]


def _webp(content: bytes, orientation: bool) -> bytes:
    kept, position = [], 12
    while position + 8 <= len(content):
        kind, length = struct.unpack_from("<4sI", content, position)
        part = content[position : position + 8 + length + length % 2]
        if kind == b"VP8X":
            flags = part[8] & ~0x20 & ~0x04 & (0xFF if orientation else ~0x08)  # no ICC profile, XMP; EXIF
            part = part[:8] + bytes([flags]) + part[9:]
        if kind == b"VP8X" or kind in WEBP_PIXELS or (orientation and kind == b"EXIF"):
            kept.append(part)
        position += len(part)
    body = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body
