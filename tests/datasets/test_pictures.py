import io
import struct
import zlib

import numpy as np
import pytest
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from experiments.datasets import pictures as digits
from experiments.running.cli import InputError

FONTS = f"{get_data_path()}/fonts/ttf/DejaVuSans"


def draw(digit="3", size=(200, 300), height=150, place=(0.5, 0.5), ink=0, paper=255, style=""):
    """uint8 [H, W] of a digit of about `height` pixels with its middle at `place`."""
    image = Image.new("L", size[::-1], paper)
    font = ImageFont.truetype(f"{FONTS}{style}.ttf", height / 0.73)
    middle = place[1] * size[1], place[0] * size[0]
    ImageDraw.Draw(image).text(middle, digit, fill=ink, font=font, anchor="mm")
    return np.asarray(image)


def reference(digit="3"):
    """The digit light on black as uint8 [28, 28], by as plain a way as there is."""
    ink = Image.fromarray(draw(digit, (600, 600), 400, ink=255, paper=0))
    ink = ink.crop(ink.getbbox())
    scale = 20 / max(ink.size)
    ink = ink.resize([round(side * scale) for side in ink.size], Image.Resampling.BOX)
    array = np.asarray(ink)
    centre = np.rint(14 - np.array(ndimage.center_of_mass(array))).astype(int)
    return np.pad(array, [(c, 28 - s - c) for c, s in zip(centre, array.shape, strict=True)])


def check(fitted, expected=None, tolerance=12.0):
    """That `fitted` is made as MNIST was, and is `expected` but for `tolerance` grey levels."""
    assert fitted.shape == (28, 28) and fitted.dtype == np.uint8
    rows, columns = np.nonzero(fitted)
    assert 19 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 21
    assert np.abs(np.subtract(ndimage.center_of_mass(fitted), 14)).max() <= 0.51
    assert fitted.max() == 255
    assert np.mean(fitted == 0) > 0.5, "the background is exactly black"
    if expected is not None:
        # Half a pixel decides where a digit is put, so the neighbouring places count as well.
        places = [np.roll(fitted, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
        assert min(np.abs(place.astype(float) - expected).mean() for place in places) < tolerance


def save(path, image, **options):
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(path, **options)
    return path


@pytest.mark.parametrize("digit", "0123456789")
@pytest.mark.parametrize("dark", [True, False])
def test_each_digit_dark_or_light(digit, dark):
    image = draw(digit, ink=30 if dark else 220, paper=220 if dark else 30)
    check(digits.fit_digit(image), reference(digit), 6)


@pytest.mark.parametrize(
    ("size", "height", "place"),
    [
        ((10, 10), 8, (0.5, 0.5)),
        ((100, 900), 60, (0.5, 0.05)),
        ((2000, 3000), 1500, (0.5, 0.4)),
        ((2000, 3000), 150, (0.9, 0.1)),
    ],
)
@pytest.mark.parametrize("dark", [True, False])
def test_any_size_and_place(size, height, place, dark):
    image = draw("3", size, height, place, *((0, 255) if dark else (255, 0)))
    check(digits.fit_digit(image), reference("3"), 16 if height < 20 else 9)


@pytest.mark.parametrize("digit", "01346789")  # of 2 and 5 nobody could say which is the ground
def test_bold_digits_cropped_to_their_ink_are_not_taken_for_the_ground(digit):
    ink = Image.fromarray(draw(digit, ink=255, paper=0, style="-Bold"))
    cropped = np.asarray(ink.crop(ink.getbbox()))
    expected = digits.fit_digit(np.pad(cropped, 50))
    np.testing.assert_array_equal(digits.fit_digit(cropped), expected)
    np.testing.assert_array_equal(digits.fit_digit(255 - cropped), expected)


@pytest.mark.parametrize("ink", [20, 110])
@pytest.mark.parametrize("noise", [2, 15])
def test_a_photograph_of_uneven_light(ink, noise):
    paper = draw("5", (400, 500), 200, (0.4, 0.6), ink, 230)
    down, across = np.mgrid[0:1:400j, 0:1:500j]
    light = 0.3 + 0.6 * across + 0.15 * down - 0.2 * (across - 0.3) ** 2
    shadow = 1 - 0.2 / (1 + np.exp((down - across - 0.2) / 0.03))
    photo = paper * light * shadow + np.random.default_rng(0).normal(0, noise, paper.shape)
    check(digits.fit_digit(photo.clip(0, 255).astype(np.uint8)), reference("5"), 9)


def test_dust_and_smudges_are_not_part_of_the_digit():
    image = draw("3").copy()
    image[5:8, 5:8] = image[-9:-5, -9:-5] = image[100, 10] = 0
    image[150:190, 20:60] = 170
    np.testing.assert_array_equal(digits.fit_digit(image), digits.fit_digit(draw("3")))


def test_thin_and_faint_strokes_become_bright():
    image = Image.new("L", (400, 400), 200)
    ImageDraw.Draw(image).line([(100, 80), (300, 80), (180, 330)], fill=160, width=5)
    fitted = digits.fit_digit(np.asarray(image))
    check(fitted)
    assert (fitted > 128).sum() >= 15


def test_invert_can_be_told():
    # So much ink that it passes for the ground.
    heavy = np.full((60, 40), 240, np.uint8)
    heavy[20:, :4] = 15
    digit = digits.fit_digit(heavy, invert="no")
    assert (digits.fit_digit(heavy) > 128).sum() < (digit > 128).sum()
    np.testing.assert_array_equal(digit, digits.fit_digit(255 - heavy, invert="yes"))
    dark = draw("3")
    np.testing.assert_array_equal(digits.fit_digit(dark, invert="yes"), digits.fit_digit(dark))


def test_an_image_as_mnist_made_it_is_unchanged():
    image = reference("3")
    image[4, 8] = 1  # a trace that any threshold would take
    np.testing.assert_array_equal(digits.fit_digit(image), image)
    check(digits.fit_digit(np.roll(image, 3, axis=1)), image, 2)
    check(digits.fit_digit(255 - image), image, 2)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((28, 28), np.uint8),
        np.full((300, 200), 255, np.uint8),
        np.full((1, 1), 7, np.uint8),
        np.random.default_rng(0).normal(128, 30, (200, 300)).astype(np.uint8),
        np.linspace(90, 200, 60_000).reshape(200, 300).astype(np.uint8),
    ],
)
def test_a_picture_without_ink_is_refused(image):
    with pytest.raises(InputError, match=r"^blank\.png shows no digit: "):
        digits.fit_digit(image, name="blank.png")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_any_mode(tmp_path, mode):
    image = draw("3")
    deep = Image.fromarray(image.astype(np.uint16) * 257)
    picture = deep if mode == "I;16" else Image.fromarray(image).convert(mode)
    name = "digit.jpg" if mode == "CMYK" else "digit.png"
    read = digits.read_image(save(tmp_path / name, picture))
    assert read.shape == image.shape and read.dtype == np.uint8
    assert np.abs(read.astype(int) - image).mean() < 4
    check(digits.fit_digit(read), reference("3"), 6)


@pytest.mark.parametrize("level", [0, 40, 215, 255])
@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_ink_on_a_transparent_ground(tmp_path, mode, level):
    coverage = Image.fromarray(255 - draw("3"))
    image = Image.new("LA", coverage.size, (level, 0))
    image.putalpha(coverage)
    image = image.convert("RGBA").quantize(64) if mode == "P" else image.convert(mode)
    fitted = digits.fit_digit(digits.read_image(save(tmp_path / "digit.png", image)))
    check(fitted, reference("3"), 8)


def test_paper_with_transparent_corners_stays_paper(tmp_path):
    image = Image.fromarray(draw("3")).convert("LA")
    alpha = Image.new("L", image.size, 0)
    ImageDraw.Draw(alpha).ellipse((-20, -20, image.width + 20, image.height + 20), fill=255)
    image.putalpha(alpha)
    read = digits.read_image(save(tmp_path / "digit.png", image))
    np.testing.assert_array_equal(read, draw("3"))


@pytest.mark.parametrize("quality", [10, 60])
def test_a_compressed_picture_in_the_orientation_of_its_camera(tmp_path, quality):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    turned = Image.fromarray(draw("7")).transpose(Image.Transpose.ROTATE_90)
    read = digits.read_image(save(tmp_path / "digit.jpg", turned, exif=exif, quality=quality))
    assert read.shape == draw("7").shape
    check(digits.fit_digit(read), reference("7"), 6)


@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1), (5, 9, 3)])
def test_fit_plain_resizes_in_colour_or_grey(tmp_path, shape):
    image = Image.new("RGB", (120, 80), (250, 0, 0))
    image.paste((0, 0, 250), (0, 0, 60, 80))
    fitted = digits.fit_plain(save(tmp_path / "image.png", image), shape)
    assert fitted.shape == shape and fitted.dtype == np.uint8
    if shape[2] == 3:
        assert tuple(fitted[0, 0]) == (0, 0, 250) and tuple(fitted[-1, -1]) == (250, 0, 0)
    else:
        assert fitted[0, 0, 0] == 28 and fitted[-1, -1, 0] == 75


def encoded(format, **options):
    buffer = io.BytesIO()
    Image.fromarray(draw()).save(buffer, format, **options)
    return buffer.getvalue()


def bomb(side):
    """A small PNG that claims `side` x `side` pixels."""
    content = bytearray(encoded("PNG"))
    content[16:24] = struct.pack(">II", side, side)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("side", [7_072, 12_000, 60_000])
def test_a_bomb_is_refused_by_its_header(tmp_path, side):
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb(side))
    with pytest.raises(InputError, match=r"bomb\.png is too large: .* 50 megapixels$"):
        digits.read_image(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"not a picture", encoded("GIF"), encoded("BMP"), encoded("TIFF"), bomb(100)],
)
def test_what_is_no_picture_is_refused_by_name(tmp_path, content):
    path = tmp_path / "file.png"
    path.write_bytes(content)
    for nothing in (tmp_path, tmp_path / "missing.png"):
        with pytest.raises(InputError, match="is not a file: give a PNG or JPEG picture"):
            digits.read_image(nothing)
    with pytest.raises(InputError, match=r"file\.png cannot be read as a PNG or JPEG picture"):
        digits.read_image(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty; give a file that holds a picture"),
        (b"\0\0\0\x18ftypheic" + bytes(50), "it is a HEIC picture; convert it to PNG or JPEG"),
        (b"\0\0\0\x1cftypavif" + bytes(50), "it is an AVIF picture; convert it to PNG or JPEG"),
        (encoded("WEBP"), "it is a WebP picture; convert it to PNG or JPEG"),
        (encoded("GIF"), "it is of another kind; convert it to PNG or JPEG"),
    ],
)
def test_the_sentence_says_what_would_be_right(tmp_path, content, reason):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        digits.read_image(path)
    assert str(error.value) == f"{path} cannot be read as a PNG or JPEG picture: {reason}"


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_damage_anywhere_is_an_input_error_or_harmless(tmp_path, format):
    whole, path = encoded(format), tmp_path / "file"
    random = np.random.default_rng(0)
    for trial in range(150):
        damaged = bytearray(whole[: random.integers(len(whole))] if trial % 2 else whole)
        for place in random.integers(len(damaged), size=3) if damaged else ():
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        try:
            digits.read_image(path)
        except InputError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            assert "BytesIO" not in str(error)
