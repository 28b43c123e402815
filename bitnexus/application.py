"""The supervision tree of the service, declared in one place: the only module that knows all the others.

    bitnexus                    root supervisor
    ├── operations              worker        carries out what operators command, and keeps the record of it
    ├── ledger                  worker        the single writer; group-commits blocks
    ├── transactions            supervisor    partitions, each hosting many users' transaction actors
    │   └── transactions-0 …    worker
    ├── notifier                worker        turns committed blocks into events for topics
    ├── webhooks                worker        tells internal services what was recorded
    └── http                    supervisor    fronts that share the port
        └── http-0 …            worker

Children start in this order and stop in the reverse: fronts drain while the ledger still answers, and operators can
look on from the beginning to the end.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bitnexus.actors.operator_messages import OPERATIONS
from bitnexus.actors.transactions.partitioning import TRANSACTIONS
from bitnexus.config import Settings
from bitnexus.supervision.slots import partition_name
from bitnexus.supervision.spec import ChildSpec, ProcessStart, SupervisorFlags
from bitnexus.webhooks.messages import WEBHOOKS

ROOT: Final = "bitnexus"
#: The whole of a stop takes at most 10 s. Fronts stop one after another and share this much of it, however many they
#: are: a client that sends its request slowly would else use up the time that the ledger needs to stop in order.
FRONTS_SHUTDOWN_MS: Final = 7000
#: Of a front's share, what it needs after its requests: connections and the pool close.
FRONT_CLOSING_MS: Final = 1000
LEDGER_SHUTDOWN_MS: Final = 3000
OPERATIONS_SHUTDOWN_MS: Final = 2000
#: What kills one child again and again takes its supervisor down, then the node; what kills it now and then does not.
FLAGS: Final = SupervisorFlags(strategy="one_for_one", intensity=10, period_s=10)
#: Fronts share the port: operators restart them one after another. A partition has users of its own, for whom no other
#: stands in; they wait while it is away, however many are away with it.
FRONT_FLAGS: Final = replace(FLAGS, replicas=True)

_SUPERVISOR: Final = "bitnexus.supervision.supervisor:Supervisor"
_PARTITION_SUPERVISOR: Final = "bitnexus.supervision.partition_supervisor:PartitionSupervisor"


def tree(settings: Settings) -> list[ChildSpec]:
    """The children of the root supervisor."""
    front_ms = FRONTS_SHUTDOWN_MS // settings.fronts
    drain_s = max(front_ms - FRONT_CLOSING_MS, front_ms // 2) / 1000
    return [
        ChildSpec(OPERATIONS, ProcessStart("bitnexus.operations.actor:Operations"), shutdown=OPERATIONS_SHUTDOWN_MS),
        ChildSpec("ledger", ProcessStart("bitnexus.actors.ledger.actor:Ledger"), shutdown=LEDGER_SHUTDOWN_MS),
        partitions(settings, FLAGS),
        ChildSpec("notifier", ProcessStart("bitnexus.actors.notifier.actor:Notifier")),
        ChildSpec(WEBHOOKS, ProcessStart("bitnexus.webhooks.actor:Webhooks")),
        _supervisor(
            "http",
            FRONT_FLAGS,
            [
                ChildSpec(
                    f"http-{n}", ProcessStart("bitnexus.http.front:Front", {"drain_s": drain_s}), shutdown=front_ms
                )
                for n in range(settings.fronts)
            ],
        ),
    ]


def partitions(settings: Settings, flags: SupervisorFlags) -> ChildSpec:
    """The partitions that there are at first, and their supervisor, which can change their number."""
    start = ProcessStart("bitnexus.actors.transactions.partition:Partition", {"supervisor": TRANSACTIONS})
    children = [ChildSpec(partition_name(TRANSACTIONS, number), start) for number in range(settings.partitions)]
    args = {"flags": flags, "children": children}
    return ChildSpec(TRANSACTIONS, ProcessStart(_PARTITION_SUPERVISOR, args), type="supervisor")


def _supervisor(name: str, flags: SupervisorFlags, children: list[ChildSpec]) -> ChildSpec:
    return ChildSpec(name, ProcessStart(_SUPERVISOR, {"flags": flags, "children": children}), type="supervisor")
