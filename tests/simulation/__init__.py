"""The whole daemon on a virtual clock: days of failures, outages, crashes and people, all of it from one seed."""
