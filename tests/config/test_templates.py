"""A channel's own words: tried when the configuration is read, and never a reason that a page is lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.samples import MESSAGES, make_message
from wcr_watchd.channels.webhook import document
from wcr_watchd.config import load
from wcr_watchd.core.errors import ConfigError
from wcr_watchd.core.message import facts, headline, long_text
from wcr_watchd.core.model import EventKind, Message
from wcr_watchd.core.sms import fits_sms, sms_text
from wcr_watchd.core.wording import samples, values
from wcr_watchd.kit.templates import LARGEST, TemplateFailedError, Wording, fill, tried


def config(template: str, channel: str = 'type = "slack"\nwebhook = "https://hooks.example.org/x"') -> load.Loaded:
    return load.loads(f"[channel.it]\n{channel}\n{template}", "watchd.toml")


def test_own_words_are_read() -> None:
    loaded = config('template = { subject = "{{ about }} is {{ tag }}", text = "{{ summary }} since {{ since }}" }')
    message = loaded.wordings["it"].of(make_message())
    assert headline(message) == "api is CRITICAL"
    assert long_text(message) == "api is CRITICAL\n\nHTTP 500, expected 2xx since 03:12 EST\n"


def test_a_drill_is_marked_whatever_words_there_are_for_it() -> None:
    drill = make_message(event=EventKind.DRILL)
    loaded = config('template = { subject = "{{ about }} is broken", text = "Get up! {{ severity }}" }')
    message = loaded.wordings["it"].of(drill)
    assert (message.own_subject, message.own_text) == ("[DRILL] api is broken", "[DRILL] Get up! critical")
    assert fill("{{ summary }}", drill) == "[DRILL] HTTP 500, expected 2xx"
    assert document(drill)["summary"] == "[DRILL] HTTP 500, expected 2xx"
    assert headline(drill).count("[DRILL]") == 1
    assert "DRILL" not in loaded.wordings["it"].of(make_message()).own_text


def test_channels_without_own_words_have_none() -> None:
    assert not config("").wordings


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ('text = "{{ sumary }}"', "template.text: cannot be filled: 'sumary' is undefined"),
        ('text = "{{ summary "', "is no template, line 1"),
        ('subject = "{% if %}"', "template.subject: is no template, line 1"),
        ('text = "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}"', "cannot be filled: RecursionError"),
        ('text = "{{ items[0].summary }}"', "cannot be filled"),  # right for digests only
        ('text = "{{ 1 / (incident - 42) }}"', "cannot be filled: ZeroDivisionError"),
        ('text = "{{ tags.__class__.__mro__ }}"', "cannot be filled: access to attribute '__class__'"),
        ('text = "{{ tags.append(1) }}"', "access to attribute 'append' of 'list' object is unsafe"),
        ("text = \"{{ 'x' * 100000 }}\"", f"makes more than {LARGEST} characters"),
        ("text = \"{% include '/etc/passwd' %}\"", "cannot be filled"),
        ('texts = "x"', 'unknown key "texts" (did you mean "text"?)'),
    ],
)
def test_a_wrong_template_is_found_when_the_configuration_is_read(template: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(f"[channel.it.template]\n{template}")
    (problem,) = caught.value.problems
    assert said in str(problem)
    assert problem.line == 5


def test_every_value_can_be_used_in_every_message() -> None:
    names = values(make_message()).keys()
    template = " ".join(f"{{{{ {name} }}}}" for name in names if name != "items") + "{{ items | length }}"
    for message in (*MESSAGES, *samples()):
        assert fill(template, message)
        assert values(message).keys() == names


def test_a_template_that_fails_after_all_leaves_the_built_in_words_with_a_note() -> None:
    wording = Wording(tried("{{ headline }}"), tried("{% if check == 'odd' %}{{ nothing }}{% endif %}fine"))
    assert long_text(wording.of(make_message())).endswith("\n\nfine\n")
    odd = wording.of(make_message(check="odd"))
    assert odd.note == "the channel's own template cannot be filled: 'nothing' is undefined"
    assert headline(odd) == headline(make_message(check="odd"))
    assert facts(odd)[0].value == odd.note
    assert "Runbook" in long_text(odd)


def test_a_note_about_the_message_stands_beside_own_words() -> None:
    redirected = make_message(note="sent here because sms could not deliver")
    assert "Note: sent here because sms could not deliver" in long_text(Wording(text="{{ summary }}").of(redirected))


@pytest.mark.parametrize("text", ["{{ summary }} " * 30, "日本語 " * 80, "x", "€" * 200])
def test_own_words_fit_one_sms(text: str) -> None:
    said = sms_text(Wording(text=text).of(make_message()))
    assert said
    assert fits_sms(said)


def test_an_empty_result_leaves_the_built_in_words() -> None:
    wording = Wording(text="{% if event == 'resolved' %}over{% endif %}")
    opened: Message = wording.of(make_message())
    assert "Runbook" in long_text(opened)
    assert long_text(wording.of(replace(make_message(), event=EventKind.RESOLVED))).endswith("\n\nover\n")


def test_a_template_that_is_none_says_so() -> None:
    with pytest.raises(TemplateFailedError, match="is no template"):
        tried("{{")
