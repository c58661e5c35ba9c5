"""Where the time of a pass goes: pictures/s of the whole and of each stage, measured in this process.

Run `python tests/performance/whole_pass.py [--methods ...] [--datasets ...]`; numbers are for comparing stages and
changes on one machine in one sitting, not machines with each other.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from pathlib import Path

import torch

from bench import config, provenance, result
from bench.lineup import lineup
from bench.plan import plan
from bench.runner import Trace, run
from bench.store import Store


def main() -> None:
    """Run a plan from nothing, then again, and print the stages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=None)
    parser.add_argument("--datasets", default="demo")
    parser.add_argument("--metrics", default=None)
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--device", default="cpu")
    words = parser.parse_args()
    device = torch.device(words.device)
    with tempfile.TemporaryDirectory() as folder:
        run_keys = {"methods": words.methods, "datasets": words.datasets, "metrics": words.metrics}
        chosen = config.load(None, {**run_keys, "limit": words.limit, "out": Path(folder) / "run"})
        with Store(chosen.run.out) as store:
            begun = time.perf_counter()
            members = lineup(chosen, store.sha256)
            planned = plan(members, chosen.run.protocol, device.type, chosen.run.seed)
            result.keep(store, planned, provenance.manifest(planned, chosen, device, ["speed"]), chosen.run.thumbnails)
            prepared = time.perf_counter()
            trace = Trace()
            for _ in run(planned, store, chosen.run, device, trace):
                pass
            finished = time.perf_counter()
            for _ in run(planned, store, chosen.run, device, Trace()):
                pass
            rechecked = time.perf_counter()
            reported = result.load(store)
            result.write(reported, result.build_reports(chosen.run.reports))
            written = time.perf_counter()
    whole = finished - prepared
    print(
        f"{provenance.describe(device)}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"{platform.machine()}; {words.datasets}: {trace.pictures} pictures x methods\n"
    )
    print(f"{'stage':<28}{'seconds':>10}{'share':>9}{'pictures/s':>13}")
    for stage, seconds in sorted(trace.seconds.items(), key=lambda item: -item[1]):
        # An enhancer sees only its own share of the pictures x methods.
        seen = trace.pictures / (len(planned.rows) if stage.startswith("enhance") else 1)
        print(f"{stage:<28}{seconds:>10.2f}{seconds / whole:>9.1%}{seen / seconds:>13.1f}")
    other = whole - sum(trace.seconds.values())
    print(f"{'other (loading, bookkeeping)':<28}{other:>10.2f}{other / whole:>9.1%}")
    print(f"{'whole pass':<28}{whole:>10.2f}{1:>9.1%}{trace.pictures / whole:>13.1f}\n")
    print(f"plan and digests {prepared - begun:.2f} s; check of the finished run {rechecked - finished:.3f} s; "
          f"summary and reports {written - rechecked:.2f} s")  # fmt: skip


if __name__ == "__main__":
    main()
