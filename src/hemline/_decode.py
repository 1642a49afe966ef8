"""Image files to sRGB pixels, by Pillow, whatever is in them; `hemline.photo.read_photo` is the way in."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from hemline.errors import PhotoError

# Decoders that may open a file. Pillow knows more, but some of them start other programs (EPS runs Ghostscript) and
# some take any bytes for a picture (TGA). The content decides which one it is, never the file's name.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "TIFF", "BMP", "JPEG2000", "PPM")
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LYING = {_TURNS[5], _TURNS[6], _TURNS[7], _TURNS[8]}  # they swap height and width


def decode(source: IO[bytes] | Image.Image, name: str, max_pixels: int) -> NDArray[np.uint8]:
    """Decode an image file, or an image that Pillow has opened.

    Args:
        source: A file open for reading at its beginning, or a PIL image.
        name: How messages call it.
        max_pixels: The largest photo to accept, width times height.

    Returns:
        (H, W, 3) RGB, a new array.

    Raises:
        PhotoError: the only error, whatever the bytes.
    """
    with _one_error(name):
        if isinstance(source, Image.Image):
            return _pixels(source, name, max_pixels)
        with _open(source, name) as image:
            return _pixels(image, name, max_pixels)


def decode_for(
    stream: IO[bytes], name: str, max_pixels: int, canvas: tuple[int, int]
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """As `decode`, but a JPEG at the least scale of its decoder that leaves four times what it fills of a canvas.

    Args:
        stream: A file open for reading at its beginning.
        name: How messages call it.
        max_pixels: The largest photo to accept, width times height.
        canvas: (height, width).

    Returns:
        (h, w, 3) RGB, and the (height, width) that `decode` would give.

    Raises:
        PhotoError: the only error, whatever the bytes.
    """
    with _one_error(name), _open(stream, name) as image:
        check_size(name, image.width, image.height, max_pixels)
        if not isinstance(image, JpegImageFile):
            pixels = _pixels(image, name, max_pixels)
            return pixels, (pixels.shape[0], pixels.shape[1])
        size = _upright_size(image)
        shrink = _shrink(size, canvas)
        image.draft(None, (image.width // shrink, image.height // shrink))
        return _pixels(image, name, max_pixels), size


def _shrink(size: tuple[int, int], canvas: tuple[int, int]) -> int:
    """8, 4, 2 or 1: how much smaller a photo (height, width) may be; it keeps 64 pixels along each side."""
    most = max(size[0] / canvas[0], size[1] / canvas[1]) / 4
    return next((shrink for shrink in (8, 4, 2) if shrink <= most and min(size) >= 64 * shrink), 1)


def size_of(stream: IO[bytes], name: str) -> tuple[int, int]:
    """(height, width) that `decode` would give, from the head of the file alone where its kind allows.

    Raises:
        PhotoError: the only error, whatever the bytes.
    """
    with _one_error(name), _open(stream, name) as image:
        return _upright_size(image)


def held_for(stream: IO[bytes], name: str, canvas: tuple[int, int]) -> int:
    """Pixels that `decode_for` holds at once, from the head of the file alone where its kind allows.

    Of a progressive JPEG these are all pixels: its decoder keeps the coefficients of the whole photo at any scale.

    Raises:
        PhotoError: the only error, whatever the bytes.
    """
    with _one_error(name), _open(stream, name) as image:
        small = isinstance(image, JpegImageFile) and "progressive" not in image.info
        shrink = _shrink(_upright_size(image), canvas) if small else 1
        return -(-image.width // shrink) * -(-image.height // shrink)


def _upright_size(image: Image.Image) -> tuple[int, int]:
    """(height, width) of an image that is not decoded yet, turned as its EXIF says; Pillow turns a TIFF's itself."""
    lying = image.format != "TIFF" and _TURNS.get(_orientation(image)) in _LYING
    return (image.width, image.height) if lying else (image.height, image.width)


@contextmanager
def _one_error(name: str) -> Iterator[None]:
    """Whatever Pillow raises, as a `PhotoError`."""
    try:
        with _quiet_pillow():
            yield
    except PhotoError:
        raise
    except UnidentifiedImageError as error:
        raise PhotoError(f"{name}: not a whole image of a kind read here ({', '.join(_FORMATS)}, HEIC)") from error
    except MemoryError as error:
        raise PhotoError(f"{name}: too large for the memory that is left") from error
    except Exception as error:  # damaged files make decoders raise nearly anything: struct.error, KeyError, ...
        if "truncated" in str(error).lower():
            raise PhotoError(f"{name}: the file ends before the picture does; copy it again") from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PhotoError(f"{name}: damaged, or of a kind that cannot be decoded ({reason})") from error


def check_size(name: str, width: int, height: int, max_pixels: int) -> None:
    """Refuse a photo that is larger than `max_pixels`, or has no pixels at all.

    Raises:
        PhotoError: it is.
    """
    if width * height > max_pixels:
        raise PhotoError(
            f"{name}: {width:,} x {height:,} pixels is over the limit of {max_pixels:,} pixels; "
            f"shrink it, or raise max_pixels if you trust its source"
        )
    if width * height == 0:
        raise PhotoError(f"{name}: no pixels ({width} x {height})")


def _open(stream: IO[bytes], name: str) -> Image.Image:
    head = stream.read(64)
    if not head:
        raise PhotoError(f"{name}: empty, 0 bytes")
    if not _is_heif(head):
        return Image.open(stream, formats=_FORMATS)
    try:
        from pi_heif import register_heif_opener  # type: ignore[import-untyped]
    except ImportError as error:
        raise PhotoError(f'{name}: HEIC needs one more package: pip install "hemline[heic]"') from error
    register_heif_opener(thumbnails=False)
    return Image.open(BytesIO(_without_metadata(head + stream.read())), formats=("HEIF",))


def _without_metadata(heif: bytes) -> bytes:
    """A HEIF file whose metadata belong to no image.

    pi-heif reads them at once, and 1.4 takes the whole process down where damage made an item's type something else
    than text. Nothing is lost: in HEIF the turn is a property of the image, not of its EXIF block.
    """
    content = bytearray(heif)
    start = content.find(b"iref")  # the box of references between items; "cdsc" is "describes the content of"
    while start >= 0:
        size = int.from_bytes(content[max(0, start - 4) : start], "big")
        end = start + size if size > 1 else len(content)  # 0 is "to the end", 1 is "a longer number follows"
        content[start:end] = content[start:end].replace(b"cdsc", b"skip")
        start = content.find(b"iref", start + 4)
    return bytes(content)


def _is_heif(head: bytes) -> bool:
    if head[4:8] != b"ftyp":
        return False
    brands = {head[i : i + 4] for i in range(8, min(len(head), int.from_bytes(head[:4], "big")), 4)}
    return bool(brands & _HEIF_BRANDS) and b"avif" not in brands


def _pixels(image: Image.Image, name: str, max_pixels: int) -> NDArray[np.uint8]:
    """Pixels of a PIL image that may not have been decoded yet."""
    check_size(name, image.width, image.height, max_pixels)
    image.load()
    orientation = _orientation(image)
    profile = image.info.get("icc_profile")
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray(_to_eight_bits(image))
    alpha = None
    if image.has_transparency_data:
        mode = image.mode
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        image = image.getchannel("R") if mode in ("L", "LA") else image.convert("RGB")
    image = _to_srgb(image, profile)
    if alpha is not None:
        image = _on_white(image, alpha)
    if orientation in _TURNS:
        image = image.transpose(_TURNS[orientation])
    return np.array(image)  # not asarray: that would be read-only


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a broken EXIF block raises nearly anything, and says nothing about the pixels
        return 1


def _to_eight_bits(image: Image.Image) -> NDArray[np.uint8]:
    """Grey levels of more than 8 bits (modes I;16, I and F) scaled to 0-255."""
    values = np.asarray(image, np.float32)
    if image.mode.startswith("I;16") or image.format in ("PNG", "PPM"):
        full = 65535.0
    else:  # a file with 32 bits does not say where white is: take the smallest usual range that holds all values
        largest = float(values.max(initial=0, where=np.isfinite(values)))
        usual = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        full = next((white for white in usual if largest <= white), largest)
    levels = np.nan_to_num((values * (255 / full)).clip(0, 255))
    return np.asarray(np.rint(levels), np.uint8)


def _to_srgb(image: Image.Image, profile: object) -> Image.Image:
    """An opaque 8-bit image in sRGB; without a profile that fits it, the plain conversion."""
    if image.mode == "LAB":
        return _transform(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    if image.mode not in ("L", "CMYK"):
        image = image.convert("RGB")
    if isinstance(profile, bytes):
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            mode = {"RGB": "RGB", "CMYK": "CMYK", "GRAY": "L"}.get(source.profile.xcolor_space.strip())
            is_srgb = (source.profile.profile_description or "").startswith("sRGB")
            if mode == image.mode and not is_srgb:  # from sRGB, it would cost 30 ms a megapixel for nothing
                return _transform(image, source)
        except (ImageCms.PyCMSError, OSError, UnicodeError):  # a broken profile
            pass
    return image.convert("RGB")


def _transform(image: Image.Image, source: ImageCms.ImageCmsProfile) -> Image.Image:
    result = ImageCms.profileToProfile(
        image,
        source,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert result is not None  # only in-place conversion gives None
    return result


def _on_white(image: Image.Image, alpha: Image.Image) -> Image.Image:
    white = Image.new("RGB", image.size, (255, 255, 255))
    white.paste(image, mask=alpha)
    return white


_lock = threading.Lock()
_readers = 0
_limits: tuple[int | None, bool] = (None, False)


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """While photos are read: our pixel limit instead of Pillow's, no truncated pictures, no warnings from Pillow.

    Pillow keeps its limits in module globals, so the first reader sets them and the last one restores them, whatever
    threads they are in.
    """
    global _readers, _limits
    with _lock:
        if _readers == 0:
            _limits = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False
        _readers += 1
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.|pi_heif")
            yield
    finally:
        with _lock:
            _readers -= 1
            if _readers == 0:
                Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = _limits
