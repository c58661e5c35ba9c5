from __future__ import annotations

import torch

from bench import plugins
from bench.contracts import Adapter
from bench.plugins import Spec

Input = plugins.load(Adapter, Spec.parse("input"))


def test_input_is_the_picture_itself() -> None:
    low = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Input().enhance(low), low)


def test_input_is_no_method() -> None:
    assert Input.kind == "none"
