"""Kills a search with SIGKILL at random moments, resumes it, and compares with one never stopped.

    python -m benchmarks.kill [--kills 10] [--seed 0] [--evaluations N] [-- options of nas search]

Prints, for every kill, when it came and what the record held, and at the end whether anything was
lost, judged twice, or different. The exit code is 1 if so.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

SEARCH = ["search", "--space", "conv_large_kernel", "--target", "a100", "--budget", "5ms"]
NAS = [sys.executable, "-m", "nas.cli"]


def recorded(run: Path) -> list[str]:
    """Keys of the candidates in a run's journal; a line that was cut short does not count."""
    journal = run / "journal.log"
    keys = []
    for line in journal.read_bytes().split(b"\n")[:-1] if journal.exists() else []:
        entry = json.loads(line)
        if "user_attrs" in entry:
            keys.append(entry["user_attrs"]["key"])
        elif "key" in entry.get("user_attr", {}):
            keys.append(entry["user_attr"]["key"])
    return keys


def run_to_end(command: list[str]) -> tuple[dict[str, object], float]:
    start = time.perf_counter()
    done = subprocess.run([*NAS, *command, "--json"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout), time.perf_counter() - start


def killed(command: list[str], run: Path, target: float, delay: float) -> float:
    """Run until the record holds `target` candidates and `delay` seconds more, then kill."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [*NAS, *command], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    while len(recorded(run)) < target and process.poll() is None:
        time.sleep(0.1)
    time.sleep(delay)
    if process.poll() is not None:
        raise SystemExit("the search ended before it was killed: raise --evaluations")
    process.send_signal(signal.SIGKILL)
    process.wait()
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--evaluations", type=int, default=600)
    parser.add_argument("rest", nargs="*", help="further options of nas search, after --")
    args = parser.parse_args()
    random = Random(args.seed)
    search = [*SEARCH, "--evaluations", str(args.evaluations), *args.rest]
    with tempfile.TemporaryDirectory() as folder:
        reference, duration = run_to_end([*search, "--out", f"{folder}/whole"])
        print(f"never stopped: {len(reference['front'])} designs in the front, {duration:.1f} s")
        run = Path(folder) / "killed"
        command = [*search, "--out", str(run)]
        held: list[str] = []
        faults = 0
        targets = sorted(random.uniform(0.0, 0.95) * args.evaluations for _ in range(args.kills))
        for number, target in enumerate(targets, 1):
            waited = killed(command, run, target, random.uniform(0.0, 2.0))
            now = recorded(run)
            lost = len(set(held) - set(now))
            faults += lost
            print(f"kill {number:2d} after {waited:5.1f} s: {len(now)} recorded, {lost} lost")
            held = now
            if (run / "config.json").exists():
                command = ["resume", str(run)]
        outcome, _ = run_to_end(command)
        twice = [key for key, times in Counter(recorded(run)).items() if times > 1]
        same = outcome["front"] == reference["front"] and outcome["best"] == reference["best"]
        print(f"judged twice: {len(twice)}; the same front: {'yes' if same else 'NO'}")
        return int(bool(faults or twice or not same))


if __name__ == "__main__":
    raise SystemExit(main())
