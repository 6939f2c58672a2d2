"""Settings: flags over environment over file over defaults, and mistakes named by setting."""

from pathlib import Path

import pytest

from assay_core.errors import InvalidArgument
from assay_core.settings import (
    ServiceSettings,
    is_loopback,
    join_address,
    load_settings,
    service_config,
    split_address,
)


class Example(ServiceSettings):
    model_config = service_config("example")

    listen: str = "127.0.0.1:7401"
    workers: int = 1


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("WORKERS", "HOME", "CONFIG", "LISTEN"):
        for prefix in ("ASSAY_", "ASSAY_EXAMPLE_"):
            monkeypatch.delenv(prefix + name, raising=False)


def test_each_source_wins_over_the_ones_below(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert load_settings(Example).workers == 1
    file = tmp_path / "settings.yaml"
    file.write_text("workers: 2\nlog_format: console\n")
    with_file = ["--config", str(file)]
    assert load_settings(Example, with_file).workers == 2
    monkeypatch.setenv("ASSAY_WORKERS", "3")
    assert load_settings(Example, with_file).workers == 3
    monkeypatch.setenv("ASSAY_EXAMPLE_WORKERS", "4")
    assert load_settings(Example, with_file).workers == 4
    settings = load_settings(Example, [*with_file, "--workers", "5"])
    assert (settings.workers, settings.log_format) == (5, "console")


def test_the_file_may_be_named_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "settings.yaml").write_text("workers: 2")
    monkeypatch.setenv("ASSAY_EXAMPLE_CONFIG", str(tmp_path / "settings.yaml"))
    assert load_settings(Example).workers == 2


def test_places_follow_from_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = load_settings(Example)
    assert settings.service == "example"
    assert settings.home == tmp_path / ".assay"
    assert settings.data_uri == f"file://{tmp_path}/.assay/data"
    assert settings.database_url == f"sqlite:///{tmp_path}/.assay/db/example.sqlite"
    monkeypatch.setenv("ASSAY_HOME", "/srv/assay")
    monkeypatch.setenv("ASSAY_DATA_URI", "s3://bucket/assay")
    settings = load_settings(Example)
    assert settings.data_uri == "s3://bucket/assay"
    assert settings.database_url == "sqlite:////srv/assay/db/example.sqlite"


@pytest.mark.parametrize(
    ("listen", "metrics", "expected"),
    [
        ("127.0.0.1:7401", None, "127.0.0.1:7501"),
        ("127.0.0.1:0", None, "127.0.0.1:0"),
        ("[::1]:7401", None, "[::1]:7501"),
        ("127.0.0.1:7401", "0.0.0.0:9090", "0.0.0.0:9090"),
        ("127.0.0.1:7401", "off", None),
    ],
)
def test_metrics_stand_beside_the_service(
    listen: str, metrics: str | None, expected: str | None
) -> None:
    assert Example(listen=listen, metrics_listen=metrics).metrics_address == expected


@pytest.mark.parametrize(
    ("arguments", "text", "field"),
    [
        (["--workers", "many"], "workers input should be a valid integer", "workers"),
        (["--listen", "7401"], "listen must be HOST:PORT", "listen"),
        (["--listen", "off"], "listen must be HOST:PORT", "listen"),
        (["--listen", "127.0.0.1:65500"], "metrics_listen must be set", "settings"),
        (["--drain-seconds", "-1"], "drain_seconds input should be greater than", "drain_seconds"),
        (["--config", "nowhere.yaml"], "names nowhere.yaml, which is not a file", "--config"),
    ],
)
def test_a_mistake_names_the_setting(arguments: list[str], text: str, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        load_settings(Example, arguments)
    assert text in str(caught.value)
    assert caught.value.field == field


def test_an_unknown_setting_in_the_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("wrokers: 2")
    with pytest.raises(InvalidArgument, match="wrokers is not a setting"):
        load_settings(Example, ["--config", str(file)])


@pytest.mark.parametrize("text", ["workers: [", "- 1", "just words"])
def test_a_file_that_is_not_a_mapping_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    with pytest.raises(InvalidArgument) as caught:
        load_settings(Example, ["--config", str(file)])
    assert "settings.yaml" in str(caught.value)


def test_a_secret_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_PEER_TOKEN", "very-secret")
    settings = load_settings(Example)
    assert settings.peer_token is not None
    assert settings.peer_token.get_secret_value() == "very-secret"
    assert "very-secret" not in f"{settings!r} {settings} {settings.model_dump_json()}"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:1", True),
        ("127.8.8.8:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
        ("localhost.example:1", False),
    ],
)
def test_only_loopback_is_loopback(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected
    assert join_address(*split_address(address)) == address
