"""What the proxy's operator reads after a client has been there, and what nobody may read."""

import re

from curl import Curl
from harness import NEVER_LOGGED, Proxy
from origin import Origin, Site


def test_a_tunnel_is_one_line_that_names_its_target_and_its_user(curl: Curl, proxy: Proxy, origin: Origin):
    since, site = proxy.now_in_log(), Site(origin, "https")
    curl(proxy, site.url("/hello"))
    line = proxy.wait_for_log(rf".*CONNECT.*{site.authority}.*", since)[0]
    assert proxy.user is None or re.search(rf"\b{proxy.user}\b", line), line
    assert "error" not in line.lower()


def test_a_failure_is_one_line_with_the_word_of_the_proxy_status(
    curl: Curl, single_proxy: Proxy, site: Site, refusing_authority: str
):
    since = single_proxy.now_in_log()
    curl(single_proxy, f"{site.scheme}://{refusing_authority}/")
    line = single_proxy.wait_for_log(rf".*{refusing_authority}.*", since)[0]
    assert "connection_refused" in line
    assert "error" in line.lower()


def test_queries_fields_and_bodies_stay_out_of_the_log(curl: Curl, proxy: Proxy, site: Site, refusing_authority: str):
    since, private = proxy.now_in_log(), ["-H", f"Authorization: Bearer {NEVER_LOGGED}", "-d", NEVER_LOGGED]
    curl(proxy, *private, site.url(f"/headers?key={NEVER_LOGGED}"))
    curl(proxy, *private, f"http://{refusing_authority}/?key={NEVER_LOGGED}")
    proxy.wait_for_log(site.authority, since)
    proxy.wait_for_log(refusing_authority, since)
    assert not [line for line in proxy.log if NEVER_LOGGED in line]
