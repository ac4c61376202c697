"""What `docker stop` does to the clients that are being served."""

from curl import Curl
from harness import running_proxy
from origin import Site


def test_a_stream_is_finished_after_sigterm_while_nobody_else_is_let_in(curl: Curl, site: Site):
    gate = site.origin.gate()
    with running_proxy("--allow-private") as proxy:
        with curl.streaming(proxy, gate, site.url("/sse?events=2")) as running:
            assert running.stdout.readline() == "data: event 0\n"
            proxy.ask_to_stop()
            assert proxy.refuses_connections()
            gate.open()
            assert running.stdout.read() == "\ndata: event 1\n\n"
        assert running.returncode == 0
        assert proxy.stop() == 0
