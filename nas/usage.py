"""The fault of an option's value that only shows when the options meet the space or the device."""


class UsageError(ValueError):
    """Options that contradict each other, the space or the device."""
