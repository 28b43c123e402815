from __future__ import annotations

import json

import pytest

from bitnexus import errors
from bitnexus.errors import BitNexusError, InvalidFields, MethodNotAllowed, Overloaded, Refused, Unauthorized, Violation
from bitnexus.http.problem import problem


def shown(error):
    status, body, headers = problem(error, instance="/x", request_id="r-1")
    return status, json.loads(body), headers


def test_a_problem_tells_what_where_and_which_request():
    status, body, headers = shown(errors.NotFound("No such account"))
    assert status == 404
    assert headers["Content-Type"] == "application/problem+json"
    assert body == {
        "type": "/docs/errors#not_found",
        "title": "Not found",
        "status": 404,
        "detail": "No such account",
        "instance": "/x",
        "code": "not_found",
        "request_id": "r-1",
    }


def test_fields_are_shown_by_name_and_by_pointer():
    violations = (Violation("#/user/email", "bad"), Violation("#/user/email", "long"), Violation("#/user/a~1b", "odd"))
    _, body, _ = shown(InvalidFields(violations=violations))
    assert body["errors"] == {"email": ["bad", "long"], "a/b": ["odd"]}
    assert body["pointers"][0] == {"pointer": "#/user/email", "detail": "bad"}


@pytest.mark.parametrize("refusal", list(errors.REFUSALS))
def test_a_refusal_shows_its_code(refusal):
    status, body, headers = shown(Refused(refusal))
    assert (status, body["code"]) == (422, refusal)
    assert "Idempotent-Replayed" not in headers


def test_a_repeated_refusal_is_marked_as_a_replay():
    assert shown(Refused("exceeds_credits", replayed=True))[2]["Idempotent-Replayed"] == "true"


def test_errors_that_pass_say_when_to_come_again():
    assert shown(Overloaded())[2]["Retry-After"] == "1"


def test_a_wrong_method_is_told_the_right_ones():
    assert shown(MethodNotAllowed(allow=("POST", "GET")))[2]["Allow"] == "GET, POST"


def test_who_is_not_authenticated_is_told_how():
    assert shown(Unauthorized())[2]["WWW-Authenticate"].startswith("Bearer")


def _family(root):
    yield root
    for child in root.__subclasses__():
        yield from _family(child)


def test_every_error_of_the_family_can_be_shown():
    for error in _family(BitNexusError):
        if not issubclass(error, Refused):
            status, body, _ = shown(error())
            assert status == body["status"] == error.status
            assert body["detail"]
