"""Who may send what to whom: each message of the node, each kind of client."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnexus.actors import messages, operator_messages
from bitnexus.actors.ledger.actor import Ledger
from bitnexus.actors.notifier.actor import Notifier
from bitnexus.actors.runtime import access
from bitnexus.actors.runtime import message as internal
from bitnexus.actors.runtime.message import Message, ProcessInfo
from bitnexus.actors.runtime.process import Process, handles
from bitnexus.actors.transactions.partition import Partition
from bitnexus.errors import Forbidden
from bitnexus.http.front import Front
from bitnexus.operations.actor import Operations
from bitnexus.principal import Principal
from bitnexus.supervision.partition_supervisor import PartitionSupervisor
from bitnexus.supervision.root import RootSupervisor
from bitnexus.supervision.supervisor import Supervisor

ME, OTHER = str(uuid.UUID(int=1, version=4)), str(uuid.UUID(int=2, version=4))
ACCOUNT, DERIVED = str(uuid.UUID(int=3, version=4)), str(uuid.uuid5(uuid.NAMESPACE_DNS, "x"))
NOBODY = access.ANONYMOUS
USER, SERVICE, ADMIN = (Principal(ME, role, 2e9) for role in ("user", "service", "admin"))
EVERYBODY = [NOBODY, USER, SERVICE, ADMIN]
INFO = ProcessInfo("ledger", "bitnexus/ledger", "127.0.0.1:1", "00", 1)


def transfer(user_id: str, role: str) -> messages.PostTransfer:
    return messages.PostTransfer(user_id, role, ACCOUNT, ACCOUNT, OTHER, 1, "USD/2")


def opening(owner: str, account: str = ACCOUNT) -> messages.OpenAccount:
    return messages.OpenAccount(account, owner, "USD/2")


def operator(role: str, user_id: str = ME) -> operator_messages.Operator:
    return operator_messages.Operator(user_id, role)


LOOKS = (
    operator_messages.ShowTree,
    operator_messages.ShowTop,
    operator_messages.ShowState,
    operator_messages.ShowHistory,
)

#: Every message that any client may send: (message, who may). Whatever is not here, nobody may.
TABLE = [
    (messages.GetHead(), EVERYBODY),
    (messages.GetPartitions(), EVERYBODY),
    (internal.GetNames(), EVERYBODY),
    (internal.Register(None), EVERYBODY),
    (internal.Register(INFO), []),
    (internal.GetMetrics(), [SERVICE, ADMIN]),
    (transfer(ME, "user"), [USER]),
    (transfer(ME, "service"), [SERVICE]),
    (transfer(ME, "admin"), [ADMIN]),
    (transfer(OTHER, "user"), []),
    (transfer(OTHER, "service"), []),
    (transfer("", ""), []),
    (opening(ME), [USER, SERVICE, ADMIN]),
    (opening(OTHER), [SERVICE, ADMIN]),
    (opening(""), []),
    (opening(ME, DERIVED), []),
    (opening(ME, ""), []),
    (operator_messages.OperatorCommand(operator("admin")), [ADMIN]),
    (operator_messages.OperatorCommand(operator("admin", OTHER)), []),
    *((look(operator("admin")), [ADMIN]) for look in LOOKS),
    *((look(operator("service")), [SERVICE]) for look in LOOKS),
    *((look(operator("user")), []) for look in LOOKS),
    (operator_messages.TraceMessages(operator("admin")), [ADMIN]),
    (operator_messages.TraceMessages(operator("service")), []),
    (operator_messages.ChangeTree(operator("admin"), verb="kill"), [ADMIN]),
    (operator_messages.ChangeTree(operator("service"), verb="kill"), []),
    (operator_messages.ChangeTree(operator("service"), verb="kill", dry_run=True), [SERVICE]),
    (operator_messages.ChangeTree(operator("admin", OTHER), verb="kill"), []),
    (operator_messages.ChangePartitions(operator("admin"), count=2), [ADMIN]),
    (operator_messages.ChangePartitions(operator("service"), count=2), []),
]
#: To whom: the processes that open a message to clients.
OPENED: dict[type[Process], set[type[Message]]] = {
    Process: set(),
    Supervisor: {internal.GetMetrics},
    RootSupervisor: {internal.GetMetrics, internal.GetNames, internal.Register},
    Ledger: {internal.GetMetrics, messages.GetHead},
    Partition: {internal.GetMetrics, messages.OpenAccount, messages.PostTransfer},
    PartitionSupervisor: {internal.GetMetrics, messages.GetPartitions},
    Notifier: {internal.GetMetrics},
    Front: {internal.GetMetrics},
    Operations: {
        internal.GetMetrics,
        *LOOKS,
        operator_messages.TraceMessages,
        operator_messages.ChangeTree,
        operator_messages.ChangePartitions,
    },
}


@pytest.mark.parametrize("sender", EVERYBODY, ids=lambda sender: sender.role or "nobody")
@pytest.mark.parametrize(("message", "allowed"), TABLE, ids=lambda value: str(value)[:30])
def test_the_table_of_who_may_send_what(message, allowed, sender):
    assert message.permits(sender) is (sender in allowed)


def test_no_other_message_of_the_node_permits_any_client():
    # permits() of the base says no; only those in the table above say anything else.
    public = {type(message) for message, _ in TABLE}
    of_the_node = [each for each in _all(Message) if each.__module__.startswith("bitnexus.")]
    assert len(of_the_node) > len(public)
    for each in of_the_node:
        assert (each.permits is not Message.permits) == (each in public), each


@pytest.mark.parametrize(("process", "opened"), OPENED.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_the_table_of_who_takes_what_from_clients(process, opened):
    assert set(process._open_to_clients) == opened


def test_both_must_agree():
    everything = frozenset(_all(Message))
    assert access.refusal(messages.GetHead(), NOBODY, frozenset({messages.GetHead})) is None
    assert isinstance(access.refusal(messages.GetHead(), ADMIN, frozenset()), Forbidden)
    assert isinstance(access.refusal(internal.StopProcess(""), ADMIN, everything), Forbidden)


def test_a_transfer_goes_to_the_users_actor_and_not_past_it_to_the_ledger():
    assert access.refusal(transfer(ME, "user"), USER, Ledger._open_to_clients) is not None
    assert access.refusal(transfer(ME, "user"), USER, Partition._open_to_clients) is None


def test_an_overridden_handler_is_closed_until_it_says_otherwise():
    class Closed(Ledger):
        def head(self, message, context):
            raise NotImplementedError

    class Reopened(Ledger):
        @handles(messages.GetHead)
        def head(self, message, context):
            raise NotImplementedError

    assert messages.GetHead not in Closed._open_to_clients
    assert messages.GetHead not in Reopened._open_to_clients


texts = st.text(max_size=5)


@given(texts, texts, texts, texts)
def test_nobody_posts_in_anothers_name_or_with_another_role(user_id, role, sender_id, sender_role):
    permitted = transfer(user_id, role).permits(Principal(sender_id, sender_role, 2e9))
    assert permitted == ((user_id, role) == (sender_id, sender_role) and user_id != "")


def _all(root: type[Message]) -> list[type[Message]]:
    return [each for child in root.__subclasses__() for each in (child, *_all(child))]
