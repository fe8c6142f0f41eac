"""The composition root: builds every part from the configuration, starts, reloads and stops them.

It is read in this order: ``lifecycle`` (run, signals, stop), ``parts`` (what is built, from first to last, out of
``base``, ``telling``, ``watching``, ``desks`` and ``public``), ``reload``, ``view`` and ``control`` (what readers see
and people ask for), ``serving`` (the web servers). ``in_force`` is the configuration, ``once`` runs checks without a
daemon.
"""
