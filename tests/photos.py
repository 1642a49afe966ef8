"""Makers of photo files: odd ones that must work, and broken ones that must end in one sentence.

Every maker writes one file into a folder and returns its path. `ODD` and `BROKEN` list them by name. The odd ones show
`scene()`, as far as their format can, so that a test can ask of all of them whether the picture came through.
"""

import base64
import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Maker = Callable[[Path], Path]

RED, GREEN, BLUE, PALE = (200, 40, 40), (40, 160, 60), (40, 60, 200), (220, 220, 200)

# 64 x 48 as stored, left half red, right half blue, EXIF orientation 6: 48 x 64 with red on top for the eye.
_HEIC = base64.b64decode("""
AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAchtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA
ADRpbG9jAAAAAERAAAIAAQAAAAAB7AABAAAAAAAAAEEAAgAAAAACLQABAAAAAAAAACQAAAA4aWluZgAAAAAAAgAAABVpbmZlAgAA
AAABAABodmMxAAAAABVpbmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAABB2lwcnAAAADmaXBjbwAAAHZodmNDAQNwAAAA
kAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq
5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xh
cAAAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AAAAACAAAAEHBpeGkAAAAAAwgICAAAAAlpcm90AwAAABlpcG1hAAAAAAAAAAEA
AQaBAgMFhIYAAAAaaXJlZgAAAAAAAAAOY2RzYwACAAEAAQAAAG1tZGF0AAAAPSgBr1jm9Oq//+Vrv/6j/IfJ//9f/0q9V+4xE/6e
BVpa/3P0fRXdlA5uGcMnVNrcJetN1Xo0zzWlNDNHn0QAAAAGRXhpZgAATU0AKgAAAAgAAQESAAMAAAABAAYAAAAAAAA=
""")


def scene(height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """Four quarters: red, green over blue, pale. (H, W, 3)."""
    photo = np.empty((height, width, 3), np.uint8)
    photo[: height // 2, : width // 2], photo[: height // 2, width // 2 :] = RED, GREEN
    photo[height // 2 :, : width // 2], photo[height // 2 :, width // 2 :] = BLUE, PALE
    return photo


def image(height: int = 48, width: int = 64) -> Image.Image:
    """The scene as a PIL image."""
    return Image.fromarray(scene(height, width))


def encode(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of a picture in a format of Pillow's."""
    stream = BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def _saved(path: Path, picture: Image.Image, **options: Any) -> Path:
    picture.save(path, **options)
    return path


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


# Odd files that must work


def plain_jpeg(folder: Path) -> Path:
    return _saved(folder / "plain.jpg", image(), quality=95, subsampling=0)


def progressive_jpeg(folder: Path) -> Path:
    return _saved(folder / "progressive.jpeg", image(), quality=95, subsampling=0, progressive=True)


def cmyk_jpeg(folder: Path) -> Path:
    return _saved(folder / "cmyk.jpg", image().convert("CMYK"), quality=95)


def sixteen_bit_png(folder: Path) -> Path:
    grey = np.asarray(image().convert("L"), np.uint16)
    return _saved(folder / "sixteen_bit.png", Image.fromarray(grey * 257))


def turned_jpeg(folder: Path) -> Path:
    """Stored lying on its side, as phones do; EXIF turns it upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = image().transpose(Image.Transpose.ROTATE_90)
    return _saved(folder / "turned.jpg", stored, quality=95, subsampling=0, exif=exif)


def alpha_png(folder: Path) -> Path:
    """Opaque but for its pale quarter, whose hidden colour is black."""
    rgba = np.dstack([scene(), np.full((48, 64), 255, np.uint8)])
    rgba[24:, 32:] = 0
    return _saved(folder / "alpha.png", Image.fromarray(rgba))


def grey_alpha_png(folder: Path) -> Path:
    return _saved(folder / "grey_alpha.png", image().convert("L").convert("LA"))


def palette_png(folder: Path) -> Path:
    return _saved(folder / "palette.png", image().quantize(8))


def transparent_palette_png(folder: Path) -> Path:
    """As `alpha_png`, by a palette whose last entry is transparent."""
    indices = np.zeros((48, 64), np.uint8)
    indices[:24, 32:], indices[24:, :32], indices[24:, 32:] = 1, 2, 3
    picture = Image.fromarray(indices).convert("P")
    picture.putpalette([*RED, *GREEN, *BLUE, 0, 0, 0])
    return _saved(folder / "transparent_palette.png", picture, transparency=bytes([255, 255, 255, 0]))


def grey_jpeg(folder: Path) -> Path:
    return _saved(folder / "grey.jpg", image().convert("L"), quality=95)


def one_bit_png(folder: Path) -> Path:
    return _saved(folder / "one_bit.png", image().convert("L").point(lambda level: 255 * (level > 100)).convert("1"))


def float_tiff(folder: Path) -> Path:
    return _saved(folder / "float.tif", Image.fromarray(np.asarray(image().convert("L"), np.float32) / 255))


def one_pixel_png(folder: Path) -> Path:
    return _saved(folder / "one_pixel.png", Image.new("RGB", (1, 1), RED))


def wrongly_named(folder: Path) -> Path:
    """A PNG whose name says JPEG."""
    return _written(folder / "wrongly_named.jpg", encode(image(), "PNG"))


def strip_png(folder: Path) -> Path:
    """30,000 pixels wide and 2 high."""
    return _saved(folder / "strip.png", image(2, 30_000))


def animated_gif(folder: Path) -> Path:
    """The scene, then black."""
    black = Image.new("RGB", (64, 48))
    return _saved(folder / "animated.gif", image(), save_all=True, append_images=[black], duration=100)


def webp(folder: Path) -> Path:
    return _saved(folder / "photo.webp", image(), lossless=True)


def avif(folder: Path) -> Path:
    return _saved(folder / "photo.avif", image(), quality=95, subsampling="4:4:4")


def profile_jpeg(folder: Path) -> Path:
    """Its red and green channels are swapped, and its colour profile says so."""
    swapped = Image.fromarray(np.ascontiguousarray(scene()[..., [1, 0, 2]]))
    return _saved(folder / "profile.jpg", swapped, quality=95, subsampling=0, icc_profile=swapped_profile())


def upper_case_name(folder: Path) -> Path:
    return _written(folder / "DSC 0001 \u00e9t\u00e9.JPG", encode(image(), "JPEG", quality=95, subsampling=0))


def heic(folder: Path) -> Path:
    """Not the scene: red over blue, 48 wide and 64 high once turned. Needs pi-heif."""
    return _written(folder / "photo.heic", _HEIC)


# Broken files


def truncated_jpeg(folder: Path) -> Path:
    """Cut in the middle of its pixels."""
    content = encode(_noise(), "JPEG", quality=95)
    return _written(folder / "truncated.jpg", content[: len(content) // 2])


def truncated_png(folder: Path) -> Path:
    content = encode(_noise(), "PNG")
    return _written(folder / "truncated.png", content[: len(content) // 2])


def empty_file(folder: Path) -> Path:
    return _written(folder / "empty.jpg", b"")


def text_named_jpg(folder: Path) -> Path:
    return _written(folder / "text.jpg", b"<html><body>404: this photo has moved</body></html>\n")


def header_only(folder: Path) -> Path:
    """The first bytes of a JPEG and nothing more."""
    return _written(folder / "header.jpg", encode(image(), "JPEG")[:20])


def zeros_named_png(folder: Path) -> Path:
    """What is left of a photo after a disk failed: the right length, all zeros."""
    return _written(folder / "zeros.png", bytes(5000))


def _noise() -> Image.Image:
    """A picture whose file is long enough to be cut."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8))


COLOUR: dict[str, Maker] = {
    maker.__name__: maker
    for maker in (
        plain_jpeg, progressive_jpeg, cmyk_jpeg, turned_jpeg, palette_png, wrongly_named, animated_gif, webp, avif,
        profile_jpeg, upper_case_name,
    )
}  # fmt: skip
"""Files that show the scene in its colours, 48 x 64."""

ODD: dict[str, Maker] = COLOUR | {
    maker.__name__: maker
    for maker in (
        sixteen_bit_png, alpha_png, grey_alpha_png, transparent_palette_png, grey_jpeg, one_bit_png, float_tiff,
        one_pixel_png, strip_png,
    )
}  # fmt: skip
"""All files that must work (HEIC apart, which needs an extra)."""

BROKEN: dict[str, Maker] = {
    maker.__name__: maker
    for maker in (truncated_jpeg, truncated_png, empty_file, text_named_jpg, header_only, zeros_named_png)
}
"""Files that must end in a PhotoError."""


# Colour profiles, just large enough to be valid (ICC.1:2001-04)


def swapped_profile() -> bytes:
    """sRGB's primaries with red and green swapped, gamma 2.2."""
    red, green, blue = (0.4360, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)
    curve = _curve(2.2)
    tags = {"rXYZ": _xyz(*green), "gXYZ": _xyz(*red), "bXYZ": _xyz(*blue)}
    return _profile("mntr", "RGB ", "XYZ ", tags | {"rTRC": curve, "gTRC": curve, "bTRC": curve})


def linear_grey_profile() -> bytes:
    """Grey levels that count light: gamma 1."""
    return _profile("mntr", "GRAY", "XYZ ", {"kTRC": _curve(1.0)})


def black_cyan_profile() -> bytes:
    """A press whose cyan and black inks are both black, and whose magenta and yellow are water."""
    straight = bytes(range(256))
    corners = [(c, k) for c in (0, 1) for _ in range(4) for k in (0, 1)]  # order of corners: C slowest, K fastest
    lightness = b"".join(bytes([255 * (1 - c) * (1 - k), 128, 128]) for c, k in corners)  # (L, a, b)
    identity = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + straight * 4 + lightness + straight * 3
    return _profile("prtr", "CMYK", "Lab ", {"A2B0": lut})


def _xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def _curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


def _profile(kind: str, space: str, between: str, tags: dict[str, bytes]) -> bytes:
    text = b"test profile\0"
    tags = {"desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78), **tags}
    tags = {"wtpt": _xyz(0.9642, 1.0, 0.8249), "cprt": b"text" + bytes(4) + b"none\0", **tags}
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name.encode() + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = struct.pack(">I4sI", 128 + len(table) + len(body), b"", 0x02100000)
    header += (kind + space + between).encode() + struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += _xyz(0.9642, 1.0, 0.8249)[8:]
    return header.ljust(128, b"\0") + table + body
