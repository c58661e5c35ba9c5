from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from bench.metrics import _refit, _shipped
from bench.metrics._distortions import DISTORTIONS
from bench.metrics.brisque import BRISQUE, MODEL, RANGES, brisque_features
from bench.metrics.brisque_refit import DIGEST, BRISQUERefit
from tests._pictures import from_8bit, photographs
from tests._spoilt import CPU, STEPS, as_rebuilt_by_scikit_learn, rank_correlation_on_eval15, worse_and_worse

FILE = _shipped.FOLDER / "brisque_refit.safetensors"


@pytest.mark.parametrize("distortion", STEPS)
def test_brisque_refit_rises_with_every_step_of_a_distortion(distortion: str) -> None:
    metric = BRISQUERefit("", {}, CPU)
    for planes in worse_and_worse(distortion):
        scores = metric.score(planes, None).tolist()
        assert scores == sorted(scores)


def test_brisque_refit_agrees_with_scikit_learns_kernel_on_the_shipped_support_vectors() -> None:
    stored = load_file(FILE)
    planes = from_8bit(*photographs())
    scaled = np.stack(
        [
            np.interp(column, (low, high), (-1, 1))
            for column, low, high in zip(
                brisque_features(planes.grey).numpy().T, stored["low"], stored["high"], strict=True
            )
        ],
        axis=1,
    )
    expected = as_rebuilt_by_scikit_learn(
        stored["vectors"], stored["coefficients"], stored["rho"].item(), stored["gamma"].item(), scaled
    )
    assert BRISQUERefit("", {}, CPU).score(planes, None).tolist() == pytest.approx(expected.tolist(), abs=1e-8)


def test_the_shipped_regression_holds_what_its_metadata_says() -> None:
    facts, stored = _shipped.read_facts("brisque_refit"), load_file(FILE)
    assert sha256(FILE.read_bytes()).hexdigest() == DIGEST
    assert FILE.stat().st_size < 300_000
    assert stored["vectors"].shape == (facts["support_vectors"], 36)
    assert np.abs(stored["vectors"]).max() <= 1
    assert np.abs(stored["coefficients"]).max() == pytest.approx(facts["regression"]["cost"], rel=1e-6)
    assert stored["gamma"].item() == facts["regression"]["gamma"]
    # A photograph may be large enough in one view and, reduced more, too small in another.
    photographs_in_views = facts["pictures"] / (1 + len(facts["distortions"]))
    assert 0.99 * facts["fitted"] * facts["views"] < photographs_in_views <= facts["fitted"] * facts["views"]
    assert f"{facts['fitted']} COCO and ECSSD photographs" in BRISQUERefit.definition
    assert facts["spearman_held_out"]["all"] > 0.9


@pytest.mark.parametrize("distortion", DISTORTIONS)
def test_a_distortion_at_full_strength_has_a_higher_label_than_at_none(distortion: str) -> None:
    photograph = photographs()[0]
    reference = from_8bit(photograph)
    weak, strong = (
        from_8bit(
            np.round(
                255
                * DISTORTIONS[distortion](photograph / 255, strength, np.random.default_rng(0)).clip(0, 1)
            ).astype(np.uint8)
        )
        for strength in (0.0, 1.0)
    )  # fmt: skip
    assert 0 < _refit.label_of(weak, reference) < _refit.label_of(strong, reference) - 20 < 80
    assert _refit.label_of(reference, reference) == 0


def test_a_fit_gives_the_same_three_files_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from skimage import data

    monkeypatch.setattr(_refit, "VIEWS", 1)
    monkeypatch.setattr(_refit, "FOLDS", 2)
    folder = tmp_path / "photographs"
    folder.mkdir()
    for index in range(9):
        crop = data.astronaut()[40 * index : 40 * index + 196, 20 : 20 + 400]
        Image.fromarray(crop).save(folder / f"{index}.png")
    digests = []
    for out in (tmp_path / "one", tmp_path / "other"):
        _refit.main(["--photographs", str(folder), "--seed", "3", "--out", str(out)])
        digests.append([sha256(file.read_bytes()).hexdigest() for file in sorted(out.iterdir())])
    assert digests[0] == digests[1]
    assert len(digests[0]) == 3


def test_two_folders_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two folders are called set/images"):
        _refit.main(["--photographs", f"{tmp_path}/a/set/images,{tmp_path}/b/set/images"])


def test_brisque_refit_ranks_eval15_nearly_as_the_release_does(shared_data: Path) -> None:
    folder = shared_data / "metrics" / "brisque"
    official = BRISQUE("", {file.name: folder / file.name for file in (MODEL, RANGES)}, CPU)
    assert rank_correlation_on_eval15(shared_data, BRISQUERefit("", {}, CPU), official) > 0.75
