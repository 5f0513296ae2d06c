"""Prints how far the rules of CPU runtimes are what torch does, over models of timm.

    python -m benchmarks.latency.rules [--models NAME ...] [--runtime NAME] [--scheme bf16] [--json]

`cpu-eager` is held against torch's profiler: each operation that ran, with the elements of the
first tensor that it read. `cpu-inductor` is held against the code that TorchInductor generates with
weights frozen: each call of a library with its epilogue, and each generated function with what it
computes, in order; the C++ is not compiled. A share is of the longer of the two lists. Some ten
seconds a model and compilation on one core, a minute for the largest.
"""

from __future__ import annotations

import argparse
import json
import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from benchmarks.latency.zoo import import_timm
from hwprofile.observed import agreeing, compiled, launched, ran
from hwprofile.runtime import RUNTIMES, launches
from hwprofile.trace import trace

MODELS = (
    "resnet18",
    "convnext_atto",
    "vit_tiny_patch16_224",
    "mobilenetv3_small_050",
    "swin_tiny_patch4_window7_224",
    "efficientnet_b0",
    "regnety_002",
    "mixer_s32_224",
    "densenet121",
    "vgg11",
    "levit_128s",
    "mobilevit_xxs",
    "edgenext_xx_small",
    "poolformer_s12",
    "ghostnet_050",
    "repvgg_a0",
    "hrnet_w18_small",
    "efficientformer_l1",
    "fastvit_t8",
    "xcit_nano_12_p16_224",
    "coat_lite_tiny",
    "pvt_v2_b0",
    "tiny_vit_5m_224",
    "eca_nfnet_l0",
    "botnet26t_256",
    "twins_svt_small",
    "inception_next_atto",
    "starnet_s1",
    "beit_base_patch16_224",
    "resnetv2_50x1_bit",
    "mobilenetv2_050",
)
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What the rules and torch have in common for one model."""

    model: str
    runtime: str
    scheme: str
    rules: int
    """Launches by the rules."""
    torch: int
    """Launches that torch made."""
    common: int
    """Launches in both."""

    @property
    def share(self) -> float:
        """Of the longer list."""
        return self.common / max(self.rules, self.torch, 1)


def eager(module: nn.Module, image: torch.Tensor, scheme: str) -> tuple[int, int, int]:
    """Calls by the rules, calls that ran, and calls in both."""
    record = trace(module, image, layout="nchw")
    expected = Counter(
        (kernel.ops[0], math.prod(kernel.shape) if kernel.ops != ("cat",) else 0)
        for kernel in launches(record, RUNTIMES["cpu-eager"], scheme)
    )
    found = Counter(tuple(call) for call in ran(module, image))
    return expected.total(), found.total(), (expected & found).total()


def inductor(module: nn.Module, image: torch.Tensor, scheme: str) -> tuple[int, int, int]:
    """Calls by the rules, calls in the generated code, and calls in both."""
    rules = launched(launches(trace(module, image), RUNTIMES["cpu-inductor"], scheme))
    code = compiled(module, image)
    return len(rules), len(code), agreeing(rules, code)


def judge(name: str, runtime: str, scheme: str) -> Agreement:
    """One model in one runtime, at batch 1 and its default size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = import_timm().create_model(name).eval().to(_DTYPES[scheme])
        image = torch.randn(1, *model.default_cfg["input_size"], dtype=_DTYPES[scheme])
        rules, found, common = (eager if runtime == "cpu-eager" else inductor)(model, image, scheme)
    return Agreement(
        model=name, runtime=runtime, scheme=scheme, rules=rules, torch=found, common=common
    )


def show(found: Sequence[Agreement]) -> Table:
    """For people."""
    table = Table(title="Launches by rule and by torch")
    for name in ("model", "runtime", "scheme", "rules", "torch", "in both", "share"):
        table.add_column(name, justify="left" if name in ("model", "runtime") else "right")
    for a in found:
        figures = (str(a.rules), str(a.torch), str(a.common), f"{a.share:.1%}")
        table.add_row(a.model, a.runtime, a.scheme, *figures)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="NAME")
    parser.add_argument(
        "--runtime", nargs="+", default=["cpu-eager", "cpu-inductor"], metavar="NAME"
    )
    parser.add_argument("--scheme", choices=_DTYPES, default="fp32")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    people, found = Console(stderr=True), []
    for name in arguments.models:
        for runtime in arguments.runtime:
            found.append(judge(name, runtime, arguments.scheme))
            people.print(f"{name}, {runtime}: {found[-1].share:.1%}", highlight=False)
    if arguments.json:
        print(json.dumps([asdict(a) | {"share": a.share} for a in found], indent=1))
        return
    console = Console()
    console.print(show(found))
    for runtime in arguments.runtime:
        chosen = [a for a in found if a.runtime == runtime]
        launches_made = sum(max(a.rules, a.torch) for a in chosen)
        share = sum(a.common for a in chosen) / launches_made
        console.print(f"{runtime}: {share:.1%} of {launches_made} launches, {len(chosen)} models")


if __name__ == "__main__":
    main()
