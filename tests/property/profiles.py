"""How long properties are looked for: HYPOTHESIS_PROFILE=long in `make test-long`, else what CI has time for."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "ci", max_examples=500, stateful_step_count=30, deadline=None, print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
settings.register_profile("long", settings.get_profile("ci"), max_examples=10_000)

#: For a test class of a state machine: `.settings = CHOSEN`.
CHOSEN = settings.get_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
