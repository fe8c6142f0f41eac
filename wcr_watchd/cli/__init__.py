"""The ``wcr-watchd`` command: parse, call, print."""
