"""Records are committed as they come, once; one run at a time writes into a folder."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path

import pytest

from bench.store import LOCKNAME, Picture, Score, Store, StoreError


def score(image: str, value: float | None, error: str | None = None) -> Score:
    return Score("key", image, "digest", value, error, 0.1)


def test_what_was_added_is_read_back_unrounded(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.add([score("1", 0.1 + 0.2), score("2", math.inf), score("3", None, "too small")])
    with Store(tmp_path, readonly=True) as store:
        values = {image: one.value for (image, _), one in store.scores("key").items()}
        assert values == {"1": 0.1 + 0.2, "2": math.inf, "3": None}
        assert store.failed("key") == {("3", "digest")}


def test_a_record_is_never_overwritten(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.add([score("1", 1.0)])
        store.add([score("1", 2.0)])
        assert store.scores("key")["1", "digest"].value == 1.0


def test_a_record_holds_a_value_or_a_reason_never_both(tmp_path: Path) -> None:
    with Store(tmp_path) as store, pytest.raises(StoreError, match="constraint"):
        store.add([score("1", 1.0, "and an error")])


def test_a_batch_is_recorded_whole_or_not_at_all(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        with pytest.raises(StoreError):
            store.add([score("1", 1.0), score("2", None)], [Picture("a.png", "key", "digest")])
        assert store.done("key") == set()
        assert store.pictures() == {}


def test_failures_can_be_forgotten_and_values_stay(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.add([score("1", 1.0), score("2", None, "broken")])
        store.forget_failures("key")
        assert store.done("key") == {("1", "digest")}


def test_a_second_run_in_the_folder_is_refused_and_the_first_is_named(tmp_path: Path) -> None:
    with Store(tmp_path), pytest.raises(StoreError, match=r"in use by another run \(process \d+\)"):
        Store(tmp_path)


def test_the_folder_is_free_again_after_a_run(tmp_path: Path) -> None:
    Store(tmp_path).close()
    Store(tmp_path).close()
    assert (tmp_path / LOCKNAME).exists()


def test_reading_a_folder_without_run_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="bench run --out"):
        Store(tmp_path, readonly=True)


def test_a_file_of_another_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "records.sqlite").write_bytes(b"not a database, but long enough to look at" * 50)
    with pytest.raises(StoreError, match="is it a file of another program"):
        Store(tmp_path)


def test_no_space_left_is_said_and_what_was_recorded_stays(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.add([score("1", 1.0)])
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreError, match=r"no space left .* give the same command again"):
            store.add([score(f"picture {index}", None, "x" * 1000) for index in range(1000)])
        assert store.done("key") == {("1", "digest")}
    with Store(tmp_path) as store:
        store.add([score("2", 2.0)])
        assert len(store.done("key")) == 2


def test_a_changed_file_has_another_digest_and_an_unchanged_one_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = tmp_path / "1.png"
    picture.write_bytes(b"abc")
    with Store(tmp_path) as store:
        [first] = store.sha256([picture])
        # Known value: SHA-256 of "abc", FIPS 180-2, appendix B.1.
        assert first == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        picture.write_bytes(b"abcd")
        assert store.sha256([picture]) != [first]
        monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("read again"))
        store.sha256([picture])


def test_the_store_is_plain_sqlite_that_anyone_can_read(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.declare([("key", "clahe", "lol", "native-8bit", "psnr")])
        store.add([score("1", 1.5)])
    with sqlite3.connect(tmp_path / "records.sqlite") as connection:
        rows = connection.execute("SELECT method, metric, image, value FROM records JOIN scores USING (key)").fetchall()
    connection.close()
    assert rows == [("clahe", "psnr", "1", 1.5)]
