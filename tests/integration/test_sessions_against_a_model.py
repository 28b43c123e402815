"""The table of sessions beside a plain model: in whatever order, what is good and what is revoked agree."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import uuid
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from bitnexus.storage import sessions, users

TTL: dict[str, Any] = {"refresh_ttl_s": 3600, "access_ttl_s": 60}


@dataclass
class Session:
    user: int
    tokens: list[bytes]
    alive: bool = True


@dataclass
class Model:
    passwords: list[str]
    deleted: set[int] = field(default_factory=set)
    sessions: dict[str, Session] = field(default_factory=dict)


class Sessions(RuleBasedStateMachine):
    known = Bundle("known")
    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.db = self.runner.run(asyncpg.connect(self.url))
        self.numbers = itertools.count()
        self.ids = [str(uuid.uuid4()) for _ in range(2)]
        self.model = Model(["first", "first"])

    def run(self, work):
        return self.runner.run(work)

    def token(self):
        return hashlib.sha256(f"{self.ids[0]}{next(self.numbers)}".encode()).digest()

    @initialize()
    def two_users(self):
        for number, id_ in enumerate(self.ids):
            made = users.insert(self.db, user_id=id_, email=f"{id_}@{number}.de", name="", password_hash="first")
            self.run(made)

    @rule(target=known, user=st.integers(0, 1), password=st.sampled_from(["first", "second"]))
    def log_in(self, user, password):
        id_, token = str(uuid.uuid4()), self.token()
        begun = self.run(
            sessions.insert(
                self.db,
                session_id=id_,
                user_id=self.ids[user],
                password_hash=password,
                refresh_hash=token,
                **TTL,
            )
        )
        good = self.model.passwords[user] == password and user not in self.model.deleted
        assert begun == ([] if good else None)
        self.model.sessions[id_] = Session(user, [token], good)
        return id_

    @rule(id_=known, age=st.integers(0, 3))
    def refresh(self, id_, age):
        session, token = self.model.sessions[id_], self.token()
        shown = session.tokens[max(0, len(session.tokens) - 1 - age)]
        work = sessions.rotate(self.db, id_, shown_hash=shown, next_hash=token, **TTL)
        good = session.alive and shown == session.tokens[-1]
        assert self.run(work) == (self.ids[session.user] if good else None)
        if good:
            session.tokens.append(token)

    @rule(id_=known)
    def log_out(self, id_):
        revoked = self.run(sessions.revoke(self.db, id_))
        session = self.model.sessions[id_]
        assert [each.id for each in revoked] == ([id_] if session.alive else [])
        session.alive = False

    @rule(user=st.integers(0, 1), password=st.sampled_from(["first", "second"]))
    def change_password(self, user, password):
        changed = self.run(users.update(self.db, self.ids[user], versions=None, password_hash=password))
        assert (changed is None) == (user in self.model.deleted)
        if changed is not None:
            self.model.passwords[user] = password
            self.end_all(user)

    @rule(user=st.integers(0, 1))
    def delete(self, user):
        assert self.run(users.delete(self.db, self.ids[user], versions=None)) == (user not in self.model.deleted)
        self.model.deleted.add(user)
        self.end_all(user)

    def end_all(self, user):
        theirs = {id_ for id_, each in self.model.sessions.items() if each.user == user and each.alive}
        assert {each.id for each in self.run(sessions.revoke_all(self.db, self.ids[user]))} == theirs
        for id_ in theirs:
            self.model.sessions[id_].alive = False

    @invariant()
    def the_fronts_are_told_exactly_what_ended(self):
        told = {each.id: each for each in self.run(sessions.revoked_since(self.db, 0.0, limit=100_000))}
        mine = {*self.ids, *self.model.sessions}
        ended = {id_ for id_ in self.begun() if not self.model.sessions[id_].alive}
        assert set(told) & mine == ended | {self.ids[user] for user in self.model.deleted}
        assert all(told[id_].until > told[id_].revoked_at for id_ in ended), "as long as an access token may live"

    def begun(self):
        rows = self.run(self.db.fetch("SELECT id::text FROM sessions WHERE user_id = ANY($1::uuid[])", self.ids))
        return [row[0] for row in rows]

    def teardown(self):
        self.run(self.db.close())
        self.runner.close()


def test_sessions_are_what_a_plain_model_says(fresh_database_url):
    few = settings(max_examples=40, stateful_step_count=30, deadline=None)
    here = type("SessionsHere", (Sessions,), {"url": fresh_database_url})
    run_state_machine_as_test(here, settings=few)


def test_a_user_has_a_bounded_number_of_sessions_and_the_longest_silent_ends_first(fresh_database_url):
    async def log_in_often():
        db = await asyncpg.connect(fresh_database_url)
        user_id, begun, ended = str(uuid.uuid4()), [], []
        await users.insert(db, user_id=user_id, email="ann@example.com", name="", password_hash="x")
        try:
            for number in range(sessions.MAX_PER_USER + 3):
                begun.append(str(uuid.uuid4()))
                revoked = await sessions.insert(
                    db,
                    session_id=begun[-1],
                    user_id=user_id,
                    password_hash="x",
                    refresh_hash=number.to_bytes(32, "big"),
                    **TTL,
                )
                assert revoked is not None
                ended += [each.id for each in revoked]
            assert ended == begun[:3]
        finally:
            await db.close()

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(log_in_often())
