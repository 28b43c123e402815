from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from bitnexus.supervision.spec import ChildSpec, ProcessStart, SpecError, SupervisorFlags, check_specs
from tests.unit.supervision.scripted import spec


def test_a_spec_has_otps_defaults() -> None:
    child = spec("a")
    assert (child.restart, child.shutdown, child.type, child.significant) == ("permanent", 5000, "worker", False)
    assert (child.backoff, child.max_rss, child.stop_within_s) == (None, None, 5.0)


def test_a_supervisor_gets_all_the_time_it_needs_to_stop() -> None:
    child = spec("a", type="supervisor")
    assert (child.shutdown, child.stop_within_s) == ("infinity", None)


def test_flags_allow_three_restarts_in_five_seconds() -> None:
    flags = SupervisorFlags()
    assert (flags.strategy, flags.intensity, flags.period_s, flags.auto_shutdown) == ("one_for_one", 3, 5, "never")


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("id", "", "invalid_id"),
        ("id", "a/b", "invalid_id"),
        ("id", 7, "invalid_id"),
        ("start", None, "missing_start"),
        ("restart", "always", "invalid_restart_type"),
        ("type", "boss", "invalid_child_type"),
        ("shutdown", -1, "invalid_shutdown"),
        ("shutdown", True, "invalid_shutdown"),
        ("shutdown", 1.5, "invalid_shutdown"),
        ("shutdown", "soon", "invalid_shutdown"),
        ("significant", 1, "invalid_significant"),
        ("backoff", 1.0, "invalid_backoff"),
        ("heartbeat_timeout_s", 0, "invalid_heartbeat_timeout"),
        ("heartbeat_timeout_s", float("nan"), "invalid_heartbeat_timeout"),
        ("max_rss", 1.5, "invalid_max_rss"),
        ("max_rss", 0, "invalid_max_rss"),
    ],
)
def test_a_wrong_field_of_a_spec_is_named_with_its_value_and_otps_reason(field: str, value: Any, reason: str) -> None:
    fields: dict[str, Any] = {"id": "a", "start": ProcessStart("m:C"), field: value}
    with pytest.raises(SpecError) as caught:
        ChildSpec(**fields)
    assert (caught.value.reason, caught.value.field, str(caught.value)) == (
        reason,
        field,
        f"{reason}: {field} = {value!r}",
    )


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("strategy", "one_for_two", "invalid_strategy"),
        ("intensity", -1, "invalid_intensity"),
        ("intensity", 1.0, "invalid_intensity"),
        ("period_s", 0, "invalid_period"),
        ("period_s", float("inf"), "invalid_period"),
        ("auto_shutdown", "sometimes", "invalid_auto_shutdown"),
    ],
)
def test_a_wrong_flag_is_named_with_its_value_and_otps_reason(field: str, value: Any, reason: str) -> None:
    flags: dict[str, Any] = {field: value}
    with pytest.raises(SpecError) as caught:
        SupervisorFlags(**flags)
    assert (caught.value.reason, caught.value.field, caught.value.value) == (reason, field, value)


@pytest.mark.parametrize("path", ["", "module", "module:", ":Class", "mod ule:Class", "a:b:c", "a.b", 3, "a:C\n"])
def test_a_process_is_named_as_module_and_class(path: Any) -> None:
    with pytest.raises(SpecError, match="invalid_start: process"):
        ProcessStart(path)


def test_the_arguments_of_a_process_are_never_printed() -> None:
    assert "hunter2" not in repr(spec("a")) + repr(ProcessStart("m:C", {"password": "hunter2"}))
    with pytest.raises(SpecError) as caught:
        ProcessStart("m:C", ["hunter2"])  # type: ignore[arg-type]
    assert "hunter2" not in str(caught.value)


def test_two_children_with_one_id_are_refused() -> None:
    with pytest.raises(SpecError, match="duplicate_child_name: id = 'a'"):
        check_specs(SupervisorFlags(), [spec("a"), spec("b"), spec("a")])


def test_a_significant_child_cannot_be_permanent() -> None:
    with pytest.raises(SpecError, match="bad_combination"):
        spec("a", significant=True)


def test_a_significant_child_cannot_live_where_nothing_shuts_down_by_itself() -> None:
    child = spec("a", significant=True, restart="transient")
    check_specs(SupervisorFlags(auto_shutdown="any_significant"), [child])
    with pytest.raises(SpecError, match="bad_combination"):
        check_specs(SupervisorFlags(), [child])


def test_replicas_stand_in_for_each_other_and_so_cannot_fall_together() -> None:
    assert not SupervisorFlags().replicas
    assert SupervisorFlags(replicas=True).strategy == "one_for_one"
    with pytest.raises(SpecError, match="bad_combination: replicas"):
        SupervisorFlags(strategy="one_for_all", replicas=True)
    with pytest.raises(SpecError, match="invalid_replicas"):
        SupervisorFlags(replicas=1)  # type: ignore[arg-type]


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        spec("a").restart = "temporary"  # type: ignore[misc]
