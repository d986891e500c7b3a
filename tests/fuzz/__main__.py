"""Fuzz every target: `python -m tests.fuzz --seconds 60`. Exit code 1 where something was found.

The seconds are shared by the targets, two of which run at a time. For a longer search of one: `--target token
--seconds 3600 --directory fuzz-token`; the directory keeps the corpus, so the next run starts where this one ended. A
finding is a file `finding-…`; `--replay FILE --target token` runs it again.
"""

import argparse
import asyncio
import re
import sys
import tempfile
from pathlib import Path

from tests.fuzz.targets import TARGETS

_AT_A_TIME = 2


async def run(name: str, seconds: int, directory: Path, gate: asyncio.Semaphore) -> bool:
    """Run one target in a process of its own; print a line on success and everything otherwise."""
    async with gate:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.fuzz.engine", name, str(seconds), str(directory / name),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output = (await process.communicate())[0].decode(errors="replace")
    if process.returncode:
        print(f"{name}: FOUND SOMETHING\n{output}", flush=True)
        return False
    executed = re.search(r"number_of_executed_units:\s*(\d+)", output)
    how = f"{int(executed[1]):,} inputs, guided by coverage" if executed else "by hypothesis, without coverage"
    print(f"{name}: nothing found in {seconds} s ({how})", flush=True)
    return True


async def run_all(names: list[str], seconds: int, directory: Path) -> bool:
    """Run the targets, two at a time, so that all of them together take about `seconds`."""
    gate = asyncio.Semaphore(_AT_A_TIME)
    each = max(1, seconds * min(_AT_A_TIME, len(names)) // len(names))
    return all(await asyncio.gather(*(run(name, each, directory, gate) for name in names)))


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="how long to search in all (default: 60)")
    parser.add_argument("--target", choices=TARGETS, action="append", help="search this one only; may be repeated")
    parser.add_argument("--directory", type=Path, help="keep corpus and findings here (default: a temporary one)")
    parser.add_argument("--replay", type=Path, help="run this finding once against --target, and show what it does")
    arguments = parser.parse_args()
    names = arguments.target or list(TARGETS)
    if arguments.replay:
        TARGETS[names[0]](arguments.replay.read_bytes())
        print(f"{names[0]}: this input does no harm")
        return 0
    directory = arguments.directory or Path(tempfile.mkdtemp(prefix="fuzz-"))
    found_nothing = asyncio.run(run_all(names, arguments.seconds, directory))
    if not found_nothing:
        print(f"The inputs lie in {directory}; run one again with --replay FILE --target NAME.")
    return 0 if found_nothing else 1


if __name__ == "__main__":
    sys.exit(main())
