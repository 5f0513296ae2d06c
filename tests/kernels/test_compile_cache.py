"""The cache on disk: what comes back, from whom, and what damage does."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from kernels import compile_cache

KEY = compile_cache.key_of({"kernel": "a", "warps": 4})
RECORD = {"registers": 64, "loops": [["FFMA", 2]]}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_CACHE_DIR", str(tmp_path))
    return tmp_path


def test_what_is_written_is_read():
    assert compile_cache.read(KEY) is None
    compile_cache.write(KEY, RECORD)
    assert compile_cache.read(KEY) == RECORD


def test_keys_tell_parts_apart_and_not_their_order():
    assert compile_cache.key_of({"warps": 4, "kernel": "a"}) == KEY
    assert compile_cache.key_of({"warps": 8, "kernel": "a"}) != KEY


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("64", "65"),
        lambda text: "[1, 2]",
        lambda text: '{"record": 1, "checksum": ""}',
        lambda text: "\x00" * 100,
    ],
)
def test_a_damaged_entry_is_absent_and_replaced(damage, folder):
    compile_cache.write(KEY, RECORD)
    (path,) = folder.rglob("*.json")
    path.write_text(damage(path.read_text()))
    assert compile_cache.read(KEY) is None
    compile_cache.write(KEY, RECORD)
    assert compile_cache.read(KEY) == RECORD


def test_bytes_that_are_no_text_are_absent(folder):
    compile_cache.write(KEY, RECORD)
    (path,) = folder.rglob("*.json")
    path.write_bytes(b"\xff\xfe\x80")
    assert compile_cache.read(KEY) is None


def _write_and_read(number: int) -> bool:
    compile_cache.write(KEY, {"registers": number, "text": str(number) * 5000})
    found = compile_cache.read(KEY)
    return found is not None and found["text"] == str(found["registers"]) * 5000


def test_writers_at_once_leave_whole_entries(folder):
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        assert all(pool.map(_write_and_read, range(40)))
    assert not list(folder.rglob("*.tmp"))


def test_a_folder_that_cannot_be_written_costs_only_the_cache(folder, monkeypatch):
    (folder / "file").write_text("")
    monkeypatch.setenv("NAS_CACHE_DIR", str(folder / "file"))
    compile_cache.write(KEY, RECORD)
    assert compile_cache.read(KEY) is None


def test_the_folder_follows_the_users_settings(monkeypatch, folder):
    monkeypatch.delenv("NAS_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    assert compile_cache.cache_folder() == folder / "nas" / "kernels"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(folder / "home"))
    assert compile_cache.cache_folder() == Path(folder / "home/.cache/nas/kernels")
