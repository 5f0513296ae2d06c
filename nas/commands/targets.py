"""`nas targets`: list and show devices."""

from __future__ import annotations

import argparse


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "targets",
        help="list and show devices",
        epilog="examples:\n  nas targets\n  nas targets show a100\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=list_targets)
    actions = parser.add_subparsers(metavar="ACTION")
    actions.add_parser("list", help="devices that ship").set_defaults(run=list_targets)
    show = actions.add_parser("show", help="figures of a device, and what its prices rest on")
    show.add_argument("name", metavar="NAME", help="name, or path of a TOML file")
    show.set_defaults(run=show_target)


def list_targets(args: argparse.Namespace) -> int:
    """Names with the figures that matter most."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from hwprofile.device import device_names, load_device

    table = Table("target", "device", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("SMs", "fp16 TFLOPS", "GB/s", "L2 MiB"):
        table.add_column(name, justify="right")
    table.add_column("int8")
    for name in device_names():
        device = load_device(name)
        table.add_row(
            name,
            device.title,
            str(device.sms),
            f"{device.peak_tflops['fp16']:g}",
            f"{device.dram_gbps:g}",
            f"{device.l2_mib:g}",
            "yes" if "w8a8" in device.schemes else "no",
        )
    Console().print(table)
    return 0


def show_target(args: argparse.Namespace) -> int:
    """All figures, constants and ranges."""
    from nas.targets import find_target

    print(find_target(args.name, runtime=None, coverage=0.9).describe())
    return 0
