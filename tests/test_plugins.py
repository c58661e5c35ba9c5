"""The folder listing is the registry; a name that is not there is answered with the nearest one."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import plugins
from bench.contracts import Adapter, Dataset, Metric, Report
from bench.plugins import Spec

MINE = """
from bench.contracts import Adapter

class Mine(Adapter):
    label, kind, source = "Mine", "classical", "here"

    def enhance(self, low):
        return low
"""


@pytest.mark.parametrize("kind", [Adapter, Dataset, Metric, Report])
def test_every_file_of_a_room_holds_one_plug_in(kind: type) -> None:
    names = plugins.names(kind)
    assert names
    assert all(issubclass(plugins.load(kind, Spec.parse(name)), kind) for name in names)


def test_shared_files_are_no_plug_ins() -> None:
    assert not [name for kind in plugins.ROOMS for name in plugins.names(kind) if name.startswith("_")]


def test_what_follows_the_colon_is_the_option() -> None:
    spec = Spec.parse("outputs:a/b:c")
    assert (spec.name, spec.option, spec.path) == ("outputs", "a/b:c", None)


def test_a_path_to_a_python_file_is_a_method(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    spec = Spec.parse(f"{tmp_path}/mine.py:2")
    assert (spec.name, spec.option) == ("mine", "2")
    assert plugins.load(Adapter, spec).label == "Mine"


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(LookupError, match="no method is called 'zero_dec'; did you mean 'zero_dce'"):
        plugins.load(Adapter, Spec.parse("zero_dec"))


def test_a_name_like_no_other_is_answered_with_all() -> None:
    with pytest.raises(LookupError, match=r"no data set is called 'xyzzy'; there are .*demo.*lol"):
        plugins.load(Dataset, Spec.parse("xyzzy"))


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(LookupError, match=r"nowhere/mine\.py does not exist"):
        plugins.load(Adapter, Spec.parse("nowhere/mine.py"))


def test_a_file_with_two_methods_is_refused_with_their_names(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(MINE + MINE.split("\n\n")[1].replace("Mine(", "Other("))
    with pytest.raises(TypeError, match="exactly one public Adapter, found Mine, Other"):
        plugins.load(Adapter, Spec.parse(str(tmp_path / "two.py")))


def test_the_digest_follows_what_the_file_imports_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from ._first import x" + MINE)
    (tmp_path / "_first.py").write_text("from ._second import x\n")
    (tmp_path / "_second.py").write_text("x = 1\n")
    (tmp_path / "_other.py").write_text("x = 1\n")

    class Plugin:
        pass

    def digest(changed: str) -> str:
        (tmp_path / changed).write_text((tmp_path / changed).read_text() + "# changed\n")
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(plugins.inspect, "getfile", lambda _: str(tmp_path / "mine.py"))
            return plugins.source_digest(Plugin)

    first = digest("mine.py")
    assert digest("_other.py") == first
    second = digest("_first.py")
    assert second != first
    assert digest("_second.py") not in (first, second)


def test_the_digest_follows_the_source(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    before = plugins.source_digest(plugins.load(Adapter, Spec.parse(str(tmp_path / "mine.py"))))
    (tmp_path / "mine.py").write_text(MINE.replace("return low", "return low * 1"))
    after = plugins.source_digest(plugins.load(Adapter, Spec.parse(str(tmp_path / "mine.py"))))
    assert before != after
