import os
import pickle
import secrets

import pytest
from pydantic import SecretStr, ValidationError

from bitnexus.config import Settings, get_settings, load, node_cookie, use
from bitnexus.config.settings import mask_passwords
from bitnexus.errors import BitNexusError, InvalidSettings

GOOD_SECRET = secrets.token_hex(64)


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch, tmp_path):
    for field in Settings.model_fields.values():
        monkeypatch.delenv(str(field.validation_alias), raising=False)
    monkeypatch.chdir(tmp_path)
    previous = use(None)
    yield
    use(previous)


def refusal(**given):
    with pytest.raises(InvalidSettings) as caught:
        load(**given)
    return str(caught.value)


def prod(**changed):
    return {"profile": "prod", "secret_key_base": GOOD_SECRET, "data_dir": "/nowhere/bitnexus"} | changed


def test_defaults_suit_a_developer(tmp_path):
    settings = load()
    assert (settings.profile, settings.host, settings.port) == ("dev", "127.0.0.1", 4000)
    assert settings.database_url is None
    assert settings.data_dir == tmp_path / "var"


def test_every_field_has_a_description_and_a_variable():
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert str(field.validation_alias).isupper(), name


def test_environment_wins_over_env_file_and_an_argument_over_both(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("PORT=5000\nPOOL_SIZE=7\nBITNEXUS_FRONTS=5\nUNRELATED=1\n")
    monkeypatch.setenv("PORT", "6000")
    monkeypatch.setenv("BITNEXUS_FRONTS", "6")
    settings = load(fronts=3)
    assert (settings.pool_size, settings.port, settings.fronts) == (7, 6000, 3)


def test_an_empty_variable_counts_as_not_set(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.setenv("PORT", "")
    assert load().database_url is None
    assert load().port == 4000


def test_a_lower_case_variable_is_somebody_elses(monkeypatch):
    monkeypatch.setenv("host", "0.0.0.0")
    assert load().host == "127.0.0.1"


def test_words_are_taken_in_any_case(monkeypatch):
    monkeypatch.setenv("BITNEXUS_LOG_LEVEL", "WARNING")
    monkeypatch.setenv("BITNEXUS_PROFILE", "Test")
    assert (load().log_level, load().profile) == ("warning", "test")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "99999"),
        ("PORT", "http"),
        ("HOST", "not a host"),
        ("POOL_SIZE", "0"),
        ("BITNEXUS_PROFILE", "production"),
        ("DATABASE_URL", "mysql://u:hunter2@h/d"),
        ("DATABASE_URL", "postgresql://u:hunter2@h:hunter2/d"),
        ("BITNEXUS_COOKIE", "hunter2"),
        ("BITNEXUS_NODE_HOST", "0.0.0.0"),
        ("BITNEXUS_NODE_HOST", "hunter2"),
        ("BITNEXUS_FRONTS", "0"),
        ("BITNEXUS_PARTITIONS", "1000"),
        ("BITNEXUS_DEFAULT_ASSET", "hunter2"),
        ("BITNEXUS_CALL_TIMEOUT_S", "nan"),
        ("BITNEXUS_LOG_LEVEL", "hunter2"),
        ("BITNEXUS_LOG_FORMAT", "hunter2"),
        ("BITNEXUS_MAX_BLOCK", "-1"),
    ],
)
def test_a_wrong_value_is_refused_by_its_variable_and_not_repeated(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    text = refusal()
    assert text.startswith(f"{variable} ")
    assert ";" not in text
    assert "hunter2" not in text


def test_the_refusal_is_of_the_family_and_drags_no_rejected_value_along(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "mysql://u:hunter2@h/d")
    with pytest.raises(BitNexusError) as caught:
        load()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_even_a_direct_construction_does_not_echo_a_rejected_secret():
    with pytest.raises(ValidationError) as caught:
        Settings(cookie="hunter2", database_url="mysql://u:hunter3@h/d")
    assert "hunter" not in str(caught.value)


def test_all_problems_are_named_at_once():
    text = refusal(port=-1, pool_size=0, node_host="::")
    for variable in ("PORT", "POOL_SIZE", "BITNEXUS_NODE_HOST"):
        assert f"{variable} " in text


def test_prod_starts_with_safe_values():
    settings = load(**prod())
    assert settings.secret_key_base.get_secret_value() == GOOD_SECRET


def test_prod_without_a_secret_is_refused_and_makes_none(tmp_path):
    text = refusal(profile="prod", data_dir=tmp_path)
    assert text.startswith("SECRET_KEY_BASE must be set in prod")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "secret",
    ["hunter2", "a" * 128, "0123" * 32, "change_me_" + secrets.token_hex(64), "x-default-secret-key-base-" * 4],
)
def test_prod_refuses_a_short_or_default_secret(secret):
    text = refusal(**prod(secret_key_base=secret))
    assert text.startswith("SECRET_KEY_BASE ")
    assert secret not in text


def test_the_old_service_is_a_plain_address_and_its_routes_are_routes():
    settings = load(legacy_api_url="https://old.example/functions/", legacy_routes="GET /a/{id}, /b/*")
    assert settings.legacy_api_url == "https://old.example/functions"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"legacy_api_url": "ftp://old.example"}, "LEGACY_API_URL must be of the form"),
        ({"legacy_api_url": "http:///x"}, "LEGACY_API_URL must be of the form"),
        ({"legacy_api_url": "http://u:hunter2@old.example"}, "LEGACY_API_URL must have no user"),
        ({"legacy_api_url": "http://old.example/a/../b"}, "LEGACY_API_URL must have no user"),
        ({"legacy_api_url": "http://old.example?x=hunter2"}, "LEGACY_API_URL must have no user"),
        ({"legacy_api_url": "http://localhost:4000"}, "LEGACY_API_URL must not be this service itself"),
        ({"legacy_api_url": "http://[::1]:4000", "host": "0.0.0.0"}, "LEGACY_API_URL must not be this service itself"),
        ({"legacy_routes": "/a"}, "LEGACY_ROUTES needs LEGACY_API_URL"),
        ({"legacy_routes": "a", "legacy_api_url": "http://old.example"}, "LEGACY_ROUTES must be routes"),
    ],
)
def test_what_cannot_be_passed_on_to_is_refused(given, text):
    said = refusal(**given)
    assert said.startswith(text)
    assert "hunter2" not in said


def test_old_secrets_come_with_commas_and_are_masked_when_they_are_shown():
    older = secrets.token_hex(64)
    settings = load(**prod(secret_key_base_old=f" {older}, {GOOD_SECRET[::-1]} ,"))
    assert settings.old_secrets == (older, GOOD_SECRET[::-1])
    (shown,) = [each for each in settings.effective() if each.variable == "SECRET_KEY_BASE_OLD"]
    assert shown.value == "********"
    assert load(**prod()).old_secrets == ()


@pytest.mark.parametrize(
    ("old", "sentence"),
    [
        (GOOD_SECRET, "must not hold SECRET_KEY_BASE itself"),
        ("hunter2" * 3, "must have at least 64 characters"),
        ("change_me_" + secrets.token_hex(64), "is a placeholder"),
        (",".join(secrets.token_hex(64) for _ in range(6)), "must be at most 5"),
    ],
)
def test_old_secrets_that_make_no_sense_are_refused_and_not_repeated(old, sentence):
    text = refusal(**prod(secret_key_base_old=old))
    assert text.startswith(f"SECRET_KEY_BASE_OLD {sentence}")
    assert old not in text


@pytest.mark.parametrize(
    ("field", "value", "variable"),
    [
        ("cookie", "short-but-over-16-chars", "BITNEXUS_COOKIE"),
        ("cookie", "a" * 64, "BITNEXUS_COOKIE"),
        ("data_dir", "var", "BITNEXUS_DATA_DIR"),
        ("node_host", "10.0.0.7", "BITNEXUS_NODE_HOST"),
        ("database_url", "postgresql://bitnexus:postgres@db/bitnexus", "DATABASE_URL"),
        ("database_url", "postgresql://alice:alice@db/bitnexus", "DATABASE_URL"),
        ("database_url", "postgresql://db/bitnexus?user=a&password=changeme", "DATABASE_URL"),
    ],
)
def test_prod_refuses_what_dev_allows(field, value, variable):
    load(**{field: value})
    assert refusal(**prod(**{field: value})).startswith(f"{variable} ")


def test_prod_needs_no_data_directory_when_nothing_is_kept_in_it():
    load(**prod(database_url="postgresql:///bitnexus?host=/run/pg", cookie=secrets.token_hex(32), data_dir="var"))


@pytest.mark.parametrize("profile", ["dev", "test"])
def test_a_developers_secret_is_made_once_and_kept_private(profile, tmp_path):
    first = load(profile=profile, data_dir=tmp_path / "data").secret_key_base.get_secret_value()
    file = tmp_path / "data" / "secret_key_base"
    assert len(first) == 64
    assert file.stat().st_mode & 0o777 == 0o600
    assert load(profile=profile, data_dir=tmp_path / "data").secret_key_base.get_secret_value() == first


def test_a_secret_file_others_can_read_is_refused_by_name(tmp_path):
    load(data_dir=tmp_path)
    (tmp_path / "secret_key_base").chmod(0o644)
    text = refusal(data_dir=tmp_path)
    assert text.startswith("SECRET_KEY_BASE ")
    assert "0644" in text
    assert (tmp_path / "secret_key_base").read_text().strip() not in text


def test_no_representation_shows_a_secret():
    given = {"secret_key_base": "tell-nobody-1" * 4, "cookie": "tell-nobody-2" * 4}
    settings = load(database_url="postgresql://u:tell-nobody-3@h/d", **given)
    shown = f"{settings!r} {settings} {settings.effective()}"
    assert "tell-nobody" not in shown
    assert "postgresql://u:********@h/d" in shown


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("to postgres://u:p@h/d now", "to postgres://u:********@h/d now"),
        ("postgres://u:p@ss@h/d", "postgres://u:********@h/d"),
        ("postgres://u:p:w@h/d", "postgres://u:********@h/d"),
        ("postgres://h/d?user=u&password=p&x=1", "postgres://h/d?user=u&password=********&x=1"),
        ("http://h:80/a@b", "http://h:80/a@b"),
        ("a:b@c", "a:b@c"),
    ],
)
def test_passwords_in_addresses_are_masked(text, masked):
    assert mask_passwords(text) == masked


def test_get_settings_is_loaded_once_and_use_replaces_it(monkeypatch):
    first = get_settings()
    monkeypatch.setenv("PORT", "5001")
    assert get_settings() is first
    changed = first.model_copy(update={"database_url": "postgresql:///x"})
    assert use(changed) is first
    assert get_settings() is changed
    use(None)
    assert get_settings().port == 5001


def test_settings_are_immutable_and_can_be_pickled():
    settings = load(port=4001)
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_the_cookie_of_the_environment_wins_over_the_file(tmp_path):
    assert node_cookie(load(data_dir=tmp_path, cookie="c" * 40)) == b"c" * 40
    assert not (tmp_path / "cookie").exists()


def test_the_cookie_file_is_made_once_with_mode_0600_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        settings = load(data_dir=tmp_path / "data")
        cookie = node_cookie(settings)
    finally:
        os.umask(before)
    assert (tmp_path / "data" / "cookie").stat().st_mode & 0o777 == 0o600
    assert node_cookie(settings) == cookie
    assert len(cookie) == 64


def test_an_untrustworthy_cookie_file_is_an_error_of_the_family(tmp_path):
    settings = load(data_dir=tmp_path, secret_key_base=SecretStr(GOOD_SECRET))
    (tmp_path / "cookie").write_text("c" * 64)
    (tmp_path / "cookie").chmod(0o640)
    with pytest.raises(InvalidSettings, match=r"^BITNEXUS_COOKIE is not set and .*0640"):
        node_cookie(settings)


TLS = {"node_tls_cert": "node.pem", "node_tls_key": "node.key", "node_tls_ca": "ca.pem"}


@pytest.mark.parametrize("missing", list(TLS))
def test_tls_is_configured_whole_or_not_at_all(missing):
    text = refusal(**{name: path for name, path in TLS.items() if name != missing})
    assert text.startswith(f"BITNEXUS_{missing.upper()} must be set too")


def test_two_missing_parts_of_tls_are_both_named():
    assert refusal(node_tls_cert="node.pem").startswith("BITNEXUS_NODE_TLS_KEY and BITNEXUS_NODE_TLS_CA must be set")


def test_with_tls_a_node_in_prod_may_be_reached_from_other_hosts():
    assert "BITNEXUS_NODE_TLS_CERT" in refusal(**prod(node_host="10.0.0.7"))
    assert load(**prod(node_host="10.0.0.7", **TLS)).node_host == "10.0.0.7"


def test_the_files_of_tls_are_found_from_every_directory(tmp_path):
    files = load(**TLS).node_tls
    assert files is not None
    assert (files.cert, files.ca) == (tmp_path / "node.pem", tmp_path / "ca.pem")
    assert load().node_tls is None
