"""Prometheus text of many processes as one page: the families joined, each sample labelled with its process. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

_SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>[^\n]*)\})?(?P<rest> [^{}\n]+)")
_COMMENT = re.compile(r"# (?P<kind>HELP|TYPE) (?P<family>[a-zA-Z_:][a-zA-Z0-9_:]*) ?(?P<text>.*)")


def merge(texts: Mapping[str, str]) -> str:
    """One exposition (format 0.0.4) of those in `texts`, by the name of their process.

    The format wants all samples of a family together under one HELP and one TYPE: those of the first process count.
    A line that cannot be read is left out, so that one process cannot spoil the page.
    """
    described: dict[str, dict[str, str]] = {}
    samples: dict[str, list[str]] = {}
    for process, text in sorted(texts.items()):
        label = 'process="' + process.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") + '"'
        family = ""
        for line in text.splitlines():
            if comment := _COMMENT.fullmatch(line):
                family = comment["family"]
                described.setdefault(family, {}).setdefault(comment["kind"], line)
            elif sample := _SAMPLE.fullmatch(line):
                name, labels = sample["name"], (sample["labels"] or "").rstrip(",")
                # Buckets, sums and counts carry longer names than their family.
                owner = family if family and name.startswith(family) else name
                joined = f"{label},{labels}" if labels else label
                samples.setdefault(owner, []).append(f"{name}{{{joined}}}{sample['rest']}")
    lines: list[str] = []
    for family, found in samples.items():
        about = described.get(family, {})
        lines += [about[kind] for kind in ("HELP", "TYPE") if kind in about]
        lines += found
    return "\n".join(lines) + "\n"
