"""Run checkov on one folder, offline, and print as JSON which files it parsed and what it found.

Its command line tells neither: it exits with 0 on a file that it cannot parse, and is silent about one it did not see.
Arguments: the framework (bicep or terraform) and the folder.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
from pathlib import Path
from typing import Any


def path_of(key: Any) -> str:
    """Give a definition's file; Terraform's keys are objects, and a called module has one for each caller."""
    return str(getattr(key, "file_path", key))


def main() -> None:
    framework, folder = sys.argv[1], sys.argv[2]
    logging.disable(logging.CRITICAL)
    importlib.import_module("checkov.main")  # registers the checks of every framework
    options = importlib.import_module("checkov.runner_filter").RunnerFilter(framework=[framework])
    runner = importlib.import_module(f"checkov.{framework}.runner").Runner()
    report = runner.run(root_folder=folder, runner_filter=options)

    def found(records: Any) -> list[list[str]]:
        return [[record.check_id, Path(record.file_path).name, record.resource] for record in records]

    json.dump(
        {
            "files": sorted({path_of(key) for key in runner.definitions}),
            "unparsed": sorted(map(str, report.parsing_errors)),
            "passed": found(report.passed_checks),
            "failed": found(report.failed_checks),
            "skipped": found(report.skipped_checks),
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
