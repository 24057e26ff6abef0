"""The one error of this room."""


class LeaderboardError(ValueError):
    """Records or contexts that no page can be made of; the message says what is wrong and what to do."""
