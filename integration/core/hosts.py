"""Host names and addresses, as settings and messages write them."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine: localhost, 127.0.0.0/8 or ::1."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def parse_hosts(text: str) -> tuple[str, ...]:
    """Split a comma-separated list of hosts; an IPv6 address may be in brackets.

    Raises:
        ValueError: a host includes a port or is not an address; the message names it.
    """
    return tuple(_bare_host(host.strip()) for host in text.split(",") if host.strip())


def _bare_host(host: str) -> str:
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    if bracketed or ":" in bare:
        try:
            IPv6Address(bare)
        except ValueError:
            raise ValueError(f"{host} is not a host: give the port separately") from None
    return bare


def address_text(host: str, port: int) -> str:
    """`host:port`, as messages name a server."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
