"""An open incident stays an alert at an Alertmanager, whoever of the two restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.daemon.harness import RunningDaemon, eventually
from tests.real.servers.alertmanager import Alertmanager

Daemons = Callable[..., RunningDaemon]


def test_it_outlives_restarts_of_both(make_daemon: Daemons, alertmanager: Alertmanager) -> None:
    daemon = make_daemon(
        f'[channel.am]\ntype = "alertmanager"\nurls = ["{alertmanager.url}"]\n'
        '[policy.default.critical]\ntell = ["am"]\n'
        '[check.dead]\ntype = "tcp"\naddress = "127.0.0.1:1"\nevery = "1s"\ntimeout = "900ms"\n'
        'retry = { times = 0, every = "1s" }\n'
    )

    def firing() -> list[str]:
        return [alert["labels"]["alertname"] for alert in asyncio.run(alertmanager.alerts())]

    eventually(lambda: firing() == ["dead"], "the incident fires as an alert")
    daemon.kill()
    alertmanager.stop()
    alertmanager.start()
    assert firing() == []
    daemon.start()
    eventually(lambda: firing() == ["dead"], "it fires again although nothing new has happened")
