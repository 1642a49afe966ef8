"""Results as others read them: JSON and its schema, COCO, pictures of masks and cut-outs."""

import json
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_masks  # type: ignore[import-untyped]  # pycocotools ships no types
from pycocotools.coco import COCO  # type: ignore[import-untyped]  # pycocotools ships no types

from hemline.coco_answers import to_coco
from hemline.result import Result
from hemline.words_said import ScoredLabel
from tests.answers import (
    BELT,
    COAT,
    GRAPHIC,
    PLAIN,
    SCHEMA,
    SLEEVE,
    VALIDATOR,
    WRIST,
    K,
    L,
    answer,
    nothing,
    validate,
)

# pycocotools 2.0.11 decodes through an array protocol that numpy 2 has deprecated; encoding does not.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture
def dressed() -> Result:
    masks = nothing()
    masks[COAT, 5:25, 4:20], masks[BELT, 26:30, 4:20] = 3.0, 2.0
    labels = np.full((1 + K, L), -5.0, np.float32)
    labels[0, [COAT, SLEEVE, PLAIN]] = 2.0, 0.3, 1.0
    labels[1 + COAT, [WRIST, GRAPHIC]] = 2.0, 1.0
    return answer(masks, labels)


def test_the_json_is_the_contract(dressed: Result) -> None:
    data = dressed.to_dict("none")
    assert data == {
        "schema_version": "1.3",
        "photo": "p.jpg",
        "size": {"height": 40, "width": 30},
        "garments": [
            {
                "category": "coat",
                "category_id": 9,
                "outfit_part": "whole body",
                "score": 0.9526,
                "area": 0.266667,
                "box": [4, 5, 16, 20],
                "mask": None,
                "found_by": "mask",
                "colours": [{"name": "red", "hex": "#c81e1e", "share": 1.0, "shade": None}],
                "multicolour": False,
                "attributes": [
                    {"group": "sleeve length", "label": "wrist-length", "id": 160, "score": 0.8808},
                    {"group": "pattern", "label": "graphic", "id": "graphic", "score": 0.7311},
                ],
                "parts": [],
            },
            {
                "category": "belt",
                "category_id": 19,
                "outfit_part": "accessories",
                "score": 0.8808,
                "area": 0.053333,
                "box": [4, 26, 16, 4],
                "mask": None,
                "found_by": "mask",
                "colours": [{"name": "red", "hex": "#c81e1e", "share": 1.0, "shade": None}],
                "multicolour": False,
                "attributes": [],
                "parts": [],
            },
            {
                "category": "sleeve",
                "category_id": 31,
                "outfit_part": None,
                "score": 0.5744,
                "area": 0.0,
                "box": None,
                "mask": None,
                "found_by": "label",
                "colours": [],
                "multicolour": False,
                "attributes": [],
                "parts": [],
            },
        ],
        "labels": [
            {"group": "category", "label": "coat", "id": 9, "score": 0.8808},
            {"group": "category", "label": "sleeve", "id": 31, "score": 0.5744},
            {"group": "pattern", "label": "plain", "id": 317, "score": 0.7311},
        ],
    }
    validate(dressed)


def test_the_schema_is_sound_and_refuses_what_is_not_an_answer(dressed: Result) -> None:
    VALIDATOR.check_schema(SCHEMA)
    failure = {"schema_version": "1.0", "photo": "x.jpg", "error": "x.jpg: no such file"}
    VALIDATOR.validate([])
    VALIDATOR.validate([failure, dressed.to_dict()])
    whole = json.dumps(dressed.to_dict())
    refused: list[Any] = [failure | {"garments": []}, {"photo": "x"}]
    for path, value in [
        (("garments", 0, "score"), 1.5),
        (("garments", 0, "found_by"), "luck"),
        (("garments", 0, "box"), [1, 2, 3]),
        (("garments", 0, "mask"), 3),
        (("garments", 0, "outfit_part"), "head"),
        (("garments", 0, "colours", 0, "hex"), "red"),
        (("labels", 0, "id"), None),
        (("schema_version",), "2.0"),
    ]:
        broken = node = json.loads(whole)
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value
        refused.append(broken)
    for thing in refused:
        assert not VALIDATOR.is_valid([thing]), thing
    for key in dressed.to_dict():
        assert not VALIDATOR.is_valid([{k: v for k, v in dressed.to_dict().items() if k != key}])
    garment = dressed.to_dict()["garments"][0]
    for key in garment:
        less = dressed.to_dict() | {"garments": [{k: v for k, v in garment.items() if k != key}]}
        assert not VALIDATOR.is_valid([less])


def test_coco_is_read_by_pycocotools(dressed: Result) -> None:
    other = answer(nothing())
    data = json.loads(json.dumps(to_coco([other, dressed, dressed])))
    coco = COCO()
    coco.dataset = data
    coco.createIndex()
    assert coco.getImgIds() == [1, 2, 3]
    annotations = coco.loadAnns(coco.getAnnIds(imgIds=[2]))
    masked = [garment for garment in dressed.garments if garment.mask is not None]
    assert len(annotations) == len(masked) == 2
    for annotation, garment in zip(annotations, masked, strict=True):
        np.testing.assert_array_equal(coco.annToMask(annotation), garment.mask)
        assert tuple(annotation["bbox"]) == garment.box
        assert annotation["bbox"] == coco_masks.toBbox(annotation["segmentation"]).tolist()
        assert annotation["area"] == coco_masks.area(annotation["segmentation"])
        assert coco.loadCats(annotation["category_id"])[0]["name"] == garment.category
    assert annotations[0]["attribute_ids"] == [160]
    assert annotations[0]["attribute_names"] == ["wrist-length", "graphic"]
    assert annotations[0]["score"] == 0.9526
    assert len({annotation["id"] for annotation in data["annotations"]}) == 4
    assert [category["id"] for category in data["categories"]] == [9, 10, 19, 31]
    assert [attribute["id"] for attribute in data["attributes"]] == [156, 160, 317]
    assert dressed.to_coco() == to_coco([dressed])
    assert to_coco([])["images"] == []


def test_cutouts_hold_the_garment_and_nothing_else() -> None:
    masks = nothing(20, 20)
    masks[COAT, 5:15, 5:15] = 3.0
    masks[COAT, 5:8, 5:8] = -3.0
    (garment,) = answer(masks).garments
    photo = np.random.default_rng(0).integers(1, 256, (20, 20, 3), np.uint8)
    cutout = garment.cutout(photo)
    assert (cutout.mode, cutout.size) == ("RGBA", (10, 10))
    pixels = np.asarray(cutout)
    np.testing.assert_array_equal(pixels[3:, 3:, :3], photo[8:15, 8:15])
    assert (pixels[3:, 3:, 3] == 255).all()
    assert not pixels[:3, :3].any()                              # gone, not only transparent
    assert garment.mask_image().mode == "1"
    np.testing.assert_array_equal(np.asarray(garment.mask_image()), garment.mask)


def test_a_garment_without_a_mask_has_no_pictures(dressed: Result) -> None:
    sleeve = dressed.garments[-1]
    assert sleeve.mask is None
    with pytest.raises(ValueError, match="sleeve has no mask"):
        sleeve.cutout(dressed.pixels)
    with pytest.raises(ValueError, match="sleeve has no mask"):
        sleeve.mask_image()


def test_a_result_prints_without_its_pixels(dressed: Result) -> None:
    assert "coat" in repr(dressed)
    assert "array" not in repr(dressed)
    assert len(repr(dressed)) < 2000
    assert ScoredLabel("category", "coat", 9, 0.123456).to_dict()["score"] == 0.1235
