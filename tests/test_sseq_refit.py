from __future__ import annotations

from hashlib import sha256
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from sklearn.svm import SVC

from bench.metrics import _refit, _shipped
from bench.metrics.sseq import MODEL, SSEQ, sseq_features
from bench.metrics.sseq_refit import DIGEST, SSEQRefit
from tests._pictures import from_8bit, photographs
from tests._spoilt import CPU, STEPS, as_rebuilt_by_scikit_learn, rank_correlation_on_eval15, worse_and_worse

FILE = _shipped.FOLDER / "sseq_refit.safetensors"


@pytest.mark.parametrize("distortion", STEPS)
def test_sseq_refit_rises_with_every_step_of_a_distortion(distortion: str) -> None:
    metric = SSEQRefit("", {}, CPU)
    for planes in worse_and_worse(distortion):
        scores = metric.score(planes, None).tolist()
        assert scores == sorted(scores)


def test_sseq_refit_is_the_expected_strength_under_coupled_pairwise_probabilities() -> None:
    stored = load_file(FILE)
    planes = from_8bit(*photographs())
    ranges = zip(sseq_features(planes.grey).numpy().T, stored["low"], stored["high"], strict=True)
    scaled = np.stack([-1 + (column - low) * (2 / (high - low)) for column, low, high in ranges], axis=1)
    classes = len(_refit.CLASSES)
    strengths = np.stack(
        [
            as_rebuilt_by_scikit_learn(
                stored[f"strength{index}.vectors"],
                stored[f"strength{index}.coefficients"],
                stored[f"strength{index}.rho"].item(),
                stored[f"strength{index}.gamma"].item(),
                scaled,
            )
            for index in range(classes)
        ],
        axis=1,
    )
    expected = []
    for row, strength in zip(scaled, strengths, strict=True):
        wins = np.zeros((classes, classes))
        for column, (one, other) in enumerate(combinations(range(classes), 2)):
            decision = as_rebuilt_by_scikit_learn(
                stored["classifier.vectors"],
                stored["classifier.coefficients"][:, column],
                stored["classifier.rho"][column],
                stored["classifier.gamma"].item(),
                row[None],
            )
            slope, offset = stored["classifier.slope"][column], stored["classifier.offset"][column]
            wins[one, other] = 1 / (1 + np.exp(slope * decision[0] + offset))
            wins[other, one] = 1 - wins[one, other]
        # Wu, Lin and Weng, method 2, solved as the linear system it is instead of iterated.
        quadratic = -wins.T * wins
        np.fill_diagonal(quadratic, (wins**2).sum(0))
        bordered = np.block([[quadratic, np.ones((classes, 1))], [np.ones((1, classes)), np.zeros((1, 1))]])
        probabilities = np.linalg.solve(bordered, np.append(np.zeros(classes), 1))[:classes]
        expected.append(50 + 50 * probabilities @ strength)
    # The iteration stops at an error of 0.005 / classes in the probabilities, as libsvm's does.
    assert SSEQRefit("", {}, CPU).score(planes, None).tolist() == pytest.approx(expected, abs=0.3)


def test_the_shipped_machines_hold_what_their_metadata_says() -> None:
    facts, stored = _shipped.read_facts("sseq_refit"), load_file(FILE)
    assert sha256(FILE.read_bytes()).hexdigest() == DIGEST
    assert FILE.stat().st_size < 300_000
    vectors = [tensor for name, tensor in stored.items() if name.endswith("vectors")]
    assert sum(map(len, vectors)) == facts["support_vectors"]
    assert len(vectors) == 1 + len(facts["distortions"])
    assert max(np.abs(tensor).max() for tensor in vectors) <= 1
    assert np.abs(stored["classifier.coefficients"]).max() <= facts["classifier"]["cost"] * (1 + 1e-6)
    # A photograph may be large enough in one view and, reduced more, too small in another.
    photographs_in_views = facts["pictures"] / len(facts["distortions"])
    assert 0.99 * facts["fitted"] * facts["views"] < photographs_in_views <= facts["fitted"] * facts["views"]
    assert f"{facts['fitted']} COCO and ECSSD photographs" in SSEQRefit.definition
    assert facts["spearman_held_out"]["all"] > 0.85


def test_the_fitted_classification_decides_as_scikit_learn_does() -> None:
    random = np.random.default_rng(0)
    classes = np.arange(200) % len(_refit.CLASSES)
    scaled = random.normal(0, 0.35, (200, 12)) + np.eye(12)[classes]
    stage = _refit.fit_classification(scaled, classes, [str(row // 8) for row in range(200)])
    settings = _refit.SSEQ_CLASSIFIER
    machine = SVC(kernel="rbf", gamma=settings.gamma, C=settings.cost).fit(scaled, classes)
    new = random.normal(0, 0.35, (60, 12)) + np.eye(12)[classes[:60]]
    probabilities = stage.probabilities(torch.from_numpy(new))
    assert probabilities.sum(1).tolist() == pytest.approx([1.0] * 60)
    sure = probabilities.max(1).values > 0.7
    assert sure.sum() > 40
    assert probabilities.argmax(1)[sure].tolist() == machine.predict(new)[sure.numpy()].tolist()


def test_sseq_refit_ranks_eval15_nearly_as_the_release_does(shared_data: Path) -> None:
    official = SSEQ("", {MODEL.name: shared_data / "metrics" / "sseq" / MODEL.name}, CPU)
    assert rank_correlation_on_eval15(shared_data, SSEQRefit("", {}, CPU), official) > 0.8
