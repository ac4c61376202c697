"""The library below curl, of a newer version than Debian's program, which can do less."""

import io

from certificates import Certificates
from harness import DEADLINE, package

pycurl = package("pycurl")

CURLPROXY_HTTPS2 = 3
"""HTTP/2 if the proxy wants it; PycURL has no name for it."""


class Transfer:
    """Fetches through one proxy; what is kept between two requests is kept."""

    def __init__(self, proxy_url: str, certificates: Certificates, pin: str | None = None, http2: bool = False):
        """The proxy is trusted for its pin if there is one, else for its authority."""
        self.curl = pycurl.Curl()
        self.curl.setopt(pycurl.PROXY, proxy_url)
        self.curl.setopt(pycurl.NOPROXY, "")
        self.curl.setopt(pycurl.TIMEOUT, int(DEADLINE))
        self.curl.setopt(pycurl.CAINFO, str(certificates.ca_file))
        if http2:
            self.curl.setopt(pycurl.PROXYTYPE, CURLPROXY_HTTPS2)
        if pin:
            self.curl.setopt(pycurl.PROXY_SSL_VERIFYPEER, 0)
            self.curl.setopt(pycurl.PROXY_SSL_VERIFYHOST, 0)
            self.curl.setopt(pycurl.PROXY_PINNEDPUBLICKEY, pin.replace(":", "//", 1))
        else:
            self.curl.setopt(pycurl.PROXY_CAINFO, str(certificates.ca_file))

    def get(self, url: str) -> bytes:
        """The body that a GET brings."""
        self.curl.setopt(pycurl.HTTPGET, 1)
        return self._fetch(url)

    def post(self, url: str, content: bytes) -> bytes:
        """The body that a POST brings."""
        self.curl.setopt(pycurl.POSTFIELDS, content)
        self.curl.setopt(pycurl.HTTPHEADER, ["Expect:"])
        return self._fetch(url)

    def _fetch(self, url: str) -> bytes:
        """The body that comes."""
        body = io.BytesIO()
        self.curl.setopt(pycurl.URL, url)
        self.curl.setopt(pycurl.WRITEDATA, body)
        self.curl.perform()
        return body.getvalue()

    def close(self) -> None:
        """Ends the connections that were kept."""
        self.curl.close()
