"""The operators' topics of one front, put together."""

from __future__ import annotations

from functools import partial

from prometheus_client import REGISTRY, generate_latest

from bitnexus.actors.runtime.log_tail import LogTail
from bitnexus.actors.runtime.node import Node
from bitnexus.http.channels.disconnects import FRONT_PREFIX
from bitnexus.http.channels.hub import Spawn
from bitnexus.http.channels.operators.exchange import Exchange
from bitnexus.http.channels.operators.log_feed import LogFeed
from bitnexus.http.channels.operators.metrics_feed import MetricsFeed
from bitnexus.http.channels.operators.topics import OperatorTopics
from bitnexus.http.channels.operators.tree_feed import TreeFeed
from bitnexus.http.channels.topics import ADMIN_LOG, ADMIN_METRICS, ADMIN_TREE


def operator_topics(  # noqa: PLR0917 - what it is made of
    node: Node, path: str, life: str, fronts: int, tail: LogTail, spawn: Spawn
) -> OperatorTopics:
    """For the front at `path` in the tree, one of `fronts`; `life` is its process's instance, `tail` its log lines."""
    root_name, front = path.partition("/")[0], path.rpartition("/")[2]
    topics = OperatorTopics()
    others = [name for name in (f"{FRONT_PREFIX}{number}" for number in range(fronts)) if name != front]
    topics.exchange = Exchange(node, front, life, others, spawn, topics.present)
    log_feed = LogFeed(node, front, tail, spawn, partial(topics.publish, ADMIN_LOG))
    topics.log_lines = log_feed.lines
    topics.feeds = {
        ADMIN_TREE: TreeFeed(node, root_name, spawn, partial(topics.publish, ADMIN_TREE)),
        ADMIN_METRICS: MetricsFeed(node, front, _own_metrics, spawn, partial(topics.publish, ADMIN_METRICS)),
        ADMIN_LOG: log_feed,
    }
    return topics


def _own_metrics() -> str:
    return generate_latest(REGISTRY).decode()
