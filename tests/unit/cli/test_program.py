import json
import os
import signal
import subprocess
import sys

import click
import pytest

import bitnexus
from bitnexus.cli import main
from bitnexus.cli._program import program
from bitnexus.errors import NotFound


@pytest.fixture
def bitnexus_command(tmp_path):
    """Run the command in a process of its own, with nothing set but what is given."""

    def run(*arguments, **variables):
        environment = {"PATH": os.environ["PATH"], "BITNEXUS_DATA_DIR": str(tmp_path / "data")}
        return subprocess.run(
            [sys.executable, "-m", "bitnexus", *arguments],
            env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)} | variables,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )

    return run


@pytest.fixture
def failing(monkeypatch):
    """The command `fail`, which raises what it is told to."""

    def add(error):
        @click.command("fail")
        def fail():
            raise error

        monkeypatch.setattr(type(program), "get_command", lambda _self, _context, _name: fail)

    return add


def exit_code(*arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return caught.value.code


def test_version_is_the_packages(capsys):
    assert exit_code("--version") == 0
    assert bitnexus.__version__ in capsys.readouterr().out


def test_every_subcommand_loads_and_explains_itself(capsys):
    assert exit_code("--help") == 0
    listed = capsys.readouterr().out
    for name in program.list_commands(click.Context(program)):
        assert name in listed
        assert exit_code(name, "--help") == 0
        assert len(capsys.readouterr().out.splitlines()) > 3


@pytest.mark.parametrize("arguments", [("no-such-command",), ("config", "--no-such-option"), ("_program",)])
def test_wrong_usage_exits_with_2(arguments, capsys):
    assert exit_code(*arguments) == 2
    assert "No such" in capsys.readouterr().err


def test_an_error_of_the_family_is_one_line_and_exits_with_1(failing, capsys):
    failing(NotFound("No such user:\nalice"))
    assert exit_code("fail") == 1
    assert capsys.readouterr().err == "error: No such user: alice\n"


def test_an_interrupt_exits_with_130_and_no_traceback(failing, capsys):
    failing(KeyboardInterrupt())
    assert exit_code("fail") == 128 + signal.SIGINT
    assert capsys.readouterr().err.strip() == ""


def test_a_defect_keeps_its_traceback(failing):
    failing(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(["fail"])


def test_config_prints_the_effective_settings_as_json_with_secrets_masked(bitnexus_command):
    secret = "tell-nobody" * 8
    done = bitnexus_command(
        "config",
        PORT="4321",
        SECRET_KEY_BASE=secret,
        BITNEXUS_COOKIE=secret,
        DATABASE_URL="postgresql://u:tell-nobody@h/d",
    )
    assert done.returncode == 0
    assert "tell-nobody" not in done.stdout + done.stderr
    shown = json.loads(done.stdout)
    assert (shown["port"]["value"], shown["port"]["given"], shown["port"]["variable"]) == (4321, True, "PORT")
    assert shown["host"]["given"] is False
    assert shown["database_url"]["value"] == "postgresql://u:********@h/d"
    assert shown["secret_key_base"]["value"] == shown["cookie"]["value"] == "********"


def test_invalid_settings_are_one_line_without_traceback_or_secret(bitnexus_command):
    done = bitnexus_command("config", BITNEXUS_PROFILE="prod", SECRET_KEY_BASE="hunter2", PORT="x")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: PORT ")
    assert "SECRET_KEY_BASE must have at least 64 characters" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr
