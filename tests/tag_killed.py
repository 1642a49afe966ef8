"""`hemline tag` in a process that kills itself and its workers where it is told to.

    python -m tests.tag_killed EVENT NUMBER -- CATALOGUE --out DIR ...

At that event for the so manyth time; with the event `seconds`, so many after the first rows were taken in. With the
event `asleep`, it lives, and waits for a signal when it takes in rows for the so manyth time.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

EVENTS = ("rows", "half", "written", "replaced", "line", "half line", "appended", "seconds")


class Death:
    """Kills its process group when an event comes for the so manyth time."""

    def __init__(self, event, number):
        self.event, self.left = event, number

    def at(self, event):
        if event == "rows" and self.event == "seconds":
            self.event = "waits"
            threading.Timer(self.left, self.die).start()
        if event == self.event:
            self.left -= 1
            if self.left == 0:
                self.die()

    def die(self):
        os.killpg(0, signal.SIGKILL)

    def lie_in_wait(self):
        """Patch what takes in rows, and what writes parts and the manifest."""
        from hemline.catalog import parts

        add, replace, append, write = parts.Parts.add, Path.replace, parts._append, parts.write_rows

        def added(self_, rows):
            self.at("rows")
            if self.event == "asleep":
                self.left -= 1
                if self.left == 0:
                    (self_.manifest.folder / "asleep").touch()
                    while not signal.getsignal(signal.SIGINT).__self__.asked:
                        time.sleep(0.01)
            return add(self_, rows)

        def wrote(path, *rows):
            count = write(path, *rows)
            if self.event == "half" and self.left == 1:
                os.truncate(path, path.stat().st_size // 2)
            self.at("half")
            self.at("written")
            return count

        def replaced(path, target):
            replace(path, target)
            self.at("replaced")

        def appended(path, line):
            self.at("line")
            if self.event == "half line" and self.left == 1:
                with path.open("a") as file:
                    file.write(line[: len(line) // 2])
            self.at("half line")
            append(path, line)
            self.at("appended")

        parts.Parts.add, Path.replace, parts._append, parts.write_rows = added, replaced, appended, wrote


def main():
    from hemline import cli
    from hemline.catalog import local

    event, number, _, *arguments = sys.argv[1:]
    local.CHUNK = 3
    Death(event, float(number)).lie_in_wait()
    sys.argv = ["hemline", "tag", *arguments]
    cli.main()


if __name__ == "__main__":
    main()
