"""The direction of imports, the names of the folders and the lightness of the start are facts, not habits."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = {
    "adapters": {"contracts", "image", "training"},
    "datasets": {"contracts", "image"},
    "reports": {"contracts"},
    "reports/tables": {"contracts"},
    "bench/figures": {"contracts"},
    "bench/metrics": {"contracts", "image", "planes"},
    "bench/tasks": {"contracts", "image", "training"},
}
"""What a room may import of bench, besides files beside it (relatively: only so do type checkers find them)."""


BESIDE = {"reports/tables": r"\.{1,2}\w*"}
"""Relative imports of a room that lies within another."""


def imports(path: Path) -> Iterator[str]:
    """Modules of bench that a file imports at run time, e.g. 'bench.contracts', '._blocks'."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in (node for node in ast.walk(tree) if node not in typing_only):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.split(".")[0] == "bench")
        if isinstance(node, ast.ImportFrom):
            if node.level:
                yield "." * node.level + (node.module or "")
            elif node.module == "bench":
                yield from (f"bench.{name.name}" for name in node.names)
            elif (node.module or "").split(".")[0] == "bench":
                yield str(node.module)


def test_the_contracts_import_nothing_of_bench() -> None:
    assert list(imports(ROOT / "bench" / "contracts.py")) == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    allowed = {f"bench.{name}" for name in ROOMS[room]}
    wrong = [
        f"{path.name}: {module}"
        for path in sorted((ROOT / room).glob("*.py"))
        for module in imports(path)
        if module not in allowed and not re.fullmatch(BESIDE.get(room, r"\.\w*"), module)
    ]
    assert wrong == []


def test_the_core_reaches_rooms_by_name_only() -> None:
    rooms = tuple(f"bench.{room.removeprefix('bench/').replace('/', '.')}" for room in ROOMS)
    wrong = [
        f"{path.name}: {module}"
        for path in sorted((ROOT / "bench").glob("*.py"))
        for module in imports(path)
        if module.startswith(rooms)
    ]
    assert wrong == []


@pytest.mark.parametrize("room", ["adapters", "datasets", "reports"])
def test_a_room_has_no_init_file(room: str) -> None:
    # With one, the folder would shadow the PyPI package of that name, which pyiqa's dependencies import.
    assert not (ROOT / room / "__init__.py").exists()


def test_an_import_of_datasets_is_not_ours() -> None:
    import datasets

    assert ROOT not in Path(str(datasets.__file__)).resolve().parents or ".venv" in str(datasets.__file__)


def test_the_licensed_libraries_are_not_touched_by_the_core() -> None:
    # pyiqa is non-commercial, ultralytics AGPL: a run that does not use them must not import them.
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from bench.cli import app\n"
        "for words in (['list', 'methods'], ['list', 'metrics'], ['data', 'status']):\n"
        "    assert CliRunner().invoke(app, words).exit_code == 0\n"
        "print(*{name.split('.')[0] for name in sys.modules})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"pyiqa", "ultralytics", "lpips", "datasets", "transformers", "matplotlib"} & set(done.stdout.split())
