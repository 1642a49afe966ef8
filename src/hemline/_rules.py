"""The kinds of values that a recipe holds: types with the rule that a value must obey."""

from __future__ import annotations

from typing import Annotated

from hemline._reading import Rule

Text = Annotated[str, Rule("a text that says something", lambda text: bool(text.strip()))]
FileName = Annotated[
    str,
    Rule(
        "one name of a file, without / or \\, of 200 bytes at most",
        lambda x: x.strip(" .") != "" and not set(x) & set("/\\\0") and len(x.encode(errors="replace")) <= 200,
    ),
]
Count = Annotated[int, Rule("1 or more", lambda x: x >= 1)]
Seed = Annotated[int, Rule("between 0 and 2^63 - 1", lambda x: 0 <= x < 2**63)]
Processes = Annotated[int, Rule("between 0 and 256", lambda x: 0 <= x <= 256)]
Positive = Annotated[float, Rule("above 0", lambda x: x > 0)]
Rate = Annotated[float, Rule("above 0 and at most 10", lambda x: 0 < x <= 10)]
Times = Annotated[float, Rule("above 0 and at most 1000", lambda x: 0 < x <= 1000)]
Weight = Annotated[float, Rule("0 or more", lambda x: x >= 0)]
Share = Annotated[float, Rule("between 0 and 1", lambda x: 0 <= x <= 1)]
PartShare = Annotated[float, Rule("at least 0 and below 1", lambda x: 0 <= x < 1)]
OpenShare = Annotated[float, Rule("above 0 and below 1", lambda x: 0 < x < 1)]
SomeShare = Annotated[float, Rule("above 0 and at most 1", lambda x: 0 < x <= 1)]
Gamma = Annotated[float, Rule("0, or 1 or more", lambda x: x == 0 or x >= 1)]
Degrees = Annotated[float, Rule("between 0 and 180 degrees", lambda x: 0 <= x <= 180)]
Zoom = Annotated[
    tuple[float, float], Rule("two factors above 0, the smaller first", lambda x: 0 < x[0] <= x[1])
]
Size = Annotated[
    tuple[int, int],
    Rule(
        "height and width in multiples of 32, 4096 at most",
        lambda x: all(32 <= side <= 4096 and side % 32 == 0 for side in x),
    ),
]
