"""The exported folder: whole or absent, read back as it was, faults with their cure."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import nas
from nas.export import ExportError, export, load, read_architecture
from nas.export.weights import are_trained
from searchspace.architecture import Architecture
from searchspace.build import build
from searchspace.shapes import image
from searchspace.text import from_text

SPEC = image(3, 16, 16)
FILES = {"architecture.json", "model.py", "model.safetensors", "README.md"}
FACTS = {
    "score": 12.5,
    "latency_ms": 4.21,
    "low_ms": 3.9,
    "high_ms": 4.6,
    "target": "a100",
    "batch": 64,
    "precision": "bf16",
    "macs": 1_820_000_000,
    "params": 11_700_000,
    "peak_bytes": 3 * 2**20,
}


def network(kernel: int = 5, scheme: str = "float") -> Architecture:
    """A small architecture."""
    text = (
        "network:0["
        "stem:0@float[strided_conv(8,2)]; "
        f"stage:0[block:0@{scheme}[dilated_reparam({kernel})]*2]; "
        "head:0@float[global_pool; classifier(3)]]"
    )
    return Architecture(space="small", root=from_text(text))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return export(network(), SPEC, tmp_path / "net", seed=3, facts=FACTS)


def test_what_was_written_reads_back(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == FILES
    for path in (folder, folder / "architecture.json"):
        architecture, spec, facts = read_architecture(path)
        assert (architecture, spec, facts) == (network(), SPEC, FACTS)
    assert json.loads((folder / "architecture.json").read_text())["classes"] == 3


def test_fresh_weights_follow_from_the_seed(folder: Path, tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    again = export(network(), SPEC, tmp_path / "again", seed=3)
    other = export(network(), SPEC, tmp_path / "other", seed=4)
    assert torch.equal(torch.random.get_rng_state(), before)
    weights = [load_file(path / "model.safetensors") for path in (folder, again, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[0]["stem.conv.weight"], weights[2]["stem.conv.weight"])
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {
            "format": "pt",
            "key": network().key,
            "seed": "3",
            "weights": "freshly initialised",
        }


def test_given_weights_come_back(tmp_path: Path) -> None:
    trained = build(network().root, SPEC).to(memory_format=torch.channels_last)
    folder = export(network(), SPEC, tmp_path / "net", weights=trained)
    found = load(folder)
    assert not found.training
    expected = trained.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.state_dict().items())
    assert are_trained(folder / "model.safetensors")
    assert "handed over as trained" in (folder / "README.md").read_text()


def test_weights_that_were_not_trained_are_not_called_so(folder: Path, tmp_path: Path) -> None:
    copy = export(network(), SPEC, tmp_path / "copy", weights=load(folder), trained=False)
    for path in (folder, copy):
        assert not are_trained(path / "model.safetensors")
    assert "seed" not in (copy / "README.md").read_text()
    for path in (folder, copy):
        assert "has not been trained" in (path / "README.md").read_text().replace("\n", " ")


def test_readme_tells_figures_precision_and_merging(tmp_path: Path) -> None:
    folder = export(network(scheme="w8a8"), SPEC, tmp_path / "net", facts=FACTS)
    text = (folder / "README.md").read_text()
    assert "| predicted latency | 4.21 ms, from 3.9 to 4.6 ms, on a100, batch 64, bf16 |" in text
    assert "| parameters | 11.7M |" in text
    assert "| peak memory | 3MiB |" in text
    assert "- w8a8: stage.0, stage.1" in text
    assert "network.merge()" in text
    assert "torch.bfloat16, memory_format=torch.channels_last" in text
    assert "network.features(x)" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    "where", [{"target": "a100"}, {"target": "cpu", "runtime": "cpu-inductor"}]
)
def test_code_of_the_readme_runs(tmp_path: Path, where: dict[str, str]) -> None:
    folder = export(network(), SPEC, tmp_path / "net", seed=3, facts=FACTS | where)
    text = (folder / "README.md").read_text()
    assert ("cuda" in text) == ("MALLOC_TRIM_THRESHOLD_" not in text) == (where["target"] != "cpu")
    assert ("torch.compile(network)" in text) == (where.get("runtime") == "cpu-inductor")
    blocks = [block.split("```")[0] for block in text.split("```python\n")[1:]]
    code = "\n".join(blocks).replace('"cuda"', '"cpu"').replace("bfloat16", "float32")
    code = code.replace("compile(network)", 'compile(network, backend="eager")')  # seconds less
    start = "import torch\nbatches = [(torch.randn(2, 3, 16, 16), torch.tensor([0, 1]))]\n"
    code = f"import sys\nsys.path.insert(0, '.')\n{start}{code}\nprint(list(y.shape))\n"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[2, 3]\n"
    load(folder)


def test_import_nas_leaves_torch_alone() -> None:
    assert nas.load is load
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        _ = nas.missing  # type: ignore[attr-defined]
    code = "import sys, nas; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("failing", ["write", "sync", "rename"])
@pytest.mark.parametrize("stands", [True, False])
def test_a_full_disk_leaves_the_old_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, stands: bool
) -> None:
    place = tmp_path / "net"
    if stands:
        export(network(), SPEC, place)
    calls: list[object] = []

    def fail(*arguments: object) -> None:
        calls.append(arguments)
        if failing == "rename" and Path(str(arguments[0])).name != "new":
            return real(*arguments)  # type: ignore[no-any-return]
        if failing == "rename" or len(calls) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments)  # type: ignore[no-any-return]

    where, name = {
        "write": ("nas.export.folder", "_write"),
        "sync": ("os", "fsync"),
        "rename": ("os", "rename"),
    }[failing]
    real = getattr(sys.modules[where], name)
    monkeypatch.setattr(f"{where}.{name}", fail)
    with pytest.raises(OSError, match="No space left"):
        export(network(7), SPEC, place)
    assert [path.name for path in tmp_path.iterdir()] == (["net"] if stands else [])
    if stands:
        monkeypatch.undo()
        assert {path.name for path in place.iterdir()} == FILES
        assert read_architecture(place)[0] == network()


def test_an_export_is_replaced(folder: Path) -> None:
    (folder / "__pycache__").mkdir()
    export(network(7), SPEC, folder)
    assert read_architecture(folder)[0] == network(7)
    assert {path.name for path in folder.iterdir()} == FILES
    assert [path.name for path in folder.parent.iterdir()] == ["net"]


def test_an_empty_folder_and_a_deep_new_one_are_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "empty", tmp_path / "a" / "b"):
        assert export(network(), SPEC, str(place)) == place
        load(place)


def test_other_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ExportError, match=r"holds 'notes.txt'.*give another folder"):
        export(network(), SPEC, folder)
    other = tmp_path / "other"
    other.mkdir()
    (other / "README.md").write_text("mine")
    with pytest.raises(ExportError, match=r"holds no export"):
        export(network(), SPEC, other)
    with pytest.raises(ExportError, match=r"is no folder"):
        export(network(), SPEC, other / "README.md")
    assert (other / "README.md").read_text() == "mine"


def rewrite(folder: Path, **changes: object) -> None:
    """Change fields of `architecture.json`."""
    path = folder / "architecture.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "is no exported architecture"),
        ({"version": 2}, "has version 2, but this release reads 1"),
        ({"key": "0" * 16}, r"damaged .*the tree's key is .*restore it"),
        ({"tree": {"symbol": 1}}, "damaged .*a node must be an object"),
        ({"tree": {"symbol": "unheard_of"}, "key": None}, "damaged"),
        ({"input": {"mode": "image", "shape": [3, 16]}}, "damaged .*image needs 3 sizes"),
        ({"input": {"mode": "image", "shape": [3, 16, "16"]}}, "damaged .*list of integers"),
        ({"input": {"mode": "sound", "shape": [3]}}, "damaged .*image, tokens or vector"),
        ({"input": None}, "damaged .*'input' must be an object"),
        ({"input": {"mode": "vector", "shape": [3]}}, "damaged .*needs an image"),
        ({"space": 'x"""\nimport os'}, "damaged .*names of letters, digits and _"),
        ({"classes": 5}, "damaged .*not the classes it states"),
        ({"facts": [1]}, "damaged .*'facts' must be an object"),
        ({"facts": {"score": float("nan")}}, "damaged .*fact 'score' must be a finite number"),
    ],
)
def test_changed_records_are_refused(
    folder: Path, changes: dict[str, object], message: str
) -> None:
    rewrite(folder, **changes)
    with pytest.raises(ExportError, match=message):
        load(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"[]"])
def test_damaged_json_is_refused(folder: Path, content: bytes) -> None:
    (folder / "architecture.json").write_bytes(content)
    with pytest.raises(ExportError, match=r"architecture.json is (damaged|no exported)"):
        read_architecture(folder)


def test_missing_files_are_named(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(ExportError, match=r"model.safetensors is missing: export"):
        load(folder)
    with pytest.raises(ExportError, match=r"architecture.json is missing: give a folder"):
        load(tmp_path)
    with pytest.raises(ExportError, match=r"nowhere is missing"):
        load(tmp_path / "nowhere")


def test_foreign_or_damaged_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    path = folder / "model.safetensors"
    state = load_file(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ExportError, match=r"model.safetensors is damaged"):
        load(folder)
    other = export(network(7), SPEC, tmp_path / "other")
    shutil.copy(other / "model.safetensors", path)
    with pytest.raises(ExportError, match=r"holds weights of architecture .*one export together"):
        load(folder)
    save_file({**state, "stem.conv.bias": torch.zeros(9)}, path)
    with pytest.raises(ExportError, match=r"'stem.conv.bias' has shape \[9\].*needs \[8\]"):
        load(folder)
    save_file({name: state[name] for name in list(state)[1:]}, path)
    with pytest.raises(ExportError, match=r"the weights lack '"):
        load(folder)
    save_file({**state, "extra": torch.zeros(1)}, path)
    with pytest.raises(ExportError, match=r"the weights have 'extra'"):
        load(folder)
    save_file(state, path)
    load(folder)


def test_weights_that_do_not_fit_are_not_written(tmp_path: Path) -> None:
    trained = build(network().root, SPEC)
    with pytest.raises(ExportError, match=r"the weights lack 'stage.0.convs.3.weight'"):
        export(network(7), SPEC, tmp_path / "net", weights=trained)
    with pytest.raises(ExportError, match=r"'stem.conv.weight' has shape \[8, 3, 3, 3\]"):
        export(network(), image(1, 16, 16), tmp_path / "net", weights=trained)
    for module in list(trained.modules()):
        if hasattr(module, "merge"):
            module.merge()
    with pytest.raises(ExportError, match=r"neither merged"):
        export(network(), SPEC, tmp_path / "net", weights=trained)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [float("inf"), [1], object()])
def test_facts_must_be_plain(tmp_path: Path, value: object) -> None:
    with pytest.raises(ExportError, match="fact 'score' must be a finite number"):
        export(network(), SPEC, tmp_path / "net", facts={"score": value})  # type: ignore[dict-item]


def test_facts_can_be_odd_text(tmp_path: Path) -> None:
    facts = {"note": 'a "quoted" \\ | two\nlines """', "empty": None}
    folder = export(network(), SPEC, tmp_path / "net", facts=facts)
    compile((folder / "model.py").read_text(), "model.py", "exec")
    assert read_architecture(folder)[2] == facts


def test_what_load_gives_has_the_methods_of_model_py(tmp_path):
    folder = export(network(), SPEC, tmp_path / "out")
    loaded = load(folder)
    scope = {"__name__": "model", "__file__": str(folder / "model.py")}
    exec(compile((folder / "model.py").read_text("utf-8"), "model.py", "exec"), scope)
    exported = scope["Network"]().eval()
    exported.load_state_dict(loaded.state_dict())
    x = torch.randn(2, *SPEC.shape)
    with torch.no_grad():
        ours, theirs = loaded.features(x), exported.features(x)
        assert [m.shape for m in ours] == [m.shape for m in theirs]
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
        before = loaded(x)
        loaded.merge()
        torch.testing.assert_close(loaded(x), before, rtol=1e-4, atol=1e-4)
    assert not any("norms" in name for name in loaded.state_dict())
