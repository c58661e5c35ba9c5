"""What follows a method's colon, read and refused in one wording."""

from __future__ import annotations

import math
from collections.abc import Mapping


def refuse_option(method: str, option: str) -> None:
    """Raise ValueError if anything follows the colon of a method that has no options."""
    if option:
        raise ValueError(f"{method!r} takes no option, found {option!r}; write {method!r} alone")


def unknown_option(method: str, option: str, options: Mapping[str, str]) -> ValueError:
    """The error for an option that is none of those offered."""
    accepted = "; ".join(f"{method}:{name} ({meaning})" for name, meaning in options.items())
    return ValueError(f"{method!r} does not know the option {option!r}; accepted: {method} alone; {accepted}")


def positive_number(text: str) -> float | None:
    """The number a text stands for if it is finite and above 0, else None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None
