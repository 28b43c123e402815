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


def test_node_cert_makes_what_a_node_and_a_client_need_and_keeps_the_ca(bitnexus_command, tmp_path):
    made = bitnexus_command("node", "cert", "--out", "tls", "--host", "10.0.0.7", "--host", "node.example")
    assert (made.returncode, "ca.pem was made" in made.stderr) == (0, True)
    settings = dict(line.split("=") for line in made.stdout.split())
    assert settings == {
        "BITNEXUS_NODE_TLS_CERT": str(tmp_path / "tls" / "node.pem"),
        "BITNEXUS_NODE_TLS_KEY": str(tmp_path / "tls" / "node.key"),
        "BITNEXUS_NODE_TLS_CA": str(tmp_path / "tls" / "ca.pem"),
    }
    assert (tmp_path / "tls" / "node.key").stat().st_mode & 0o777 == 0o600
    client = bitnexus_command("node", "cert", "--out", "tls", "--client", "wallet", "--days", "7")
    assert (client.returncode, "ca.pem was kept" in client.stderr) == (0, True)
    assert "wallet.key" in client.stdout


@pytest.mark.parametrize("name", ["ca", "node", "../wallet", ""])
def test_node_cert_refuses_names_that_would_overwrite_something_else(bitnexus_command, name):
    refused = bitnexus_command("node", "cert", "--out", "tls", "--client", name)
    assert refused.returncode == 2
    assert "--client" in refused.stderr


def test_node_cert_refuses_a_host_that_is_none(bitnexus_command):
    refused = bitnexus_command("node", "cert", "--out", "tls", "--host", "nö.example")
    assert refused.returncode == 1
    assert "neither an IP address nor" in refused.stderr
