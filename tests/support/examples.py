"""How many examples a property is tried with: half of them, or what HYPOTHESIS_PROFILE says.

`check` (`make check`) tries a tenth, `deep` (`.ci/run`) tries all. Each run draws other examples, so runs add up: half
the examples in twice the runs find the same.
"""

import os
from collections.abc import Sequence

from hypothesis import HealthCheck, settings

_PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "")
DEEP = _PROFILE == "deep"
_SHARES = {"check": 10, "deep": 1}
_LEAST = 20
_DEFAULT = 100


def examples(number: int = _DEFAULT, *, suppress: Sequence[HealthCheck] = ()) -> settings:
    """Return settings for a property that deserves `number` examples, each without a time limit."""
    tried = max(_LEAST, number // _SHARES.get(_PROFILE, 2))
    return settings(max_examples=tried, deadline=None, suppress_health_check=suppress)


def register() -> None:
    """Make the number the default for properties without settings of their own."""
    settings.register_profile("acr", examples())
    settings.load_profile("acr")
