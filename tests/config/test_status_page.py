"""``[status_page]``: what is read, and what is said of what cannot be."""

from __future__ import annotations

import pytest

from tests.web.access import access_for
from tests.web.showcase import Showcase
from tests.web.test_web import Metrics, no_desk, no_doors, no_prober
from wcr_watchd.config.load import loads
from wcr_watchd.config.status_page import _TAKEN
from wcr_watchd.core.errors import ConfigError
from wcr_watchd.core.status import MaintenanceMails, Posting, ShownFrom, StatusPage, Together
from wcr_watchd.web.app import build

CHECKS = '[check.api]\ntype = "tcp"\naddress = "127.0.0.1:1"\ntags = ["web"]\n'
COMPONENT = '[status_page.component.site]\nname = "Website"\nchecks = ["api"]\n'


def page(text: str) -> StatusPage | None:
    return loads(CHECKS + text, "t").status_page


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        loads(CHECKS + text, "t")
    return [str(one) for one in refused.value.problems]


def test_without_the_section_there_is_no_page() -> None:
    assert page("") is None


def test_what_is_not_said_has_sensible_values() -> None:
    found = page(f"[status_page]\n{COMPONENT}")
    assert found is not None
    assert (found.path, found.days, found.posting, found.listen, found.mail) == ("/status", 90, Posting.DRAFT, (), "")
    (site,) = found.components
    assert (site.id, site.together, site.shown_from) == ("site", Together.WORST, ShownFrom.WARNING)


def test_the_address_follows_from_that_of_the_dashboard() -> None:
    found = page(f'[web]\npublic_url = "https://watch.example.org/"\n[status_page]\npath = "/up"\n{COMPONENT}')
    assert found is not None
    assert found.url == "https://watch.example.org/up"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[status_page]\n", "has no components"),
        ('[status_page]\nmail_maintenance = ["start"]\n' + COMPONENT, "needs a channel for mails"),
        ('[status_page]\nmail_maintenance = ["soon"]\n' + COMPONENT, "'soon', which is no time"),
        ('[status_page]\nmail_maintenance = ["1000d"]\n' + COMPONENT, "has '1000d'"),
        ('[status_page]\npath = "/api"\n' + COMPONENT, "is a path of the dashboard"),
        ('[status_page]\npath = "/maintenance/public"\n' + COMPONENT, "is a path of the dashboard"),
        ('[status_page]\npath = "status"\n' + COMPONENT, "is no path of its own"),
        ('[status_page]\nhost = "https://x"\n' + COMPONENT, "is no host name"),
        ('[status_page]\nhost = "localhost"\n' + COMPONENT, "is the name by which commands reach the daemon"),
        ('[status_page]\nmail = "post"\n' + COMPONENT, 'there is no channel "post"'),
        ("[status_page]\n" + COMPONENT.replace("api", "apy"), 'there is no check "apy"'),
        ("[status_page]\n" + COMPONENT.replace('checks = ["api"]', ""), "does not say which checks it stands for"),
        ("[status_page]\n" + COMPONENT.replace("site]", "Site]"), "stands in public addresses"),
    ],
)
def test_what_cannot_be_is_said(text: str, said: str) -> None:
    assert any(said in one for one in problems(text)), problems(text)


def test_mails_need_a_channel_of_mail_and_an_address() -> None:
    room = '[channel.room]\ntype = "webhook"\nurl = "http://127.0.0.1:1/"\n'
    found = problems(f'{room}[status_page]\nmail = "room"\n{COMPONENT}')
    assert any('"room" sends no mails' in one for one in found)
    assert any("is needed for the links in mails" in one for one in found)


def test_when_subscribers_are_told_of_maintenance() -> None:
    mail = '[channel.mail]\ntype = "email"\nservers = ["smtp://127.0.0.1:9"]\nfrom = "a@example.org"\n'
    table = '[status_page]\nmail = "mail"\nurl = "https://s.example.org"\nmail_maintenance = ["24h", "end", "7d"]\n'
    found = page(f"{mail}{table}{COMPONENT}")
    assert found is not None
    assert found.maintenance_mails == MaintenanceMails((86_400.0, 7 * 86_400.0), start=False, end=True)


def test_the_path_is_none_that_the_application_answers_itself() -> None:
    app = build(Showcase(), Metrics(b"", {}), access_for(), no_doors(), no_prober(access_for()), no_desk())  # type: ignore[arg-type]
    first = {route.resource.canonical.split("/")[1] for route in app.router.routes() if route.resource}
    assert first - {"", "{path}"} <= _TAKEN
