"""The client for internal services: any program may call the processes of a node, with the same messages they use.

    async with bitnexus.connect("127.0.0.1:4400", token=TOKEN) as node:
        head = await node.call("ledger", GetHead())
        result = await node.transfer(debit=WORLD, credit=account, amount=2500)

    with bitnexus.connect_sync(token=TOKEN) as node:
        head = node.call("ledger", GetHead())

It knows nothing of Thespian, forks nothing, and runs on the loop that is there. What is not given comes from the
environment: BITNEXUS_NODE (the address; without it the file node.json in BITNEXUS_DATA_DIR, which a running node keeps
there), BITNEXUS_TOKEN, BITNEXUS_COOKIE (else the file in BITNEXUS_DATA_DIR) and BITNEXUS_NODE_TLS_….

The cookie lets a program in; its access token decides what it may do there (see docs/operating.md).
"""

from bitnexus.client.asynchronous import Client, connect
from bitnexus.client.synchronous import SyncClient, connect_sync
from bitnexus.config.certificates import TlsFiles

__all__ = ["Client", "SyncClient", "TlsFiles", "connect", "connect_sync"]
