from __future__ import annotations

import pytest

from bitnexus.errors import REFUSALS, BitNexusError, Refused, by_code


def family(root: type[BitNexusError] = BitNexusError) -> list[type[BitNexusError]]:
    return [root, *[each for child in root.__subclasses__() for each in family(child)]]


@pytest.mark.parametrize("error", [each for each in family() if "code" in vars(each)])
def test_an_error_that_travels_by_its_code_arrives_as_itself(error):
    arrived = by_code(error.code, "what happened")
    assert type(arrived) is error
    assert arrived.detail == "what happened"


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refusal_that_travels_by_its_code_arrives_as_itself(refusal):
    arrived = by_code(refusal, "")
    assert isinstance(arrived, Refused)
    assert arrived.refusal == refusal


def test_an_unknown_code_arrives_as_the_base():
    assert type(by_code("no_such_code", "what happened")) is BitNexusError
