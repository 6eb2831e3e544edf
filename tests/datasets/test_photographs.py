"""Digits in photographs are found, whatever else the photographs show."""

import numpy as np
import pytest
from photographs import SINGLE, data, photographs
from PIL import Image, ImageDraw
from scipy import ndimage
from sklearn.svm import SVC

from experiments.datasets.pictures import fit_digit, prepare_digit
from experiments.running.cli import InputError

SHAPE = (150, 200)


@pytest.fixture(scope="module")
def classifier():
    """A classifier of images as MNIST made them."""
    images = data().train_images[:2500].reshape(2500, -1)
    return SVC(C=10).fit(images / 255, data().train_labels[:2500])


def grey(photograph):
    return np.asarray(Image.fromarray(photograph).convert("L"))


def read_alike(classifier, images, places):
    """How many images are read as the digits that were photographed, before they were."""
    originals = data().test_images[places]
    both = [np.reshape(digits, (len(places), -1)) / 255 for digits in (images, originals)]
    return np.sum(classifier.predict(both[0]) == classifier.predict(both[1]))


@pytest.mark.parametrize("kind", SINGLE)
def test_one_digit_is_read(kind, classifier):
    pictures, places = photographs(kind, 10, seed=100, shape=SHAPE)
    images, warnings = zip(*(prepare_digit(grey(picture)) for picture in pictures), strict=True)
    assert read_alike(classifier, images, places) >= 9
    assert sum(warning is not None for warning in warnings) <= 1


def test_two_digits_are_said_to_be_two():
    pictures, _ = photographs("two digits", 10, seed=100, shape=SHAPE)
    warnings = [prepare_digit(grey(picture))[1] or "" for picture in pictures]
    assert sum("more than one digit" in warning for warning in warnings) >= 9


@pytest.mark.parametrize("kind", ["vignette", "squared"])
def test_light_ink_on_a_dark_board_is_read(kind, classifier):
    pictures, places = photographs(kind, 6, seed=101, shape=SHAPE)
    images = [fit_digit(255 - grey(picture)) for picture in pictures]
    assert read_alike(classifier, images, places) >= 5


def test_a_shadow_of_one_level_is_no_ink(classifier):
    pictures, places = photographs("hard shadow", 6, seed=102, shape=SHAPE)
    images = [fit_digit(ndimage.median_filter(grey(picture), 7)) for picture in pictures]
    assert read_alike(classifier, images, places) >= 5


def drawing():
    image = Image.new("L", (200, 150), 230)
    draw = ImageDraw.Draw(image)
    draw.line([(90, 30), (90, 110)], fill=40, width=8)
    return image, draw


def test_ink_at_the_border_is_dropped_where_other_ink_remains():
    image, draw = drawing()
    expected = fit_digit(np.asarray(image))
    draw.line([(0, 140), (60, 130)], fill=40, width=8)
    image_warning = prepare_digit(np.asarray(image))
    np.testing.assert_array_equal(image_warning[0], expected)
    assert image_warning[1] is None


def test_ink_at_the_border_alone_is_kept_and_doubted():
    image = np.asarray(drawing()[0].crop((0, 40, 200, 150)))
    fitted, warning = prepare_digit(image, name="cut.png")
    assert fitted.any()
    assert warning == "cut.png is doubtful: the ink touches the border of the picture"


def test_a_large_flat_area_is_dropped_where_other_ink_remains():
    image, draw = drawing()
    expected = fit_digit(np.asarray(image))
    draw.rectangle((120, 40, 180, 100), fill=40)
    np.testing.assert_array_equal(fit_digit(np.asarray(image)), expected)


def test_faint_ink_is_doubted():
    faint = np.asarray(drawing()[0].point(lambda level: 200 + level // 10))
    assert "hardly stands out" in prepare_digit(faint)[1]


def test_ruled_paper_alone_shows_no_digit():
    for kind in ("lined", "squared"):
        image = Image.new("L", (200, 150), 230)
        draw = ImageDraw.Draw(image)
        for place in range(7, 200, 15):
            draw.line([(0, place), (200, place)], fill=130, width=2)
            if kind == "squared":
                draw.line([(place, 0), (place, 150)], fill=130, width=2)
        with pytest.raises(InputError, match="shows no digit"):
            fit_digit(np.asarray(image))
