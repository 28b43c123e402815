"""Settings from the environment, the node's cookie, and logging.

``get_settings()`` gives the process its one :class:`Settings`; ``logging.configure`` sets its log lines up.
"""

from bitnexus.config.cookie import node_cookie
from bitnexus.config.settings import Settings, get_settings, load, use

__all__ = ["Settings", "get_settings", "load", "node_cookie", "use"]
