"""How long a plan takes that finds nothing to do, against a script that only downloads and parses the same things."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import HERE, Contender, Measured, Report, arguments, environment, in_turn, serving

OWNER = "example.com/benchmark"
JOBS_EACH = 10


def measure(specs: int, rounds: int) -> Measured:
    """Time the script, a first plan and a second one on a fleet of this size."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "repository"
        make = [sys.executable, str(HERE / "seeded.py"), folder, OWNER, str(specs), str(JOBS_EACH)]
        subprocess.run(make, check=True, env=environment())
        with serving(Path(folder) / "server") as url:
            minimal = [sys.executable, str(HERE / "minimal.py"), url, OWNER, "specs"]
            plan = [sys.executable, "-m", "reconciler", "plan", "--server", url, "--detailed-exitcode"]

            def forget() -> None:
                shutil.rmtree(root / ".reconciler", ignore_errors=True)

            contenders = {
                "minimal script": Contender(minimal, root),
                "plan, cold": Contender(plan, root, before=forget),
                "plan, warm": Contender(plan, root),
            }
            measured = in_turn(contenders, rounds)
    expected = f"{specs * JOBS_EACH} {specs}"
    if any(sample.output.strip() != expected for sample in measured.samples["minimal script"]):
        raise SystemExit(f"The script did not read {expected} jobs and specs.")
    return measured


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "", rounds=7).parse_args()
    large, rounds = (40, 1) if options.quick else (1000, options.rounds)
    report = Report("noop_plan")
    results = {specs: measure(specs, rounds) for specs in (large // 10, large)}
    for specs, measured in results.items():
        for name in measured.samples:
            label = f"{specs} specs, {specs * JOBS_EACH} jobs: {name}"
            report.add(label, measured.wall(name), "s")
            report.add(f"{label}, processor", measured.cpu(name), "s")
            report.add(f"{label}, memory", measured.peak(name), "MB")
        report.add(f"{specs} specs: warm plan / script", measured.ratio("plan, warm", "minimal script"), "times")
    ratio = results[large].ratio("plan, cold", "minimal script")
    report.print(ratio, "<= 2; memory <= 200 MB", as_json=options.json)


if __name__ == "__main__":
    main()
