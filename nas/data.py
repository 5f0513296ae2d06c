"""Image data for a search: small sets, split once into training, validation and test.

The split has a seed of its own, `SPLIT_SEED`, so that runs with different seeds judge on the same
images. A search sees `Data.without_test()`; the test images are for the winner, once.

Dimension letters: N images, C channels, H height, W width.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from searchspace.shapes import TensorSpec, image

SPLIT_SEED = 20_240
"""Seed of every split, whatever the seed of the run."""
SHARES = (0.60, 0.15, 0.25)
"""Shares of training, validation and test images, in every class."""
SUFFIX = ".npz"


class DataError(ValueError):
    """Data that cannot be used."""


class UnknownDataError(DataError):
    """No data of that name."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Images with their labels."""

    images: Tensor
    """`[N, C, H, W]` float32, normalised by the training images."""
    labels: Tensor
    """`[N]` int64, each in 0 .. classes - 1."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Data:
    """A labelled set of images, split for a search."""

    name: str
    """What `load_data` was asked for."""
    classes: int
    """Number of classes, at least 2."""
    spec: TensorSpec
    """Shape of one image, `[C, H, W]`: the input that networks are built for."""
    train: Split
    """What weights learn from."""
    validation: Split
    """What candidates are compared on."""
    test: Split
    """What the winner is told from, once; empty after `without_test`."""

    def without_test(self) -> Data:
        """The same data with no test images: what a search may see."""
        return replace(self, test=Split(self.test.images[:0], self.test.labels[:0]))


def data_names() -> tuple[str, ...]:
    """Names of the sets that come along, sorted."""
    return tuple(sorted(_SETS))


def load_data(name: str) -> Data:
    """A set that comes along, or the user's own from an `.npz` file.

    The file holds `images`, `[N, H, W]` grey or `[N, H, W, C]` with channels last, and `labels`,
    `[N]` integers. Any distinct integers will do; they become 0, 1, … in ascending order.

    Raises:
        DataError: no such set or file, or its arrays do not fit; says what must hold.
    """
    if name in _SETS:
        return _split(name, *_SETS[name]())
    if name.endswith(SUFFIX):
        return _split(name, *_read(Path(name)))
    known = ", ".join(data_names())
    raise UnknownDataError(f"no data '{name}'; known are {known}, or the path of an {SUFFIX} file")


def shifted(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Each image of `[N, C, H, W]` moved by up to `most` pixels each way, its border repeated."""
    if not most:
        return images
    count, _, height, width = images.shape
    padded = F.pad(images, (most,) * 4, mode="replicate")
    moves = torch.randint(0, 2 * most + 1, (2, count, 1), generator=generator)
    rows = moves[0] + torch.arange(height)
    columns = moves[1] + torch.arange(width)
    which = torch.arange(count)[:, None, None]
    return padded.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]].permute(
        0, 3, 1, 2
    )


def _digits() -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images, bunch.target


_SETS: Mapping[str, Callable[[], tuple[NDArray[np.generic], NDArray[np.generic]]]] = {
    "digits": _digits
}


def _read(path: Path) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    try:
        if not zipfile.is_zipfile(path):
            raise zipfile.BadZipFile("it is no .npz archive" if path.exists() else "no such file")
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in ("images", "labels") if name not in file]
            if missing:
                raise DataError(f"{path}: no array '{missing[0]}'; it holds {', '.join(file)}")
            return file["images"], file["labels"]
    except (OSError, zipfile.BadZipFile) as fault:
        raise DataError(f"cannot read the data file {path}: {fault}") from None


def _split(name: str, images: NDArray[np.generic], labels: NDArray[np.generic]) -> Data:
    pixels = _pixels(name, images)
    targets, classes = _targets(name, labels, len(pixels))
    train, validation, test = _indices(targets, classes)
    mean = pixels[train].mean((0, 2, 3), keepdims=True)
    deviation = pixels[train].std((0, 2, 3), keepdims=True)
    # A channel that never varies is only centred.
    pixels = (pixels - mean) / np.where(deviation > 0, deviation, 1.0)

    def part(index: NDArray[np.int64]) -> Split:
        return Split(
            torch.from_numpy(pixels[index].astype(np.float32)), torch.from_numpy(targets[index])
        )

    _, channels, height, width = pixels.shape
    return Data(
        name=name,
        classes=classes,
        spec=image(channels, height, width),
        train=part(train),
        validation=part(validation),
        test=part(test),
    )


def _pixels(name: str, images: NDArray[np.generic]) -> NDArray[np.float64]:
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise DataError(
            f"{name}: images must be [N, H, W] or [N, H, W, C], none of them 0; "
            f"got shape {list(images.shape)}"
        )
    if images.dtype.kind not in "biuf":
        raise DataError(f"{name}: images must be real numbers; got dtype {images.dtype}")
    pixels = images.astype(np.float64)
    bad = int((~np.isfinite(pixels)).sum())
    if bad:
        raise DataError(f"{name}: images must be finite; {bad} values are NaN or infinite")
    return pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)


def _targets(name: str, labels: NDArray[np.generic], count: int) -> tuple[NDArray[np.int64], int]:
    if labels.shape != (count,):
        raise DataError(
            f"{name}: labels must be [N] for {count} images; got shape {list(labels.shape)}"
        )
    if labels.dtype.kind not in "iu":
        raise DataError(f"{name}: labels must be integers; got dtype {labels.dtype}")
    values, targets, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(values) < 2:
        raise DataError(f"{name}: labels must name 2 classes or more; got {len(values)}")
    least = round(1 / min(SHARES) + 0.5)
    if counts.min() < least:
        rare = values[counts.argmin()]
        raise DataError(
            f"{name}: every class needs {least} images or more, so that each part of the split "
            f"has one; label {rare} has {counts.min()}"
        )
    return targets.astype(np.int64), len(values)


def _indices(targets: NDArray[np.int64], classes: int) -> list[NDArray[np.int64]]:
    """Indices of the three parts, class shares kept, each part in random order."""
    generator = np.random.default_rng(SPLIT_SEED)
    parts: list[list[NDArray[np.int64]]] = [[], [], []]
    for label in range(classes):
        members = generator.permutation(np.flatnonzero(targets == label))
        cuts = np.rint(np.cumsum(SHARES[:2]) * len(members)).astype(int)
        for part, chosen in zip(parts, np.split(members, cuts), strict=True):
            part.append(chosen)
    return [generator.permutation(np.concatenate(part)) for part in parts]
