"""Options that several commands have, told once."""

from __future__ import annotations

from typing import Annotated

import typer

from hemline._choices import DeviceName, DtypeName, RuntimeName
from hemline.data_commands.cli import FLAG

OUTPUT = "What comes out"
ENGINE = "How it runs"

AsJson = Annotated[
    bool, typer.Option("--json", metavar=FLAG, help="Print a JSON list, nothing else.", rich_help_panel=OUTPUT)
]
AsJsonl = Annotated[
    bool, typer.Option("--jsonl", metavar=FLAG, help="Print a JSON object a line.", rich_help_panel=OUTPUT)
]
MinScore = Annotated[
    float | None,
    typer.Option(min=0, max=1, metavar="SCORE", help="Leave out what scores less.", rich_help_panel=OUTPUT),
]
Precision = Annotated[
    float | None,
    typer.Option(
        metavar="P",
        help="Say only what is right with this share, such as 0.95; words that never are stay silent.",
        rich_help_panel=OUTPUT,
    ),
]
Instances = Annotated[
    bool,
    typer.Option(
        "--instances", metavar=FLAG, help="Make each separate piece a garment: two shoes are two.",
        rich_help_panel=OUTPUT,
    ),
]  # fmt: skip
Runtime = Annotated[RuntimeName, typer.Option(help="What runs the network.", rich_help_panel=ENGINE)]
Device = Annotated[DeviceName, typer.Option(help="`auto` takes a GPU that can be used.", rich_help_panel=ENGINE)]
Dtype = Annotated[
    DtypeName,
    typer.Option(help="What it computes in; `fastest` takes bf16 where the CPU has it.", rich_help_panel=ENGINE),
]
Flip = Annotated[
    bool,
    typer.Option("--flip", metavar=FLAG, help="Average with the mirrored photo; slower.", rich_help_panel=ENGINE),
]
