"""`nas predict`: the latency of a network, or of a table of kernels, on a device."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from nas.commands import options
from nas.usage import UsageError

EXAMPLES = """examples:
  nas predict runs/20260101-120000-conv_large_kernel-a100/best --target a100
  nas predict my_package.models:resnet --target h100 --batch 32 --json
  nas predict timm.models:convnext_tiny --target a100 --runtime eager --batch 128
  nas predict my_package.models:two_towers --target l4 --input 1x3x224x224 --input 1x77x512
  nas predict --kernels gemm.csv --out priced.csv --target a100
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "predict",
        help="latency of a network, or of single kernels, on a device",
        description="Predict the latency of a network with a breakdown by kernel, in a runtime "
        "of the target. ARCH is an exported folder, an architecture file, or "
        "package.module:callable that returns any nn.Module.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("network", nargs="?", metavar="ARCH", help="what to price")
    options.add_target(parser)
    options.add_shape(parser, resolution=None, batch=None)
    parser.add_argument(
        "--channels", type=options.whole(1), default=3, help="input channels of a callable's module"
    )
    parser.add_argument(
        "--input",
        dest="inputs",
        type=options.shape,
        action="append",
        default=[],
        metavar="SHAPE",
        help="shape of an input of a callable's module with the batch, such as 8x3x224x224; once "
        "for each, in the order of its arguments (default one image by --batch, --channels and "
        "--resolution)",
    )
    parser.add_argument(
        "--kernels", type=Path, metavar="FILE", help="price a CSV or Parquet table of kernels"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="where the priced table goes (.csv or .parquet)"
    )
    options.add_primitive(parser)
    options.add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Price a table, or a network."""
    if args.kernels is not None:
        return _price_table(args)
    if args.out is not None:
        raise UsageError("--out is where the table of --kernels goes; give both, or neither")
    if args.network is None:
        raise UsageError("give a network (ARCH), or a table by --kernels FILE --out FILE")
    return _price_network(args)


def _price_table(args: argparse.Namespace) -> int:
    from hwprofile.kernel_table import price_table

    if args.out is None or args.network is not None:
        raise UsageError("a table of kernels is priced by --kernels FILE --out FILE, without ARCH")
    rows = price_table(args.kernels, args.out, options.find_target(args))
    if args.json:
        print(json.dumps({"rows": rows, "target": args.target, "out": str(args.out)}))
    else:
        print(f"priced {rows} kernels for {args.target}: {args.out}")
    return 0


def _price_network(args: argparse.Namespace) -> int:
    from rich.console import Console

    from nas.predict import predict_network
    from nas.report.prediction import prediction_tables

    prediction = predict_network(
        args.network,
        options.find_target(args),
        batch=args.batch,
        resolution=args.resolution,
        precision=args.precision,
        channels=args.channels,
        inputs=args.inputs,
    )
    if args.json:
        print(json.dumps(prediction, indent=2))
    else:
        console = Console()
        for table in prediction_tables(prediction):
            console.print(table)
    return 0
