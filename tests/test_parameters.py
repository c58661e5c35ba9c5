from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest

from bench import parameters
from bench.contracts import ParameterFile

CONTENT = b"pristine"
DIGEST = sha256(CONTENT).hexdigest()


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache and an empty folder named by BENCH_PARAMETERS."""
    (tmp_path / "env" / "deep").mkdir(parents=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("BENCH_PARAMETERS", os.pathsep.join([str(tmp_path / "absent"), str(tmp_path / "env")]))
    return tmp_path


def wanted(url: str = "https://example.org/model.mat", digest: str = DIGEST) -> ParameterFile:
    return ParameterFile("model.mat", digest, url, "free use")


def put(folder: Path, content: bytes = CONTENT) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.mat").write_bytes(content)
    return folder / "model.mat"


def test_the_explicit_place_goes_before_the_variable_and_the_cache(places: Path) -> None:
    cached = put(places / "cache" / "lowlight-bench")
    assert parameters.find(wanted(), {}) == cached
    named = put(places / "env" / "deep")
    assert parameters.find(wanted(), {}) == named
    explicit = put(places / "mine")
    assert parameters.find(wanted(), {"model.mat": explicit}) == explicit


def test_a_short_pin_is_the_beginning_of_the_digest(places: Path) -> None:
    put(places / "env")
    assert parameters.find(wanted(digest=DIGEST[:8]), {}) == places / "env" / "model.mat"


def test_a_wrong_digest_is_refused_with_both_digests(places: Path) -> None:
    other = put(places / "env", b"other")
    with pytest.raises(parameters.WrongDigestError) as caught:
        parameters.find(wanted(), {})
    assert all(word in str(caught.value) for word in (str(other), DIGEST, sha256(b"other").hexdigest()))
    with pytest.raises(parameters.WrongDigestError):
        parameters.find(wanted(), {"model.mat": other})


def test_a_wrong_file_does_not_hide_a_right_one(places: Path) -> None:
    put(places / "env", b"other")
    right = put(places / "cache" / "lowlight-bench")
    assert parameters.find(wanted(), {}) == right


def test_a_missing_file_is_told_with_its_places_and_the_ways_out(places: Path) -> None:
    with pytest.raises(parameters.MissingFileError) as caught:
        parameters.find(wanted(), {})
    text = str(caught.value)
    words = ("model.mat", str(places / "env"), "lowlight-bench", "weights fetch", "BENCH_PARAMETERS", "bench.toml")
    assert all(word in text for word in words)


def test_an_explicit_place_that_does_not_exist_is_an_error_even_if_the_cache_has_it(places: Path) -> None:
    put(places / "cache" / "lowlight-bench")
    with pytest.raises(parameters.MissingFileError, match="does not exist; correct its line"):
        parameters.find(wanted(), {"model.mat": places / "typo.mat"})


def test_a_changed_file_is_verified_again(places: Path) -> None:
    file = put(places / "env")
    assert parameters.find(wanted(), {}) == file
    file.write_bytes(b"changed and longer")
    with pytest.raises(parameters.WrongDigestError):
        parameters.find(wanted(), {})


def test_fetching_writes_the_verified_file_and_nothing_else(places: Path) -> None:
    source = put(places / "publisher")
    place = parameters.fetch(wanted(source.as_uri()))
    assert place == places / "cache" / "lowlight-bench" / "model.mat"
    assert [file.name for file in place.parent.iterdir()] == ["model.mat"]
    source.unlink()
    assert parameters.fetch(wanted(source.as_uri())) == place  # already there: nothing is asked for


def test_fetching_other_content_leaves_no_file(places: Path) -> None:
    source = put(places / "publisher", b"error page")
    with pytest.raises(parameters.WrongDigestError, match="expected"):
        parameters.fetch(wanted(source.as_uri()), places / "to")
    assert list((places / "to").iterdir()) == []


def test_fetching_without_publisher_says_how_else(places: Path) -> None:
    with pytest.raises(parameters.ParameterError, match=r"could not be fetched from .*BENCH_PARAMETERS"):
        parameters.fetch(wanted((places / "gone.mat").as_uri()), places / "to")
    assert list((places / "to").iterdir()) == []


def test_status_has_one_row_per_file_with_place_or_reason(places: Path) -> None:
    put(places / "env")
    absent = ParameterFile("absent.mat", DIGEST, "https://example.org/absent.mat", "free use")
    first, second = parameters.status([wanted(), absent, wanted()], {})
    assert (first.name, first.place, first.digest) == ("absent.mat", None, "absent")
    assert "absent.mat was not found" in first.reason
    assert (second.place, second.digest, second.reason) == (places / "env" / "model.mat", "verified", "")
