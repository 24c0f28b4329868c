from __future__ import annotations

import io
import threading
import warnings

import numpy as np
import pytest
from PIL import Image

from qdq_cli.config.preprocess import IMAGENET, RAW, UNIT, Overrides, Preprocessing
from qdq_cli.data import images
from qdq_cli.data.image_input import find_image_input, fit_preprocessing
from qdq_cli.data.images import decode, image_array
from qdq_cli.data.unreadable import UnreadableSampleError


@pytest.fixture
def prepare(spec):
    """Run one picture through a preprocessing for an input of the given shape."""

    def prepare(image: Image.Image, preprocessing: Preprocessing, shape, dtype=np.float32) -> np.ndarray:
        target = find_image_input([spec("x", shape, dtype)], preprocessing.layout)
        return image_array(image, fit_preprocessing(preprocessing, target), target)

    return prepare


@pytest.mark.parametrize("extension", ["png", "bmp", "tif", "tiff", "webp"])
def test_lossless_formats_decode_to_the_same_pixels(extension, tmp_path, pixels):
    path = tmp_path / f"a b.{extension}"
    Image.fromarray(pixels).save(path, lossless=True)
    assert np.array_equal(np.asarray(decode(path, "RGB")), pixels)


def test_jpeg_equals_pillow_itself(write_image):
    path = write_image("a.JPG")
    with Image.open(path) as image:
        assert np.array_equal(np.asarray(decode(path, "RGB")), np.asarray(image.convert("RGB")))


def test_what_the_file_is_counts_not_what_it_is_called(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert np.array_equal(np.asarray(decode(tmp_path / "a.jpg", "RGB")), pixels)


def test_exif_orientation_is_honoured(tmp_path, pixels):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(np.asarray(decode(tmp_path / "a.png", "RGB")), np.rot90(pixels, -1))


def test_alpha_is_dropped(tmp_path, pixels):
    alpha = np.full((6, 10, 1), 7, np.uint8)
    Image.fromarray(np.concatenate([pixels, alpha], 2)).save(tmp_path / "a.png")
    Image.fromarray(np.concatenate([pixels[:, :, :1], alpha], 2)).save(tmp_path / "gray.png")
    assert np.array_equal(np.asarray(decode(tmp_path / "a.png", "RGB")), pixels)
    assert np.array_equal(np.asarray(decode(tmp_path / "gray.png", "L")), pixels[:, :, 0])


@pytest.mark.parametrize("transparency", [None, 0, bytes([0, 128, 255])])
def test_palettes_become_their_colors_silently(transparency, tmp_path):
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.putdata([0, 1, 2])
    extra = {} if transparency is None else {"transparency": transparency}
    image.save(tmp_path / "a.png", **extra)
    assert np.asarray(decode(tmp_path / "a.png", "RGB")).tolist() == [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]]


def test_one_bit_pictures_are_black_and_white(tmp_path):
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
    assert np.asarray(decode(tmp_path / "a.png", "L")).tolist() == [[255, 0]]


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    red, green, blue = np.asarray(decode(tmp_path / "a.jpg", "RGB"))[4, 4]
    assert (red > 240, green < 15, blue < 15) == (True, True, True)


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_sixteen_bit_gray_keeps_the_high_byte(extension, tmp_path):
    path = tmp_path / f"a.{extension}"
    Image.fromarray(np.array([[0, 255, 256, 40000, 65535]], np.uint16)).save(path)
    assert np.asarray(decode(path, "L")).tolist() == [[0, 0, 1, 156, 255]]
    assert np.asarray(decode(path, "RGB"))[0, 3].tolist() == [156, 156, 156]


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_pixels_of_unknown_range_are_refused(dtype, tmp_path):
    Image.fromarray(np.ones((2, 2), dtype)).save(tmp_path / "a.tif")
    with pytest.raises(UnreadableSampleError, match="32-bit pixels have no known range"):
        decode(tmp_path / "a.tif", "RGB")


@pytest.mark.parametrize("extension", ["webp", "png", "tif"])
def test_of_animated_and_paged_files_the_first_picture_is_taken(extension, tmp_path, pixels):
    frames = [Image.fromarray(pixels), Image.fromarray(255 - pixels)]
    frames[0].save(tmp_path / f"a.{extension}", save_all=True, append_images=frames[1:], lossless=True)
    assert np.array_equal(np.asarray(decode(tmp_path / f"a.{extension}", "RGB")), pixels)


def _encoded(pixels: np.ndarray, name: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, name)
    return file.getvalue()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda pixels: b"", "the file is empty"),
        (lambda pixels: b"not a picture", "its content is no known picture format"),
        (lambda pixels: _encoded(pixels, "PNG")[:60], ""),
        (lambda pixels: _encoded(pixels.repeat(20, 0), "JPEG")[:-300], "truncated"),
        (lambda pixels: _encoded(pixels, "PNG")[:16] + bytes(8) + _encoded(pixels, "PNG")[24:], ""),
        (lambda pixels: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no known picture format"),
    ],
)
def test_what_cannot_be_decoded_is_named(make, reason, tmp_path, pixels):
    path = tmp_path / "a.png"
    path.write_bytes(make(pixels))
    with pytest.raises(UnreadableSampleError) as caught:
        decode(path, "RGB")
    assert caught.value.message.startswith(f"{path} cannot be decoded as an image: ")
    assert caught.value.message.endswith(".")
    assert not caught.value.message.endswith(": .")
    assert reason in caught.value.message
    assert caught.value.source == str(path)


def test_a_missing_file_and_a_folder_are_unreadable_samples(tmp_path):
    (tmp_path / "b.png").mkdir()
    for name, reason in (("a.png", "no such file"), ("b.png", "it is a folder")):
        with pytest.raises(UnreadableSampleError, match=reason):
            decode(tmp_path / name, "RGB")


def test_a_decompression_bomb_is_refused_and_a_large_picture_is_not(write_image, monkeypatch):
    path = write_image("a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)  # 60 pixels: Pillow warns from 40 and refuses from 80
    assert decode(path, "RGB").size == (10, 6)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(UnreadableSampleError, match="more pixels than"):
        decode(path, "RGB")


def test_silencing_pillow_from_several_threads_leaves_the_filters_as_they_were(write_image, monkeypatch):
    path = write_image("a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    before = list(warnings.filters)
    failed = []

    def work():
        try:
            for _ in range(20):
                decode(path, "RGB")
        except (UnreadableSampleError, Warning) as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert warnings.filters == before
    assert images._QUIET._users == 0


def test_a_picture_of_the_right_size_is_only_scaled(prepare, pixels):
    image = Image.fromarray(pixels)
    for resize in ("stretch", "crop", "pad"):
        array = prepare(image, RAW.override(Overrides(resize=resize)), (None, 3, 6, 10))
        assert np.array_equal(array, pixels.transpose(2, 0, 1)[None].astype(np.float32))


def test_the_formula_is_float32_in_the_order_written(prepare, pixels):
    array = prepare(Image.fromarray(pixels), IMAGENET, (None, 6, 10, 3))
    expected = pixels.astype(np.float32) * np.float32(1 / 255)
    expected = (expected - np.array(IMAGENET.mean, np.float32)) / np.array(IMAGENET.std, np.float32)
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    assert array.tobytes() == expected.tobytes()


def test_bgr_reverses_channels_and_keeps_the_order_of_constants(prepare, pixels):
    preprocessing = RAW.override(Overrides(color="bgr")).override(Overrides(mean=(1.0, 2.0, 3.0)))
    array = prepare(Image.fromarray(pixels), preprocessing, (None, 6, 10, 3))
    assert np.array_equal(array[0], pixels[:, :, ::-1].astype(np.float32) - [1, 2, 3])


def test_gray_on_three_channels_feeds_them_equally(prepare, pixels):
    gray = Image.fromarray(pixels).convert("L")
    array = prepare(gray, RAW.override(Overrides(color="gray")), (None, 3, 6, 10))
    assert all(np.array_equal(array[0, channel], np.asarray(gray)) for channel in range(3))


@pytest.mark.parametrize(("shape", "expected"), [((1, 1, 6, 10), (1, 1, 6, 10)), ((6, 10, 1), (6, 10, 1))])
def test_one_channel_keeps_its_axis(shape, expected, prepare, pixels):
    array = prepare(Image.fromarray(pixels[:, :, 0]), UNIT, shape)
    assert array.shape == expected
    assert np.array_equal(array.ravel(), pixels[:, :, 0].ravel() * np.float32(1 / 255))


def test_the_result_has_the_type_of_the_input(prepare, pixels):
    half = prepare(Image.fromarray(pixels), IMAGENET, (None, 3, 6, 10), np.float16)
    full = prepare(Image.fromarray(pixels), IMAGENET, (None, 3, 6, 10))
    assert half.dtype == np.float16
    assert np.array_equal(half, full.astype(np.float16))
    whole = prepare(Image.fromarray(pixels), RAW, (None, 6, 10, 3), np.uint8)
    assert whole.dtype == np.uint8
    assert np.array_equal(whole[0], pixels)


def test_stretch_is_pillow_resize(prepare, pixels):
    image = Image.fromarray(pixels)
    for name in ("bilinear", "bicubic", "nearest", "lanczos", "box"):
        array = prepare(image, RAW.override(Overrides(interpolation=name)), (None, 4, 5, 3))
        expected = image.resize((5, 4), Image.Resampling[name.upper()])
        assert np.array_equal(array[0], np.asarray(expected))


@pytest.mark.parametrize("position", ["topleft", "center"])
def test_pad_keeps_the_aspect_and_fills_up(position, prepare, pixels):
    preprocessing = RAW.override(Overrides(resize="pad", position=position, fill=(9.0,)))
    array = prepare(Image.fromarray(pixels), preprocessing, (None, 8, 5, 3))[0]
    inner = np.asarray(Image.fromarray(pixels).resize((5, 3), Image.Resampling.BILINEAR))
    top = 0 if position == "topleft" else 2
    assert np.array_equal(array[top : top + 3], inner)
    assert set(np.delete(array, range(top, top + 3), 0).ravel()) == {9}


def test_pad_fills_in_the_order_of_the_channels_fed(prepare, pixels):
    preprocessing = RAW.override(Overrides(resize="pad", position="topleft", color="bgr"))
    preprocessing = preprocessing.override(Overrides(fill=(1.0, 2.0, 3.0)))
    array = prepare(Image.fromarray(pixels), preprocessing, (None, 12, 10, 3))
    assert array[0, -1, -1].tolist() == [1, 2, 3]
    gray = RAW.override(Overrides(resize="pad", fill=(5.0,)))
    assert prepare(Image.fromarray(pixels[:, :, 0]), gray, (None, 12, 10, 1))[0, 0, 0].tolist() == [5]


def test_pad_never_loses_a_thin_picture(prepare):
    line = Image.fromarray(np.full((1, 100, 3), 50, np.uint8))
    array = prepare(line, RAW.override(Overrides(resize="pad", position="topleft")), (None, 4, 4, 3))
    assert array[0, 0, :, 0].tolist() == [50] * 4


@pytest.mark.parametrize("size", [(40, 30), (30, 40), (33, 33), (300, 32)])
def test_crop_scales_the_shorter_side_and_cuts_the_center(size, prepare):
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8))
    short = min(size)
    scaled = image.resize(tuple(16 * side // short for side in size), Image.Resampling.BILINEAR)
    left, top = round((scaled.width - 14) / 2), round((scaled.height - 14) / 2)
    expected = np.asarray(scaled.crop((left, top, left + 14, top + 14)))
    share = prepare(image, RAW.override(Overrides(resize="crop", crop=0.875)), (None, 14, 14, 3))
    pixels = prepare(image, RAW.override(Overrides(resize="crop", shorter=16)), (None, 14, 14, 3))
    assert np.array_equal(share[0], expected)
    assert np.array_equal(pixels[0], expected)


@pytest.mark.parametrize("shorter", [None, 4, 100])
@pytest.mark.parametrize("size", [(7, 50), (50, 7), (1, 1), (200, 210)])
def test_crop_covers_any_input(size, shorter, prepare):
    image = Image.fromarray(np.full((size[1], size[0], 3), 200, np.uint8))
    array = prepare(image, RAW.override(Overrides(resize="crop", shorter=shorter)), (None, 9, 30, 3))
    assert set(array.ravel()) == {200}
