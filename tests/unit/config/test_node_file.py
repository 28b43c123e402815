"""Where the node is: published for its owner alone, withdrawn by the node that published it."""

from __future__ import annotations

import stat

import pytest

from bitnexus.config.node_file import NODE_FILE, NodeFile, publish, read_published, withdraw
from bitnexus.config.secret_file import UnsafeSecretFileError

NODE = NodeFile("127.0.0.1:4400", "00112233", 4711)


def test_what_is_published_can_be_read_by_its_owner_alone(tmp_path):
    publish(tmp_path / "var", NODE)
    assert read_published(tmp_path / "var") == NODE
    assert stat.S_IMODE((tmp_path / "var" / NODE_FILE).stat().st_mode) == 0o600


def test_nothing_is_published_before_and_after_the_node(tmp_path):
    assert read_published(tmp_path) is None
    publish(tmp_path, NODE)
    withdraw(tmp_path, NODE)
    assert read_published(tmp_path) is None
    withdraw(tmp_path, NODE)


def test_a_node_does_not_withdraw_its_successor(tmp_path):
    successor = NodeFile("127.0.0.1:4400", "ffeeddcc", 4712)
    publish(tmp_path, NODE)
    publish(tmp_path, successor)
    withdraw(tmp_path, NODE)
    assert read_published(tmp_path) == successor


def test_a_file_that_others_could_have_written_is_not_believed(tmp_path):
    publish(tmp_path, NODE)
    (tmp_path / NODE_FILE).chmod(0o644)
    with pytest.raises(UnsafeSecretFileError):
        read_published(tmp_path)


@pytest.mark.parametrize("text", ["{}" + " " * 40, "[" + "1," * 20 + "1]", "no json" * 10])
def test_a_file_without_sense_is_said_to_be_so(tmp_path, text):
    publish(tmp_path, NODE)
    (tmp_path / NODE_FILE).write_text(text)
    with pytest.raises(UnsafeSecretFileError):
        read_published(tmp_path)
