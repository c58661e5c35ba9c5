from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.svm import SVC, SVR, NuSVR

from bench.metrics._support_vectors import Classification, Regression, couple, pair_coefficients, read_regression

DRAWS = np.random.default_rng(0)
FEATURES = DRAWS.normal(size=(150, 12))
LABELS = np.digitize(FEATURES[:, 0] + 0.4 * DRAWS.normal(size=150), [-1, -0.3, 0.3, 1])
STRENGTHS = FEATURES[:, 1] * 3 + FEATURES[:, 2] ** 2
UNSEEN = DRAWS.normal(size=(40, 12))


@pytest.mark.parametrize("trained", [SVR(gamma=1 / 12, C=10), NuSVR(gamma=1 / 12, C=10, nu=0.4)])
def test_a_regression_predicts_what_libsvm_predicts(trained) -> None:
    trained.fit(FEATURES, STRENGTHS)
    machine = Regression(
        torch.from_numpy(trained.support_vectors_),
        torch.from_numpy(trained.dual_coef_[0].copy()),
        rho=-trained.intercept_.item(),
        gamma=1 / 12,
    )
    assert machine.predict(torch.from_numpy(UNSEEN)).tolist() == pytest.approx(trained.predict(UNSEEN), rel=1e-9)


def test_a_classification_gives_libsvms_probabilities() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # scikit-learn is about to drop libsvm's own probabilities
        trained = SVC(gamma=1 / 12, C=5, probability=True, random_state=0).fit(FEATURES, LABELS)
        expected, slope, offset = trained.predict_proba(UNSEEN), trained.probA_, trained.probB_
    machine = Classification(
        vectors=torch.from_numpy(trained.support_vectors_),
        # scikit-learn stores libsvm's coefficients transposed, (classes - 1, S), and -rho as its intercept.
        coefficients=pair_coefficients(torch.from_numpy(trained.dual_coef_.T.copy()), trained.n_support_.tolist()),
        rho=torch.from_numpy(-trained.intercept_),
        slope=torch.from_numpy(slope.copy()),
        offset=torch.from_numpy(offset.copy()),
        gamma=1 / 12,
        classes=5,
    )
    assert machine.probabilities(torch.from_numpy(UNSEEN)).numpy() == pytest.approx(expected, abs=1e-9)


def test_coupled_probabilities_of_two_classes_are_the_pairs_own() -> None:
    assert couple([0.8], classes=2) == pytest.approx([0.8, 0.2], abs=0.0025)


def test_equal_pairs_couple_to_equal_classes() -> None:
    assert couple([0.5] * 10, classes=5) == pytest.approx([0.2] * 5)


def test_libsvms_text_file_is_read_with_its_left_out_zeros(tmp_path) -> None:
    file = tmp_path / "model"
    file.write_text(
        "svm_type epsilon_svr\nkernel_type rbf\ngamma 0.5\nnr_class 2\ntotal_sv 2\nrho 0.25\nSV\n2 1:1 3:2 \n-1 2:1 \n",
        encoding="ascii",
    )
    machine = read_regression(file)
    assert machine.vectors.tolist() == [[1, 0, 2], [0, 1, 0]]
    origin = machine.predict(torch.zeros(1, 3, dtype=torch.float64)).item()
    assert origin == pytest.approx(2 * np.exp(-2.5) - np.exp(-0.5) - 0.25)


def test_another_kind_of_machine_is_refused_by_name(tmp_path) -> None:
    file = tmp_path / "model"
    file.write_text("svm_type c_svc\nkernel_type linear\nSV\n1 1:1\n", encoding="ascii")
    with pytest.raises(ValueError, match=r"model holds no support vector regression .*c_svc, linear"):
        read_regression(file)
