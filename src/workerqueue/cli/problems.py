"""What a command fails with when nothing in the library did."""


class Failure(Exception):  # noqa: N818 - the command's own end, not a fault
    """The command did what it was asked, and the answer is no: exit code 1."""


class WrongUse(Exception):  # noqa: N818 - said to the user, not to a caller
    """The command line can't be right: exit code 2."""
