"""Where each form of weights carries its metadata, read without the packages that run it; nothing is ever executed.

The same JSON stands in all of them, and is read without reading a single weight.

    .safetensors   8 bytes, little-endian: length of the header; the header, JSON; the weights
                   https://github.com/huggingface/safetensors#format
    .onnx          a protobuf `ModelProto`; field 14 holds key = 1, value = 2 pairs
                   https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
    .xml           OpenVINO's graph, its weights in the `.bin` beside it: net/rt_info/hemline/metadata
    .pt            TorchScript, a zip: NAME/extra/hemline.json
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from xml.parsers import expat

from hemline.errors import WeightsError

KEY = "hemline"
GRAPH_KEY = "hemline.graph_sha256"
"""Where the fingerprint of an `.onnx` file stands."""
EXTRA = f"{KEY}.json"
"""The extra file of a `.pt`."""
XML_FINGERPRINT = "graph_sha256"
"""The fingerprint of an `.xml` and its `.bin`, beside the metadata there."""
XML_END = b"<rt_info>"
"""Where, for the last time, the graph of an `.xml` ends and what is said of it begins."""
MAX_HEADER = 100_000_000
"""Bytes of metadata that are read at most: the limit of the safetensors format."""


def embedded_text(path: Path) -> str | bytes | None:
    """The JSON that a weights file carries; None where it is whole, as far as can be told, and carries none.

    Raises:
        WeightsError: the file is of no form of weights, missing, cut short or foreign.
    """
    readers = {".safetensors": _safetensors_text, ".onnx": _onnx_text, ".xml": _xml_text, ".pt": _zip_text}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise WeightsError(f"{path}: weights are a .safetensors, .onnx, .xml (OpenVINO) or .pt (TorchScript) file")
    try:
        with path.open("rb") as file:
            return reader(file)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such weights file") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def check_graph(path: Path) -> None:
    """Refuse a graph that is not the one that was exported; an `.onnx` without a fingerprint passes.

    Of an `.onnx`, it is the SHA-256 of all bytes but its `metadata_props`; of an `.xml`, that of all bytes before its
    last `<rt_info>` and of its `.bin`; a `.pt` has a checksum for each of its files.

    Raises:
        WeightsError: the bytes have changed, or cannot be read.
    """
    checks = {".onnx": _onnx_is_whole, ".xml": _xml_is_whole, ".pt": _zip_is_whole}
    try:
        whole = checks[path.suffix.lower()](path)
    except OSError as error:
        raise WeightsError(f"{error.filename or path}: cannot be read: {error.strerror or error}") from error
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    if not whole:
        raise WeightsError(f"{path}: the graph is not the one that was exported; copy or export it again")


# -- safetensors ---------------------------------------------------------------------------------------------


def _safetensors_text(file: BinaryIO) -> str | None:
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    opening = file.read(1)
    if size < 9:
        raise WeightsError(f"cut short: {size} bytes are no weights; copy or download the file again")
    if opening != b"{" or not 2 <= length <= MAX_HEADER:
        raise WeightsError("not a safetensors file: it does not open with a header")
    if 8 + length > size:
        raise WeightsError("cut short within its header; copy or download the file again")
    try:
        header = json.loads(opening + file.read(length - 1))
        ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
        missing = 8 + length + max(ends, default=0) - size
        text = header.get("__metadata__", {}).get(KEY)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise WeightsError("not a safetensors file: its header is malformed") from error
    if missing > 0:
        raise WeightsError(f"cut short by {missing} bytes of weights; copy or download the file again")
    return text if isinstance(text, str) else None


# -- protobuf, as far as ONNX needs it -----------------------------------------------------------------------

_MODEL_FIELDS = frozenset(range(1, 33))  # ModelProto uses 1 to 26; a little room for later versions of ONNX
_IR_VERSION, _GRAPH, _METADATA_PROPS = 1, 7, 14
_BROKEN = "not an ONNX file, or cut short; copy or download the file again"


def _onnx_text(file: BinaryIO) -> bytes | None:
    size = os.fstat(file.fileno()).st_size
    found: bytes | None = None
    graph = False
    while (start := file.tell()) < size:
        number, value = _next_field(file, size, keep=_METADATA_PROPS)
        if number not in _MODEL_FIELDS or (start == 0 and number != _IR_VERSION):
            raise WeightsError(_BROKEN)
        graph |= number == _GRAPH
        if number == _METADATA_PROPS and value is not None:
            pair = _pair(value)
            found = pair[1] if pair[0] == KEY.encode() else found
    if not graph:
        raise WeightsError("cut short: it has no graph; copy or download the file again")
    return found


def _onnx_is_whole(path: Path) -> bool:
    digest, said = hashlib.sha256(), None
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        while (start := file.tell()) < size:
            number, value = _next_field(file, size, keep=_METADATA_PROPS)
            if number == _METADATA_PROPS and value is not None:
                pair = _pair(value)
                said = pair[1] if pair[0] == GRAPH_KEY.encode() else said
            else:
                length = file.tell() - start
                file.seek(start)
                digest.update(file.read(length))
    return said is None or said == digest.hexdigest().encode()


def _next_field(file: BinaryIO, end: int, *, keep: int) -> tuple[int, bytes | None]:
    """Move past one field of a protobuf message; its bytes are read only where it is number `keep`."""
    number, kind = divmod(_varint(file), 8)
    if kind == 0:
        _varint(file)
        return number, None
    if kind not in (1, 2, 5):
        raise WeightsError(_BROKEN)
    length = _varint(file) if kind == 2 else {1: 8, 5: 4}[kind]
    if file.tell() + length > end:
        raise WeightsError(_BROKEN)
    if number == keep and kind == 2:
        if length > MAX_HEADER:
            raise WeightsError(f"its metadata takes {length} bytes, more than the {MAX_HEADER} that are read")
        return number, file.read(length)
    file.seek(length, os.SEEK_CUR)
    return number, None


def _pair(message: bytes) -> tuple[bytes, bytes]:
    """The key and the value of a `StringStringEntryProto`."""
    pair = {1: b"", 2: b""}
    file = BytesIO(message)
    while (start := file.tell()) < len(message):
        number, value = _next_field(file, len(message), keep=message[start] >> 3)
        if number in pair and value is not None:
            pair[number] = value
    return pair[1], pair[2]


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            break
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise WeightsError(_BROKEN)


# -- OpenVINO ------------------------------------------------------------------------------------------------

_NOT_XML = "not a graph of OpenVINO, or cut short; copy or export it again"


def _xml_text(file: BinaryIO) -> str | None:
    content = file.read(MAX_HEADER + 1)
    if len(content) > MAX_HEADER:
        raise WeightsError(f"it takes more than the {MAX_HEADER} bytes that are read; its weights belong in the .bin")
    return _said_in_xml(content).get("metadata")


def _said_in_xml(content: bytes) -> dict[str, str]:
    """The values of net/rt_info/hemline, by their keys."""
    place: list[str] = []
    said: dict[str, str] = {}

    def begin(name: str, attributes: dict[str, str]) -> None:
        if not place and name != "net":
            raise WeightsError(_NOT_XML)
        place.append(name)
        if place[:-1] == ["net", "rt_info", KEY]:
            said[name] = attributes.get("value", "")

    def refuse(*_: object) -> None:
        raise WeightsError(_NOT_XML)                     # entities may grow without end, and OpenVINO writes none

    parser = expat.ParserCreate()
    parser.StartElementHandler = begin
    parser.EndElementHandler = lambda _: place.pop()
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(content, True)
    except WeightsError:
        raise
    except Exception as error:                           # ExpatError, ValueError, LookupError of an encoding, ...
        raise WeightsError(_NOT_XML) from error
    return said


def xml_fingerprint(content: bytes, weights: bytes) -> str:
    """The fingerprint of an `.xml` of this content whose `.bin` holds these weights."""
    digest = hashlib.sha256(content[: content.rfind(XML_END)])
    digest.update(weights)
    return digest.hexdigest()


def _xml_is_whole(path: Path) -> bool:
    content = path.read_bytes()
    try:
        weights = path.with_suffix(".bin").read_bytes()
    except FileNotFoundError:
        raise WeightsError(f"its weights, {path.with_suffix('.bin').name}, do not lie beside it; copy both") from None
    return _said_in_xml(content).get(XML_FINGERPRINT) == xml_fingerprint(content, weights)


# -- TorchScript ---------------------------------------------------------------------------------------------

_NOT_ZIP = "not a TorchScript file, or cut short; copy or export it again"


def _zip_text(file: BinaryIO) -> bytes | None:
    try:
        with zipfile.ZipFile(file) as archive:
            extra = [x for x in archive.infolist() if x.filename.split("/")[1:] == ["extra", EXTRA]]
            if not extra:
                return None
            if extra[0].file_size > MAX_HEADER:
                raise WeightsError(f"its metadata takes {extra[0].file_size} bytes, more than are read: {MAX_HEADER}")
            return archive.read(extra[0])
    except (WeightsError, OSError):
        raise
    except Exception as error:                           # damaged, packed, locked and strange archives raise anything
        raise WeightsError(_NOT_ZIP) from error


def _zip_is_whole(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except OSError:
        raise
    except Exception as error:
        raise WeightsError(_NOT_ZIP) from error
