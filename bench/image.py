"""The doors between picture files and the one image convention, RGB float32 (3, H, W) in [0, 1]."""

from __future__ import annotations

import io
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, TypeVar, cast
from uuid import uuid4

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from torch import Tensor
from torch.nn import functional

Item = TypeVar("Item")
Result = TypeVar("Result")

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
"""File endings taken for pictures, in lower case; upper case counts too."""

MAX_PIXELS = 2**26
"""Largest picture that is decoded, 8192 x 8192; below the size from which Pillow warns of a decompression bomb."""

# Opened by signature rather than by Image.open: that one warns of large pictures on its own terms, and a warning cannot
# be held back safely while other threads decode.
_FORMATS: tuple[tuple[tuple[bytes, ...], type[ImageFile.ImageFile]], ...] = (
    ((b"\x89PNG\r\n\x1a\n",), PngImagePlugin.PngImageFile),
    ((b"\xff\xd8\xff",), JpegImagePlugin.JpegImageFile),
    ((b"RIFF",), WebPImagePlugin.WebPImageFile),
    ((b"BM",), BmpImagePlugin.BmpImageFile),
    ((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), TiffImagePlugin.TiffImageFile),
)
NETWORK_READS = 16
"""Files that are read at the same time over a network, where nearly all of the time is waiting."""

_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError, IndexError, struct.error, zlib.error)
"""What Pillow's decoders raise for broken files."""

_ORIENTATION = 0x0112  # EXIF and TIFF tag
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_SAMPLE_FORMAT = 256, 257, 258, 262, 339
_TIFF_UNSIGNED, _TIFF_FLOAT = 1, 3
_PNG_BIT_DEPTH = 24  # offset of the byte in the file: signature 8, length and name 8, width and height 8


def path_of(text: str) -> Path:
    """The path that a user's words name: local, or for an fsspec address ('s3://bucket/lol') one that reads there.

    So is a chain of addresses ('simplecache::s3://bucket/lol'). What stands for an address has the methods by which a
    Path lists and reads; making it asks nothing of a server. Raises ImportError naming what to install, ValueError for
    an address of no known filesystem.
    """
    if "://" not in text:
        return Path(text).expanduser()
    local = re.match("(file|local)://", text)
    if local:
        return Path(text[local.end() :])
    try:
        from upath import UPath  # here, because few roots are remote
    except ImportError as error:
        raise ImportError(
            f"{text} is an address, which needs pip install 'lowlight-bench[remote]' ({error})"
        ) from error
    try:
        # No subclass of Path, because it can neither be opened by the system nor be written; it reads like one.
        return cast(Path, UPath(text if text.endswith("://") else text.rstrip("/")))
    except ValueError as error:
        known = "a path, file://, s3://, gs://, az://, http:// or https://"
        raise ValueError(f"{text}: {error}; write {known}") from error


def is_remote(path: Path) -> bool:
    """Whether `path_of` made the path from an address, so that every look at it is a request to a server."""
    return not isinstance(path, Path)


def absolute(path: Path) -> Path:
    """The path in full, without links; an address is in full already."""
    return path if is_remote(path) else path.resolve()


def is_folder(place: Path) -> bool:
    """Whether a folder is there; raises OSError naming what hinders where it is an address that cannot be asked."""
    if not is_remote(place):
        return place.is_dir()
    try:
        with reading(place):
            if place.is_dir():
                return True
            place.stat()  # some filesystems say that there is no folder where they were refused or did not get through
    except FileNotFoundError:
        pass
    return False


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever the filesystem of an address raises into an OSError that names the path, as a local one's does."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:  # botocore's errors are no OSError, gcsfs's neither, and s3fs's name no file
        if not is_remote(path):
            raise
        kind = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
        raise OSError(f"{path} cannot be read: {kind}{error} (see docs/remote.md)") from error


def over_network(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """What `work` gives for each item, in their order; many at the same time, since each mostly waits for a server."""
    with ThreadPoolExecutor(NETWORK_READS) as pool:
        return list(pool.map(work, items))


def read_rgb(path: Path, max_pixels: int = MAX_PIXELS) -> Tensor:
    """Decode a picture as RGB float32 (3, H, W) in [0, 1], standing upright as a person sees it.

    8 bit is divided by 255, 16 bit by 65535; grey is repeated, an opaque alpha channel dropped, CMYK converted. Colour
    profiles are ignored, as in every published implementation. Raises OSError or ValueError naming the file for what
    cannot be read faithfully: damaged, transparent, animated, float or larger than `max_pixels`.
    """
    with reading(path):
        data = path.read_bytes()
    image = _open(path, io.BytesIO(data))
    width, height = _upright_size(image)
    if width * height > max_pixels:
        raise ValueError(f"{path} has {width}x{height} pixels, the limit is {max_pixels:,}; make it smaller first")
    if getattr(image, "is_animated", False):
        raise ValueError(f"{path} holds several pictures (animation or pages); save the wanted one as a PNG")
    bits = _bits_per_sample(path, image, data)
    # Both Pillow and OpenCV turn a TIFF upright themselves, and nothing else.
    orientation = 1 if isinstance(image, TiffImagePlugin.TiffImageFile) else _orientation(image)
    # Importing pyiqa turns this on for the whole process, and a truncated file then decodes as a half-grey picture.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        image.load()
    except _DAMAGE as error:
        raise ValueError(
            f"{path} cannot be decoded: {error}; the file is damaged, copy or download it again"
        ) from error
    array = _decode_16_bit(path, data) if bits == 16 else np.asarray(_as_rgb(path, image))
    return _tensor(_upright(array, orientation), 65535 if bits == 16 else 255)


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of the upright picture; of a local file the header alone is read."""
    if not is_remote(path):
        with path.open("rb") as stream:
            return _upright_size(_open(path, stream))
    with reading(path):  # whole: filesystems fetch blocks larger than most pictures
        content = path.read_bytes()
    return _upright_size(_open(path, io.BytesIO(content)))


def write_png(path: Path, image: Tensor) -> None:
    """Save (3, H, W) in [0, 1] as an 8-bit PNG; the file appears whole or not at all."""
    if not bool(torch.isfinite(image).all()):
        raise ValueError(f"{path} is not written: the picture has values that are NaN or infinite")
    # Beside the target: a rename is atomic only inside one file system.
    partial = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        partial.write_bytes(encode_png(image))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def encode_png(image: Tensor) -> bytes:
    """(3, H, W) in [0, 1] as the content of an 8-bit PNG file."""
    stream = io.BytesIO()
    # Level 1 is several times faster than the default for files a tenth larger; the pixels are the same.
    _pillow(image).save(stream, format="PNG", compress_level=1)
    return stream.getvalue()


def encode_webp(image: Tensor, stream: IO[bytes], quality: int | None) -> None:
    """Write (3, H, W) in [0, 1] as WebP: quality 0 to 100, None for every 8-bit value unchanged."""
    if quality is None:
        _pillow(image).save(stream, format="WEBP", lossless=True, method=4)
    else:
        _pillow(image).save(stream, format="WEBP", quality=quality, method=4)


def round_8bit(images: Tensor) -> Tensor:
    """The values that a saved 8-bit PNG would hold: clipped to [0, 1], rounded half up to k/255, float32."""
    return from_uint8(to_uint8(images))


def to_uint8(images: Tensor) -> Tensor:
    """Pictures in [0, 1] as uint8 levels 0 to 255, clipped and rounded half up; any shape."""
    return _halves_up(images).to(torch.uint8)


def from_uint8(levels: Tensor) -> Tensor:
    """Levels 0 to 255 as the float32 values k/255; any shape."""
    # Divided by a tensor: by a Python number, CUDA multiplies with the reciprocal, which misses k/255 in the last bit.
    return levels / torch.full((), 255.0, device=levels.device)


def digests(pictures: Tensor) -> list[str]:
    """SHA-256 over the values of each picture of (N, 3, H, W) as they lie in memory, plane by plane."""
    return [sha256(one.contiguous().numpy().tobytes()).hexdigest() for one in pictures.cpu()]


def parse_size(text: str) -> tuple[int, int]:
    """Width and height from 'WIDTHxHEIGHT'."""
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text, re.ASCII)
    if match is None:
        raise ValueError(f"size {text!r} is not WIDTHxHEIGHT in pixels, e.g. 384x384")
    return int(match[1]), int(match[2])


def resize(image: Tensor, size: str) -> Tensor:
    """Resize (3, H, W) to 'WIDTHxHEIGHT' by Pillow's antialiased bicubic on the 8-bit picture."""
    resized = _pillow(image).resize(parse_size(size), Image.Resampling.BICUBIC)
    return _tensor(np.asarray(resized), 255).to(image.device)


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Extend (N, 3, H, W) at the right and bottom until both sides are multiples; crop with [..., :H, :W] to undo.

    Mirrored without repeating the edge; an axis shorter than its own padding repeats the edge instead.
    """
    for axis in (-1, -2):
        side = images.shape[axis]
        extra = -side % multiple
        if extra:
            padding = (0, extra, 0, 0) if axis == -1 else (0, 0, 0, extra)
            images = functional.pad(images, padding, mode="reflect" if extra < side else "replicate")
    return images


def thumbnail(image: Tensor, side: int) -> bytes:
    """A small WebP of (3, H, W) whose longer side is at most `side`; never enlarged."""
    small = _pillow(image)
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, format="WEBP", quality=80)
    return buffer.getvalue()


def natural_key(text: str) -> tuple[Any, ...]:
    """Sort key that puts 2 before 10."""
    parts = re.split(r"(\d+)", text)
    # Texts stand at even and numbers at odd places, so that like is compared with like; `text` settles 1 against 01.
    return (*(int(part) if place % 2 else part.casefold() for place, part in enumerate(parts)), -1, text)


def pictures_in(folder: Path) -> dict[str, Path]:
    """The picture files directly in a folder by stem, in natural order; hidden and other files are left out.

    Raises FileNotFoundError where the folder is missing or has no picture, ValueError where two files share a stem.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir(), key=lambda file: natural_key(file.name)):
        if file.name.startswith(".") or file.suffix.lower() not in PICTURE_SUFFIXES:
            continue
        if not is_remote(file) and not file.is_file():  # a server may need a request for each
            continue
        if file.stem in found:
            raise ValueError(
                f"{folder} holds both {found[file.stem].name} and {file.name}; remove or rename one of them"
            )
        found[file.stem] = file
    if not found:
        endings = ", ".join(sorted(PICTURE_SUFFIXES))
        raise FileNotFoundError(f"{folder} holds no picture ({endings})")
    return dict(sorted(found.items(), key=lambda item: natural_key(item[0])))


def _tensor(array: NDArray[Any], peak: int) -> Tensor:
    # Planes are parted while they are small: a strided cast to float takes ten times as long.
    planes = torch.from_numpy(np.array(array)).permute(2, 0, 1).contiguous()
    return planes.float().div_(peak)


def _halves_up(images: Tensor) -> Tensor:
    """Levels whose whole part is the rounded one."""
    return images.to(torch.float32).clamp(0, 1).mul_(255).add_(0.5)


def _pillow(image: Tensor) -> Image.Image:
    return Image.fromarray(to_uint8(image.detach()).cpu().permute(1, 2, 0).contiguous().numpy())


def _open(path: Path, stream: IO[bytes]) -> ImageFile.ImageFile:
    """Read the header; the pixels are not decoded yet."""
    start = stream.read(16)
    stream.seek(0)
    if not start:
        raise ValueError(f"{path} is empty; copy or download it again")
    for signatures, picture in _FORMATS:
        if start.startswith(signatures):
            try:
                return picture(stream, str(path))
            except Image.DecompressionBombError as error:
                raise ValueError(f"{path} is too large: {error}; make it smaller first") from error
            except _DAMAGE as error:
                raise ValueError(f"{path} has a broken header: {error}; copy or download it again") from error
    raise ValueError(f"{path} is not a picture of a known kind (PNG, JPEG, WebP, BMP, TIFF)")


def _upright_size(image: ImageFile.ImageFile) -> tuple[int, int]:
    width, height = image.size
    if isinstance(image, TiffImagePlugin.TiffImageFile):  # its size is upright already, in some versions of Pillow
        width, height = int(image.tag_v2[_TIFF_WIDTH]), int(image.tag_v2[_TIFF_HEIGHT])
    return (height, width) if _orientation(image) in (5, 6, 7, 8) else (width, height)


def _orientation(image: ImageFile.ImageFile) -> int:
    """EXIF orientation 1 to 8, as far as it stands before the pixels."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return int(image.tag_v2.get(_ORIENTATION, 1))
    try:
        # The base class's: PngImageFile's own decodes all pixels in search of an EXIF chunk behind them.
        return int(Image.Image.getexif(image).get(_ORIENTATION, 1))
    except _DAMAGE:  # a picture with unreadable EXIF is shown by every viewer as it lies in the file
        return 1


def _bits_per_sample(path: Path, image: ImageFile.ImageFile, data: bytes) -> int:
    """8 (or fewer) or 16; read from the header because Pillow presents 16-bit RGB as 8 bit."""
    if isinstance(image, PngImagePlugin.PngImageFile):
        return data[_PNG_BIT_DEPTH]
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 8
    bits = max(image.tag_v2.get(_TIFF_BITS, (1,)))
    kinds = set(image.tag_v2.get(_TIFF_SAMPLE_FORMAT, (_TIFF_UNSIGNED,)))
    photometric = image.tag_v2.get(_TIFF_PHOTOMETRIC)
    if kinds == {_TIFF_UNSIGNED} and (bits <= 8 or (bits == 16 and photometric in (1, 2))):
        return int(bits)
    kind = f"{bits}-bit {'float' if kinds == {_TIFF_FLOAT} else 'integer'} samples"
    raise ValueError(
        f"{path} has {kind} (photometric {photometric}); only unsigned 8-bit and plain 16-bit TIFF have a known range,"
        " save it as a PNG"
    )


def _decode_16_bit(path: Path, data: bytes) -> NDArray[np.uint16]:
    import cv2  # here, because few sets hold 16-bit pictures

    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16:
        raise ValueError(f"{path} cannot be decoded as a 16-bit picture; save it as an 8-bit or 16-bit RGB PNG")
    array: NDArray[np.uint16] = decoded.astype(np.uint16, copy=False)
    if array.ndim == 2:
        return np.repeat(array[:, :, None], 3, axis=2)
    if array.shape[2] == 4:
        _refuse_transparency(path, array[:, :, 3], 65535)
    return array[:, :, 2::-1]  # OpenCV keeps blue first


def _as_rgb(path: Path, image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        _refuse_transparency(path, np.asarray(image.getchannel("A")), 255)
    if image.mode in ("RGB", "RGBA", "L", "1", "P", "CMYK", "YCbCr"):
        return image.convert("RGB")
    raise ValueError(f"{path} has colour mode {image.mode}, which has no agreed RGB form; save it as an RGB PNG")


def _refuse_transparency(path: Path, alpha: NDArray[Any], opaque: int) -> None:
    share = float((alpha < opaque).mean())
    if share:
        raise ValueError(
            f"{path} is transparent in {share:.1%} of its pixels, and its look depends on what lies behind it;"
            " flatten it onto a background first"
        )


def _upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn and mirror rows and columns as the EXIF orientation says (TIFF 6.0, tag 274)."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array
