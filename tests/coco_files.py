"""Fake copies of datasets in COCO's JSON, and what pycocotools draws of them."""

import json
import warnings

import numpy as np
from PIL import Image
from pycocotools import mask as api  # type: ignore[import-untyped]
from pycocotools.coco import COCO  # type: ignore[import-untyped]

SIZE = 24, 20
"""Height and width that fake photos are labelled at."""


def rle(mask, *, compressed):
    """A mask (H, W) as COCO's RLE."""
    packed = api.encode(np.asfortranarray(mask, np.uint8))
    if compressed:
        return {"size": list(mask.shape), "counts": packed["counts"].decode()}
    flat = mask.ravel(order="F").astype(int)
    borders = np.flatnonzero(np.diff(flat, prepend=0)).tolist()
    return {"size": list(mask.shape), "counts": np.diff([0, *borders, flat.size]).tolist()}


def box(top, left, height, width, size=SIZE):
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = True
    return mask


def image(id, file_name=None, size=SIZE):
    return {"id": id, "file_name": file_name or f"{id}.jpg", "height": size[0], "width": size[1], "license": 1}


def annotation(id, image_id, category_id, segmentation, attribute_ids=(), **more):
    return {"id": id, "image_id": image_id, "category_id": category_id, "segmentation": segmentation,
            "attribute_ids": list(attribute_ids), "bbox": [0, 0, 1, 1], "area": 1, "iscrowd": 0} | more  # fmt: skip


def write(file, images, annotations, categories, attributes=None, *, indent=None):
    """Write a JSON as published sets do, and give it back."""
    content = {"info": {}, "images": images, "annotations": annotations, "categories": categories, "licenses": []}
    if attributes is not None:
        content["attributes"] = attributes
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=indent), encoding="utf-8")
    return file


def photos(folder, *names, size=SIZE):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)


def reference(file, monkeypatch):
    """Masks (H, W) by annotation id, as pycocotools reads and draws them."""
    monkeypatch.setattr("builtins.print", lambda *_, **__: None)        # it talks while it reads
    coco = COCO(str(file))
    with warnings.catch_warnings(action="ignore"):                      # its arrays are older than numpy 2
        return {id: coco.annToMask(row).astype(bool) for id, row in coco.anns.items() if row["segmentation"]}


def mask_of(borders, size=SIZE):
    """(H, W) a mask's borders, drawn by hand."""
    flat = np.zeros(size[0] * size[1], bool)
    for begin, end in zip(borders[::2], borders[1::2], strict=True):
        flat[begin:end] = True
    return flat.reshape(size, order="F")


def pixels_of(sample, region):
    """(H, W) where a region of a sample is."""
    return np.isin(sample.segments, region.segments)


def names_of(space, labels, value=1):
    names = [x.name for x in (*space.categories, *space.labels)]
    return {name for name, known in zip(names, labels, strict=True) if known == value}
