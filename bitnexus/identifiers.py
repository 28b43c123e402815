"""New ids, where nobody has given one."""

from __future__ import annotations

import uuid_utils


def new_transfer_id() -> str:
    """A UUID of version 7: its first 48 bits are the time, so that later ids are greater ones.

    In the index of all ids new ones then stand beside each other, and the database has one page of it to change where
    random ones would have it change a page each. A transfer's time is in the ledger anyway: the id tells nothing more.
    """
    return str(uuid_utils.uuid7())
