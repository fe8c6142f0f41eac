"""What keeps people from being told too much: flapping, control targets, the watcher's own network."""

from __future__ import annotations

import pytest

from wcr_watchd.config.load import loads
from wcr_watchd.core.errors import ConfigError
from wcr_watchd.core.setup import Check, FlapLimits


def check(text: str, before: str = "") -> Check:
    return loads(f"{before}\n[check.one]\n{text}\n", "w.toml").setup.checks["one"]


@pytest.mark.parametrize(
    ("text", "external"),
    [
        ('type = "http"\nurl = "https://www.example.org/"', True),
        ('type = "http"\nurl = "http://localhost:8080/"', False),
        ('type = "http"\nurl = "http://[::1]/"', False),
        ('type = "tcp"\naddress = "10.0.0.7:22"', True),
        ('type = "tcp"\naddress = "127.0.0.1:22"', False),
        ('type = "icmp"\nhost = "192.0.2.1"', True),
        ('type = "dns"\nname = "example.org"', True),
        ('type = "host"', False),
        ('type = "http"\nurl = "https://www.example.org/"\nexternal = false', False),
    ],
)
def test_what_lies_beyond_this_machine(text: str, external: bool) -> None:
    assert check(text).external is external


def test_flapping_can_be_switched_off_for_all_and_on_for_one() -> None:
    assert check('type = "host"').flapping == FlapLimits()
    assert check('type = "host"\nflapping = false').flapping is None
    assert check('type = "host"', "[defaults]\nflapping = false").flapping is None
    assert check('type = "host"\nflapping = true', "[defaults]\nflapping = false").flapping == FlapLimits()


def test_control_targets_are_checks() -> None:
    setup = loads('[watchd]\ncontrol = "gateway"\n[check.gateway]\ntype = "icmp"\nhost = "192.0.2.1"\n', "w").setup
    assert setup.controls == ("gateway",)
    with pytest.raises(ConfigError) as raised:
        loads('[watchd]\ncontrol = ["gatewya"]\n[check.gateway]\ntype = "icmp"\nhost = "192.0.2.1"\n', "w")
    assert str(raised.value) == ('w:2: watchd.control[0]: there is no check "gatewya" (did you mean "gateway"?)')


def test_the_daemon_s_own_name_is_taken() -> None:
    with pytest.raises(ConfigError, match="what incidents of the daemon itself are called"):
        loads('[check.wcr-watchd]\ntype = "host"\n', "w")
