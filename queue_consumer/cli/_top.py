"""stub"""

NAME = "top"
SUMMARY = "stub"
EXAMPLES = ""


def options():
    return ()


def run(arguments):
    return 0
