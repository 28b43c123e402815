"""What fronts say to the process ``webhooks``."""

from __future__ import annotations

from typing import Final

from bitnexus.actors.runtime.message import Message

#: The process that delivers.
WEBHOOKS: Final = "webhooks"


class WebhooksChanged(Message, frozen=True, tag="WebhooksChanged/1"):
    """Endpoints were written, or dead letters marked for replay: look at once. A cast; lost, it is noticed later."""
