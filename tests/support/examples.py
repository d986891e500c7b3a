"""How many examples a property is tried with: all of them, or a tenth where HYPOTHESIS_PROFILE=check (`make check`)."""

import os
from collections.abc import Sequence

from hypothesis import HealthCheck, settings

QUICK = os.environ.get("HYPOTHESIS_PROFILE") == "check"
_LEAST = 20
_DEFAULT = 100


def examples(number: int = _DEFAULT, *, suppress: Sequence[HealthCheck] = ()) -> settings:
    """Return settings for a property that `make test` tries with `number` examples, each without a time limit."""
    tried = max(_LEAST, number // 10) if QUICK else number
    return settings(max_examples=tried, deadline=None, suppress_health_check=suppress)


def register() -> None:
    """Make the number the default for properties without settings of their own."""
    settings.register_profile("acr", examples())
    settings.load_profile("acr")
