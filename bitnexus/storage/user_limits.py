"""Queries of the table ``user_limits``, and the one by which users' transaction actors are rebuilt.

What counts as spent of an asset on a day (UTC) are the amounts that the user posted or reserved on it from own
accounts, by the ledger's time: transfers of the kinds ``post`` and ``pending``. What was reserved is not counted again
when it is posted, and not given back when it is released: see actors.transactions.allowance.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bitnexus.actors.messages import TRANSFER_KINDS, Limit, LimitsSet
from bitnexus.errors import NotFound, PreconditionFailed
from bitnexus.storage.database import Executor

_DAY_US: Final = 86_400_000_000
_COUNTED: Final = f"{TRANSFER_KINDS['post']}, {TRANSFER_KINDS['pending']}"

# One statement, so one snapshot. Where the day begins in the log is looked for (by halving the heights, as for a
# balance of the past) if one of the users has limits; for all others it costs one look-up by key. The day is that of
# the log when its time is ahead of the clock's: transfers will be of that day.
_STATES: Final = f"""
WITH RECURSIVE head AS (
    SELECT height, tree_size, time_us FROM ledger_blocks ORDER BY height DESC LIMIT 1
), today AS (
    SELECT greatest($2::bigint, coalesce((SELECT time_us FROM head), 0)) / {_DAY_US} AS day
), search (low, high) AS (
    SELECT 0::bigint, coalesce((SELECT height FROM head), 0) + 1
    UNION ALL
    SELECT CASE WHEN b.time_us < today.day * {_DAY_US} THEN b.height ELSE s.low END,
        CASE WHEN b.time_us < today.day * {_DAY_US} THEN s.high ELSE b.height END
    FROM search s CROSS JOIN today JOIN ledger_blocks b ON b.height = (s.low + s.high) / 2
    WHERE s.high - s.low > 1
), yesterday AS (
    SELECT coalesce((SELECT tree_size FROM ledger_blocks WHERE height = (SELECT max(low) FROM search)), 0) - 1 AS seq
)
SELECT owner_id::text, id::text, NULL AS asset, NULL::bigint AS per_transfer, NULL::bigint AS per_day,
    NULL::bigint AS version, NULL::numeric AS spent, NULL::bigint AS day, NULL::bigint AS as_of_seq
FROM ledger_accounts WHERE owner_id = ANY($1::uuid[])
UNION ALL
SELECT l.user_id::text, NULL, l.asset, l.per_transfer, l.per_day, l.version,
    (SELECT coalesce(sum(t.amount), 0) FROM ledger_accounts a JOIN ledger_transfers t ON t.debit_account_id = a.id
     WHERE a.owner_id = l.user_id AND a.asset = l.asset AND t.refusal IS NULL AND t.user_id = l.user_id
        AND t.kind IN ({_COUNTED}) AND t.seq > (SELECT seq FROM yesterday)),
    (SELECT day FROM today), coalesce((SELECT tree_size FROM head), 0) - 1
FROM user_limits l WHERE l.user_id = ANY($1::uuid[])
"""  # noqa: S608 - constants alone

_OF_USER: Final = "SELECT asset, per_transfer, per_day, version FROM user_limits WHERE user_id = $1 ORDER BY asset"
#: Not FOR UPDATE: somebody may log in meanwhile.
_LOCK: Final = "SELECT true FROM users WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE"
_DELETE: Final = "DELETE FROM user_limits WHERE user_id = $1"
_NEXT_VERSION: Final = "SELECT nextval('user_limits_version')"
_INSERT: Final = """
INSERT INTO user_limits (user_id, asset, per_transfer, per_day, version, set_by)
SELECT $1, asset, per_transfer, per_day, $2, $3
FROM unnest($4::text[], $5::bigint[], $6::bigint[]) AS given (asset, per_transfer, per_day)
"""


@dataclass(frozen=True, slots=True)
class UserState:
    """What a user's transaction actor is rebuilt from: the ids of the accounts, and the limits if there are any."""

    accounts: list[str]
    limits: LimitsSet | None = None


async def states_of(executor: Executor, user_ids: Sequence[str], *, now_us: int) -> dict[str, UserState]:
    """The states of many users, in one query: user id → state; users who have neither accounts nor limits are missing.

    `now_us` says which day it is.
    """
    accounts: dict[str, list[str]] = {}
    limited: dict[str, list[Any]] = {}
    for row in await executor.fetch(_STATES, list(user_ids), now_us):
        user_id, account_id = row[0], row[1]
        if account_id is None:
            limited.setdefault(user_id, []).append(row)
        else:
            accounts.setdefault(user_id, []).append(account_id)
    found = {user_id: UserState(ids) for user_id, ids in accounts.items()}
    for user_id, rows in limited.items():
        found[user_id] = UserState(accounts.get(user_id, []), _limits_set(user_id, rows))
    return found


async def of_user(executor: Executor, user_id: str) -> tuple[int, list[Limit]]:
    """The version of a user's limits (0 if there are none) and the limits, by asset."""
    rows = await executor.fetch(_OF_USER, user_id)
    limits = [Limit(row["asset"], row["per_transfer"], row["per_day"]) for row in rows]
    return max((row["version"] for row in rows), default=0), limits


async def replace(
    executor: Executor,
    user_id: str,
    limits: Sequence[Limit],
    *,
    set_by: str,
    versions: Collection[int] | None,
    now_us: int,
) -> LimitsSet:
    """Have these limits in the place of the user's; to be called in a transaction. Versions grow, whatever is replaced.

    Raises:
        NotFound: there is no such user.
        PreconditionFailed: the present limits are of none of `versions` (None: of any), nor are they these.
    """
    if not await executor.fetchval(_LOCK, user_id):
        raise NotFound
    version, present = await of_user(executor, user_id)
    wanted = sorted(limits, key=lambda limit: limit.asset)
    # Who repeats what was done already, because no answer came, must not be refused for it.
    if sorted(present, key=lambda limit: limit.asset) != wanted:
        if versions is not None and version not in versions:
            raise PreconditionFailed
        await executor.execute(_DELETE, user_id)
        version = await executor.fetchval(_NEXT_VERSION)
        columns = ([getattr(limit, name) for limit in wanted] for name in ("asset", "per_transfer", "per_day"))
        await executor.execute(_INSERT, user_id, version, set_by, *columns)
    elif not wanted:
        version = await executor.fetchval(_NEXT_VERSION)
    state = (await states_of(executor, [user_id], now_us=now_us)).get(user_id)
    if state is None or state.limits is None:
        return LimitsSet(user_id, version, [], {}, now_us // _DAY_US, -1)
    return state.limits


def _limits_set(user_id: str, rows: Sequence[Any]) -> LimitsSet:
    first = rows[0]
    return LimitsSet(
        user_id,
        first["version"],
        [Limit(row["asset"], row["per_transfer"], row["per_day"]) for row in rows],
        {row["asset"]: int(row["spent"]) for row in rows},
        first["day"],
        first["as_of_seq"],
    )
