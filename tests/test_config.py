"""bench.toml and the command line become one Config, or an error that names place, key and way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import config
from bench.config import ConfigError
from bench.plugins import Spec

ROOT = Path(__file__).resolve().parent.parent


def write(folder: Path, text: str) -> Path:
    (folder / "bench.toml").write_text(text, encoding="utf-8")
    return folder / "bench.toml"


def test_the_committed_file_says_what_the_defaults_are() -> None:
    assert config.load(ROOT / "bench.toml") == config.Config()


def test_every_key_of_run_stands_in_the_committed_file() -> None:
    text = (ROOT / "bench.toml").read_text(encoding="utf-8")
    assert [key for key in config.RunSection.model_fields if f"\n{key} = " not in text] == []


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, '[run]\nsize = "384x384"\nlimit = 3\n')
    run = config.load(file, {"limit": 5, "size": None}).run
    assert (run.size, run.limit) == ("384x384", 5)


def test_names_may_be_a_list_or_a_comma_separated_text(tmp_path: Path) -> None:
    assert config.load(write(tmp_path, '[run]\nmethods = "input, clahe"\n')).run.methods == ("input", "clahe")


def test_a_name_given_twice_counts_once(tmp_path: Path) -> None:
    assert config.load(write(tmp_path, '[run]\nmethods = ["he", "he"]\n')).run.methods == ("he",)


def test_roots_in_the_file_are_relative_to_the_file(tmp_path: Path) -> None:
    loaded = config.load(write(tmp_path, '[datasets.lol]\nroot = "data/lol"\n'))
    assert loaded.root(Spec.parse("lol:our485")) == tmp_path / "data" / "lol"


def test_a_root_flag_wins_over_the_file_and_bench_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lol").mkdir()
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    file = write(tmp_path, '[datasets.dicm]\nroot = "elsewhere"\n')
    loaded = config.load(file, roots=["dicm=here"])
    assert loaded.root(Spec.parse("dicm")) == Path("here")
    assert loaded.root(Spec.parse("lol")) == tmp_path / "lol"
    assert loaded.root(Spec.parse("npe")) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[run]\nmethod = ["he"]\n', ["bench.toml", "'method'", "[run]", "did you mean 'methods'?", "accepted"]),
        ('[dataset.lol]\nroot = "x"\n', ["'dataset'", "the top level", "did you mean 'datasets'?"]),
        ('[datasets.lol]\nrot = "x"\n', ["'rot'", "[datasets.lol]", "did you mean 'root'?"]),
        ('[run]\nsize = "3x"\n', ["run.size", "WIDTHxHEIGHT", "'3x'"]),
        ('[run]\ndevice = "gpu"\n', ["run.device", "auto, cpu or cuda", "'gpu'"]),
        ("[run]\nlimit = -1\n", ["run.limit", "greater than or equal to 0", "-1"]),
        ("[run]\nmethods = []\n", ["run.methods", "at least one"]),
        ("[run\n", ["bench.toml", "not valid TOML", "line 1"]),
    ],
)
def test_a_mistake_is_named_with_its_place_and_the_way_out(tmp_path: Path, text: str, said: list[str]) -> None:
    with pytest.raises(ConfigError) as raised:
        config.load(write(tmp_path, text))
    assert [words for words in said if words not in str(raised.value)] == []


def test_a_mistake_on_the_command_line_is_not_blamed_on_the_file() -> None:
    with pytest.raises(ConfigError, match=r"^command line: run\.rounding"):
        config.load(None, {"rounding": "16bit"})


def test_a_root_without_equals_sign_shows_the_form() -> None:
    with pytest.raises(ConfigError, match="expected NAME=PATH"):
        config.load(None, roots=["lol"])


def test_a_config_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml does not exist"):
        config.load(tmp_path / "absent.toml")
