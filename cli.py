"""`python cli.py ...` from a checkout, the same as `hemline ...` once installed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

if __name__ == "__main__":
    try:
        from hemline.cli import main

        main()
    except ModuleNotFoundError as error:
        if str(error.name).startswith("hemline"):
            raise
        sys.exit(f"{error.name} is not installed: `uv run cli.py ...` sets up everything, or `pip install -e .`")
