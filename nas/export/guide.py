"""The `README.md` of an exported folder: what it holds and how to use it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from hwprofile.heap import KEEPING
from hwprofile.runtime import RUNTIMES, Runtime
from nas.export.facts import Facts, described
from nas.export.network import batched, last_maps, method_name, primitives_of
from nas.export.source import schemes
from nas.export.weights import WEIGHTS
from searchspace.architecture import Architecture
from searchspace.build import Part, flow, plan
from searchspace.shapes import TensorSpec

_CASTS = {"fp16": "torch.float16", "bf16": "torch.bfloat16", "fp32": "torch.float32"}


def guide(
    architecture: Architecture, spec: TensorSpec, *, trained: bool, seed: int | None, facts: Facts
) -> str:
    """The text of `README.md`.

    Args:
        architecture: what the folder holds.
        spec: its input, without the batch.
        trained: whether the weights were handed over as trained.
        seed: what fresh weights were drawn from, if that is known.
        facts: what is known about it.
    """
    parts = plan(architecture.root, spec)
    out = flow(architecture.root, spec)
    sections = [
        f"# {architecture.space} {architecture.key}\n\n"
        + _paragraph(
            f"A network that maps `{batched(spec)}` to `{batched(out)}` (B: batch), found in the "
            f"space `{architecture.space}`."
        ),
        _weights(trained, seed),
        *_figures(facts),
        *_quantized(schemes(architecture, spec)),
        _files(),
        _load(parts, bool(last_maps(architecture.root, spec))),
        _train(parts, out.mode == "vector"),
        _ship(parts, spec, facts),
    ]
    return "\n\n".join(sections) + "\n"


def _paragraph(text: str) -> str:
    return textwrap.fill(text, 100, break_on_hyphens=False, break_long_words=False)


def _weights(trained: bool, seed: int | None) -> str:
    if trained:
        return _paragraph(
            f"**The weights** in `{WEIGHTS}` were handed over as trained. How well they do is not "
            "checked here: measure it on your own data."
        )
    origin = "" if seed is None else f" with seed {seed}"
    return _paragraph(
        f"**The weights** in `{WEIGHTS}` are freshly initialised{origin}. The network has "
        "not been trained: its outputs mean nothing until it is."
    )


def _figures(facts: Facts) -> Iterator[str]:
    rows = described(facts)
    if not rows:
        return
    table = ["## Figures", "", "| figure | value |", "|---|---|"]
    table += [f"| {_cell(label)} | {_cell(value)} |" for label, value in rows]
    yield "\n".join(table)
    if facts.get("score") is not None:
        yield _paragraph("The score ranks candidates of one search; it is no measured accuracy.")
    if facts.get("latency_ms") is not None:
        rest = (
            "from what was measured on one machine"
            if facts.get("target") == "cpu"
            else "channels last, from the device's table where it has the kernel and from the "
            "device's published limits where not"
        )
        yield _paragraph(
            "The latency is predicted, not measured on this network: the sum, over all kernels "
            "that the merged network launches at inference, of what each takes on the target, "
            f"{rest}. The range says how far off that may be. Time the network on your own device "
            "before you rely on it."
        )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _quantized(found: Mapping[str, Sequence[str]]) -> Iterator[str]:
    if not found:
        return
    yield "## Precision"
    yield _paragraph(
        "The search chose another precision for the parts below, and its figures count on it. "
        "The weights are floating point, and so is everything that `model.py` computes: quantized "
        "layers come in a later release. Until then expect it to be slower than predicted."
    )
    yield "\n".join(_item(f"- {scheme}: {', '.join(paths)}") for scheme, paths in found.items())


def _item(text: str) -> str:
    return textwrap.fill(text, 100, subsequent_indent="  ")


def _files() -> str:
    return "\n".join(
        (
            "## Files",
            "",
            "| file | what it is |",
            "|---|---|",
            "| `architecture.json` | the architecture: space, key, tree, input, figures |",
            "| `model.py` | the network as source; needs torch alone |",
            f"| `{WEIGHTS}` | its weights, under the names of `model.py` |",
        )
    )


def _code(text: str) -> str:
    return f"```python\n{textwrap.dedent(text).strip()}\n```"


def _load(parts: Sequence[Part], maps: bool) -> str:
    load = f"""
        from model import Network
        from safetensors.torch import load_file

        network = Network()
        network.load_state_dict(load_file("{WEIGHTS}"))
    """
    text = f"## Load\n\nIn this folder, with torch and safetensors:\n\n{_code(load)}\n\n"
    text += _paragraph(
        "`python model.py` does that, runs the network once and prints shape and size. Where `nas` "
        'is installed, `nas.load("path/of/this/folder")` gives the same network in evaluation mode.'
    )
    if not maps:
        return text
    name = method_name("features", parts)
    return text + f"\n\nAs a backbone: `network.{name}(x)` gives the last map of each resolution."


def _train(parts: Sequence[Part], classifies: bool) -> str:
    loss = "nn.functional.cross_entropy(network(x), labels)" if classifies else "..."
    train = f"""
        from torch import nn, optim

        optimizer = optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.05)
        network.train()
        for x, labels in batches:  # yours
            loss = {loss}
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    """
    text = f"## Train\n\nIt is an ordinary module:\n\n{_code(train)}"
    if _merges(parts):
        text += "\n\n" + _paragraph("Train in this form, with the parallel branches; merge after.")
    save = f"""
        from safetensors.torch import save_file

        save_file(network.state_dict(), "{WEIGHTS}")
    """
    return f"{text}\n\nKeep the result:\n\n{_code(save)}"


def _ship(parts: Sequence[Part], spec: TensorSpec, facts: Facts) -> str:
    rows = ["import torch", "", "network.eval()"]
    if _merges(parts):
        rows.append(f"network.{method_name('merge', parts)}()  # in float32, before the cast")
    runtime = RUNTIMES.get(str(facts.get("runtime")))
    on_cpu = runtime if runtime is not None and runtime.kind == "cpu" else None
    rows += _on_cpu(on_cpu, facts) if on_cpu else _on_gpu(spec, facts)
    text = f"## Ship\n\n{_code(chr(10).join(rows))}"
    if _merges(parts):
        text += "\n\n" + _paragraph(
            "Merging replaces the parallel branches of re-parameterised convolutions by the one "
            "convolution that equals them in evaluation mode. Names of parameters change with it: "
            "weights saved from a merged network load into a network merged before."
        )
    if on_cpu:
        text += "\n\n" + _paragraph(
            "The prediction is for a process that keeps the memory it frees. Under glibc start "
            f"yours with {' '.join(f'`{name}={value}`' for name, value in KEEPING.items())}: "
            "otherwise each call may ask the system for its activations page by page."
        )
    return text


def _on_gpu(spec: TensorSpec, facts: Facts) -> list[str]:
    cast = _CASTS.get(str(facts.get("precision")), "torch.float16")
    layout = ", memory_format=torch.channels_last" if spec.mode == "image" else ""
    return [
        f'network = network.to("cuda", {cast}{layout})',
        "with torch.inference_mode():",
        f'    y = network(x.to("cuda", {cast}{layout}))',
    ]


def _on_cpu(runtime: Runtime, facts: Facts) -> list[str]:
    cast = _CASTS.get(str(facts.get("precision")), "torch.float32")
    rows = [f"network = network.to({cast})"]
    if runtime.fuses:
        rows += [
            "torch._inductor.config.freezing = True  # weights are constants from now on",
            "network = torch.compile(network)",
        ]
    mode = "no_grad" if runtime.fuses else "inference_mode"
    return [*rows, f"with torch.{mode}():", f"    y = network(x.to({cast}))"]


def _merges(parts: Sequence[Part]) -> bool:
    return any(primitive.merged for primitive in primitives_of(parts))
