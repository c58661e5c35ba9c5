"""A run's manifest in, the configuration that repeats it out; says what of its data, weights and files is missing."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench import parameters, provenance
from bench.config import Config
from bench.image import is_folder, is_remote, path_of
from bench.lineup import Lineup, Sha256, lineup
from bench.plugins import Spec, near
from bench.result import MANIFEST, PLAN
from bench.store import FILENAME, Store

OF = "rerun_of"
"""Key of a rerun's manifest that says which run it repeats."""
SHOWN = 3
"""Names that are listed; the others are counted."""
ROOT, WEIGHTS, PLACE = "--root", "--weights", "--place"
"""Flags that say where something lies now."""


class RepeatError(ValueError):
    """The run cannot be repeated; each line names what is missing or not what it was, and how to give it."""


@dataclass(frozen=True)
class Original:
    """A run that is to be repeated."""

    folder: Path
    manifest: Mapping[str, Any]
    images: Mapping[str, Mapping[str, str]]
    """Digest of every picture's files by data set and id."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the rerun's manifest says of it."""
        digest = sha256(json.dumps(self.manifest, sort_keys=True).encode()).hexdigest()
        return {OF: {"run": self.folder.name, "created": self.manifest.get("created"), "digest": digest}}


@dataclass(frozen=True)
class Repeat:
    """How a run is done again."""

    original: Original
    config: Config

    def build(self, config: Config, sha256_of: Sha256) -> Lineup:
        """The run's plug-ins; raises RepeatError where data, weights or parameters are not what they were."""
        manifest = self.original.manifest
        members = lineup(config, sha256_of, tuple(manifest["metrics"]))
        problems = [*_data(self.original, members), *_methods(manifest, members)]
        problems += [*_metrics(manifest, members), *_tasks(manifest, members)]
        if problems:
            raise RepeatError("\n".join(dict.fromkeys(problems)))
        return members


def read(folder: Path) -> Original:
    """The run of a folder; raises FileNotFoundError, StoreError, or RepeatError for one that keeps too little."""
    with Store(folder, readonly=True) as store:
        manifest, plan = store.noted(MANIFEST), store.noted(PLAN)
    if manifest is None or plan is None:
        raise RepeatError(f"{folder} holds no finished plan; give its `bench run` command again")
    if "configuration" not in manifest:
        raise RepeatError(
            f"{folder} was made before runs kept their configuration; give its command again with another --out, then "
            f"`bench diff` the two: {manifest.get('command', 'not recorded')}"
        )
    return Original(folder, manifest, {name: dict(each) for name, each in plan["images"].items()})


def repeat(
    original: Original,
    out: Path,
    device: str | None = None,
    roots: Sequence[str] = (),
    weights: Sequence[str] = (),
    places: Sequence[str] = (),
) -> Repeat:
    """Build the run's configuration again; no bench.toml plays a part.

    `device` replaces the one that the run was made on. `roots`, `weights` and `places` are 'NAME=PATH' words for what
    lies elsewhere now: data sets, also 'folder:DIR'; weights of methods; whatever else the run names by its place
    ('outputs:DIR', 'mine.py', a task's model, a parameter file). Raises RepeatError naming all that is not there.
    """
    kept, manifest = original.manifest["configuration"], original.manifest
    methods = [Spec.parse(name) for name in manifest["methods"]]
    folders = manifest["datasets"].keys() & kept["places"].keys()
    now = _Now(
        {
            ROOT: _named(ROOT, roots, {*kept["datasets"], *folders}),
            WEIGHTS: _named(WEIGHTS, weights, {text for spec in methods for text in (spec.text, spec.name)}),
            PLACE: _named(PLACE, places, {*kept["places"], *kept["tasks"], *kept["parameters"]} - folders),
        }
    )
    # What is not given may lie below BENCH_DATA and BENCH_PARAMETERS on this machine, where the lineup looks for it.
    elsewhere = {name for name in kept["datasets"] if Config().root(Spec.parse(name)) is not None}
    roots_now = {
        name: now.place(ROOT, name, was)
        for name, was in kept["datasets"].items()
        if name in now.given[ROOT] or name not in elsewhere or _is_there(was)
    }
    weights_now = {name: _expanded(place) for name, place in now.given[WEIGHTS].items()}
    weights_now |= {name: now.place(WEIGHTS, name, was) for name, was in kept["methods"].items()}
    files = {name: _expanded(was) for name, was in kept["parameters"].items() if _is_as_it_was(name, was, manifest)}
    files |= {name: _expanded(place) for name, place in now.given[PLACE].items() if name in kept["parameters"]}
    tasks = kept["tasks"].items()
    sections = {
        "run": {
            **kept["run"],
            "out": out,
            "device": device or str(manifest["device"]).split()[0],
            # A cluster that was asked then need not be there now.
            "engine": "local" if "://" in kept["run"].get("engine", "") else kept["run"].get("engine", "local"),
            "tasks": [Spec.parse(word).name for word in kept["run"]["tasks"]],
        },
        "datasets": {name: {"root": place} for name, place in roots_now.items()},
        "methods": {name: {"weights": place} for name, place in weights_now.items()},
        "tasks": {name: {"model": now.model(name, one["model"]), "size": one["size"]} for name, one in tasks},
        "parameters": files,
        "places": {
            name: _word(name, now.place(ROOT if name in folders else PLACE, name, was))
            for name, was in kept["places"].items()
        },
    }
    if now.problems:
        raise RepeatError("\n".join(now.problems))
    try:
        return Repeat(original, Config.model_validate(sections))
    except ValidationError as error:
        version = manifest.get("version")
        raise RepeatError(
            f"{original.folder}: this version does not read what version {version} kept: {error}"
        ) from error


def claim(out: Path, original: Original, surroundings: Mapping[str, Any]) -> None:
    """Make sure that a rerun may write into a folder; raises RepeatError saying why not.

    It may where nothing is, or a rerun of the same run by the same code, libraries and machine: what is recorded there
    is not computed again.
    """
    if not (out / FILENAME).is_file():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise RepeatError(f"{out} is there and holds no rerun; give another --out")
        return
    with Store(out, readonly=True) as store:
        manifest = store.noted(MANIFEST)
    if manifest is None:
        return
    if (manifest.get(OF) or {}).get("digest") != original.facts[OF]["digest"]:
        raise RepeatError(f"{out} holds another run, not a rerun of {original.folder} as it is now; give another --out")
    other = [name for name in provenance.SURROUNDINGS if manifest.get(name) != surroundings.get(name)]
    if other:
        raise RepeatError(
            f"{out} holds a rerun made under other conditions ({', '.join(other)}), whose values would not be computed "
            f"again; remove it, or give another --out"
        )


@dataclass
class _Now:
    """Where things lie now, by what the user says and where they lay."""

    given: Mapping[str, Mapping[str, str]]
    """By flag and name."""
    problems: list[str] = field(default_factory=list)

    def place(self, flag: str, name: str, was: str) -> str:
        """Where something lies; noted as a problem where nothing is."""
        place = self.given[flag].get(name, was)
        if not _is_there(place):
            self.problems.append(f"{name}: {place} is not there; say where it is: {flag} {name}=PATH")
        return _expanded(place)

    def model(self, task: str, was: str) -> str:
        """A task's model, in which a kind may stand before the place: finetuned:DIR; '' is the default one."""
        kind, colon, place = was.rpartition(":")
        return f"{kind}{colon}{self.place(PLACE, task, place)}" if place or task in self.given[PLACE] else ""


def _named(flag: str, words: Sequence[str], known: Collection[str]) -> dict[str, str]:
    """The user's 'NAME=PATH' words by name; names may hold '=' themselves."""
    named = {}
    for word in words:
        names = sorted((name for name in known if word.startswith(f"{name}=")), key=len)
        if not names:
            name = word.partition("=")[0]
            hint = near(name, known) if known else "; the run has nothing that could lie elsewhere"
            raise RepeatError(f"{flag} {word}: expected NAME=PATH with a NAME of the run, not {name!r}{hint}")
        named[names[-1]] = word[len(names[-1]) + 1 :]
    return named


def _expanded(place: str) -> str:
    return place if "://" in place else str(Path(place).expanduser().absolute())


def _is_there(place: str) -> bool:
    """Whether a file or folder is there; of an address, a folder."""
    path = path_of(place)
    return is_folder(path) if is_remote(path) else path.exists()


def _is_as_it_was(name: str, place: str, manifest: Mapping[str, Any]) -> bool:
    """Whether a parameter file still lies where it lay, unchanged; otherwise it is looked for."""
    path = Path(place).expanduser()
    known = {one["files"][name] for one in manifest["metrics"].values() if name in one["files"]}
    return path.is_file() and (not known or parameters.digest(path) in known)


def _word(name: str, place: str) -> str:
    """What to read for a name: another folder behind its colon, or another file before it."""
    spec = Spec.parse(name)
    if spec.path is None:
        return f"{spec.name}:{place}"
    return f"{place}:{spec.option}" if spec.option else place


def _data(original: Original, members: Lineup) -> Iterator[str]:
    kept = original.manifest["configuration"]
    examined = {task["dataset"] for task in original.manifest["tasks"]}
    for material in members.materials:
        before = original.images[material.name]
        after = {sample.id: digest for sample, digest in zip(material.samples, material.digests, strict=True)}
        what = {
            "gone": [image for image in before if image not in after],
            "changed": [image for image in before if image in after and before[image] != after[image]],
            "new": [image for image in after if image not in before],
        }
        parts = [f"{len(images)} {word} ({_listed(images)})" for word, images in what.items() if images]
        if (
            material.name in examined
            and original.manifest["datasets"][material.name]["truths"] != material.truth_digest
        ):
            parts.append("other boxes or masks")
        if parts:
            name = material.name if material.name in kept["places"] else Spec.parse(material.name).name
            has_root = name in kept["places"] or name in kept["datasets"]
            hint = f"give those that the run had: {ROOT} {name}=PATH" if has_root else "they come with the packages"
            yield f"{material.name}: not the pictures of the run: {', '.join(parts)}; {hint}"


def _methods(manifest: Mapping[str, Any], members: Lineup) -> Iterator[str]:
    places = manifest["configuration"]["places"]
    for method in members.methods:
        before, after = manifest["methods"][method.name]["files"], provenance.files_of(method)
        if set(before.values()) != set(after.values()):
            flag = PLACE if method.name in places else WEIGHTS
            yield (
                f"{method.name}: not the files of the run: {_digests(after)}, was {_digests(before)}; give those that "
                f"the run had: {flag} {method.name}=PATH"
            )


def _metrics(manifest: Mapping[str, Any], members: Lineup) -> Iterator[str]:
    for measure in members.measures:
        before = manifest["metrics"][measure.name]
        if before["missing"] is not None:
            continue
        if measure.missing is not None:
            yield f"{measure.name}: {measure.missing}, or {PLACE} FILE=PATH"
        elif before["files"] != dict(measure.parameters):
            yield (
                f"{measure.name}: not the files of the run: {_digests(measure.parameters)}, was "
                f"{_digests(before['files'])}; say where those are: {PLACE} FILE=PATH"
            )


def _tasks(manifest: Mapping[str, Any], members: Lineup) -> Iterator[str]:
    examinations = {one.name: one for one in members.examinations}
    for exam in manifest["tasks"]:
        now = examinations[exam["task"]]
        for method, before in exam["models"].items():
            place = exam["dataset"], method
            if place not in now.models:
                yield f"{exam['task']} on {exam['dataset']}: {now.missing[place]}"
            elif now.models[place] != before:
                yield (
                    f"{exam['task']} on {exam['dataset']}: not the model of the run for {method}; say where that is: "
                    f"{PLACE} {exam['task']}=PATH"
                )


def _digests(files: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {digest[:8]}" for name, digest in files.items()) or "none"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
