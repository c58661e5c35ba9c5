"""What every test may ask for: the shared reference data, a device, small photographs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of reference data beside the project; skips where it is absent."""
    folder = Path(os.environ.get("BENCH_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"{folder} is not on this machine (BENCH_SHARED_DATA names the folder of reference data)")
    return folder


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Every device of the machine, one test each."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    return torch.device(request.param)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is read from or written into the user's cache."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        # Matplotlib's list of fonts takes seconds to make; it may outlive the session.
        patched.setenv("MPLCONFIGDIR", str(Path(tempfile.gettempdir()) / "lowlight-bench-matplotlib"))
        yield


@pytest.fixture(scope="session")
def photograph() -> torch.Tensor:
    """A real photograph that scikit-image carries: RGB float32 (3, 96, 128) in [0, 1]."""
    from skimage import data

    return torch.from_numpy(data.astronaut()[40:136, 150:278].copy()).permute(2, 0, 1).float() / 255


@pytest.fixture
def pairs(tmp_path: Path, photograph: torch.Tensor) -> Path:
    """A folder of four paired pictures, low/ and high/, the low ones a quarter as bright."""
    from bench import image

    folder = tmp_path / "pairs"
    for name, views in {"low": photograph / 4, "high": photograph}.items():
        (folder / name).mkdir(parents=True)
        for index in range(4):
            image.write_png(folder / name / f"{index + 1}.png", views.roll(index * 7, dims=2))
    return folder
