from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitnexus.config import rules
from bitnexus.http.cors import Cors, origins

APP = "https://app.example.com"
CORS = Cors(origins(f"{APP}, http://localhost:3000"))


@given(
    st.text(max_size=40)
    | st.sampled_from(["null", "*", APP + "/", APP.upper(), "http://app.example.com", APP + ":443"])
)
def test_only_the_exact_origins_are_let_in(origin):
    headers: dict[str, str] = {}
    CORS.dress(origin, headers)
    assert headers == {"Vary": "Origin"}
    assert CORS.preflight({"Origin": origin, "Access-Control-Request-Method": "GET"}) is None


@pytest.mark.parametrize("origin", [APP, "http://localhost:3000"])
def test_an_origin_of_the_list_is_let_in_by_its_own_name_without_credentials(origin):
    headers = {"Vary": "Accept-Encoding"}
    CORS.dress(origin, headers)
    assert headers["Access-Control-Allow-Origin"] == origin
    assert headers["Vary"] == "Accept-Encoding, Origin"
    assert "Access-Control-Allow-Credentials" not in headers
    answer = CORS.preflight({"Origin": origin, "Access-Control-Request-Method": "POST"})
    assert answer is not None
    assert "Idempotency-Key" in answer["Access-Control-Allow-Headers"]
    assert CORS.preflight({"Origin": origin}) is None, "an OPTIONS request that is no preflight"


@pytest.mark.parametrize("text", ["", APP, f"{APP},http://[::1]:3000 , http://localhost"])
def test_a_list_of_origins_is_a_setting(text):
    assert rules.origins(text) == text


@pytest.mark.parametrize(
    "text", ["*", "null", "app.example.com", APP + "/", APP + "/x", "https://*.example.com", "ftp://a.b"]
)
def test_what_no_browser_sends_as_an_origin_is_no_setting(text):
    with pytest.raises(ValueError, match="must be origins"):
        rules.origins(text)
