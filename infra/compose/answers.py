"""Whether an address answers: HOST:PORT by taking a connection, a URL by a page. For health checks.

The certificate is not looked at: it is this container's own.
"""

import socket
import ssl
import sys
import urllib.request

_SECONDS = 4.0


def answers(address: str) -> None:
    """Raises OSError where it does not."""
    if "://" in address:
        trusting = ssl._create_unverified_context()  # noqa: S323
        urllib.request.urlopen(address, timeout=_SECONDS, context=trusting).close()  # noqa: S310
    else:
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port)), _SECONDS).close()


if __name__ == "__main__":
    answers(sys.argv[1])
