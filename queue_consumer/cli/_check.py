"""stub"""


NAME = "check"
SUMMARY = "stub"
EXAMPLES = ""


def options():
    return ()


def run(arguments):
    return 0
