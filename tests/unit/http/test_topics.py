from __future__ import annotations

import uuid

import pytest

from bitnexus.http.channels.topics import Verdict, judge
from bitnexus.principal import Principal

ANN = Principal(str(uuid.UUID(int=1)), "user", 0)
SERVICE = Principal(str(uuid.UUID(int=2)), "service", 0)
ADMIN = Principal(str(uuid.UUID(int=3)), "admin", 0)
TOPIC = f"transaction:{ANN.user_id}"


def test_ones_own_transactions_may_be_followed_and_an_admin_follows_any():
    assert judge(TOPIC, ANN) is Verdict.ALLOWED
    assert judge(TOPIC, ADMIN) is Verdict.ALLOWED


def test_another_users_topic_is_forbidden_whether_there_is_such_a_user_or_not():
    assert judge(TOPIC, SERVICE) is Verdict.FORBIDDEN
    assert judge("transaction:nobody", ANN) is Verdict.FORBIDDEN
    assert judge(TOPIC + "\n", ANN) is Verdict.FORBIDDEN


@pytest.mark.parametrize("topic", ["admin:tree", "admin:metrics", "admin:log"])
def test_operators_topics_are_for_admins(topic):
    assert judge(topic, ADMIN) is Verdict.ALLOWED
    assert judge(topic, ANN) is judge(topic, SERVICE) is Verdict.FORBIDDEN
    assert judge(topic + "s", ANN) is Verdict.FORBIDDEN
    assert judge(topic + "s", ADMIN) is Verdict.UNKNOWN


def test_ones_own_notifications_may_be_followed_and_an_admin_follows_any():
    topic = f"notification:{ANN.user_id}"
    assert judge(topic, ANN) is Verdict.ALLOWED
    assert judge(topic, ADMIN) is Verdict.ALLOWED
    assert judge(topic, SERVICE) is Verdict.FORBIDDEN
    assert judge("notification:1", ANN) is Verdict.FORBIDDEN


@pytest.mark.parametrize("topic", ["", "phoenix", "transaction", "rooms:1"])
def test_other_topics_are_unknown(topic):
    assert judge(topic, ANN) is Verdict.UNKNOWN
