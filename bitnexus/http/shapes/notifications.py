"""The shapes of what a user is told."""

from __future__ import annotations

from bitnexus.http.shapes.base import AnyJson, Seq, Shape


class NotificationsPage(Shape):
    """`next` is the next page's `after`, null at the end."""

    next: Seq | None
    has_more: bool


class Notifications(Shape):
    """A page of notifications as the channel tells them, oldest first; `seq` is the newest one's number."""

    data: list[AnyJson]
    page: NotificationsPage
    epoch: str
    seq: Seq
    oldest: Seq
    read_up_to: Seq


class Read(Shape):
    """Up to which number all are read, and how many are not."""

    read_up_to: Seq
    unread: Seq
