"""The digits that come along, and the faults of a user's own file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nas.data import data_names, load_data, shifted
from searchspace.shapes import image


def _file(folder: Path, **arrays: np.ndarray) -> str:
    path = folder / "own.npz"
    np.savez(path, **arrays)
    return str(path)


def _labels(count: int = 40, classes: int = 2) -> np.ndarray:
    return np.arange(count) % classes


def test_digits_are_split_by_class_and_normalised_by_the_training_images():
    data = load_data("digits")
    assert data.spec == image(1, 8, 8)
    assert data.classes == 10
    sizes = [len(part) for part in (data.train, data.validation, data.test)]
    assert sum(sizes) == 1797
    assert [round(size / 1797, 2) for size in sizes] == [0.60, 0.15, 0.25]
    assert abs(float(data.train.images.mean())) < 1e-5
    assert abs(float(data.train.images.std(correction=0)) - 1) < 1e-5
    for part in (data.train, data.validation, data.test):
        assert part.images.dtype == torch.float32
        assert part.labels.dtype == torch.int64
        shares = torch.bincount(part.labels, minlength=10) / len(part)
        assert float((shares - 0.1).abs().max()) < 0.01


def test_the_split_is_always_the_same():
    first, second = load_data("digits"), load_data("digits")
    assert torch.equal(first.validation.images, second.validation.images)
    assert torch.equal(first.test.labels, second.test.labels)


def test_a_search_sees_no_test_images():
    seen = load_data("digits").without_test()
    assert len(seen.test) == 0
    assert seen.test.images.shape == (0, 1, 8, 8)
    assert len(seen.validation) > 0


def test_a_file_of_colour_images_has_its_channels_last(tmp_path):
    images = np.zeros((40, 5, 6, 3), np.uint8)
    images[..., 2] = np.arange(40)[:, None, None]
    data = load_data(_file(tmp_path, images=images, labels=_labels() * 7 - 3))
    assert data.spec == image(3, 5, 6)
    assert data.classes == 2
    assert set(data.train.labels.tolist()) == {0, 1}
    # Channels that never vary are centred, not divided by zero.
    assert float(data.train.images[:, :2].abs().max()) == 0
    assert abs(float(data.train.images[:, 2].std(correction=0)) - 1) < 1e-5


def test_names_are_listed():
    assert data_names() == ("digits",)
    with pytest.raises(ValueError, match=r"no data 'digit'; known are digits, or the path"):
        load_data("digit")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((40, 8)), "labels": _labels()}, r"must be \[N, H, W\].*\[40, 8\]"),
        ({"images": np.zeros((40, 8, 0)), "labels": _labels()}, "none of them 0"),
        ({"images": np.full((40, 4, 4), np.nan), "labels": _labels()}, "640 values are NaN"),
        ({"images": np.full((40, 4, 4), 1j), "labels": _labels()}, "real numbers"),
        ({"images": np.zeros((40, 4, 4)), "labels": _labels(39)}, r"for 40 images; got.*\[39\]"),
        ({"images": np.zeros((40, 4, 4)), "labels": _labels() * 0.5}, "must be integers"),
        ({"images": np.zeros((40, 4, 4)), "labels": _labels(classes=1)}, "2 classes or more"),
        ({"images": np.zeros((40, 4, 4)), "labels": _labels(classes=20)}, "7 images or more"),
        ({"images": np.zeros((40, 4, 4))}, "no array 'labels'; it holds images"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, arrays, message):
    with pytest.raises(ValueError, match=message):
        load_data(_file(tmp_path, **arrays))


def test_a_missing_or_damaged_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"cannot read the data file .*absent\.npz"):
        load_data(str(tmp_path / "absent.npz"))
    (tmp_path / "bad.npz").write_bytes(b"PK no archive")
    with pytest.raises(ValueError, match=r"cannot read the data file .*bad\.npz"):
        load_data(str(tmp_path / "bad.npz"))


def test_images_move_whole_and_repeat_their_border():
    images = torch.arange(2 * 1 * 3 * 3, dtype=torch.float32).reshape(2, 1, 3, 3)
    moved = shifted(images.repeat(40, 1, 1, 1), 1, torch.Generator().manual_seed(0))
    assert moved.shape == (80, 1, 3, 3)
    centres = {float(value) for value in moved[::2, 0, 1, 1]}
    assert centres == set(range(9))
    still = moved[::2][moved[::2, 0, 1, 1] == 4]
    assert torch.equal(still[0], images[0])
    corner = moved[::2][moved[::2, 0, 1, 1] == 0][0, 0]
    assert corner.tolist() == [[0, 0, 1], [0, 0, 1], [3, 3, 4]]
    assert torch.equal(shifted(images, 0, torch.Generator()), images)
