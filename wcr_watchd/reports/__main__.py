"""Writes one report: what is wanted comes as JSON on standard input, the document goes to standard output.

A process of its own: a month of 500 checks takes seconds of a processor, which the daemon has for its probes only.
"""

from __future__ import annotations

import json
import os
import sys

from pydantic import TypeAdapter

from wcr_watchd.core.errors import StoreError
from wcr_watchd.core.report import Document, IncidentWanted, ReportKind, Wanted
from wcr_watchd.reports.drill import document as drill_report
from wcr_watchd.reports.facts import gather
from wcr_watchd.reports.incident import document as incident_report
from wcr_watchd.reports.rehearsed import gather as rehearsed
from wcr_watchd.reports.render import document

NICE = 10
FAILED = 1


def main() -> int:
    """Write the report; the reason stands on standard error when that cannot be done."""
    os.nice(NICE)
    given = json.load(sys.stdin)
    try:
        if given["kind"] == ReportKind.INCIDENT:
            written = incident_report(TypeAdapter(IncidentWanted).validate_python(given))
        elif given["kind"] == ReportKind.DRILL:
            written = drill_report(rehearsed(TypeAdapter(Wanted).validate_python(given)))
        else:
            written = document(gather(TypeAdapter(Wanted).validate_python(given)))
    except StoreError as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    json.dump(TypeAdapter(Document).dump_python(written, mode="json"), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
