"""Up to which notification users have read: a mark for each, which only goes on; another log's counts for nothing."""

from __future__ import annotations

from typing import Final

from bitnexus.storage.database import Executor

_READ: Final = "SELECT read_up_to FROM notification_reads WHERE user_id = $1 AND epoch = $2"
_MARK: Final = """
INSERT INTO notification_reads AS r (user_id, epoch, read_up_to) VALUES ($1, $2, $3)
ON CONFLICT (user_id) DO UPDATE SET epoch = $2, updated_at = now(),
    read_up_to = CASE WHEN r.epoch = $2 THEN greatest(r.read_up_to, $3) ELSE $3 END
RETURNING read_up_to
"""


async def read_up_to(db: Executor, user_id: str, epoch: str) -> int:
    """The number of the last notification that the user has read; 0 for none."""
    return int(await db.fetchval(_READ, user_id, epoch) or 0)


async def mark_read(db: Executor, user_id: str, epoch: str, up_to: int) -> int:
    """Have the user read the notifications up to that number; up to which they are read now."""
    return int(await db.fetchval(_MARK, user_id, epoch, up_to))
