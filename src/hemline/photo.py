"""Photos: find them, read them as sRGB pixels, place them on the network's canvas and bring its answers back.

    files, folders, globs --find_photos--> paths --read_photo--> (H, W, 3) --place--> Canvas + Frame
    logits at any stride of the canvas --unplace--> logits at the photo's own size

Pixel i spans i to i + 1 and its centre is i + 0.5, in the photo, on the canvas and in every map (half-pixel centres).
"""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemline._decode import check_size, decode, decode_for, held_for, size_of
from hemline.errors import PhotoError

Photo = str | Path | bytes | Image.Image | NDArray[np.uint8]
"""What `read_photo` reads: a path, the bytes of a file, a PIL image, or an array."""

PHOTO_SUFFIXES = (
    ".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm",
    ".tif", ".tiff", ".webp",
)  # fmt: skip
"""Ends of file names, in lower case, that count as photos when a folder or glob is searched."""

MAX_PIXELS = 200_000_000
"""The largest photo read by default, in pixels; its array takes 600 MB."""

PADDING = 127
"""Grey of the canvas around the photo."""


class Frame(NamedTuple):
    """Where a photo lies on its canvas; what `unplace` needs to undo `place`."""

    top: int
    """First row of the photo, in canvas pixels."""
    left: int
    """First column of the photo, in canvas pixels."""
    height: int
    """Rows of the canvas that the photo fills, at least 1."""
    width: int
    """Columns of the canvas that the photo fills, at least 1."""
    photo_height: int
    """Rows of the photo itself, in its own pixels."""
    photo_width: int
    """Columns of the photo itself, in its own pixels."""


class Canvas(NamedTuple):
    """A photo placed on a canvas of fixed size (H, W)."""

    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB; grey around the photo."""
    valid: NDArray[np.uint8]
    """(H, W) 1 on the photo, 0 around it."""
    frame: Frame


@dataclass(frozen=True, eq=False)
class ReadPhoto:
    """A photo as it was read for a canvas."""

    pixels: NDArray[np.uint8]
    """(h, w, 3) RGB: the photo, or of a large JPEG a half, a quarter or an eighth of its sides."""
    size: tuple[int, int]
    """(H, W) of the photo itself."""
    source: Path | bytes | None = field(default=None, repr=False)
    """Where the whole photo is; None where `pixels` are it."""
    stamp: tuple[int, int] | None = None
    """Bytes and time of change of that file when it was read."""

    @classmethod
    def of(cls, photo: NDArray[np.uint8] | ReadPhoto) -> ReadPhoto:
        """A photo whose pixels (H, W, 3) are all here."""
        return photo if isinstance(photo, ReadPhoto) else cls(photo, (photo.shape[0], photo.shape[1]))

    def whole(self) -> NDArray[np.uint8]:
        """(H, W, 3) RGB as `read_photo` reads it; a file is read again where its pixels are not all here.

        Raises:
            PhotoError: the file is gone, or another one by now.
        """
        if self.source is None:
            return self.pixels
        if isinstance(self.source, bytes):
            return read_photo(self.source)
        with _open(self.source) as stream:
            if _stamp(stream) != self.stamp:
                raise PhotoError(f"{self.source}: the file has changed since it was read; read it again")
            return decode(stream, str(self.source), MAX_PIXELS)


class Found(NamedTuple):
    """What a search found."""

    photos: list[Path]
    problems: dict[str, str]
    """A sentence for each file, folder or glob that is missing, empty or cannot be read, by its name."""


def find_photos(patterns: Sequence[str | Path]) -> list[Path]:
    """List the photos that files, folders and globs name.

    A file is taken whatever its name ends in. Folders are searched through and through, and a glob (`*`, `?`, `[a-z]`,
    `**`) stands for the photos and folders that it matches; there, names end in one of `PHOTO_SUFFIXES`, and what
    begins with a dot is passed over.

    Args:
        patterns: Paths of files or folders, or globs.

    Returns:
        Every photo once: in the order of the patterns, and sorted within a folder or glob.

    Raises:
        PhotoError: a file or folder does not exist or cannot be read, or a folder or glob holds no photo; all of them
            are named.
    """
    found = search(patterns)
    if found.problems:
        raise PhotoError("; ".join(found.problems.values()))
    return found.photos


def search(patterns: Sequence[str | Path]) -> Found:
    """`find_photos` that goes on where something cannot be read: a locked folder hides no photo but its own."""
    photos: dict[Path, None] = {}
    problems: dict[str, str] = {}
    for pattern in [patterns] if isinstance(patterns, str | Path) else patterns:
        try:
            photos |= dict.fromkeys(_find(str(pattern), problems))
        except PhotoError as error:
            problems[str(pattern)] = str(error)
        except OSError as error:
            problems[str(pattern)] = f"{pattern}: cannot be read: {error.strerror}"
    return Found(list(photos), problems)


def read_photo(
    source: Photo, *, channels: Literal["rgb", "bgr"] = "rgb", max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """Read a photo as the eye would see it.

    It is turned as its EXIF says, brought to sRGB by its colour profile, laid on white where it is transparent, and
    scaled to 8 bits. Of an animation, the first frame counts (of a PIL image, the current one). A broken colour
    profile or EXIF block is passed over; a file that ends too early is an error, never a half-grey picture.

    Args:
        source: A path, the bytes of an image file, a PIL image, or a uint8 array (H, W, 3), (H, W, 4) or (H, W).
        channels: Order of the colours in an array; says nothing about other sources.
        max_pixels: The largest photo to accept, width times height.

    Returns:
        (H, W, 3) RGB, always a new array.

    Raises:
        PhotoError: the photo cannot be found, opened or decoded, or is too large.
    """
    _check_channels(channels)
    if isinstance(source, np.ndarray):
        return _from_array(source, channels, max_pixels)
    if isinstance(source, Image.Image):
        name = str(getattr(source, "filename", "")) or f"PIL image of {source.width} x {source.height} pixels"
        return decode(source, name, max_pixels)
    if isinstance(source, bytes):
        return decode(BytesIO(source), f"photo of {len(source):,} bytes", max_pixels)
    if isinstance(source, str | Path):
        with _open(Path(source)) as stream:
            return decode(stream, str(source), max_pixels)
    raise PhotoError(
        f"a photo is a path, the bytes of a file, a PIL image or a numpy array, not {type(source).__name__}"
    )


def read_for(
    source: Photo,
    canvas: tuple[int, int],
    *,
    channels: Literal["rgb", "bgr"] = "rgb",
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
) -> ReadPhoto:
    """Read a photo for a network's canvas: as `read_photo`, but a large JPEG no larger than is of use there.

    Its decoder gives a half, a quarter or an eighth of both sides in a fraction of the time. The smallest is taken that
    still has four times the pixels, along each side, that the photo fills of the canvas: what the network sees then
    changes less than if the JPEG had been saved at another quality.

    Args:
        source: As of `read_photo`.
        canvas: (height, width) of the canvas.
        channels: As of `read_photo`.
        name: How messages call the bytes of a file; by their number if None. Says nothing about other sources.
        max_pixels: As of `read_photo`.

    Raises:
        PhotoError: as of `read_photo`: a file that ends too early is refused at any scale.
    """
    _check_channels(channels)
    if isinstance(source, bytes):
        called = f"photo of {len(source):,} bytes" if name is None else name
        pixels, size = decode_for(BytesIO(source), called, max_pixels, canvas)
        return ReadPhoto(pixels, size, source if pixels.shape[:2] != size else None)
    if isinstance(source, str | Path):
        path = Path(source)
        with _open(path) as stream:
            pixels, size = decode_for(stream, str(source), max_pixels, canvas)
            if pixels.shape[:2] == size:
                return ReadPhoto(pixels, size)
            return ReadPhoto(pixels, size, path.absolute(), _stamp(stream))
    return ReadPhoto.of(read_photo(source, channels=channels, max_pixels=max_pixels))


def photo_size(path: Path) -> tuple[int, int]:
    """(height, width) of a photo as `read_photo` gives it, without decoding it where its kind allows.

    Raises:
        PhotoError: the photo cannot be found or opened.
    """
    with _open(path) as stream:
        return size_of(stream, str(path))


def pixels_held(data: bytes, canvas: tuple[int, int], name: str) -> int:
    """Pixels that `read_for` holds at once while it decodes the bytes of a file; about 14 bytes each at most.

    Args:
        data: The bytes of an image file; only its head is read where its kind allows.
        canvas: As of `read_for`.
        name: How messages call it.

    Raises:
        PhotoError: it cannot be opened.
    """
    return held_for(BytesIO(data), name, canvas)


def place(photo: NDArray[np.uint8] | ReadPhoto, size: tuple[int, int]) -> Canvas:
    """Place a photo in the middle of a canvas: as large as fits, its aspect ratio kept, grey around it.

    A photo so long that its short side would vanish keeps one pixel of it.

    Args:
        photo: (H, W, 3) uint8, or what `read_for` read.
        size: (height, width) of the canvas.
    """
    read = ReadPhoto.of(photo)
    photo_height, photo_width = read.size
    scale = min(size[0] / photo_height, size[1] / photo_width)
    height = min(size[0], max(1, round(photo_height * scale)))
    width = min(size[1], max(1, round(photo_width * scale)))
    top, left = (size[0] - height) // 2, (size[1] - width) // 2

    pixels = np.full((*size, 3), PADDING, np.uint8)
    valid = np.zeros(size, np.uint8)
    inside = slice(top, top + height), slice(left, left + width)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    pixels[inside] = cv2.resize(read.pixels, (width, height), interpolation=method)
    valid[inside] = 1
    return Canvas(pixels, valid, Frame(top, left, height, width, photo_height, photo_width))


def unplace(
    maps: NDArray[np.float32],
    frame: Frame,
    size: tuple[int, int],
    to: tuple[int, int] | None = None,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Bring maps of the canvas back to the photo, bilinearly.

    Cells that lie wholly outside the photo have no say: the outermost cells that touch the photo are repeated over
    them first.

    Args:
        maps: (K, h, w) logits, one cell for each H/h x W/w pixels of the canvas.
        frame: Where the photo lies on the canvas.
        size: (H, W) of the canvas.
        to: (height, width) of the answer; the photo's own size if None.
        out: (K, height, width) contiguous, to be written over and returned; a new array if None.

    Returns:
        (K, height, width).
    """
    to_height, to_width = (frame.photo_height, frame.photo_width) if to is None else to
    rows = _nearest_cells(frame.top, frame.height, size[0], maps.shape[1])
    columns = _nearest_cells(frame.left, frame.width, size[1], maps.shape[2])
    inside = slice(frame.top, frame.top + frame.height), slice(frame.left, frame.left + frame.width)

    answer = np.empty((len(maps), to_height, to_width), np.float32) if out is None else out
    for source, target in zip(maps, answer, strict=True):  # one by one: OpenCV is slow on many channels at once
        cells = np.asarray(source[rows[:, None], columns], np.float32)
        on_canvas = cv2.resize(cells, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
        cv2.resize(on_canvas[inside], (to_width, to_height), dst=target, interpolation=cv2.INTER_LINEAR)
    return answer


def _nearest_cells(start: int, length: int, canvas: int, cells: int) -> NDArray[np.intp]:
    """For each cell along one side of a map, the nearest cell that touches canvas pixels start to start + length."""
    first = start * cells // canvas
    last = -(-(start + length) * cells // canvas) - 1
    return np.arange(cells).clip(first, last)


def _find(pattern: str, problems: dict[str, str]) -> list[Path]:
    """The photos of one pattern; folders below it that cannot be read are added to `problems`."""
    path, before = Path(pattern), len(problems)
    if pattern and path.is_file():
        return [path]
    if pattern and path.is_dir():
        photos = _photos_below(path, problems)
        if not photos and len(problems) == before:
            raise PhotoError(f"{pattern}: no photo in this folder (names ending in {', '.join(PHOTO_SUFFIXES)})")
        return photos
    if not glob.has_magic(pattern):
        raise PhotoError(f"{pattern or repr(pattern)}: no such file or folder")
    photos = []
    for match in map(Path, glob.glob(pattern, recursive=True)):  # noqa: PTH207, Path.glob refuses absolute patterns
        photos += _photos_below(match, problems) if _is_folder(match) else [match] if is_photo(match.name) else []
    if not photos and len(problems) == before:
        raise PhotoError(f"{pattern}: no photo matches (names ending in {', '.join(PHOTO_SUFFIXES)})")
    return sorted(photos)


def _photos_below(folder: Path, problems: dict[str, str]) -> list[Path]:
    def note(error: OSError) -> None:
        problems[str(error.filename)] = f"{error.filename}: this folder cannot be read: {error.strerror}"

    photos = []
    for parent, folders, names in os.walk(folder, onerror=note):
        folders[:] = [name for name in folders if not name.startswith(".")]
        photos += [Path(parent, name) for name in names if is_photo(name)]
    return sorted(photos)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # it may not be looked at
        return False


def is_photo(name: str) -> bool:
    """Whether a file of this name counts as a photo when a folder or glob is searched."""
    return name.lower().endswith(PHOTO_SUFFIXES) and not name.startswith(".")


def _open(path: Path) -> IO[bytes]:
    try:
        if path.is_file():  # a pipe or device may never end
            return path.open("rb")
        if path.is_dir():
            raise PhotoError(f"{path}: a folder, not a photo; find_photos lists the photos in it")
        raise PhotoError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}")
    except (OSError, ValueError) as error:  # ValueError: a name that holds a zero byte
        raise PhotoError(f"{path}: cannot be opened: {getattr(error, 'strerror', None) or error}") from error


def _check_channels(channels: str) -> None:
    if channels not in ("rgb", "bgr"):
        raise PhotoError(f'channels={channels!r}: say "rgb" or "bgr"')


def _stamp(stream: IO[bytes]) -> tuple[int, int]:
    status = os.fstat(stream.fileno())
    return status.st_size, status.st_mtime_ns


def _from_array(array: NDArray[np.uint8], channels: str, max_pixels: int) -> NDArray[np.uint8]:
    shape = array.shape
    if array.dtype != np.uint8 or 0 in shape or not (len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))):
        raise PhotoError(
            f"array of {array.dtype} and shape {shape}: a photo is an array of uint8 (0-255) and "
            "shape (H, W, 3), (H, W, 4) or (H, W)"
        )
    check_size("array", shape[1], shape[0], max_pixels)
    if len(shape) == 2:
        return np.repeat(array[..., None], 3, axis=2)
    if channels == "bgr":
        array = array[..., [2, 1, 0, 3][: shape[2]]]
    if shape[2] == 4:
        return decode(Image.fromarray(np.ascontiguousarray(array)), "array", max_pixels)
    return np.array(array, order="C")
