"""What a check calls a regression; runs are written out by hand, p-values counted (2/2^n for n equal signs)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from bench.baseline import Baseline, Made, Series, Subject, Timed
from bench.gate import Finding, Limits, Status, check
from bench.verdict import headline, junit, markdown, workflow_commands

IMAGES = tuple("abcdefgh")
COLUMN = {
    "dataset": "night",
    "dataset_label": "Night",
    "protocol": "native-8bit",
    "metric": "psnr",
    "metric_label": "PSNR",
    "higher_is_better": True,
    "unit": "dB",
    "decimals": 2,
    "definition": "",
    "noise": 0.01,
}
PACE = (1.0, 1.0, 1.0)


def run(
    values: Mapping[str, Sequence[float | None]],
    *,
    pictures: Sequence[str] = IMAGES,
    contents: Mapping[str, str] | None = None,
    seconds: float = 0.1,
    metric_seconds: float = 0.005,
    errors: Mapping[str, Mapping[str, str]] | None = None,
    column: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Baseline:
    """A run of one metric on one data set; `contents` replaces what is known of the enhanced pictures."""
    made = {method: f"{method} made this" for method in values} | dict(contents or {})
    facts: dict[str, Any] = {
        "provenance": {"seed": 0, "threads": 1, "packages": {"torch": "2.15.0"}},
        "protocol": {"name": "native-8bit", "size": "native", "rounding": "8bit"},
        "images": {"night": {image: f"file {image}" for image in pictures}},
        "methods": {name: Subject(label=name.title(), digest="1", files={}) for name in values},
        "metrics": {"psnr": Subject(label="PSNR", digest="1", files={"table": "1"})},
        "columns": [{**COLUMN, **(column or {})}],
        "series": [
            Series(
                method=name,
                dataset="night",
                protocol="native-8bit",
                metric="psnr",
                mean=sum(one for one in each if one is not None) / len(each),
                n=len(each),
                values=list(each),
                errors=dict((errors or {}).get(name, {})),
            )
            for name, each in values.items()
        ],
        "made": [
            Made(method=name, dataset="night", contents=[made[name]] * len(pictures), seconds=[seconds] * len(pictures))
            for name in values
        ],
        "timed": [Timed(name="psnr", dataset="night", seconds=[metric_seconds] * len(pictures))],
        "yardsticks": {"convolution": PACE, "serial": PACE},
    }
    return Baseline(**{**facts, **changes})


def findings(saved: Baseline, found: Baseline, **limits: Any) -> tuple[Finding, ...]:
    return check(saved, found, Limits(**limits)).findings


def one(saved: Baseline, found: Baseline, **limits: Any) -> Finding:
    (finding,) = findings(saved, found, **limits)
    return finding


def shifted(by: float, count: int = 8) -> list[float]:
    """Eight pictures at 20 dB, the first `count` of them moved."""
    return [20 + by * (index < count) for index in range(8)]


def remade(values: Sequence[float | None], **rest: Any) -> Baseline:
    """A run whose method made other pictures than the baseline's."""
    return run({"m": values}, contents={"m": "something else"}, **rest)


BEFORE = run({"m": shifted(0)})


def test_the_same_run_passes() -> None:
    verdict = check(BEFORE, BEFORE, Limits())
    assert (verdict.findings, verdict.incomparable, verdict.notes) == ((), (), ())
    assert headline(verdict) == "passed: 1 cells and 2 speeds compared; nothing changed"


def test_a_loss_on_every_picture_is_a_regression() -> None:
    finding = one(BEFORE, remade(shifted(-0.1)))
    assert (finding.status, finding.pictures, finding.of) == (Status.WORSE, 8, 8)
    assert finding.change == pytest.approx(-0.1)
    assert finding.p == pytest.approx(2 / 2**8)


def test_a_gain_on_every_picture_is_an_improvement_and_passes() -> None:
    verdict = check(BEFORE, remade(shifted(0.1)), Limits())
    assert [finding.status for finding in verdict.findings] == [Status.BETTER]
    assert verdict.passed


def test_where_lower_is_better_a_rise_is_the_regression() -> None:
    error = {"higher_is_better": False}
    saved, found = (run({"m": shifted(by)}, column=error, contents={"m": str(by)}) for by in (0, 0.1))
    assert one(saved, found).status is Status.WORSE
    assert one(found, saved).status is Status.BETTER


def test_differences_within_the_noise_are_none() -> None:
    assert findings(BEFORE, remade(shifted(-0.009))) == ()


def test_a_loss_within_the_tolerance_is_listed_as_changed() -> None:
    finding = one(BEFORE, remade(shifted(-0.1)), tolerance={"psnr": 0.2})
    assert (finding.status, finding.status.regression) == (Status.CHANGED, False)


def test_five_pictures_that_lose_cannot_be_told_from_chance() -> None:
    # 2/2^5 = 0.0625
    finding = one(BEFORE, remade(shifted(-3, count=5)))
    assert (finding.status, finding.pictures, finding.p) == (Status.CHANGED, 5, None)
    assert finding.detail == "largest loss: a -3.00 dB"


def test_the_tests_of_a_column_are_corrected_for_each_other() -> None:
    # Six of six signs: p = 2/2^6 = 0.031 alone, 0.0625 as one of two methods that moved.
    saved = run({"m": shifted(0), "k": shifted(0)})
    alone = run({"m": shifted(-1, 6), "k": shifted(0)}, contents={"m": "other"})
    both = run({"m": shifted(-1, 6), "k": shifted(-1, 6)}, contents={"m": "other", "k": "other"})
    assert [(each.status, each.p) for each in findings(saved, alone)] == [(Status.WORSE, 2 / 2**6)]
    assert [(each.status, each.p) for each in findings(saved, both)] == [(Status.CHANGED, 4 / 2**6)] * 2


def test_other_values_of_the_same_pictures_are_the_metrics_fault() -> None:
    finding = one(BEFORE, run({"m": shifted(0.1)}))
    assert (finding.status, finding.status.regression) == (Status.REMEASURED, True)


def test_infinite_values_are_equal_and_their_loss_is_named() -> None:
    perfect = run({"m": [float("inf")] * 8})
    assert findings(perfect, remade([float("inf")] * 8)) == ()
    finding = one(perfect, remade([40.0] * 8))
    assert (finding.status, finding.detail) == (Status.WORSE, "largest loss: a -inf dB")


def test_a_picture_that_now_fails_is_a_regression_with_its_reason() -> None:
    finding = one(BEFORE, remade([*shifted(0)[:7], None], errors={"m": {"h": "returned NaN"}}))
    assert (finding.status, finding.detail) == (Status.FAILING, "h: returned NaN")


def test_a_picture_that_is_gone_is_missing_and_the_others_are_compared() -> None:
    found = remade(shifted(-0.1)[:7], pictures=IMAGES[:7])
    missing, worse = findings(BEFORE, found)
    assert (missing.status, missing.detail) == (Status.MISSING, "h no longer in the data set")
    assert (worse.status, worse.of) == (Status.WORSE, 7)


@pytest.mark.parametrize(
    ("lacking", "what"),
    [
        ({"methods": {}, "series": [], "made": []}, ("m", "", "")),
        ({"images": {}, "columns": [], "series": [], "made": [], "timed": []}, ("", "night", "")),
        ({"columns": [], "series": [], "timed": []}, ("", "night", "psnr")),
    ],
)
def test_what_the_run_lacks_is_named(lacking: dict[str, Any], what: tuple[str, str, str]) -> None:
    finding = one(BEFORE, run({"m": shifted(0)}, **lacking))
    assert (finding.method, finding.dataset, finding.metric) == what
    assert finding.status is Status.MISSING


def test_what_the_baseline_lacks_is_new_and_passes() -> None:
    verdict = check(BEFORE, run({"m": shifted(0), "k": shifted(0)}), Limits())
    assert [(finding.status, finding.method) for finding in verdict.findings] == [(Status.NEW, "k")]
    assert verdict.passed


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"protocol": {"name": "native-none", "size": "native", "rounding": "none"}}, "protocol: rounding is '8bit'"),
        ({"provenance": {"seed": 1}}, "seed: 0 in the baseline, 1 in the run"),
        ({"images": {"night": {**dict.fromkeys(IMAGES, "x"), "a": "file a"}}}, "data: b, c, d and 4 more of night are"),
        ({"metrics": {"psnr": Subject(label="PSNR", digest="1", files={"table": "2"})}}, "parameters: table of PSNR"),
    ],
)
def test_what_cannot_be_compared_says_why(changes: dict[str, Any], reason: str) -> None:
    verdict = check(BEFORE, run({"m": shifted(-5)}, **changes), Limits())
    assert verdict.findings == ()
    assert not verdict.passed
    assert verdict.incomparable[0].startswith(reason)


def test_low_pictures_that_are_made_differently_cannot_be_compared() -> None:
    saved, found = (run({"input": shifted(0)}, contents={"input": made}) for made in ("so", "otherwise"))
    (reason,) = check(saved, found, Limits()).incomparable
    assert reason == "data: a, b, c and 5 more of night come out of the same files differently (its code changed)"


def test_another_detector_cannot_be_compared() -> None:
    saved, found = (run({"m": shifted(0)}, column={"protocol": f"native-8bit+{name}"}) for name in ("yolo", "other"))
    (reason,) = check(saved, found, Limits()).incomparable
    assert reason == "protocol: Night was scored under native-8bit+yolo, now under native-8bit+other"


def test_twice_the_time_is_slower() -> None:
    finding = one(BEFORE, run({"m": shifted(0)}, seconds=0.2))
    assert (finding.status, finding.method, finding.change) == (Status.SLOWER, "m", pytest.approx(2))
    assert one(run({"m": shifted(0)}, seconds=0.2), BEFORE).status is Status.FASTER


def test_twice_the_time_on_a_machine_of_half_the_speed_is_none() -> None:
    slow = {"convolution": (2.0, 2.0, 2.0), "serial": (2.0, 2.0, 2.0)}
    assert findings(BEFORE, run({"m": shifted(0)}, seconds=0.2, yardsticks=slow)) == ()


def test_half_of_the_threads_excuses_what_uses_threads_only() -> None:
    # On one thread instead of two: convolutions take twice as long, serial work does not.
    fewer = {"convolution": (2.0, 2.0, 2.0), "serial": PACE}
    assert findings(BEFORE, run({"m": shifted(0)}, seconds=0.2, yardsticks=fewer)) == ()
    assert one(BEFORE, run({"m": shifted(0)}, seconds=0.4, yardsticks=fewer)).change == pytest.approx(2)


def test_an_unsteady_machine_gets_the_benefit_of_the_doubt() -> None:
    unsteady = {"convolution": (1.0, 1.5, 1.5), "serial": PACE}
    assert findings(BEFORE, run({"m": shifted(0)}, seconds=0.2, yardsticks=unsteady)) == ()


def test_times_below_a_hundredth_of_a_second_are_not_judged() -> None:
    assert findings(run({"m": shifted(0)}, seconds=1e-4), run({"m": shifted(0)}, seconds=5e-3)) == ()


def test_a_metric_that_slows_down_is_named() -> None:
    finding = one(BEFORE, run({"m": shifted(0)}, metric_seconds=0.03))
    assert (finding.status, finding.metric, finding.method) == (Status.SLOWER, "psnr", "")


def test_speed_is_left_out_on_request() -> None:
    assert findings(BEFORE, run({"m": shifted(0)}, seconds=9), slower=0) == ()


def test_other_weights_fail_and_other_versions_are_told() -> None:
    def with_weights(sha: str, torch: str) -> Baseline:
        methods = {"m": Subject(label="M", digest=sha, files={"m.safetensors": sha})}
        provenance = {"seed": 0, "threads": 1, "packages": {"torch": torch}}
        return run({"m": shifted(0)}, methods=methods, provenance=provenance)

    verdict = check(with_weights("aaaaaaaaaa", "2.15.0"), with_weights("bbbbbbbbbb", "2.11.0"), Limits())
    assert [(finding.status, finding.detail) for finding in verdict.findings] == [
        (Status.SWAPPED, "m.safetensors (aaaaaaaa → bbbbbbbb)")
    ]
    assert verdict.notes == ("packages: torch 2.15.0 → 2.11.0",)
    assert not verdict.passed


def pooled(mean: float, replicates: Sequence[float] | None) -> Baseline:
    series = Series(
        method="m",
        dataset="night",
        protocol="native-8bit",
        metric="psnr",
        mean=mean,
        n=8,
        replicates=None if replicates is None else list(replicates),
    )
    return run({"m": shifted(0)}, series=[series])


def test_a_score_that_is_no_mean_is_judged_by_its_paired_resamples() -> None:
    spread = [0.5 + 0.1 * (index % 5) for index in range(100)]
    lower = [value - 0.2 for value in spread]  # the same loss in every resample
    assert one(pooled(0.7, spread), pooled(0.5, lower)).status is Status.WORSE
    noisy = [0.5 + 0.1 * ((index * 7) % 5) for index in range(100)]
    assert one(pooled(0.7, spread), pooled(0.6, noisy)).status is Status.CHANGED


def test_a_score_over_too_few_pictures_is_listed_only() -> None:
    assert one(pooled(0.7, None), pooled(0.1, None)).status is Status.CHANGED


def test_a_pull_request_sees_the_regression_first_and_escaped() -> None:
    verdict = check(BEFORE, remade([*shifted(-0.1)[:7], None], errors={"m": {"h": "a|b <c>"}}), Limits())
    text = markdown(verdict, "bench check")
    assert text.startswith("## ❌ bench check: regressed: 1 cells and 2 speeds compared; 1 failing\n")
    assert "| **failing** | m · night · PSNR | 20.00 dB | 17.41 dB |  | 1/8 | h: a\\|b &lt;c> |" in text


def test_a_test_report_fails_where_the_check_does() -> None:
    from xml.etree import ElementTree

    verdict = check(BEFORE, run({"m": shifted(-0.1), "k": shifted(0)}, contents={"m": "other"}), Limits())
    suite = ElementTree.fromstring(junit(verdict, "bench check"))[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "0")
    (failed,) = [case for case in suite if case.find("failure") is not None]
    assert failed.get("name") == "m · night · PSNR: worse"


def test_annotations_keep_to_one_line_and_to_githubs_limit() -> None:
    many = [f"m{index}" for index in range(12)]
    saved = run({name: shifted(0) for name in many})
    found = run({name: shifted(-1) for name in many})
    lines = list(workflow_commands(check(saved, found, Limits()), "a, b: c"))
    assert len(lines) == 10
    assert lines[0].startswith("::error title=a%2C b%3A c::metric changed: m0 · night · PSNR, 20.00 dB → 19.00 dB")
    assert lines[-1].endswith("::and 3 more")
    assert not any("\n" in line for line in lines)
