from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner, Result

from bench import efficiency, plugins
from bench.cli import Exit, app
from bench.config import Config
from bench.contracts import Adapter
from bench.efficiency import Candidate, Cost, Setting
from bench.lineup import LineupError
from bench.plugins import Spec

CPU = torch.device("cpu")

# 16 MiB of weights, and 64 MiB that live during one call
HUNGRY = """
import torch
from bench.contracts import Adapter


class Hungry(Adapter):
    label, kind, source = "Hungry", "classical", "made by the test"

    def __init__(self, option="", weights=None):
        super().__init__(option, weights)
        self.module = torch.nn.Linear(2048, 2048, bias=False).requires_grad_(False)

    def to(self, device):
        self.module.to(device)

    def enhance(self, low):
        needed = torch.ones(16 * 2**20, device=low.device)
        return low * needed[0]
"""

UNTRAINED = """
from bench.contracts import Adapter


class Untrained(Adapter):
    label, kind, source = "Untrained", "paired", "made by the test"
    weights_file = "untrained.safetensors"

    def __init__(self, option="", weights=None):
        super().__init__(option, weights)
        if not weights.is_file():
            raise FileNotFoundError(f"weights are expected at {weights}")

    def enhance(self, low):
        return low.clone()
"""


class Of(Adapter):
    """A method around any network."""

    label, kind, source = "Of", "paired", "made by the test"

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.module = network.requires_grad_(False)
        self.seen: list[Tensor] = []
        self.dtypes: list[torch.dtype] = []

    def enhance(self, low: Tensor) -> Tensor:
        self.seen.append(low)
        self.dtypes.append(self.module(low).dtype)
        return low.clone()


class Padded(Of):
    pad_multiple = 16


class Classical(Adapter):
    label, kind, source = "Classical", "classical", "made by the test"

    def enhance(self, low: Tensor) -> Tensor:
        return low.clone()


class Broken(Adapter):
    label, kind, source = "Broken", "classical", "made by the test"

    def enhance(self, low: Tensor) -> Tensor:
        raise RuntimeError("no memory left on the device")


def candidate(adapter: Adapter) -> Candidate:
    return Candidate("mine", adapter.label, Config(), adapter, {})


def setting(size: str = "8x6", pictures: int = 3, precision: str = "float32") -> Setting:
    return Setting(CPU, size, pictures, precision)


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is measured in a process of its own, which takes seconds."""
    monkeypatch.setattr(efficiency, "_cpu_memory", lambda candidate, setting: 12.5)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `bench` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def macs(network: nn.Module, low: Tensor) -> int:
    return efficiency.count_macs(Of(network), low)


def test_a_convolution_counts_its_output_pixels() -> None:
    # 8x6 pixels, halved by the stride; 3 channels in, 4 out, 3x3
    assert macs(nn.Conv2d(3, 4, 3, stride=2, padding=1), torch.zeros(1, 3, 6, 8)) == 4 * 3 * 3 * 4 * 9


def test_a_grouped_convolution_counts_its_own_channels_only() -> None:
    assert macs(nn.Conv2d(6, 6, 3, padding=1, groups=3), torch.zeros(1, 6, 5, 7)) == 5 * 7 * 6 * 2 * 9


def test_a_transposed_convolution_counts_its_input_pixels() -> None:
    assert macs(nn.ConvTranspose2d(3, 5, 4, stride=2, padding=1), torch.zeros(1, 3, 6, 8)) == 6 * 8 * 3 * 5 * 16


@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_counts_its_weights_for_every_row(bias: bool) -> None:
    assert macs(nn.Linear(7, 5, bias=bias), torch.zeros(1, 3, 6, 7)) == 3 * 6 * 7 * 5


def test_other_operations_are_not_counted() -> None:
    class Product(nn.Module):
        def forward(self, low: Tensor) -> Tensor:
            return torch.sigmoid(low[0] @ low[0].mT)

    assert macs(Product(), torch.zeros(1, 3, 6, 8)) == 0


def test_zero_dce_has_the_operations_of_drgn_s_table_2() -> None:
    # 79,200 weights of convolutions x 384 x 384 pixels; the table prints 11.74 G
    adapter = plugins.load(Adapter, Spec.parse("zero_dce"))()
    adapter.to(torch.device("meta"))
    found = efficiency.count_macs(adapter, torch.empty(1, 3, 384, 384, device="meta"))
    assert found == 79_200 * 384 * 384
    assert found / 1e9 == pytest.approx(11.74, rel=0.01)


@pytest.mark.usefixtures("no_process")
def test_a_network_has_parameters_and_operations() -> None:
    cost = efficiency.measure(candidate(Of(nn.Conv2d(3, 4, 1))), setting("8x6"))
    assert cost.reason == ""
    assert (cost.parameters, cost.macs) == (3 * 4 + 4, 8 * 6 * 12)


@pytest.mark.usefixtures("no_process")
def test_a_classical_method_has_neither_and_is_timed() -> None:
    cost = efficiency.measure(candidate(Classical()), setting())
    assert (cost.parameters, cost.macs, cost.reason) == (None, None, "")
    assert cost.latency_ms is not None


@pytest.mark.usefixtures("no_process")
def test_operations_and_time_are_those_of_the_padded_picture() -> None:
    adapter = Padded(nn.Conv2d(3, 3, 1))
    cost = efficiency.measure(candidate(adapter), setting("20x17"))
    assert cost.macs == 32 * 32 * 9
    assert {tuple(low.shape) for low in adapter.seen} == {(1, 3, 32, 32)}


@pytest.mark.usefixtures("no_process")
def test_every_timed_picture_is_another_one_in_the_range() -> None:
    adapter = Of(nn.Identity())
    efficiency.measure(candidate(adapter), setting(pictures=5))
    timed = adapter.seen[-5:]
    assert all(not torch.equal(one, other) for one, other in itertools.combinations(timed, 2))
    assert all(0 <= float(low.min()) < float(low.max()) <= 1 for low in timed)


@pytest.mark.usefixtures("no_process")
def test_latency_is_the_median_of_the_pictures_without_the_warm_ups(monkeypatch: pytest.MonkeyPatch) -> None:
    # 10 slow turns that do not count, then 1, 2, 3, 4 and 10 ms: median 3, quartiles 2 and 4, mean 4
    turns = [1.0] * 10 + [0.004, 0.001, 0.010, 0.003, 0.002]
    ticks = iter([tick for turn in turns for tick in (0.0, turn)])
    monkeypatch.setattr(efficiency, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    cost = efficiency.measure(candidate(Classical()), setting(pictures=5))
    assert cost.latency_ms == pytest.approx(3)
    assert cost.latency_iqr_ms == pytest.approx(2)
    assert cost.latency_mean_ms == pytest.approx(4)
    assert cost.fps == pytest.approx(250)


@pytest.mark.usefixtures("no_process")
def test_one_picture_has_no_spread() -> None:
    assert efficiency.measure(candidate(Classical()), setting(pictures=1)).latency_iqr_ms == 0


@pytest.mark.usefixtures("no_process")
def test_bfloat16_is_what_networks_compute_in() -> None:
    adapter = Of(nn.Conv2d(3, 3, 1))
    cost = efficiency.measure(candidate(adapter), setting(precision="bfloat16"))
    assert (cost.precision, set(adapter.dtypes)) == ("bfloat16", {torch.bfloat16})


@pytest.mark.usefixtures("no_process")
def test_a_method_without_network_stays_in_float32() -> None:
    assert efficiency.measure(candidate(Classical()), setting(precision="bfloat16")).precision == "float32"


@pytest.mark.usefixtures("no_process")
def test_torch_gets_its_threads_back() -> None:
    before = torch.get_num_threads()
    inside = []

    class Counting(Classical):
        def enhance(self, low: Tensor) -> Tensor:
            inside.append(torch.get_num_threads())
            return low.clone()

    efficiency.measure(candidate(Counting()), Setting(CPU, "8x6", 1, "float32", threads=before + 1))
    assert set(inside) == {before + 1}
    assert torch.get_num_threads() == before


@pytest.mark.usefixtures("no_process")
def test_a_method_that_fails_is_a_row_with_its_reason() -> None:
    cost = efficiency.measure(candidate(Broken()), setting())
    assert cost.reason == "RuntimeError: no memory left on the device"
    assert cost.latency_ms is None


def test_memory_that_cannot_be_measured_leaves_the_other_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(candidate: Candidate, setting: Setting) -> float:
        raise MemoryError("killed")

    monkeypatch.setattr(efficiency, "_cpu_memory", killed)
    cost = efficiency.measure(candidate(Classical()), setting())
    assert cost.latency_ms is not None
    assert (cost.memory_mib, cost.reason) == (None, "MemoryError: killed")


def test_memory_is_the_weights_and_what_lives_during_the_call(tmp_path: Path, device: torch.device) -> None:
    (tmp_path / "hungry.py").write_text(HUNGRY)
    (found,) = efficiency.candidates([str(tmp_path / "hungry.py")], Config())
    cost = efficiency.measure(found, Setting(device, "16x16", 1))
    assert cost.reason == ""
    assert cost.memory_mib == pytest.approx(64 + 16, abs=4)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"size": "big"}, "'big' is not WIDTHxHEIGHT"), ({"precision": "int8"}, "int8: expected float32 or bfloat16")],
)
def test_a_setting_that_is_none_is_refused(change: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Setting(CPU, **change)  # type: ignore[arg-type]


def test_pictures_made_elsewhere_have_no_speed(pairs: Path) -> None:
    with pytest.raises(LineupError, match="pictures that other code made have no speed here"):
        efficiency.candidates([f"outputs:{pairs / 'low'}"], Config())


def test_the_table_shows_macs_once_and_doubled() -> None:
    header, (line,) = efficiency.table([Cost("mine", "Mine", "float32", parameters=4321, macs=1_500_000_000)])
    texts = dict(zip((name.strip() for name in header), (text.strip() for text in line), strict=True))
    assert (texts["parameters"], texts["MACs G"], texts["2xMACs G"]) == ("4,321", "1.500", "3.000")
    assert texts["latency ms"] == "–"


@pytest.mark.usefixtures("no_process")
def test_figures_are_stored_with_what_they_depend_on(bench: Callable[..., Result]) -> None:
    done = bench("speed", "input,gamma", "zero_dce", "--size", "24x16", "--pictures", 2, "--threads", 1,
                 "--device", "cpu", "--out", "deep/speed.json")  # fmt: skip
    assert done.exit_code == Exit.OK, done.output
    stored = json.loads(Path("deep/speed.json").read_text())
    assert [stored[key] for key in ("size", "batch", "pictures", "warm_ups", "device", "threads")] == [
        "24x16", 1, 2, 10, "cpu", 1]  # fmt: skip
    assert stored["versions"]["torch"] == torch.__version__
    assert stored["device_name"]
    rows = {row["method"]: row for row in stored["methods"]}
    assert list(rows) == ["input", "gamma", "zero_dce"]
    assert rows["zero_dce"]["parameters"] == 79_416
    assert rows["zero_dce"]["macs"] == 79_200 * 24 * 16
    assert rows["zero_dce"]["memory_mib"] == 12.5
    assert list(rows["zero_dce"]["files"]) == ["zero_dce.safetensors"]
    assert rows["gamma"]["parameters"] is None


def test_unknown_names_are_all_listed_and_nothing_runs(bench: Callable[..., Result]) -> None:
    done = bench("speed", "zero_dec", "input", "gama", "--out", "speed.json")
    assert done.exit_code == Exit.USAGE
    assert "did you mean 'zero_dce'?" in done.output
    assert "did you mean 'gamma'?" in done.output
    assert not Path("speed.json").exists()


def test_weights_for_an_unknown_method_are_refused(bench: Callable[..., Result]) -> None:
    done = bench("speed", "input", "--weights", "zero_dec=x.pth")
    assert done.exit_code == Exit.USAGE
    assert "[methods.zero_dec]: no such name; did you mean 'zero_dce'?" in done.output


def test_named_weights_that_are_not_there_are_a_mistake(bench: Callable[..., Result]) -> None:
    done = bench("speed", "zero_dce", "--weights", "zero_dce=absent.pth")
    assert done.exit_code == Exit.USAGE
    assert "absent.pth" in done.output


@pytest.mark.usefixtures("no_process")
def test_a_method_whose_weights_are_not_shipped_is_a_row_and_the_others_are_measured(
    bench: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "untrained.py").write_text(UNTRAINED)
    done = bench("speed", "untrained.py", "input", "--size", "8x8", "--pictures", 1, "--out", "speed.json")
    assert done.exit_code == Exit.FAILURES
    assert "untrained.safetensors is not shipped; train it" in " ".join(done.output.split())
    untrained, unchanged = json.loads(Path("speed.json").read_text())["methods"]
    assert untrained["reason"]
    assert untrained["latency_ms"] is None
    assert unchanged["latency_ms"] > 0
