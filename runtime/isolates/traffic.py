"""How busy are all isolates together?

Shared by the isolates of one pool. Decides nothing but whether the loop may stand still for one of them.
"""

# So many calls long nobody is waited for after two were open at once, or one burnt.
CROWD = 256


class Traffic:
    """How many conversations are open in all isolates together, and for how many more calls it counts as crowded."""

    __slots__ = ("crowded", "open")

    def __init__(self) -> None:
        self.open = 0
        self.crowded = 0

    def is_quiet(self) -> bool:
        """Whether a call just opened is the only one, and was for a while."""
        if self.open > 1:
            self.crowded = CROWD
        elif self.crowded:
            self.crowded -= 1
        return not self.crowded
