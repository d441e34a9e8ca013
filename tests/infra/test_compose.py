"""The containers' files, held against what they name: no container runs here."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import psycopg
import pytest
import typer
import yaml
from typer.core import TyperGroup

from connectors.kafka.settings import TopicNames
from connectors.kafka.topics import LARGEST_MESSAGE
from connectors.store import Store
from infra.flink import cluster
from pipelines.alerting.channels import open_channels
from pipelines.alerting.ruling import RulesFile
from pipelines.command.main import app
from pipelines.configuration import load_configuration
from pipelines.dashboards.provisioning import documents
from pipelines.live import workers
from pipelines.manifest import VERSION
from tests.servers import prometheus, webhooks
from tests.servers.postgresql import free_port

ROOT = Path(__file__).parents[2]
HERE = ROOT / "infra" / "compose"
SCHEMA = ROOT / "tests" / "data" / "compose" / "compose-spec.json"
DOCKERFILE = HERE / "Dockerfile"
ONCE = {"topics", "schema", "logins", "dashboards"}
"""Services that do their work and end."""


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((HERE / "compose.yaml").read_text())
    return found


SERVICES: dict[str, dict[str, Any]] = compose()["services"]
OURS = [name for name, one in SERVICES.items() if one["image"].startswith("foreshock:")]
FLINK = ("jobmanager", "taskmanager", "jobserver")


@pytest.mark.parametrize("name", ["compose.yaml", "gpu.yaml"])
def test_a_file_is_one_by_the_compose_specification(name: str) -> None:
    jsonschema.validate(yaml.safe_load((HERE / name).read_text()), json.loads(SCHEMA.read_text()))


def test_the_specification_would_refuse_what_is_misspelt() -> None:
    wrong = compose()
    wrong["services"]["kafka"]["healtcheck"] = {}
    with pytest.raises(jsonschema.ValidationError, match="healtcheck"):
        jsonschema.validate(wrong, json.loads(SCHEMA.read_text()))


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is (name != "kafka")
    assert "privileged" not in service
    assert "docker.sock" not in json.dumps(service)
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_watched_or_ends_and_waits_for_what_there_is(name: str) -> None:
    service = SERVICES[name]
    assert ("healthcheck" in service) is (name not in ONCE)
    assert service["restart"] == ("no" if name in ONCE else "unless-stopped")
    for other, how in service.get("depends_on", {}).items():
        done = "service_completed_successfully" if other in ONCE else "service_healthy"
        assert how == {"condition": done}
    mode = service.get("network_mode", "")
    assert bool(mode) is not bool(service.get("networks"))
    assert not mode or mode.removeprefix("service:") in SERVICES


def test_what_is_mounted_is_there() -> None:
    whole = compose()
    for service in SERVICES.values():
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            assert (HERE / source).exists() if source[0] == "." else source in whole["volumes"]
            assert source[0] != "." or mount.endswith(":ro")
        for name in service.get("secrets", ()):
            assert name in whole["secrets"]
        for config in service.get("configs", ()):
            assert (HERE / whole["configs"][config["source"]]["file"]).is_file()


def test_no_secret_stands_in_a_file_and_each_is_made_by_the_script(tmp_path: Path) -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|KEY|TOKEN", variable):
                assert variable.endswith("_FILE"), name
                assert Path(value).name in service["secrets"], name
    shutil.copy(HERE / "secrets.sh", tmp_path)
    for _ in range(2):
        subprocess.run([tmp_path / "secrets.sh"], check=True)
    made = sorted(path.name for path in (tmp_path / "secrets").iterdir())
    assert sorted(compose()["secrets"]) == made
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
    first = (tmp_path / "secrets" / "store_job").read_text()
    subprocess.run([tmp_path / "secrets.sh"], check=True)
    assert (tmp_path / "secrets" / "store_job").read_text() == first
    assert len(first) == 48
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert "infra/compose/secrets/" in ignored


def test_a_secret_comes_into_the_environment_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text('it\'s "quoted" $HOME\n')
    given = {"PATH": os.environ["PATH"], "PGPASSWORD_FILE": str(tmp_path / "password")}
    done = subprocess.run(
        [HERE / "with_secrets.sh", "env"], env=given, capture_output=True, text=True, check=True
    )
    assert 'PGPASSWORD=it\'s "quoted" $HOME\n' in done.stdout
    assert "_FILE" not in done.stdout
    lost = {**given, "PGPASSWORD_FILE": str(tmp_path / "none")}
    assert subprocess.run([HERE / "with_secrets.sh", "true"], env=lost, check=False).returncode


def test_versions_are_those_that_are_tried_without_containers() -> None:
    assert (
        f"<version>{SERVICES['kafka']['image'].split(':')[1]}</version>"
        in (ROOT / "infra" / "kafka" / "pom.xml").read_text()
    )
    for name in (*OURS, *FLINK):
        assert SERVICES[name]["image"].endswith(f":{VERSION}")
    text = DOCKERFILE.read_text()
    assert "--constraint constraints.txt" in text
    python = re.findall(r"^FROM python:(\d+\.\d+)", text, re.MULTILINE)
    assert set(python) == {"3.11"}
    store = documents("/etc/foreshock")["datasources/foreshock"]["datasources"][0]
    major = SERVICES["postgres"]["image"].split(":")[1].split("-")[0]
    assert store["jsonData"]["postgresVersion"] == int(major) * 100


def test_images_are_named_by_a_version_and_built_from_targets_that_there_are() -> None:
    targets = set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE.read_text(), re.MULTILINE))
    for service in SERVICES.values():
        assert re.search(r":v?\d", service["image"])
        if "build" in service:
            assert service["build"]["target"] in targets
            assert (HERE / service["build"]["context"]).resolve() == ROOT
            assert ROOT / service["build"]["dockerfile"] == DOCKERFILE
    gpu = yaml.safe_load((HERE / "gpu.yaml").read_text())["services"]
    assert gpu["workers"]["build"]["target"] in targets
    assert set(gpu) <= set(SERVICES)


def test_the_dockerfile_copies_what_there_is_and_ends_without_root() -> None:
    stages = re.split(r"^FROM ", DOCKERFILE.read_text(), flags=re.MULTILINE)[1:]
    named = {stage.split()[2]: stage for stage in stages}
    ignored = (HERE / "Dockerfile.dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    for stage in stages:
        for line in re.findall(r"^COPY (?!--from)(.*)$", stage, re.MULTILINE):
            for source in shlex.split(line)[:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source.split('/')[0]}" in ignored, source
        for stage_name in re.findall(r"^COPY --from=(\S+)", stage, re.MULTILINE):
            assert stage_name in named
    for target in ("base", "flink"):
        assert re.findall(r"^USER (.*)$", named[target], re.MULTILINE) == ["10001:10001"]
    for target in ("foreshock", "gpu"):
        assert named[target].startswith("base AS ")
        assert "USER" not in named[target]
    assert stages[-1].split()[2] == "foreshock"


@pytest.mark.parametrize("name", OURS)
def test_a_command_of_ours_is_one(name: str) -> None:
    program, *arguments = SERVICES[name]["command"]
    if program == "python":
        assert arguments[:2] == ["-m", workers.__name__]
        assert workers.parser().parse_args(arguments[2:]).port
        return
    assert program == "foreshock"
    parsed(typer.main.get_command(app), program, arguments)


def test_a_command_that_is_none_is_found() -> None:
    with pytest.raises(Exception, match="No such option: --standbye"):
        parsed(typer.main.get_command(app), "foreshock", ["alerts", "run", "--standbye"])


def parsed(command: Any, name: str, arguments: list[str], parent: Any = None) -> None:
    """Parses as the command does before it runs anything; raises what is wrong with it."""
    context = command.make_context(name, list(arguments), parent=parent)
    if isinstance(command, TyperGroup) and (rest := [*context._protected_args, *context.args]):
        name_of_verb, verb, more = command.resolve_command(context, rest)
        parsed(verb, name_of_verb, more, context)


def test_settings_rules_and_pages_fit_together(tmp_path: Path) -> None:
    settings = load_configuration(HERE / "foreshock.toml")
    channels = open_channels(settings.channels, settings.delivery, settings.kafka)
    assert RulesFile(HERE / "rules.toml", list(channels)).refused is None
    assert settings.live.folder == Path("/var/lib/foreshock/live")
    scraped = yaml.safe_load((HERE / "prometheus.yml").read_text())["scrape_configs"]
    (pages,) = scraped[0]["static_configs"]
    for name, port in (target.split(":") for target in pages["targets"]):
        service = SERVICES[name]
        given = [*service["command"], *service["environment"].values()]
        assert port in given, name
    topics = dict(one.split(":") for one in SERVICES["topics"]["environment"]["TOPICS"].split())
    assert set(topics) == set(msgspec.structs.astuple(TopicNames()))
    assert f"max.message.bytes={LARGEST_MESSAGE}" in SERVICES["topics"]["command"][0]


def test_prometheus_and_alertmanager_take_their_configurations(tmp_path: Path) -> None:
    if not (prometheus.programs() and shutil.which("amtool")):
        pytest.skip("Prometheus or Alertmanager is not installed")
    text = (HERE / "prometheus.yml").read_text()
    assert "/etc/prometheus/rules/" in text
    path = tmp_path / "prometheus.yml"
    path.write_text(text.replace("/etc/prometheus/", f"{ROOT}/infra/prometheus/"))
    assert "1 rule files found" in ran("promtool", "check", "config", path)
    ran("amtool", "check-config", ROOT / "infra" / "alertmanager" / "alertmanager.yml")


def ran(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_health_check_tells_what_answers_from_what_does_not() -> None:
    with webhooks.receiving() as there:
        port = there.url.split(":")[2].split("/")[0]
        for address in (f"127.0.0.1:{port}", there.url):
            ran(sys.executable, HERE / "answers.py", address)
        there.behaviour = webhooks.answer(500)
        for address in (there.url, f"127.0.0.1:{free_port()}"):
            asked = [sys.executable, HERE / "answers.py", address]
            assert subprocess.run(asked, capture_output=True, check=False).returncode


def test_logins_have_the_roles_of_least_privilege(postgresql_url: str, tmp_path: Path) -> None:
    Store.upgrade(postgresql_url)
    with Store.open(postgresql_url) as store:
        store.make_roles()
    psql = ("psql", "--quiet", f"--dbname={postgresql_url}")
    for name in ("store_job", "store_reader"):
        (tmp_path / name).write_text(f"it's {name}")
    for _ in range(2):
        ran("env", f"FOLDER={tmp_path}", *psql, f"--file={HERE / 'logins.sql'}")
    users = {"foreshock_job": "messages", "foreshock_grafana": "tags"}
    for name, table in users.items():
        with psycopg.connect(postgresql_url, user=name, password="any") as connection:
            connection.execute(f"SELECT * FROM {table}")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("DELETE FROM alert_events")


@pytest.mark.parametrize("name", FLINK)
def test_flink_is_started_as_on_one_machine(name: str, tmp_path: Path) -> None:
    local = cluster.Cluster(tmp_path)
    parts = (local.job_manager, local.task_managers[0], local.job_server)
    part = next(one for one in parts if one.name.startswith(name))
    there = [word.replace(str(cluster.HERE), "/opt/flink") for word in part.command]
    here = SERVICES[name]["command"]
    main = next(at for at, word in enumerate(there) if word.startswith("org.apache."))
    assert here[: main + 1] == there[: main + 1]
    if name == "jobserver":
        assert [word.split("=")[0] for word in here] == [word.split("=")[0] for word in there]


def test_flink_starts_by_these_commands(tmp_path: Path) -> None:
    if reason := cluster.missing():
        pytest.skip(reason)
    cluster.fetch()
    ports = {port: str(free_port()) for port in ("8081", "6122", "8099", "8098")}
    ports_of_flink = [f"-Djobmanager.rpc.port={free_port()}", f"-Drest.port={ports['8081']}"]
    with ExitStack() as stack:
        for name in FLINK:
            words = [here(word, ports, tmp_path) for word in SERVICES[name]["command"]]
            more = ports_of_flink if name != "jobserver" else []
            log = stack.enter_context((tmp_path / f"{name}.log").open("wb"))
            started = subprocess.Popen([*words, *more], stdout=log, stderr=log)
            stack.callback(started.wait)
            stack.callback(started.terminate)
        deadline = time.monotonic() + 60
        while not whole(ports):
            assert time.monotonic() < deadline, (tmp_path / "taskmanager.log").read_text()
            time.sleep(0.1)


def here(word: str, ports: dict[str, str], folder: Path) -> str:
    """A word of a command for this machine: paths, hosts and ports."""
    if word.startswith(("java", "org.")):
        return word
    word = word.replace("/opt/flink", str(cluster.HERE)).replace("=/tmp", f"={folder}")
    word = re.sub(r"=(jobmanager|workers|jobserver|0\.0\.0\.0)\b", "=127.0.0.1", word)
    return re.sub("|".join(ports), lambda found: ports[found[0]], word)


def whole(ports: dict[str, str]) -> bool:
    """Whether a TaskManager has come to the JobManager, and the job server listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{ports['8081']}/overview") as page:
            seen = json.load(page)
        socket.create_connection(("127.0.0.1", int(ports["8099"]))).close()
    except OSError:
        return False
    return (seen["taskmanagers"], seen["slots-total"]) == (1, 2)
