"""Which import a line belongs to: the ids of its transfers follow from that, so that a repeat pays nothing twice. Pure.

The id of a line without one is ``uuid5(uuid5(NAMESPACE, name), "import" ‖ U+0000 ‖ line)``. The name is the file's
own, without its folder, unless another one is given. So an import that was interrupted goes on when it is begun again;
a file that has grown has its new lines imported; and two different files of one name pay nothing twice, but refuse each
other's lines, where a mistake costs least.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID, uuid5

from bitnexus.http.idempotency import transfer_ids
from bitnexus.importer.records import IdOf

_NAMESPACE: Final = UUID("2f7a1f0e-93f1-5b39-8c7c-6a2f4f8f4d5b")


def ids_of(name: str) -> IdOf:
    """The ids of the lines of the import that has this name; none at all for ""."""
    if not name:
        return lambda _: None
    return transfer_ids(str(uuid5(_NAMESPACE, name)), "import")
