from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import py_sod_metrics
import pytest
from numpy.typing import NDArray
from PIL import Image

from bench import plugins
from bench.contracts import Arrays, Measured, Task
from bench.plugins import Spec

scores = sys.modules[plugins.load(Task, Spec.parse("saliency")).__module__.replace("saliency", "_saliency_scores")]

# lartpang/PySODMetrics, examples/version_performance.json, "v1_4_3", over the three pictures of examples/test_data.
PUBLISHED = {
    "mae": 0.03705558476661653,
    "maxf": 0.5886784581120638,
    "avgf": 0.577051059518767,
    "adpf": 0.5816750824038355,
    "wf": 0.5579812753638986,
    "s": 0.9029761578759272,
    "maxe": 0.9669544828922699,
    "avge": 0.9566258293508704,
    "adpe": 0.9408760066970617,
}

Picture = tuple[NDArray[np.uint8], NDArray[np.bool_]]


def overall(found: Sequence[Measured], weights: Sequence[float]) -> dict[str, float]:
    return {one.name: float(one.statistic(np.array([weights], dtype=float))[0]) for one in found}


def by_pysodmetrics(pictures: Sequence[Picture]) -> dict[str, float]:
    """As its examples/test_metrics.py puts the numbers together."""
    f = py_sod_metrics.FmeasureV2({"f": py_sod_metrics.FmeasureHandler(with_dynamic=True, with_adaptive=True)})
    measures = {
        "wf": py_sod_metrics.WeightedFmeasure(),
        "s": py_sod_metrics.Smeasure(),
        "e": py_sod_metrics.Emeasure(),
        "mae": py_sod_metrics.MAE(),
    }
    for saliency, mask in pictures:
        for measure in (f, *measures.values()):
            measure.step(saliency, mask.astype(np.uint8) * 255)
    results = {name: measure.get_results() for name, measure in measures.items()}
    f_found, e_found = f.get_results()["f"], results["e"]["em"]
    return {
        "mae": results["mae"]["mae"],
        "maxf": f_found["dynamic"].max(),
        "avgf": f_found["dynamic"].mean(),
        "adpf": f_found["adaptive"],
        "wf": results["wf"]["wfm"],
        "s": results["s"]["sm"],
        "maxe": e_found["curve"].max(),
        "avge": e_found["curve"].mean(),
        "adpe": e_found["adp"],
    }


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    """Four noisy maps of discs, their thresholds of best F far apart."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:24, :30]
    made = []
    for place in range(4):
        mask = (rows - 6 - 4 * place) ** 2 + (columns - 8 - 4 * place) ** 2 < 30
        noise = random.integers(0, 60 + 40 * place, mask.shape)
        made.append(((mask * (90 + 20 * place) + noise).clip(0, 255).astype(np.uint8), mask))
    return made


@pytest.fixture(scope="module")
def predictions(pictures: list[Picture]) -> list[Arrays]:
    return [scores.contributions(*picture) for picture in pictures]


def test_the_digits_that_pysodmetrics_publishes(shared_data: Path) -> None:
    folder = shared_data / "saliency" / "maps_demo"
    found = []
    for file in sorted((folder / "gt").iterdir()):
        mask = np.asarray(Image.open(file).convert("L")) > 128
        found.append(scores.contributions(np.asarray(Image.open(folder / "pred" / file.name)), mask))
    assert overall(scores.measured(found, {}), [1, 1, 1]) == pytest.approx(PUBLISHED, rel=0, abs=1e-12)


def test_hand_computed_f_curve() -> None:
    found = scores.contributions(np.array([[255, 0], [255, 0]], np.uint8), np.array([[True, True], [False, False]]))
    # Precision and recall are 1/2 at thresholds 255 to 1; at 0 everything is marked and recall is 1.
    curve = [0.5] * 255 + [1.3 * 0.5 / (0.3 * 0.5 + 1)]
    np.testing.assert_allclose(found["f"], curve, rtol=1e-12)
    assert found["adp_f"] == pytest.approx(0.5)  # at twice the mean: 1
    assert found["mae"] == 0.5


def test_a_map_is_stretched_to_its_minimum_and_maximum() -> None:
    mask = np.array([[True, False], [False, False]])
    assert scores.contributions(np.array([[60, 20], [20, 20]], np.uint8), mask)["mae"] == 0
    assert scores.contributions(np.full((2, 2), 51, np.uint8), mask)["mae"] == pytest.approx((0.8 + 3 * 0.2) / 4)


def test_an_all_black_mask_has_f_of_0_and_scores_what_is_left_dark() -> None:
    found = scores.contributions(np.array([[0, 0], [0, 255]], np.uint8), np.zeros((2, 2), bool))
    assert found["mae"] == 0.25
    assert found["s"] == 0.75
    assert found["wf"] == found["adp_f"] == 0
    assert not found["f"].any()
    # 3 of 4 pixels are dark at every threshold but 0; PySODMetrics divides by 4 - 1.
    np.testing.assert_allclose(found["e"], [1] * 255 + [0])


def test_a_mask_in_the_last_column_has_an_s_measure() -> None:
    mask = np.zeros((4, 4), bool)
    mask[:, 3] = True
    assert scores.contributions(mask.astype(np.uint8) * 255, mask)["s"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("saliency", "mask", "said"),
    [
        (np.zeros((2, 3), np.uint8), np.zeros((3, 2), bool), r"shape \(2, 3\).*shape \(3, 2\)"),
        (np.zeros((1, 1), np.uint8), np.ones((1, 1), bool), "two pixels"),
    ],
)
def test_what_cannot_be_scored(saliency: NDArray[np.uint8], mask: NDArray[np.bool_], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        scores.contributions(saliency, mask)


@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (2, 0, 3, 1), (0, 0, 0, 5)])
def test_a_weight_is_a_number_of_repetitions(
    pictures: list[Picture], predictions: list[Arrays], weights: Sequence[int]
) -> None:
    repeated = [picture for picture, count in zip(pictures, weights, strict=True) for _ in range(count)]
    found = overall(scores.measured(predictions, {}), weights)
    assert found == pytest.approx(by_pysodmetrics(repeated), rel=1e-12)


def test_rows_of_weights_are_resamples(predictions: list[Arrays]) -> None:
    weights = np.array([[1.0, 1, 1, 1], [2, 0, 3, 1], [0, 0, 0, 0]])
    for one in scores.measured(predictions, {}):
        first, second, nothing = one.statistic(weights)
        assert [first, second] == pytest.approx([one.statistic(row[None])[0] for row in weights[:2]])
        assert math.isnan(nothing)


def test_maximum_f_and_e_are_no_means_over_pictures(predictions: list[Arrays]) -> None:
    for one in scores.measured(predictions, {}):
        if one.name in ("maxf", "maxe"):
            assert one.values is None
        else:
            assert one.values is not None
            assert one.statistic(np.ones((1, 4)))[0] == pytest.approx(one.values.mean())


def test_columns_in_the_order_of_tables(predictions: list[Arrays]) -> None:
    found = scores.measured(predictions, {})
    labels = ["MAE", "max F", "avg F", "adp F", "wF", "S", "max E", "avg E", "adp E"]
    assert [one.label for one in found] == labels
    assert [one.label for one in found if not one.higher_is_better] == ["MAE"]
    assert {one.group for one in found} == {""}


def test_a_picture_without_prediction_counts_nowhere(pictures: list[Picture], predictions: list[Arrays]) -> None:
    found = scores.measured([predictions[0], None, predictions[2], predictions[3]], {})
    assert overall(found, [1, 0, 1, 1]) == pytest.approx(by_pysodmetrics([pictures[0], *pictures[2:]]))
    assert overall(found, [1, 1, 1, 1]) == overall(found, [1, 0, 1, 1])
    mae = next(one for one in found if one.name == "mae")
    assert mae.values is not None
    assert np.isnan(mae.values).tolist() == [False, True, False, False]


def test_without_any_prediction_there_are_the_same_columns_without_value() -> None:
    found = scores.measured([None, None], {})
    assert [one.name for one in found] == list(PUBLISHED)
    assert all(math.isnan(value) for value in overall(found, [1, 1]).values())


def test_groups_have_tables_of_their_own(pictures: list[Picture], predictions: list[Arrays]) -> None:
    found = scores.measured(predictions, {"light": ["twilight", "low", "twilight", ""]})
    grouped = {(one.group, one.label): one for one in found if one.group}
    assert list(grouped) == [
        ("MAE by light", "low"),
        ("MAE by light", "twilight"),
        ("max F by light", "low"),
        ("max F by light", "twilight"),
    ]
    assert len({one.name for one in found}) == len(found)
    expected = by_pysodmetrics([pictures[0], pictures[2], pictures[2]])
    weights = np.array([[1.0, 4, 2, 5]])
    assert grouped["max F by light", "twilight"].statistic(weights)[0] == pytest.approx(expected["maxf"])
    assert grouped["MAE by light", "twilight"].statistic(weights)[0] == pytest.approx(expected["mae"])
    assert math.isnan(grouped["MAE by light", "low"].statistic(np.array([[1.0, 0, 1, 1]]))[0])
