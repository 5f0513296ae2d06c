"""What the documentation tells users to type works as it stands."""

from __future__ import annotations

import json
import re
import shlex
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


@pytest.mark.parametrize("command", documented_commands())
def test_documented_commands_parse(command: str) -> None:
    parser().parse_args(shlex.split(command)[1:])


def test_the_readme_begins_with_the_two_lines() -> None:
    block = code_blocks("README.md", "sh")[0].splitlines()
    assert block[0].startswith('pip install -e ".[dev]" && nas search ')
    assert block[1] == "pytest"
    assert len(block) == 2


def test_pages_that_are_linked_exist() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
