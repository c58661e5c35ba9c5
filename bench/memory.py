"""How much memory a device has left; asked before a picture that might not fit."""

from __future__ import annotations

from pathlib import Path

import torch

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def free_bytes(device: torch.device, meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int | None:
    """Bytes that can still be allocated, None where the system does not tell (no Linux).

    On CUDA what the driver has left and what torch holds without using it; on a CPU the kernel's estimate, or what the
    container's limit leaves where that is less.
    """
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + held
    found = [one for one in (_machine(meminfo), _container(cgroup)) if one is not None]
    return min(found, default=None)


def _machine(meminfo: Path) -> int | None:
    available = _counters(meminfo, ":").get("MemAvailable")
    return None if available is None else 1024 * available


def _container(cgroup: Path) -> int | None:
    """What the limit of control group v2 leaves; file cache that the kernel would give back counts as free."""
    try:
        limit = int((cgroup / "memory.max").read_text())
        used = int((cgroup / "memory.current").read_text())
    except (OSError, ValueError):  # no such group, or 'max': no limit
        return None
    return max(0, limit - used + _counters(cgroup / "memory.stat", " ").get("inactive_file", 0))


def _counters(file: Path, separator: str) -> dict[str, int]:
    """'name<separator>number …' lines."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.partition(separator) for line in lines)
    return {
        name.strip(): int(rest.split()[0]) for name, _, rest in pairs if rest.split()[:1] and rest.split()[0].isdigit()
    }
