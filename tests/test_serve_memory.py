"""What large photos take while they are decoded: one at a time, whatever else is read beside them."""

import threading
from io import BytesIO

import pytest
from PIL import Image

from hemline.errors import PhotoError
from hemline.photo import pixels_held, read_for
from hemline.serve import engine
from hemline.serve.engine import Engine, Sent
from hemline.serve.metrics import Metrics
from hemline.tagger import Tagger
from tests.primary import colour_tagger

CANVAS = (64, 64)


def photo(size, form="PNG", **options):
    out = BytesIO()
    Image.new("RGB", size, "red").save(out, form, **options)
    return out.getvalue()


class Watched(Tagger):
    """Notes the most large photos that were read at once: the first waits a little for others to come."""

    def __init__(self, plain):
        super().__init__(plain.runtime, plain.metadata)
        self.small, self.two = threading.Event(), threading.Event()
        self.reading = self.most = 0

    def read(self, photo, *args, name, **options):
        if name == "small":
            self.small.set()
            return super().read(photo, *args, name=name, **options)
        self.reading += 1
        self.most = max(self.most, self.reading)
        assert self.small.wait(10)  # a small one is read while this one is
        if self.reading > 1:
            self.two.set()
        self.two.wait(0.2)
        self.reading -= 1
        return super().read(photo, *args, name=name, **options)


def most_at_once(monkeypatch, large):
    """How many of three photos of 41 x 50 pixels were read at once where more than `large` is too much."""
    monkeypatch.setattr(engine, "LARGE", large)
    tagger = Watched(colour_tagger())
    made = Engine(tagger, Metrics(), max_pixels=10**6, workers=4)
    try:
        job = made.submit([*[Sent("large", photo((41, 50)))] * 3, Sent("small", photo((40, 50)))])
        assert all(entry.error is None for entry in job.result(20))
    finally:
        made.close()
    return tagger.most


def test_large_photos_are_decoded_one_at_a_time_and_others_beside_them(monkeypatch):
    assert most_at_once(monkeypatch, large=2000) == 1
    assert most_at_once(monkeypatch, large=2050) > 1


def test_a_large_photo_that_is_damaged_is_one_failure(monkeypatch):
    monkeypatch.setattr(engine, "LARGE", 100)
    made = Engine(colour_tagger(), Metrics(), max_pixels=10**6, workers=2)
    try:
        cut = photo((300, 400), "BMP")[:9000]
        bad, good = made.submit([Sent("cut.bmp", cut), Sent("b", photo((30, 40)))]).result(10)
    finally:
        made.close()
    assert bad.error.startswith("cut.bmp: ")
    assert good.error is None


@pytest.mark.parametrize("size", [(1030, 770), (770, 1030), (2100, 515), (100, 90)])
def test_a_jpeg_counts_as_it_is_decoded(size):
    data = photo(size, "JPEG")
    height, width = read_for(data, CANVAS).pixels.shape[:2]
    assert pixels_held(data, CANVAS, "x") == height * width
    for whole in (photo(size), photo(size, "JPEG", progressive=True), photo(size, "WEBP")):
        assert pixels_held(whole, CANVAS, "x") == size[0] * size[1]


def test_what_cannot_be_opened_is_said():
    with pytest.raises(PhotoError, match="a name: not a whole image"):
        pixels_held(b"no photo", CANVAS, "a name")
