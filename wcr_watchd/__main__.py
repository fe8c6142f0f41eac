"""``python -m wcr_watchd`` is the ``wcr-watchd`` command."""

from wcr_watchd.cli.main import main

if __name__ == "__main__":
    main()
