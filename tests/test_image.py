"""Facts about reading, writing, rounding, resizing and padding pictures."""

from __future__ import annotations

import io
import math
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from bench.image import (
    PICTURE_SUFFIXES,
    natural_key,
    pad_to_multiple,
    parse_size,
    pictures_in,
    read_rgb,
    resize,
    round_8bit,
    size_of,
    thumbnail,
    to_uint8,
    write_png,
)


@pytest.fixture
def colours() -> NDArray[np.uint8]:
    """A picture of 12 x 20 random colours."""
    return np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


def levels(path: Path) -> NDArray[np.float64]:
    """What read_rgb sees, as (H, W, 3) levels 0 to 255."""
    return read_rgb(path).double().permute(1, 2, 0).numpy() * 255


def expected(array: NDArray[np.uint8]) -> torch.Tensor:
    """8-bit (H, W, 3) as the convention wants it: divided by 255 in float32."""
    return torch.from_numpy((array.astype(np.float32) / np.float32(255)).transpose(2, 0, 1).copy())


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_header(width: int, height: int) -> bytes:
    """An RGB PNG that ends where its pixels should begin."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", b"")


# Reading: what is in the file arrives.


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp"])
def test_a_lossless_rgb_picture_arrives_as_levels_over_255(
    tmp_path: Path, colours: NDArray[np.uint8], suffix: str
) -> None:
    file = tmp_path / f"a{suffix}"
    Image.fromarray(colours).save(file, lossless=True)
    image = read_rgb(file)
    assert image.dtype == torch.float32 and image.is_contiguous()
    assert torch.equal(image, expected(colours))


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_is_decoded_byte_for_byte_as_pillow_does(
    tmp_path: Path, colours: NDArray[np.uint8], subsampling: str, progressive: bool
) -> None:
    file = tmp_path / "a.jpg"
    Image.fromarray(colours).save(file, quality=80, subsampling=subsampling, progressive=progressive)
    with Image.open(file) as image:
        assert torch.equal(read_rgb(file), expected(np.asarray(image)))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_grey_is_repeated_in_all_three_channels(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a{suffix}"
    Image.fromarray(np.full((4, 6), 51, np.uint8)).save(file)
    assert torch.equal(read_rgb(file), torch.full((3, 4, 6), 0.2))


def test_black_and_white_arrives_as_zero_and_one(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).convert("1").save(tmp_path / "a.png")
    assert read_rgb(tmp_path / "a.png")[:, 0].tolist() == [[1, 0]] * 3


def test_a_palette_picture_has_its_palettes_colours(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 51, 102])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png")
    assert levels(tmp_path / "a.png") == pytest.approx(np.array([[[255, 0, 0], [0, 51, 102]]]))


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_an_opaque_alpha_channel_is_dropped(tmp_path: Path, colours: NDArray[np.uint8], suffix: str) -> None:
    opaque = np.dstack([colours, np.full((12, 20), 255, np.uint8)])
    Image.fromarray(opaque).save(tmp_path / f"a{suffix}", lossless=True)
    assert torch.equal(read_rgb(tmp_path / f"a{suffix}"), expected(colours))


def test_a_transparent_picture_is_refused_with_the_share_of_its_pixels(
    tmp_path: Path, colours: NDArray[np.uint8]
) -> None:
    alpha = np.full((12, 20), 255, np.uint8)
    alpha[:6] = 128
    Image.fromarray(np.dstack([colours, alpha])).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png is transparent in 50\.0% of its pixels.*flatten"):
        read_rgb(tmp_path / "a.png")


def test_a_palette_with_a_transparent_colour_in_use_is_refused(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 51, 102])
    image.save(tmp_path / "a.png", transparency=0)
    with pytest.raises(ValueError, match=r"a\.png is transparent in 100\.0%"):
        read_rgb(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_grey_keeps_its_precision(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 1, 257, 40000, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"a{suffix}")
    image = read_rgb(tmp_path / f"a{suffix}")
    assert image.shape == (3, 1, 5)
    assert torch.equal(image[1, 0], torch.from_numpy(values[0].astype(np.float32) / np.float32(65535)))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_rgb_keeps_its_precision_and_its_channel_order(tmp_path: Path, suffix: str) -> None:
    rgb = np.array([[[1000, 2, 65535], [257, 30001, 4]]], np.uint16)
    assert cv2.imwrite(str(tmp_path / f"a{suffix}"), rgb[:, :, ::-1])  # OpenCV keeps blue first
    image = read_rgb(tmp_path / f"a{suffix}").permute(1, 2, 0)
    assert torch.equal(image, torch.from_numpy(rgb.astype(np.float32) / np.float32(65535)))


def test_a_transparent_16_bit_picture_is_refused(tmp_path: Path) -> None:
    rgba = np.full((2, 2, 4), 65535, np.uint16)
    file = tmp_path / "a.png"
    assert cv2.imwrite(str(file), rgba)
    assert torch.equal(read_rgb(file), torch.ones(3, 2, 2))
    rgba[0, 0, 3] = 65534
    assert cv2.imwrite(str(file), rgba)
    with pytest.raises(ValueError, match=r"a\.png is transparent in 25\.0%"):
        read_rgb(file)


def test_16_bit_grey_with_opaque_alpha_is_read_as_grey(tmp_path: Path) -> None:
    row = b"\0" + struct.pack(">HHHH", 257, 65535, 30000, 65535)  # filter type, then grey and alpha twice
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 4, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(row)) + png_chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(data)
    assert torch.equal(read_rgb(tmp_path / "a.png"), torch.tensor([257, 30000]).div(65535).expand(3, 1, 2))


def test_a_cmyk_jpeg_is_converted(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    assert levels(tmp_path / "a.jpg") == pytest.approx(np.broadcast_to([255.0, 0, 0], (8, 8, 3)), abs=3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_a_picture_stands_upright_whatever_its_exif_orientation(
    tmp_path: Path, colours: NDArray[np.uint8], suffix: str, orientation: int
) -> None:
    file = tmp_path / f"a{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(colours).save(file, exif=exif, lossless=True)
    with Image.open(file) as image:
        upright = ImageOps.exif_transpose(image)  # for TIFF, newer versions of Pillow have done it on loading
        array = np.asarray(upright)
    assert array.shape == ((20, 12, 3) if orientation >= 5 else (12, 20, 3))
    assert torch.equal(read_rgb(file), expected(array))
    assert size_of(file) == (array.shape[1], array.shape[0])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_16_bit_picture_stands_upright_too(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # taken with the camera turned left: to be shown turned clockwise
    Image.fromarray(np.array([[257, 514, 771]], np.uint16)).save(tmp_path / f"a{suffix}", exif=exif)
    image = read_rgb(tmp_path / f"a{suffix}")
    assert image.shape == (3, 3, 1)
    assert (image[0, :, 0] * 65535).tolist() == pytest.approx([257, 514, 771])
    exif[0x0112] = 3
    Image.fromarray(np.array([[257, 514, 771]], np.uint16)).save(tmp_path / f"a{suffix}", exif=exif)
    assert (read_rgb(tmp_path / f"a{suffix}")[0, 0] * 65535).tolist() == pytest.approx([771, 514, 257])


def test_a_picture_of_one_pixel_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (255, 51, 0)).save(tmp_path / "a.png")
    assert torch.equal(read_rgb(tmp_path / "a.png"), torch.tensor([1, 0.2, 0]).view(3, 1, 1))


def test_real_photographs_survive_reading_and_writing(tmp_path: Path, shared_data: Path) -> None:
    file = next(iter(pictures_in(shared_data / "lol/eval15/low").values()))
    image = read_rgb(file)
    write_png(tmp_path / "a.png", image)
    assert image.shape == (3, 400, 600)
    assert torch.equal(read_rgb(tmp_path / "a.png"), image)


# Reading: what cannot be read faithfully is refused, by name.


def test_a_huge_picture_is_refused_by_its_header_without_a_warning(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_header(12000, 10000))  # Pillow warns from 89 million pixels
    with pytest.raises(ValueError, match=r"a\.png has 12000x10000 pixels, the limit is 67,108,864; make it smaller"):
        read_rgb(tmp_path / "a.png")
    assert size_of(tmp_path / "a.png") == (12000, 10000)


def test_the_limit_of_pixels_is_the_callers(tmp_path: Path) -> None:
    Image.new("RGB", (4, 3)).save(tmp_path / "a.png")
    assert read_rgb(tmp_path / "a.png", max_pixels=12).shape == (3, 3, 4)
    with pytest.raises(ValueError, match="4x3 pixels, the limit is 11;"):
        read_rgb(tmp_path / "a.png", max_pixels=11)


@pytest.mark.parametrize("suffix", sorted(PICTURE_SUFFIXES))
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_file_is_refused(
    tmp_path: Path, colours: NDArray[np.uint8], suffix: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / f"a{suffix}"
    Image.fromarray(np.tile(colours, (8, 8, 1))).save(file, quality=90)
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    # As pyiqa leaves it for the whole process.
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(ValueError, match=rf"a{suffix} (cannot be decoded|has a broken header)"):
        read_rgb(file)


def test_a_truncated_16_bit_file_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 65536, (64, 64, 3), dtype=np.uint16)
    assert cv2.imwrite(str(tmp_path / "a.png"), noise)
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"a\.png cannot be decoded: .*; the file is damaged"):
        read_rgb(tmp_path / "a.png")


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    for door in (read_rgb, size_of):
        with pytest.raises(ValueError, match=r"a\.png is empty"):
            door(tmp_path / "a.png")


def test_a_text_file_is_not_a_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("version https://git-lfs.github.com/spec/v1")
    for door in (read_rgb, size_of):
        with pytest.raises(ValueError, match=r"a\.png is not a picture of a known kind"):
            door(tmp_path / "a.png")


def test_a_missing_file_and_a_folder_are_errors_with_their_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        read_rgb(tmp_path / "none.png")
    (tmp_path / "a.png").mkdir()
    with pytest.raises(OSError, match=r"a\.png"):
        read_rgb(tmp_path / "a.png")


def test_a_float_tiff_is_refused_for_want_of_a_range(tmp_path: Path) -> None:
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif has 32-bit float samples.*save it as a PNG"):
        read_rgb(tmp_path / "a.tif")


def test_a_32_bit_integer_tiff_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((4, 4), np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif has 32-bit integer samples"):
        read_rgb(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_a_file_of_several_pictures_is_refused(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match=rf"a{suffix} holds several pictures"):
        read_rgb(tmp_path / f"a{suffix}")


def test_of_a_stereo_photograph_the_first_picture_is_read(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("white", "black")]
    frames[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=frames[1:])
    assert torch.equal(read_rgb(tmp_path / "a.jpg"), torch.ones(3, 8, 8))


# Size.


def test_the_size_is_read_from_the_header_alone(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_header(33, 7))  # no pixels follow
    assert size_of(tmp_path / "a.png") == (33, 7)


# Writing.


def test_a_written_png_holds_the_rounded_picture(tmp_path: Path) -> None:
    image = torch.rand((3, 5, 7), generator=torch.Generator().manual_seed(0)) * 1.2 - 0.1
    write_png(tmp_path / "a.png", image)
    assert torch.equal(read_rgb(tmp_path / "a.png"), round_8bit(image))
    with Image.open(tmp_path / "a.png") as saved:
        assert saved.mode == "RGB" and saved.size == (7, 5)
        assert np.array_equal(np.asarray(saved), to_uint8(image).permute(1, 2, 0).numpy())


def test_a_failed_write_leaves_neither_a_broken_file_nor_a_partial_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_png(tmp_path / "a.png", torch.zeros(3, 2, 2))
    before = (tmp_path / "a.png").read_bytes()

    def full_disk(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:4])
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="no space left"):
        write_png(tmp_path / "a.png", torch.ones(3, 2, 2))
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == before


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_picture_with_nan_or_infinity_is_not_written(tmp_path: Path, bad: float) -> None:
    image = torch.zeros(3, 2, 2)
    image[0, 0, 0] = bad
    with pytest.raises(ValueError, match=r"a\.png is not written: .*NaN"):
        write_png(tmp_path / "a.png", image)
    assert not list(tmp_path.iterdir())


# Rounding.


def test_rounding_gives_the_exact_float32_of_each_level(device: torch.device) -> None:
    every = torch.from_numpy(np.arange(256, dtype=np.float32) / np.float32(255))
    assert torch.equal(round_8bit(every.to(device)).cpu(), every)
    assert to_uint8(every.to(device)).tolist() == list(range(256))


def test_rounding_is_half_up_to_the_nearest_level(device: torch.device) -> None:
    values = torch.tensor([0.5 / 256, 2.499 / 255, 2.501 / 255, 0.5, 1.5 / 255 + 1e-6], device=device)
    assert to_uint8(values).tolist() == [0, 2, 3, 128, 2]  # 0.5 * 255 = 127.5 goes up


def test_rounding_clips_what_a_png_cannot_hold(device: torch.device) -> None:
    assert round_8bit(torch.tensor([-0.3, 1.7], device=device)).tolist() == [0, 1]


def test_rounding_leaves_its_argument_alone() -> None:
    images = torch.full((1, 3, 2, 2), 0.3)
    round_8bit(images)
    to_uint8(images)
    assert torch.equal(images, torch.full((1, 3, 2, 2), 0.3))


# Resizing.


@pytest.mark.parametrize("size", ["10x6", "40x24", "7x31"])
def test_resizing_is_pillows_bicubic_on_the_8_bit_picture(colours: NDArray[np.uint8], size: str) -> None:
    width, height = map(int, size.split("x"))
    reference = np.asarray(Image.fromarray(colours).resize((width, height), Image.Resampling.BICUBIC))
    resized = resize(expected(colours), size)
    assert resized.shape == (3, height, width)
    assert torch.equal(resized, expected(reference))


def test_resizing_to_its_own_size_changes_nothing(colours: NDArray[np.uint8]) -> None:
    assert torch.equal(resize(expected(colours), "20x12"), expected(colours))


@pytest.mark.parametrize("text", ["384", "384x", "x384", "0x384", "384X384", "384x384x3", "-1x5", "native", ""])
def test_a_malformed_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not WIDTHxHEIGHT"):
        parse_size(text)


# Padding.


def test_padding_mirrors_at_the_right_and_bottom_without_repeating_the_edge(device: torch.device) -> None:
    images = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]], device=device).expand(1, 3, 3, 3)
    padded = pad_to_multiple(images, 4)
    assert padded[0, 0].tolist() == [[1, 2, 3, 2], [4, 5, 6, 5], [7, 8, 9, 8], [4, 5, 6, 5]]
    assert torch.equal(padded[..., :3, :3], images)


def test_a_side_too_short_to_mirror_repeats_its_edge() -> None:
    images = torch.tensor([[1.0, 2, 3]]).expand(1, 3, 1, 3)
    assert pad_to_multiple(images, 4)[0, 0].tolist() == [[1, 2, 3, 2]] * 4


@pytest.mark.parametrize("multiple", [1, 2, 4])
def test_sides_that_fit_already_are_not_padded(multiple: int) -> None:
    images = torch.rand((2, 3, 4, 8), generator=torch.Generator().manual_seed(0))
    assert torch.equal(pad_to_multiple(images, multiple), images)


# Thumbnails.


def test_a_thumbnail_fits_the_side_and_keeps_the_shape() -> None:
    with Image.open(io.BytesIO(thumbnail(torch.full((3, 40, 80), 0.2), 20))) as small:
        assert small.format == "WEBP" and small.size == (20, 10)
        assert np.asarray(small.convert("RGB")) == pytest.approx(51, abs=2)


def test_a_small_picture_is_not_enlarged() -> None:
    with Image.open(io.BytesIO(thumbnail(torch.zeros(3, 4, 8), 20))) as small:
        assert small.size == (8, 4)


# Folders.


def test_pictures_come_in_natural_order_by_stem(tmp_path: Path) -> None:
    for name in ("10.png", "2.JPG", "a1.webp", "1.bmp"):
        (tmp_path / name).touch()
    assert pictures_in(tmp_path) == {
        name.split(".")[0]: tmp_path / name for name in ("1.bmp", "2.JPG", "10.png", "a1.webp")
    }
    assert list(pictures_in(tmp_path)) == ["1", "2", "10", "a1"]


def test_natural_order_tells_1_from_01_and_numbers_from_words() -> None:
    names = ["b2a10", "b2a9", "1", "01", "10", "9", "", "b"]
    assert sorted(names, key=natural_key) == ["", "01", "1", "9", "10", "b", "b2a9", "b2a10"]


def test_hidden_and_other_files_and_folders_are_no_pictures(tmp_path: Path) -> None:
    for name in ("1.png", ".2.png", "._1.png", "Thumbs.db", "readme.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert list(pictures_in(tmp_path)) == ["1"]


def test_two_files_with_one_stem_are_an_error_with_both_names(tmp_path: Path) -> None:
    for name in ("1.png", "1.jpg"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"holds both 1\.jpg and 1\.png; remove or rename"):
        pictures_in(tmp_path)


def test_a_folder_without_pictures_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty holds no picture"):
        pictures_in(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="missing is not a folder"):
        pictures_in(tmp_path / "missing")


def test_importing_the_doors_imports_no_heavy_library() -> None:
    code = "import sys, bench.image; print(sorted({'cv2', 'pyiqa', 'ultralytics', 'skimage'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
