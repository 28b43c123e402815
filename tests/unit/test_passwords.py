"""Passwords fit their own hash alone."""

from __future__ import annotations

import argon2
import pytest

from bitnexus import passwords


def test_a_password_fits_its_own_hash_alone() -> None:
    hashed = passwords.hash_password("correct horse")
    assert "correct horse" not in hashed
    assert passwords.verify_password("correct horse", hashed) == (True, False)
    assert passwords.verify_password("correct horse ", hashed) == (False, False)


def test_the_same_password_is_hashed_differently_each_time() -> None:
    assert passwords.hash_password("correct horse") != passwords.hash_password("correct horse")


def test_no_password_fits_an_unknown_user() -> None:
    assert passwords.verify_password("correct horse", None) == (False, False)


def test_an_unknown_user_costs_the_same_work_as_a_known_one() -> None:
    hashed = passwords.hash_password("correct horse")
    assert argon2.extract_parameters(passwords.DUMMY_HASH) == argon2.extract_parameters(hashed)


def test_a_hash_with_other_parameters_is_to_be_renewed() -> None:
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("correct horse")
    assert passwords.verify_password("correct horse", weak) == (True, True)
    assert passwords.verify_password("wrong", weak) == (False, False)


@pytest.mark.parametrize("damaged", ["", "x", "$argon2id$v=19$m=19456,t=2,p=1$aaaa"])
def test_a_damaged_hash_is_an_error_and_not_a_wrong_password(damaged: str) -> None:
    with pytest.raises(ValueError, match="argon2"):
        passwords.verify_password("correct horse", damaged)
