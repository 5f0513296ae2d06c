"""The exported source: stands alone, reads well, and is the network that the tree builds."""

import ast
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import load_file, save_file

from nas.export import ExportError, export, load, module_source
from nas.export.layout import Nest, Repeat, lines, runs
from nas.export.source import schemes
from searchspace.architecture import Architecture
from searchspace.build import build
from searchspace.read import read_grammar
from searchspace.sample import sample
from searchspace.shapes import TensorSpec, image
from searchspace.space import load_space
from searchspace.text import from_text

pytestmark = pytest.mark.usefixtures("one_thread")

SPEC = image(3, 32, 32)
GOLDEN = Path(__file__).parent / "golden" / "model.py"
SMALL = (
    "network:0(8,8,16,16,2)["
    "stem:0@float(8,2)[strided_conv(8,2); norm:1[batch_norm]]; "
    "stage:0[block:0@float[residual[space:1[dilated_reparam(7)] norm:0[layer_norm] "
    "channel:0[inverted(4,gelu)] layer_scale]]*2]; "
    "down:0@float(8)[strided_conv(8,2); norm:0[layer_norm]]; "
    "stage:0[block:1@w8a8[residual[space:5[shift] norm:1[batch_norm]]; "
    "residual[channel:2[inverted(2,silu); gate:1[eca]] layer_scale]]]; "
    "head:0@float[global_pool; layer_norm; classifier(10)]]"
)
FACTS = {"params": 4321, "latency_ms": 1.25, "low_ms": 1.0, "high_ms": 1.5, "target": "a100"}

# Runs every exported file where the project cannot be imported, and keeps what came out.
ALONE = """
import importlib.util, json, sys
from pathlib import Path
HIDDEN = {"nas", "searchspace", "predictors", "hwprofile", "kernels"}
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in HIDDEN:
            raise ImportError(f"{name} is hidden")
sys.meta_path.insert(0, Hide())
import torch
from safetensors.torch import load_file, save_file
torch.set_num_threads(1)
root = Path(sys.argv[1])
x = load_file(root / "x.safetensors")["x"]
shapes = {}
for folder in sorted(f for f in root.iterdir() if f.is_dir()):
    spec = importlib.util.spec_from_file_location("model", folder / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.Network().eval()
    network.load_state_dict(load_file(folder / "model.safetensors"))
    with torch.inference_mode():
        found = {"plain": network(x)}
        found |= {f"map{i}": y.contiguous() for i, y in enumerate(network.features(x))}
        merged = hasattr(network, "merge")
        if merged:
            network.merge()
            found["merged"] = network(x)
    save_file({k: v.clone() for k, v in found.items()}, root / f"{folder.name}.out")
    shapes[folder.name] = list(network.state_dict())
assert not HIDDEN & {name.split(".")[0] for name in sys.modules}
(root / "names.json").write_text(json.dumps(shapes))
"""


def drawn(number: int) -> Architecture:
    """A small random architecture; the numbers vary width, depth and schemes too."""
    random = Random(number)
    low = random.choice([32, 48])
    grammar = load_space(
        "conv_large_kernel",
        classes=random.choice([2, 10]),
        limits={"width": (low, low + 16 * random.randrange(3)), "depth": (1, 1 + number % 4)},
        schemes=random.choice([("float",), ("float", "w8a8"), ("w8a8",)]),
    )
    return sample(grammar, random)


NUMBERS = range(12)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """Folders of random architectures with lively weights, and what their `model.py` computes."""
    root = tmp_path_factory.mktemp("exported")
    generator = torch.Generator().manual_seed(1)
    save_file({"x": torch.randn(2, *SPEC.shape, generator=generator)}, root / "x.safetensors")
    for number in NUMBERS:
        architecture = drawn(number)
        network = build(architecture.root, SPEC)
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.1, 0.3, generator=generator)
            if tensor.dim() > 1:
                tensor -= 0.2  # of both signs: recursive gates raise what adds up to high powers
        export(architecture, SPEC, root / str(number), weights=network)
    subprocess.run([sys.executable, "-I", "-c", ALONE, str(root)], check=True, cwd=root)
    return root


@pytest.mark.parametrize("number", NUMBERS)
def test_outputs_equal_those_of_the_built_network(exported: Path, number: int) -> None:
    network = load(exported / str(number))
    found = load_file(exported / f"{number}.out")
    x = load_file(exported / "x.safetensors")["x"]
    with torch.inference_mode():
        expected = network(x)
    assert torch.isfinite(expected).all()
    assert torch.equal(found["plain"], expected)
    if "merged" in found:
        torch.testing.assert_close(found["merged"], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("number", NUMBERS)
def test_features_are_one_map_a_resolution(exported: Path, number: int) -> None:
    found = load_file(exported / f"{number}.out")
    sizes = [found[f"map{i}"].shape[2] for i in range(4)]
    assert "map4" not in found
    assert sizes == sorted(set(sizes), reverse=True)


def test_parameter_names_are_those_of_build(exported: Path) -> None:
    names = json.loads((exported / "names.json").read_text())
    for number in NUMBERS:
        expected = build(drawn(number).root, SPEC)
        for module in list(expected.modules()):
            if hasattr(module, "merge"):
                module.merge()
        assert names[str(number)] == list(expected.state_dict())


def test_sources_are_clean(exported: Path) -> None:
    paths = [str(exported / str(number) / "model.py") for number in NUMBERS]
    options = ["--isolated", "--line-length", "100", "--no-cache"]
    for command in (["check", "--select", "E,F,I"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *options, *paths],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout


def test_sources_import_torch_and_the_standard_library_alone(exported: Path) -> None:
    for number in NUMBERS:
        tree = ast.parse((exported / str(number) / "model.py").read_text())
        modules = {
            (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0]
            for node in tree.body
            if isinstance(node, ast.Import | ast.ImportFrom)
        }
        assert modules <= {"__future__", "math", "pathlib", "torch"}


def test_golden_source() -> None:
    architecture = Architecture(space="conv_large_kernel", root=from_text(SMALL))
    source = module_source(architecture, SPEC, facts=FACTS)
    assert source == GOLDEN.read_text(), "if the change is meant, write the new text to the file"


def test_model_py_runs_as_a_script(tmp_path: Path) -> None:
    architecture = Architecture(space="conv_large_kernel", root=from_text(SMALL))
    folder = export(architecture, SPEC, tmp_path / "net")
    done = subprocess.run(
        [sys.executable, "-I", "model.py"], cwd=folder, capture_output=True, text=True, check=True
    )
    count = sum(p.numel() for p in build(architecture.root, SPEC).parameters())
    assert done.stdout == f"[1, 3, 32, 32] -> [1, 10], {count:,} parameters\n"


def test_schemes_name_their_parts() -> None:
    architecture = Architecture(space="conv_large_kernel", root=from_text(SMALL))
    assert schemes(architecture, SPEC) == {"w8a8": ["stage2.0"]}
    assert "#   w8a8: stage2.0\nclass Network" in module_source(architecture, SPEC)


def test_rule_names_that_python_or_the_class_has_already() -> None:
    grammar = read_grammar(
        "space odd : image[3, 8, 8] -> classes[2]\n"
        "network -> class features merge __end\n"
        "class is block -> strided_conv(8, 2)\n"
        "features is block -> depthwise(3)\n"
        "merge is block -> dilated_reparam(5)\n"
        "__end is block -> global_pool classifier(classes)\n"
    )
    architecture, spec = sample(grammar, Random(0)), image(3, 8, 8)
    names: dict[str, object] = {"__name__": "model"}
    exec(compile(module_source(architecture, spec), "model.py", "exec"), names)
    network = names["Network"]()  # type: ignore[operator]
    assert list(network.state_dict()) == list(build(architecture.root, spec).state_dict())
    assert [list(y.shape) for y in network.features_(torch.zeros(1, 3, 8, 8))] == [[1, 8, 4, 4]]
    network.merge_()
    assert "merge.merged.weight" in network.state_dict()


def test_repeats_and_folds() -> None:
    block = Nest("Block(", ("alpha=1", "beta=2"))
    assert runs([block, block, "C()"]) == (Repeat(block, 2), "C()")
    row = Nest("nn.Sequential(", runs([block] * 3))
    assert list(lines(row, 4, "y = ")) == [
        "    y = nn.Sequential(*(Block(alpha=1, beta=2) for _ in range(3)))"
    ]
    long = Nest("Block(", ("a" * 60, "b" * 60))
    assert list(lines(Nest("f(", (Repeat(long, 2), "c")), 0)) == [
        "f(",
        "    *(",
        "        Block(",
        f"            {'a' * 60},",
        f"            {'b' * 60},",
        "        )",
        "        for _ in range(2)",
        "    ),",
        "    c,",
        ")",
    ]


def test_a_tree_that_does_not_fit_its_input_is_refused() -> None:
    architecture = Architecture(space="conv_large_kernel", root=from_text(SMALL))
    with pytest.raises(ValueError, match="needs an image"):
        module_source(architecture, TensorSpec("vector", (3,)))


@pytest.mark.parametrize("name", ["x=1\nimport os", "a.b", "", "é"])
def test_names_that_could_be_code_are_refused(name: str) -> None:
    root = from_text(SMALL)
    stem = root.children[0][0]
    odd = replace(root, children=((replace(stem, symbol=name),), *root.children[1:]))
    for architecture in (
        Architecture(space="conv_large_kernel", root=odd),
        Architecture(space=name, root=root),
    ):
        with pytest.raises(ExportError, match="names of letters"):
            module_source(architecture, SPEC)
