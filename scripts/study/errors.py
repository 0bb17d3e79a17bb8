"""The one exception that stands for a mistake the user can correct."""


class StudyError(Exception):
    """Wrong input: the message names the file, the row, the value found and the value allowed.

    Scripts show it as one line in the log and on the terminal, without a traceback.
    """
