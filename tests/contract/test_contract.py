from __future__ import annotations

import pytest

from tests.contract.contract import hold

#: A part of what `make test-api` asks: one random example of each operation, and those of the document.
OPTIONS = ("--phases=examples,fuzzing", "--workers=2")


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_the_service_answers_as_its_document_says(fresh_database_url, tmp_path):
    code, output = await hold(fresh_database_url, tmp_path, examples=1, options=OPTIONS, timeout_s=80)
    assert code == 0, output
    assert "No test cases" not in output
