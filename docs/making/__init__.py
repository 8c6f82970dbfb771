"""What the site needs besides Sphinx: pages and links, docstrings, names, the command line, and two checks."""
