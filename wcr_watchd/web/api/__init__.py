"""The JSON API for programs, the command line and the pages: versions side by side."""
