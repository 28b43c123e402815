"""The lines of an exported ledger, version 1: JSON objects, one a line, in one form only. Pure.

In this order; docs/ledger-format.md describes every field for those who write a verifier:

==========  ==============================================================================================
type
==========  ==============================================================================================
export      the first line: format, version, how much follows, the verifier key and the last checkpoint
block       a block; its events follow
account     an event: account opened
change      an event: account frozen, unfrozen or closed
transfer    an event: a transfer, or (with `refusal`) a refused one
annotation  an event: a transfer was given other words
totals      after the last block: what is stored of an account, in the order in which accounts were opened
end         the last line: how much there was, and the SHA-256 of all lines before
==========  ==============================================================================================

A field that has its default is left out. Bytes are base64. An event's block and time are those of the block line above.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import DecodeError, Meta, Struct
from msgspec.json import Decoder, Encoder

from bitnexus.actors.ledger.accounts import STATUSES, Account, Totals
from bitnexus.actors.ledger.audit import Annotation, Change, Event, Opening, Posting
from bitnexus.actors.messages import AccountChanged, Transfer, TransferAnnotated

FORMAT: Final = "bitnexus-ledger"
VERSION: Final = 1
#: The longest line that is read, in bytes with its end; the longest that is written is a fourth of it.
MAX_LINE_BYTES: Final = 2**19

Id = Annotated[str, Meta(pattern=r"\A[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")]
#: An id, or "" for none.
MaybeId = Annotated[str, Meta(pattern=r"\A([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})?\Z")]
Kind = Literal["post", "pending", "post_pending", "void_pending", "expire_pending", "reversal"]


class Malformed(ValueError):
    """A line is none of the format's; says how."""


class Unreadable(Exception):
    """The source of the lines has no more of them, though it has not come to its end; says why."""


class StartLine(Struct, tag="export", tag_field="type", forbid_unknown_fields=True):
    """The first line. `key` and `checkpoint` are None while nothing has been signed."""

    format: str
    version: int
    blocks: int
    events: int
    key: str | None
    checkpoint: str | None


class BlockLine(Struct, tag="block", tag_field="type", forbid_unknown_fields=True):
    """A block, before its events."""

    height: int
    prev_hash: bytes
    hash: bytes
    tree_size: int
    tree_root: bytes
    time_us: int


class AccountLine(Struct, tag="account", tag_field="type", forbid_unknown_fields=True, omit_defaults=True):
    """An account opened."""

    seq: int
    id: Id
    asset: str
    salt: bytes
    owner_id: MaybeId = ""
    code: int = 0
    flags: int = 0
    credit_limit: int = 0

    def event(self, block: BlockLine) -> Event:
        """What `audit` takes."""
        account = Account(
            self.id,
            owner_id=self.owner_id,
            asset=self.asset,
            code=self.code,
            flags=self.flags,
            credit_limit=self.credit_limit,
            opened_seq=self.seq,
            opened_block=block.height,
            opened_us=block.time_us,
            salt=self.salt,
        )
        return Opening(account)


class ChangeLine(Struct, tag="change", tag_field="type", forbid_unknown_fields=True):
    """An account frozen, unfrozen or closed."""

    seq: int
    account_id: Id
    action: Literal["freeze", "unfreeze", "close"]
    user_id: Id
    salt: bytes

    def event(self, block: BlockLine) -> Event:
        """What `audit` takes."""
        fields = (self.account_id, self.action, self.user_id, self.seq, block.height, block.time_us)
        return Change(AccountChanged(*fields), self.salt)


class TransferLine(Struct, tag="transfer", tag_field="type", forbid_unknown_fields=True, omit_defaults=True):
    """A transfer, posted or refused."""

    seq: int
    id: Id
    debit_account_id: Id
    credit_account_id: Id
    user_id: Id
    amount: int
    asset: str
    salt: bytes
    debit_balance: int = 0
    credit_balance: int = 0
    kind: Kind = "post"
    pending_id: MaybeId = ""
    reverses_id: MaybeId = ""
    timeout_s: int = 0
    code: int = 0
    description: str = ""
    metadata: str = ""
    refusal: str | None = None

    def event(self, block: BlockLine) -> Event:
        """What `audit` takes."""
        transfer = Transfer(
            self.id,
            self.debit_account_id,
            self.credit_account_id,
            self.amount,
            self.asset,
            self.code,
            self.description,
            self.metadata,
            self.user_id,
            self.seq,
            block.height,
            block.time_us,
            self.debit_balance,
            self.credit_balance,
            self.kind,
            self.pending_id,
            self.reverses_id,
            self.timeout_s,
        )
        return Posting(transfer, self.refusal, self.salt)


class AnnotationLine(Struct, tag="annotation", tag_field="type", forbid_unknown_fields=True, omit_defaults=True):
    """A transfer was given other words."""

    seq: int
    id: Id
    transfer_id: Id
    user_id: Id
    salt: bytes
    description: str = ""
    metadata: str = ""

    def event(self, block: BlockLine) -> Event:
        """What `audit` takes."""
        fields = (self.id, self.transfer_id, self.description, self.metadata, self.user_id)
        return Annotation(TransferAnnotated(*fields, self.seq, block.height, block.time_us), self.salt)


class TotalsLine(Struct, tag="totals", tag_field="type", forbid_unknown_fields=True, omit_defaults=True):
    """What is stored of an account after the last block."""

    account_id: Id
    debits_posted: int = 0
    credits_posted: int = 0
    debits_pending: int = 0
    credits_pending: int = 0
    status: Literal["open", "frozen", "closed"] = "open"

    @property
    def totals(self) -> Totals:
        """As `Account.totals` gives them."""
        state = STATUSES.index(self.status)
        return self.debits_posted, self.credits_posted, self.debits_pending, self.credits_pending, state


class EndLine(Struct, tag="end", tag_field="type", forbid_unknown_fields=True):
    """The last line; `lines` and `sha256` (hexadecimal) are of those before it, with their line breaks."""

    blocks: int
    events: int
    accounts: int
    lines: int
    sha256: str


EventLine = AccountLine | ChangeLine | TransferLine | AnnotationLine
Line = StartLine | BlockLine | EventLine | TotalsLine | EndLine


class _Version(Struct):
    format: str
    version: int


_decoder = Decoder(Line)
_version = Decoder(_Version)
_encode = Encoder().encode


def encode(line: Line) -> bytes:
    """The line, with its line break."""
    return _encode(line) + b"\n"


def decode(raw: bytes) -> Line:
    """The line of these bytes.

    Raises:
        Malformed: it is none, or not in its one form.
    """
    try:
        line: Line = _decoder.decode(raw)
    except (DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"it cannot be read ({error})") from error
    if encode(line) != raw:
        raise Malformed("it is not written in the one form of its fields")
    return line


def decode_start(raw: bytes) -> StartLine:
    """The first line.

    Raises:
        Malformed: it is none of a version that is known here.
    """
    try:
        found = _version.decode(raw)
    except (DecodeError, UnicodeDecodeError):
        raise Malformed("this is not an exported ledger") from None
    if found.format != FORMAT:
        raise Malformed("this is not an exported ledger")
    if found.version != VERSION:
        raise Malformed(f"it is of version {found.version} of the format; this program reads version {VERSION}")
    line = decode(raw)
    if not isinstance(line, StartLine):
        raise Malformed("this is not the first line of an exported ledger")
    return line


def line_of(event: Event) -> EventLine:
    """The line of an event."""
    if isinstance(event, Posting):
        return _of_transfer(event.transfer, event.refusal, event.salt)
    if isinstance(event, Change):
        change = event.event
        return ChangeLine(change.seq, change.account_id, change.action, change.user_id, event.salt)  # type: ignore[arg-type] # checked when it is read
    if isinstance(event, Annotation):
        n = event.event
        return AnnotationLine(n.seq, n.annotation_id, n.transfer_id, n.user_id, event.salt, n.description, n.metadata)
    a = event.account
    return AccountLine(a.opened_seq, a.id, a.asset, a.salt, a.owner_id, a.code, a.flags, a.credit_limit)


def line_of_totals(account_id: str, totals: Totals) -> TotalsLine:
    """The line of an account's totals."""
    return TotalsLine(account_id, *totals[:4], STATUSES[totals[4]])


def _of_transfer(t: Transfer, refusal: str | None, salt: bytes) -> TransferLine:
    return TransferLine(
        t.seq,
        t.transfer_id,
        t.debit_account_id,
        t.credit_account_id,
        t.user_id,
        t.amount,
        t.asset,
        salt,
        t.debit_balance,
        t.credit_balance,
        t.kind,  # type: ignore[arg-type] # checked when it is read
        t.pending_id,
        t.reverses_id,
        t.timeout_s,
        t.code,
        t.description,
        t.metadata,
        refusal,
    )
