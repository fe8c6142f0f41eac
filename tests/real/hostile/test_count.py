"""How many cases there are, so that none is lost unseen."""

from tests.real.hostile import test_dns, test_http, test_icmp, test_postgres, test_redis, test_smtp, test_tcp, test_tls


def test_every_network_probe_has_its_cases() -> None:
    tls = [*test_tls.CERTIFICATES, *test_tls.HANDSHAKES, *test_tls.OF_TLS_ONLY, *test_tls.BEGINNINGS]
    counts = {
        "http": len(test_http.CASES),
        "tls": len(tls),
        "tcp": len(test_tcp.CASES),
        "dns": len(test_dns.ANSWERS) + len(test_dns.BY_TCP),
        "icmp": len(test_icmp.HOSTS),
        "smtp": len(test_smtp.CASES),
        "redis": len(test_redis.CASES),
        "postgres": len(test_postgres.CASES),
    }
    assert sum(counts.values()) >= 320, counts
    for cases in (test_http.CASES, tls, test_tcp.CASES, test_smtp.CASES, test_redis.CASES, test_postgres.CASES):
        names = [case.name for case in cases]
        assert len(names) == len(set(names)), sorted({name for name in names if names.count(name) > 1})
