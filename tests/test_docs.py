"""What the documentation tells users to type works as it stands."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from nas.cli import main, parser

ROOT = Path(__file__).parents[1]


def code_blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def documented_commands() -> list[str]:
    pages = ("README.md", *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md"))))
    lines = [
        line.split("  #")[0].strip()
        for page in pages
        for block in code_blocks(page, "sh")
        for line in block.splitlines()
    ]
    parts = [part.strip() for line in lines for part in re.split(r"&&| \| ", line)]
    return [part for part in parts if part.startswith("nas ")]


def test_the_documented_predictor_searches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_predictor.py").write_text(code_blocks("docs/predictor.md", "python")[0])
    monkeypatch.chdir(tmp_path)
    command = code_blocks("docs/predictor.md", "sh")[0].split()[1:]
    assert main([*command, "--evaluations", "40", "--json", "--limit", "depth=1..2"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    # The score is the predictor's, not DeepMAD's: it is bounded by what the text can add up to.
    assert outcome["best"]["score"] <= 31 * 2 * 4
    assert outcome["best"]["score"] == max(row["score"] for row in outcome["front"])


def test_the_documented_network_grows(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = code_blocks("docs/morphisms.md", "python")
    exec(compile(code, "docs/morphisms.md", "exec"), {})  # ends in a comparison of its own
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert {line.split(":")[0] for line in lines} <= {"kernel", "width", "depth", "branch"}


@pytest.fixture
def own_primitive(folder_of_modules: Path) -> list[str]:
    """The files of docs/primitives.md; returns the words of its command."""
    page = "docs/primitives.md"
    layers, suite = code_blocks(page, "python")
    (folder_of_modules / "my_layers.py").write_text(layers)
    (folder_of_modules / "test_my_layers.py").write_text(suite)
    (folder_of_modules / "blur.grammar").write_text(code_blocks(page, "grammar")[0])
    return code_blocks(page, "sh")[0].split()[1:]


def test_the_documented_primitive_keeps_the_contract(own_primitive: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}."},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


def test_the_documented_primitive_is_searched_with(
    own_primitive: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*own_primitive, "--evaluations", "20", "--json", "--out", "run"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert "blur_pool(2)" in outcome["best"]["architecture"]
    source = Path("run/best/model.py").read_text()
    assert "class BlurPool(nn.Module):" in source
    assert "my_layers" not in source


def test_the_documented_entry_point_makes_the_option_needless(
    own_primitive: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    points = tomllib.loads(code_blocks("docs/primitives.md", "toml")[0])
    (group, names), *others = points["project"]["entry-points"].items()
    assert not others
    info = Path("my_package-1.0.dist-info")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 1.0\n")
    lines = [f"[{group}]", *(f"{name} = {place}" for name, place in names.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    assert main(["spaces", "sample", "blur.grammar"]) == 0
    assert "blur_pool(2)" in capsys.readouterr().out


@pytest.mark.parametrize("command", documented_commands())
def test_documented_commands_parse(command: str) -> None:
    parser().parse_args(shlex.split(command)[1:])


def test_the_readme_begins_with_the_two_lines() -> None:
    block = code_blocks("README.md", "sh")[0].splitlines()
    assert block[0].startswith('pip install -e ".[dev]" && nas search ')
    assert block[1] == "pytest -n auto"
    assert len(block) == 2


def test_pages_that_are_linked_exist() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
