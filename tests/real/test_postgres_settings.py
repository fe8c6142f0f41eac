"""The postgres_settings probe on a real PostgreSQL: drift, expected values, what waits for a restart."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.real.running import PATIENCE, Observe, Watch, measured, names
from tests.real.servers.postgres import Postgres
from wcr_watchd.core.model import Outcome

DAY = 86400.0


def change(postgres: Postgres, name: str, value: str) -> None:
    """Change a setting and wait until it holds."""
    postgres.sql(f"ALTER SYSTEM SET {name} = '{value}'")
    postgres.sql("SELECT pg_reload_conf()")
    deadline = time.monotonic() + PATIENCE
    holds = f"SELECT pending_restart OR current_setting('{name}') = '{value}' FROM pg_settings WHERE name = '{name}'"
    while postgres.sql(holds) != "t":
        assert time.monotonic() < deadline


async def test_a_changed_setting_is_told_until_it_is_the_usual_one(
    postgres: Postgres, watch: Callable[..., Watch]
) -> None:
    check, now = watch("postgres_settings", dsn=postgres.dsn), time.time()
    first = await check.run(now)
    assert first.outcome is Outcome.UP, first.summary
    assert measured(first, "settings") > 200
    assert (measured(first, "changed"), measured(first, "pending_restart")) == (0, 0)
    change(postgres, "work_mem", "64MB")
    change(postgres, "primary_conninfo", "host=other password=secret")
    seen = await check.run(now + 3600)
    assert measured(seen, "changed") == 2
    before, now_so = ({one.name: one.value for one in look.facts or ()} for look in (first, seen))
    assert (before["work_mem"], now_so["work_mem"]) == ("4MB", "64MB")
    assert (before["primary_conninfo"], now_so["primary_conninfo"][:7]) == ("", "digest:")
    again = await watch("postgres_settings", dsn=postgres.dsn).run(now + 3600)
    other = {one.name: one.value for one in again.facts or ()}["primary_conninfo"]
    assert other not in ("", now_so["primary_conninfo"]), "salted: nobody finds the password by trying"
    assert "work_mem: 4MB → 64MB" in seen.evidence["changed"]
    assert "primary_conninfo has another value" in seen.evidence["changed"]
    assert "secret" not in str(seen)
    assert "secret" not in check.memory
    later = await check.run(now + 3 * DAY)
    assert "work_mem: 4MB → 64MB (2 d 23 h ago)" in later.evidence["changed"]
    assert measured(later, "changed") == 2
    assert measured(await check.run(now + 9 * DAY), "changed") == 0, "it has stood for a week"
    change(postgres, "work_mem", "4MB")
    assert measured(await check.run(now + 9 * DAY + 60), "changed") == 1, "what it changes back to is a change, too"


async def test_of_another_server_nothing_is_known(
    start_postgres: Callable[..., Postgres], watch: Callable[..., Watch]
) -> None:
    here, there = start_postgres(), start_postgres(work_mem="77MB")
    check = watch("postgres_settings", dsn=here.dsn)
    assert measured(await check.run(), "changed") == 0
    memory = check.memory
    check = watch("postgres_settings", dsn=there.dsn)
    check.memory = memory
    assert measured(await check.run(), "changed") == 0


async def test_one_that_is_changed_back_is_no_drift(postgres: Postgres, watch: Callable[..., Watch]) -> None:
    check = watch("postgres_settings", dsn=postgres.dsn)
    await check.run()
    change(postgres, "work_mem", "64MB")
    assert measured(await check.run(), "changed") == 1
    change(postgres, "work_mem", "4MB")
    assert measured(await check.run(), "changed") == 0


async def test_what_waits_for_a_restart(postgres: Postgres, observe: Observe) -> None:
    change(postgres, "max_connections", "150")
    seen = await observe("postgres_settings", dsn=postgres.dsn)
    assert measured(seen, "pending_restart") == 1
    assert seen.evidence["pending restart"] == "max_connections"


async def test_what_must_be_as_it_is_written(postgres: Postgres, observe: Observe) -> None:
    expect = {"work_mem": "4MB", "fsync": "on", "no_such_setting": "1"}
    seen = await observe("postgres_settings", dsn=postgres.dsn, expect=expect)
    assert measured(seen, "unexpected") == 2
    said = seen.evidence["unexpected"]
    assert "fsync is off, expected on" in said
    assert "no_such_setting is unknown to this server" in said
    assert "not as expected: fsync" in seen.summary


async def test_a_role_that_may_not_see_them_all(postgres: Postgres, observe: Observe) -> None:
    seen = await observe("postgres_settings", dsn=postgres.dsn_of("plain"))
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "permission")
    assert "GRANT pg_monitor TO plain" in seen.summary
    assert names(seen) == set()
