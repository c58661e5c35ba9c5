"""Two runs in, what their manifests say differently out; values are compared elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bench.plugins import Spec
from bench.recorded import Run

PROTOCOL, DATA, METHODS, METRICS, TASKS = "protocol", "data", "methods", "metrics", "tasks"
SURROUNDINGS = ("code", "settings", "libraries", "machine", "environment")
"""Sections that bear on every value."""
SECTIONS = ("code", PROTOCOL, DATA, METHODS, METRICS, TASKS, "leakage", *SURROUNDINGS[1:], "selfcheck")
"""In the order in which they are shown."""
SETTINGS = ("limit", "batch", "workers", "jobs", "engine")
"""Keys of [run] besides protocol and seed that bear on values or speed."""
SHOWN = 3
"""Pictures that are named; more are counted."""
HEX = 8
"""Digits of a digest that are shown."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something besides values that is not the same in both runs."""

    section: str
    """One of SECTIONS."""
    name: str
    """What it is about: a method, a data set, 'torch', 'OMP_NUM_THREADS'."""
    what: str
    """What of it: 'code', 'weights', 'definition'; '' where the name says all."""
    before: str | None
    """In the first run, None where it has none."""
    after: str | None
    images: tuple[str, ...] = ()
    """Pictures that it is about; it then has no values."""

    @property
    def text(self) -> str:
        """In one line."""
        return f"{self.name}: {self.what} {self.change}" if self.what else f"{self.name} {self.change}"

    @property
    def change(self) -> str:
        """What it was and is, or which pictures it is about."""
        if self.images:
            return f"{len(self.images)} ({listed(self.images)})"
        return f"{self.before or 'none'} → {self.after or 'none'}"


@dataclass(frozen=True)
class Pairs:
    """Names of one kind in both runs."""

    both: tuple[tuple[str, str], ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]

    def now(self, name: str) -> str:
        """What the second run calls something of the first."""
        return dict(self.both).get(name, name)


@dataclass(frozen=True)
class Paired:
    """What of two runs belongs together, by the names that each gives it."""

    datasets: Pairs
    methods: Pairs
    metrics: Pairs

    @classmethod
    def of(cls, first: Run, second: Run) -> Paired:
        """Pair everything that both manifests name."""
        datasets, methods, metrics = (
            (list(first.manifest[room]), list(second.manifest[room])) for room in ("datasets", METHODS, METRICS)
        )
        return cls(
            _pairs(*datasets, lambda old, new: len(first.images(old).items() & second.images(new).items())),
            _pairs(*methods, _same_file),
            _pairs(*metrics, _same_file),
        )


def between(first: Run, second: Run, paired: Paired) -> list[Fact]:
    """Everything that both runs noted and that is not the same, by section; things go by the second run's names."""
    facts = [
        *(fact for group in GROUPS for fact in _plain(group, first.manifest, second.manifest)),
        *_data(first, second, paired.datasets),
        *_plugins(METHODS, first, second, paired.methods),
        *_plugins(METRICS, first, second, paired.metrics),
        *_tasks(first, second, paired),
    ]
    return sorted(facts, key=lambda fact: SECTIONS.index(fact.section))


def unrecorded(run: Run, other: Run) -> tuple[str, ...]:
    """What a run did not note and the other did: an older version made it."""
    return tuple(
        group.title
        for group in GROUPS
        if _recorded(group, run.manifest) is None and _recorded(group, other.manifest) is not None
    )


def task_on(task: str, dataset: str) -> str:
    """What facts of a task go by."""
    return f"{task} on {dataset}"


def listed(names: Sequence[str]) -> str:
    """The first of many names, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def differ(before: str | None, after: str | None) -> bool:
    """Whether both are known and not the same."""
    return before is not None and after is not None and before != after


class Group(NamedTuple):
    """Values of a manifest that were noted from the same version on."""

    section: str
    title: str
    """What is not recorded, where it is not."""
    values: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    """From the manifest; raises KeyError where it was not noted."""


GROUPS = (
    Group("code", "version", lambda m: {"version": m["version"], "commit": (m["commit"] or "")[:12]}),
    Group("code", "uncommitted changes", lambda m: {"uncommitted changes": _changes(m["changes"])}),
    Group("code", "source of the core", lambda m: {"source of the core": m["core"][:HEX]}),
    Group(PROTOCOL, "protocol", lambda m: {name: m["protocol"].get(name, 0) for name in ("size", "rounding", "tile")}),
    Group("leakage", "leakage", lambda m: _leaks(m["leakage"]["leaks"])),
    Group("settings", "seed", lambda m: {"seed": m["seed"]}),
    Group("settings", "settings", lambda m: {name: m["configuration"]["run"][name] for name in SETTINGS}),
    Group("libraries", "versions", lambda m: {"python": m["python"], **m["packages"], "torch": m["torch"]}),
    Group("machine", "device", lambda m: {name: m[name] for name in ("platform", "device", "threads")}),
    Group("machine", "processor and driver", lambda m: m["machine"]),
    Group("machine", "switches of torch", lambda m: m["switches"]),
    Group("environment", "environment", lambda m: m["environment"]),
    Group("selfcheck", "selfcheck", lambda m: {name: m["selfcheck"][name] for name in ("ok", "off", "skipped")}),
)


def _changes(changes: Mapping[str, Any] | None) -> str:
    return f"{listed(changes['files'])} ({changes['digest'][:HEX]})" if changes else ""


def _leaks(leaks: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """How many pictures of a data set were seen in training, by whose weights."""
    return {
        f"{one['model'] or ', '.join(one['methods'])} on {one['dataset']}": f"{one['copies']} seen in training"
        for one in leaks
    }


def _recorded(group: Group, manifest: Mapping[str, Any]) -> dict[str, str] | None:
    """A group's values as texts, '' for none; None where the run did not note them."""
    try:
        return {name: "" if value is None else str(value) for name, value in group.values(manifest).items()}
    except KeyError:
        return None


def _plain(group: Group, first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[Fact]:
    before, after = _recorded(group, first), _recorded(group, second)
    if before is None or after is None:
        return
    for name in dict.fromkeys((*before, *after)):
        values = before.get(name) or None, after.get(name) or None
        if values[0] != values[1]:
            yield Fact(group.section, name, "", *values)


def _pairs(before: Sequence[str], after: Sequence[str], alike: Callable[[str, str], int]) -> Pairs:
    """Things of one name; of what is left, those of one plug-in that are most alike, if they are at all."""
    both = {name: name for name in before if name in after}
    for old in before:
        left = [new for new in after if new not in both.values() and Spec.parse(new).name == Spec.parse(old).name]
        best = max(left, key=lambda new: alike(old, new), default=None)
        if old not in both and best is not None and alike(old, best):
            both[old] = best
    return Pairs(
        tuple(both.items()),
        tuple(name for name in before if name not in both),
        tuple(name for name in after if name not in both.values()),
    )


def _same_file(old: str, new: str) -> int:
    """1 for files of one name in two folders: 'here/mine.py' and 'there/mine.py'; 0 for all else."""
    first, second = Spec.parse(old), Spec.parse(new)
    return int(first.path is not None and second.path is not None and first.option == second.option)


def _data(first: Run, second: Run, pairs: Pairs) -> Iterator[Fact]:
    for name in pairs.only_before:
        yield Fact(DATA, name, "", f"{len(first.images(name))} pictures", None)
    for name in pairs.only_after:
        yield Fact(DATA, name, "", None, f"{len(second.images(name))} pictures")
    for old, new in pairs.both:
        before, after = first.manifest["datasets"][old], second.manifest["datasets"][new]
        if old != new:
            yield Fact(DATA, new, "name", old, new)
        yield from _code(DATA, new, before, after)
        yield from _option(DATA, new, (first, old, before), (second, new, after))
        was, now = first.images(old), second.images(new)
        lows = first.lows(old), second.lows(new)
        both = [image for image in was if image in now]
        same = [image for image in both if was[image] == now[image]]
        lists = {
            "pictures gone": [image for image in was if image not in now],
            "pictures new": [image for image in now if image not in was],
            "pictures with other contents": [image for image in both if was[image] != now[image]],
        }
        if first.manifest["protocol"] == second.manifest["protocol"]:
            other = [image for image in same if differ(lows[0].get(image), lows[1].get(image))]
            lists["pictures read differently from the same files"] = other
        yield from (Fact(DATA, new, what, None, None, tuple(images)) for what, images in lists.items() if images)
        if differ(before.get("truths"), after.get("truths")):
            yield Fact(DATA, new, "boxes and masks", before["truths"][:HEX], after["truths"][:HEX])


def _plugins(room: str, first: Run, second: Run, pairs: Pairs) -> Iterator[Fact]:
    for name in pairs.only_before:
        yield Fact(room, name, "", "there", None)
    for name in pairs.only_after:
        yield Fact(room, name, "", None, "there")
    for old, new in pairs.both:
        before, after = first.manifest[room][old], second.manifest[room][new]
        if old != new:
            yield Fact(room, new, "name", old, new)
        yield from _code(room, new, before, after)
        yield from _option(room, new, (first, old, before), (second, new, after))
        yield from _files(room, new, before, after)
        if before.get("definition") != after.get("definition"):
            yield Fact(room, new, "definition", before.get("definition"), after.get("definition"))


def _code(section: str, name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Fact]:
    apart = "code" in before and "code" in after
    what, key = ("code", "code") if apart else ("code, option or files", "digest")
    if before[key] != after[key]:
        yield Fact(section, name, what, before[key][:HEX], after[key][:HEX])


def _option(
    section: str, name: str, before: tuple[Run, str, Mapping[str, Any]], after: tuple[Run, str, Mapping[str, Any]]
) -> Iterator[Fact]:
    """An option that says where something lies is left out: what lies there is compared."""
    places = [word in run.manifest.get("configuration", {}).get("places", ()) for run, word, _ in (before, after)]
    options = [facts.get("option") for _, _, facts in (before, after)]
    if None not in options and options[0] != options[1] and not any(places):
        yield Fact(section, name, "option", options[0] or None, options[1] or None)


def _files(section: str, name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Fact]:
    old, new = before["files"], after["files"]
    if set(old.values()) == set(new.values()):
        return
    what = "parameters" if section == METRICS else "pictures" if after.get("kind") == "outputs" else "weights"
    texts = [
        ", ".join(f"{file} {digest[:HEX]}" for file, digest in one.items() if digest not in other.values())
        for one, other in ((old, new), (new, old))
    ]
    yield Fact(section, name, what, texts[0] or None, texts[1] or None)


def _tasks(first: Run, second: Run, paired: Paired) -> Iterator[Fact]:
    methods = paired.methods
    before = {(one["task"], paired.datasets.now(one["dataset"])): one for one in first.manifest["tasks"]}
    after = {(one["task"], one["dataset"]): one for one in second.manifest["tasks"]}
    for place in dict.fromkeys((*before, *after)):
        name = task_on(*place)
        if place not in before or place not in after:
            yield Fact(TASKS, name, "", "there" if place in before else None, "there" if place in after else None)
            continue
        old, new = before[place], after[place]
        protocols = [one["protocol"].partition("+")[2] for one in (old, new)]
        if protocols[0] != protocols[1]:
            yield Fact(TASKS, name, "protocol", *protocols)
        yield from _code(TASKS, name, old, new)
        models = {methods.now(method): digest for method, digest in old["models"].items()}
        changed = {
            method: (models.get(method), new["models"].get(method))
            for method in dict.fromkeys((*models, *new["models"]))
            if models.get(method) != new["models"].get(method)
            and method not in (*methods.only_before, *methods.only_after)
        }
        for digests in dict.fromkeys(changed.values()):
            was, now = (digest and digest[:HEX] for digest in digests)
            whose = [method for method, one in changed.items() if one == digests]
            what = "model" if len(whose) == len(models) else f"model for {listed(whose)}"
            yield Fact(TASKS, name, what, was, now)
