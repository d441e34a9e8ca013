"""The configuration: defaults, the file, the environment over it, and refusals in one sentence."""

from pathlib import Path

import pytest

from models.tags import ModelIdentity
from pipelines.configuration import Configuration, ConfigurationError, load_configuration

MODEL = ModelIdentity(name="m", version="1", checksum="c", numeric_path="p")


def test_the_environment_overrides_the_file_and_the_file_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "foreshock.toml"
    path.write_text("[novelty]\nsimilarity = 0.6\nhorizon_hours = 12\n", encoding="utf-8")
    monkeypatch.setenv("FORESHOCK_NOVELTY__SIMILARITY", "0.9")
    novelty = load_configuration(path).novelty
    assert (novelty.similarity, novelty.horizon_hours) == (0.9, 12)
    assert novelty.capacity == Configuration().novelty.capacity


@pytest.mark.parametrize(
    "text",
    ["[novelty]\nsimilarty = 0.6\n", "[nowelty]\n", "[novelty]\nsimilarity = 'x'\n", "[novelty\n",
     "[surge]\nbudget = 'lots'\n"],
)  # fmt: skip
def test_what_is_not_known_or_not_possible_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "foreshock.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"foreshock\.toml cannot be used"):
        load_configuration(path)


def test_a_section_that_is_not_known_is_named_and_its_values_are_not(tmp_path: Path) -> None:
    path = tmp_path / "foreshock.toml"
    path.write_text("tag = 3\n[chanels.desk]\npassword = 'hunter2'\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"no section \[chanels\]") as caught:
        load_configuration(path)
    assert "[tag]: " in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_models_and_device_are_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "foreshock.toml"
    path.write_text("[tag]\nmodel = 'a'\ntopic_model = 'b'\n", encoding="utf-8")
    monkeypatch.setenv("FORESHOCK_TAG__DEVICE", "cpu")
    tag = load_configuration(path).tag
    assert (tag.model, tag.sentiment_model, tag.topic_model) == (Path("a"), None, Path("b"))
    assert tag.device == "cpu"
    assert tag.serving(Path("c")).topic_model is None
    assert tag.serving(None) == tag
    monkeypatch.setenv("FORESHOCK_TAG__DEVICE", "tpu")
    with pytest.raises(ConfigurationError, match="'tpu'"):
        load_configuration(path)


def test_only_what_changes_rows_changes_the_configuration_hash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = Configuration().digest(MODEL)
    monkeypatch.setenv("FORESHOCK_REPLAY__SLICE_MESSAGES", "7")
    monkeypatch.setenv("FORESHOCK_TAG__CACHE", "7")
    assert load_configuration().digest(MODEL) == plain
    monkeypatch.setenv("FORESHOCK_NOVELTY__HORIZON_HOURS", "7")
    assert load_configuration().digest(MODEL) != plain


def test_kafka_is_set_by_its_section_and_changes_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "foreshock.toml"
    file.write_text(
        '[kafka]\nbrokers = "a:9092"\nsecurity = "SASL_SSL"\nuser = "me"\n'
        'ca_file = "ca.pem"\ntopics = { messages = "news" }\n'
    )
    monkeypatch.setenv("FORESHOCK_KAFKA__BROKERS", "b:9093")
    found = load_configuration(file)
    assert found.kafka.brokers == "b:9093"
    assert found.kafka.ca_file == Path("ca.pem")
    assert found.kafka.topics.messages == "news"
    assert found.meaning() == Configuration().meaning()


@pytest.mark.parametrize("line", ['password = "secret"', 'security = "SASL_SSL"', 'brokers = "a"'])
def test_a_password_or_what_does_not_fit_in_the_section_of_kafka_is_refused(
    line: str, tmp_path: Path
) -> None:
    file = tmp_path / "foreshock.toml"
    file.write_text(f"[kafka]\n{line}\n")
    with pytest.raises(ConfigurationError) as raised:
        load_configuration(file)
    assert "secret" not in str(raised.value)
