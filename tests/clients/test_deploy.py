"""What deploy/ promises: several replicas behind HAProxy, alerts, a dashboard, a manifest."""

import json
import os
import re
import shutil
import socket
import socketserver
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from balancer import NEVER, SHIPPED, Balancer, configuration, running_balancer
from harness import DEADLINE, METRICS, REPOSITORY, RFC_9209_ERRORS, Proxy, Run, binary, package, program, running_proxy
from origin import HELLO, Site

program("haproxy")
yaml = package("yaml")

DEPLOY = REPOSITORY / "deploy"
NAMES = ("proxy-1", "proxy-2", "proxy-3")
CLIENT = "127.0.0.2"
"""Where the clients of these tests come from; HAProxy comes from 127.0.0.1."""
FLAGS = ("--proxy-protocol-from", "127.0.0.1/32", "--allow-private", "--drain-timeout", f"{DEADLINE:.0f}s")


class Echo(socketserver.BaseRequestHandler):
    """Sends everything back."""

    def handle(self) -> None:
        while data := self.request.recv(4096):
            self.request.sendall(data)


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    """The host and port of a server that sends everything back."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class Tunnel:
    """A client that has said CONNECT and was let through."""

    def __init__(self, through: tuple[str, int], target: str):
        self.socket = socket.create_connection(through, DEADLINE, source_address=(CLIENT, 0))
        self.client: tuple[str, int] = self.socket.getsockname()
        self.socket.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            more = self.socket.recv(4096)
            assert more, f"closed after {answer!r}"
            answer += more
        assert answer == b"HTTP/1.1 200 Connection established\r\n\r\n"

    def works(self) -> bool:
        """Whether bytes still go there and come back; False when the connection is over."""
        word = os.urandom(16)
        try:
            self.socket.sendall(word)
            return self.socket.recv(16, socket.MSG_WAITALL) == word
        except (ConnectionResetError, BrokenPipeError):
            return False


@dataclass
class Fleet:
    """Replicas behind a balancer, and the tunnels through them."""

    replicas: dict[str, Proxy]
    balancer: Balancer
    target: str
    held: ExitStack

    def tunnels(self, count: int) -> dict[Tunnel, str]:
        """So many new tunnels and who serves each."""
        opened = {}
        for _ in range(count):
            tunnel = Tunnel(self.balancer.address, self.target)
            self.held.callback(tunnel.socket.close)
            opened[tunnel] = self.balancer.server_of(tunnel.client)
        return opened


@contextmanager
def running_fleet(folder: Path, target: str, **how: str) -> Iterator[Fleet]:
    """Three replicas behind HAProxy."""
    with ExitStack() as running:
        replicas = {name: running.enter_context(running_proxy(*FLAGS)) for name in NAMES}
        balancer = running.enter_context(running_balancer(replicas, folder, **how))
        yield Fleet(replicas, balancer, target, running.enter_context(ExitStack()))


@pytest.fixture
def fleet(tmp_path: Path, echo: str) -> Iterator[Fleet]:
    """Three replicas that have passed a health check."""
    with running_fleet(tmp_path, echo) as fleet:
        for name in NAMES:
            fleet.balancer.wait_until_checked(name)
        yield fleet


# HAProxy


@pytest.mark.parametrize("shipped", [True, False], ids=["as shipped", "as tested"])
def test_haproxy_finds_nothing_to_say_about_its_configuration(run: Run, tmp_path: Path, shipped: bool):
    config = SHIPPED if shipped else tmp_path / "haproxy.cfg"
    if not shipped:
        config.write_text(configuration("127.0.0.1:1", str(tmp_path / "control"), dict.fromkeys(NAMES, 1), "1s"))
    checked = run(program("haproxy"), "-c", "-f", config, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout.strip() == "Configuration file is valid"


def test_a_new_tunnel_goes_to_the_replica_with_the_fewest(fleet: Fleet):
    tunnels = fleet.tunnels(9)
    assert Counter(tunnels.values()) == dict.fromkeys(NAMES, 3)
    assert all(tunnel.works() for tunnel in tunnels)
    for tunnel in [tunnel for tunnel, name in tunnels.items() if name == "proxy-2"]:
        tunnel.socket.close()
    fleet.balancer.wait_until("proxy-2", lambda now: now["scur"] == "0")
    assert set(fleet.tunnels(3).values()) == {"proxy-2"}


def test_the_log_of_a_replica_has_the_address_of_the_client(fleet: Fleet):
    tunnels = fleet.tunnels(3)
    for tunnel, name in tunnels.items():
        tunnel.socket.close()
        host, port = tunnel.client
        fleet.replicas[name].wait_for_log(rf" client={re.escape(host)}:{port} .* outcome=ok")
    lines = [line for replica in fleet.replicas.values() for line in replica.log]
    assert not [line for line in lines if "client=127.0.0.1:" in line]
    assert len([line for line in lines if " client=" in line]) == 3, "a health check is logged"


@pytest.mark.parametrize("scheme", ["http", "socks5h", "socks4a"])
def test_whatever_a_client_speaks_passes_through(run: Run, site: Site, certificates, fleet: Fleet, scheme: str):
    through = ["-x", f"{scheme}://{fleet.balancer.authority}", "--cacert", certificates.ca_file]
    assert run(program("curl"), "-q", "-sS", *through, site.url("/hello"), text=True).stdout == HELLO


def test_a_killed_replica_takes_only_its_own_tunnels_with_it(fleet: Fleet):
    tunnels = fleet.tunnels(6)
    fleet.replicas["proxy-2"].kill()
    assert {tunnel: tunnel.works() for tunnel in tunnels} == {
        tunnel: name != "proxy-2" for tunnel, name in tunnels.items()
    }
    fleet.balancer.wait_until_down("proxy-2")
    assert Counter(fleet.tunnels(4).values()) == {"proxy-1": 2, "proxy-3": 2}


def test_until_a_check_has_found_a_replica_dead_its_clients_are_served_by_others(tmp_path: Path, echo: str):
    with running_fleet(tmp_path, echo, interval=NEVER) as fleet:
        fleet.replicas["proxy-2"].kill()
        assert Counter(fleet.tunnels(6).values()) == {"proxy-1": 3, "proxy-3": 3}
        assert fleet.balancer.servers()["proxy-2"]["status"].startswith("UP")


def test_a_replica_that_comes_back_is_used_again(fleet: Fleet):
    dead = fleet.replicas["proxy-2"]
    dead.kill()
    fleet.balancer.wait_until_down("proxy-2")
    with running_proxy(*FLAGS, "--listen", f"127.0.0.1:{dead.port}"):
        fleet.balancer.wait_until_checked("proxy-2")
        assert Counter(fleet.tunnels(3).values()) == dict.fromkeys(NAMES, 1)
        fleet.held.close()


def test_a_draining_replica_finishes_its_tunnels_and_new_ones_go_elsewhere(fleet: Fleet):
    draining = fleet.replicas["proxy-2"]
    before = fleet.tunnels(6)
    draining.ask_to_stop()
    assert draining.refuses_connections()
    # at once, whether or not HAProxy has noticed
    after = fleet.tunnels(6)
    fleet.balancer.wait_until_down("proxy-2")
    after |= fleet.tunnels(6)
    assert Counter(before.values()) == dict.fromkeys(NAMES, 2)
    assert Counter(after.values()) == {"proxy-1": 6, "proxy-3": 6}
    assert all(tunnel.works() for tunnel in before | after)
    fleet.held.close()
    assert draining.stop() == 0
    assert any("every connection had finished" in line for line in draining.log)


def test_a_replica_can_be_taken_out_before_it_is_told_to_stop(fleet: Fleet):
    before = fleet.tunnels(3)
    fleet.balancer.say("set server sami-proxy/proxy-2 state drain")
    assert Counter(fleet.tunnels(4).values()) == {"proxy-1": 2, "proxy-3": 2}
    assert all(tunnel.works() for tunnel in before)
    fleet.balancer.say("set server sami-proxy/proxy-2 state ready")
    assert "proxy-2" in fleet.tunnels(2).values()


# Docker compose


def compose() -> dict:
    """The shipped file for Docker compose."""
    return yaml.safe_load((DEPLOY / "haproxy/compose.yaml").read_text())


def test_compose_takes_its_file(run: Run):
    if run("docker", "compose", "version").returncode == 0:
        command = ["docker", "compose"]
    elif shutil.which("docker-compose"):
        command = ["docker-compose"]
    else:
        pytest.skip("there is no docker compose here")
    checked = run(*command, "-f", DEPLOY / "haproxy/compose.yaml", "config", "-q", text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_haproxy_and_compose_agree_on_addresses():
    services = compose()["services"]
    addresses = {name: service["networks"]["replicas"]["ipv4_address"] for name, service in services.items()}
    balancer = addresses.pop("haproxy")
    servers = re.findall(r"^    server (\S+) (\S+):8080 tcp-ut 2m$", SHIPPED.read_text(), re.MULTILINE)
    assert dict(servers) == addresses
    (subnet,) = compose()["networks"]["replicas"]["ipam"]["config"]
    assert all(ip_address(it) in ip_network(subnet["subnet"]) for it in [balancer, *addresses.values()])
    for name in addresses:
        assert services[name]["environment"]["SAMI_PROXY_PROXY_PROTOCOL_FROM"] == f"{balancer}/32"
    scraped = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text())["scrape_configs"][0]
    assert scraped["static_configs"][0]["targets"] == [f"{address}:9090" for address in addresses.values()]


@pytest.mark.parametrize("name", NAMES)
def test_a_replica_of_compose_understands_its_settings(run: Run, tmp_path: Path, name: str):
    service = compose()["services"][name]
    shared = (DEPLOY / "haproxy/shared/sami-proxy.toml").read_text()
    settings = effective_settings(run, tmp_path, shared, service["environment"])
    assert settings["admin"] == "0.0.0.0:9090"
    assert seconds(settings["drain-timeout"]) < seconds(service["stop_grace_period"])
    assert seconds(settings["drain-timeout"]) < seconds(compose()["services"]["haproxy"]["stop_grace_period"])


def effective_settings(run: Run, folder: Path, toml: str, environment: dict[str, str]) -> dict[str, str]:
    """What the proxy makes of a file that names /etc/sami-proxy/…/htpasswd, and of variables."""
    users = folder / "htpasswd"
    users.write_text("sami:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n")
    toml, count = re.subn(r'"/etc/sami-proxy/\S*htpasswd"', json.dumps(str(users)), toml)
    assert count == 1
    config = folder / "sami-proxy.toml"
    config.write_text(toml)
    environment = {**environment, "SAMI_PROXY_CONFIG": str(config)}
    checked = run(binary(), "serve", "--check-config", env=environment, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
    return dict(line.split()[:2] for line in checked.stdout.splitlines())


def seconds(time: str) -> int:
    """`300s` or `5m` in seconds."""
    number, unit = re.fullmatch(r"(\d+)([sm])", time).groups()
    return int(number) * {"s": 1, "m": 60}[unit]


# Kubernetes


def test_the_pods_of_kubernetes_understand_their_settings_and_have_time_to_drain(run: Run, tmp_path: Path):
    objects = yaml.safe_load_all((DEPLOY / "kubernetes/sami-proxy.yaml").read_text())
    kinds = {document["kind"]: document for document in objects}
    assert kinds.keys() == {"ConfigMap", "Deployment", "Service", "PodDisruptionBudget"}
    pod = kinds["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    settings = effective_settings(run, tmp_path, kinds["ConfigMap"]["data"]["sami-proxy.toml"], variables)
    before = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert before + seconds(settings["drain-timeout"]) < pod["terminationGracePeriodSeconds"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert settings["admin"] == f"0.0.0.0:{ports['admin']}"
    assert settings["listen"] == f"0.0.0.0:{ports['proxy']}"
    assert [port["targetPort"] for port in kinds["Service"]["spec"]["ports"]] == ["proxy"]


# Prometheus and Grafana

OUTCOMES = RFC_9209_ERRORS | {"ok", "own_answer", "credentials_wanted", "client_gone", "idle", "cut"}
ALERTS = DEPLOY / "prometheus/alerts.yaml"


def alert_rules() -> list[dict]:
    """The alerts."""
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def dashboard() -> dict:
    """The dashboard."""
    return json.loads((DEPLOY / "grafana/sami-proxy.json").read_text())


def dashboard_queries() -> list[str]:
    """Every query of the dashboard, with what Grafana puts in place of its variables."""
    queries = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", [])]
    return [query.replace("$__rate_interval", "1m").replace("$instance", ".*") for query in queries]


@pytest.mark.parametrize(
    "command", ["check rules alerts.yaml", "test rules alerts.test.yaml", "check config prometheus.yaml"]
)
def test_promtool_is_content(run: Run, command: str):
    checked = run(program("promtool"), *command.split(), cwd=ALERTS.parent, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_alert_is_tested_and_says_what_to_do():
    tested = (DEPLOY / "prometheus/alerts.test.yaml").read_text()
    for rule in alert_rules():
        assert f'"{rule["alert"]}"' in tested or f"alertname: {rule['alert']}\n" in tested
        assert rule["annotations"].keys() == {"summary", "description"}
        assert rule["labels"]["severity"] in {"critical", "warning"}


def test_prometheus_understands_every_query_of_the_dashboard(run: Run, tmp_path: Path):
    rules = [{"record": f"query_{number}", "expr": query} for number, query in enumerate(dashboard_queries())]
    file = tmp_path / "queries.json"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    checked = run(program("promtool"), "check", "rules", file, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(rules)} rules found" in checked.stdout


def test_alerts_and_dashboard_name_what_the_proxy_counts():
    queries = dashboard_queries() + [rule["expr"] for rule in alert_rules()]
    named = {name for query in queries for name in re.findall(r"\bsami_proxy_\w+", query)}
    assert named == METRICS
    patterns = {pattern for query in queries for pattern in re.findall(r'outcome=~"([^"]*)"', query)}
    alternatives = {word for pattern in patterns for word in re.split(r"\|(?![^(]*\))", pattern)}
    assert not [word for word in alternatives if not any(re.fullmatch(word, outcome) for outcome in OUTCOMES)]


def test_the_dashboard_works_with_any_data_source():
    board = dashboard()
    assert board["id"] is None
    assert [variable["name"] for variable in board["templating"]["list"]] == ["datasource", "instance"]
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    users = [board["templating"]["list"][1], *panels, *(target for panel in panels for target in panel["targets"])]
    assert all(user["datasource"] == {"type": "prometheus", "uid": "${datasource}"} for user in users)
    assert all(panel["fieldConfig"]["defaults"]["unit"] and panel["targets"] for panel in panels)
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_panels_do_not_overlap():
    cells = Counter()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells.update((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"]))
    assert set(cells.values()) == {1}
