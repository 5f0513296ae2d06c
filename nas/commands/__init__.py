"""The commands of `nas`, one file each: its arguments and its action.

Importing a command costs nothing; torch and the rest are imported when its action runs.
"""
