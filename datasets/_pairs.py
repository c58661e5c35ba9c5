"""Two folders in, one sample per pair of files with the same stem out."""

from __future__ import annotations

from pathlib import Path

from bench.contracts import Pair, Sample
from bench.image import pictures_in, read_rgb


def pairs_in(low: Path, reference: Path) -> list[Sample]:
    """Samples by common stem in natural order, endings may differ; raises ValueError for a file without partner."""
    lows, references = pictures_in(low), pictures_in(reference)
    for mine, other, folder in ((lows, references, reference), (references, lows, low)):
        alone = [file for stem, file in mine.items() if stem not in other]
        if alone:
            more = f" ({len(alone)} such files)" if len(alone) > 1 else ""
            raise ValueError(f"{alone[0]} has no partner in {folder}{more}; add it or remove the file")
    return [Sample(id=stem, low=file, reference=references[stem]) for stem, file in lows.items()]


def load_pair(sample: Sample) -> Pair:
    """Decode both files of a sample; raises ValueError where their sizes differ."""
    low = read_rgb(sample.low)
    if sample.reference is None:
        return Pair(low, None)
    reference = read_rgb(sample.reference)
    if low.shape != reference.shape:
        sizes = [f"{file} is {x.shape[2]}x{x.shape[1]}" for file, x in zip(sample.files, (low, reference), strict=True)]
        raise ValueError(f"{' but '.join(sizes)}; a pair must have one size")
    return Pair(low, reference)
