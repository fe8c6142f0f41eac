"""Templates of the user's own for messages: Jinja2 in its sandbox, tried when the configuration is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import AfterValidator

from wcr_watchd.core.message import marked
from wcr_watchd.core.model import Message
from wcr_watchd.core.wording import samples, values

LARGEST = 64 * 1024
"""Characters that a template may make of one message."""

_ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
)


class TemplateFailedError(ValueError):
    """A template that cannot be used; the text says why, with the line where that is known."""


@lru_cache(maxsize=256)
def _compiled(text: str) -> Template:
    try:
        return _ENVIRONMENT.from_string(text)
    except TemplateSyntaxError as error:
        raise TemplateFailedError(f"is no template, line {error.lineno}: {error.message}") from error


def fill(text: str, message: Message) -> str:
    """The template filled with the message's values; raises :class:`TemplateFailedError` when that fails."""
    template = _compiled(text)
    made, length = [], 0
    try:
        for piece in template.generate(values(message)):
            made.append(piece)
            length += len(piece)
            if length > LARGEST:
                raise TemplateFailedError(f"makes more than {LARGEST} characters of one message")
    except TemplateFailedError:
        raise
    except TemplateError as error:
        raise TemplateFailedError(f"cannot be filled: {error.message or type(error).__name__}") from error
    except Exception as error:  # a template can do anything to itself; the page goes out all the same
        raise TemplateFailedError(f"cannot be filled: {type(error).__name__}: {error}") from error
    return "".join(made)


def tried(text: str, check: Callable[[str], None] | None = None) -> str:
    """Return the template after it was filled with messages of every kind; ``ValueError`` says what went wrong.

    ``check`` looks at what comes out and raises ``ValueError`` when that will not do.
    """
    for message in samples():
        made = fill(text, message)
        if check is not None:
            check(made)
    return text


TemplateText = Annotated[str, AfterValidator(tried)]
"""A template for one text, as an option."""


@dataclass(frozen=True, slots=True)
class Wording:
    """A channel's own words for headline and text; an empty one leaves the built-in."""

    subject: str = ""
    text: str = ""

    def of(self, message: Message) -> Message:
        """The message in these words; in the built-in ones, with a note, when a template fails on it after all."""
        try:
            return dataclasses.replace(
                message,
                own_subject=marked(fill(self.subject, message).strip(), message) if self.subject else "",
                own_text=marked(fill(self.text, message).strip(), message) if self.text else "",
            )
        except TemplateFailedError as error:
            return noted(message, f"the channel's own template {error}")


def noted(message: Message, note: str) -> Message:
    """The message with one more note about itself."""
    return dataclasses.replace(message, note="; ".join(filter(None, (message.note, note))))
