"""The service with fronts whose arguments no setting gives: those of TEST_FRONT_ARGS, as JSON."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

from bitnexus import application
from bitnexus.cli import main
from bitnexus.config import Settings
from bitnexus.supervision.spec import ChildSpec, ProcessStart

_tree = application.tree


def with_arguments(spec: ChildSpec, more: dict[str, object]) -> ChildSpec:
    """The spec, with the arguments in all fronts below it."""
    start = spec.start
    assert isinstance(start, ProcessStart)
    args: dict[str, Any] = {**start.args, **more} if spec.id.startswith("http-") else dict(start.args)
    if "children" in args:
        args["children"] = [with_arguments(child, more) for child in args["children"]]
    return dataclasses.replace(spec, start=dataclasses.replace(start, args=args))


def tree(settings: Settings) -> list[ChildSpec]:
    """In the place of the application's."""
    more = json.loads(os.environ["TEST_FRONT_ARGS"])
    return [with_arguments(spec, more) for spec in _tree(settings)]


if __name__ == "__main__":
    application.tree = tree
    main(["serve"])
