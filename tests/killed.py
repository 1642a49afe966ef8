"""A process that trains in forks of itself, each of which dies by SIGKILL where it is told to.

    python -m tests.killed      reads one JSON object a line: recipe, resume, die, save_every; answers with one

torch is imported once and computes nothing before the forks, so that no thread of its own is lost in them.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent


class Killer:
    """The testing side: starts the process, and runs trainings in it."""

    def __init__(self, folder):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_ALBUMENTATIONS_UPDATE": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.killed"], cwd=ROOT, env=environment, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.folder = folder

    def train(self, folder, recipe, *, resume=False, die=None, save_every=300.0):
        """Train in a folder; the signal that ended it (0: none), and what it said.

        `die`: [event, number]: at that event for the so manyth time, or ["seconds", s] after the first step.
        """
        folder.mkdir(exist_ok=True)
        job = {"folder": str(folder), "recipe": recipe, "resume": resume, "die": die, "save_every": save_every}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def alive(self):
        """Processes of this session beside the first: workers."""
        pids = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(session) == self.process.pid and state != "Z" and int(stat.parent.name) != self.process.pid:
                pids.append(int(stat.parent.name))
        return pids

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


class Death:
    """Kills its process when an event comes for the so manyth time."""

    def __init__(self, event, number):
        self.event, self.left = event, number

    def at(self, event):
        if event == self.event:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def begin(self, *_):
        pass

    def weighed(self, *_):
        pass

    def step(self, _):
        if self.event == "seconds":
            self.event = "waits"
            threading.Timer(self.left, os.kill, (os.getpid(), signal.SIGKILL)).start()
        self.at("step")

    def epoch(self, _):
        self.at("epoch")

    def end(self):
        pass

    def meant(self, path):
        """`state.pt` of `.state.123.pt`."""
        return f"{path.name.split('.')[1]}{path.suffix}"

    def lie_in_wait(self):
        """Patch what writes files and what measures."""
        from hemline import evaluate

        write_bytes, write_text, replace, fsync, add = (
            Path.write_bytes, Path.write_text, Path.replace, os.fsync, evaluate.Tally.add,
        )  # fmt: skip

        def half(write):
            def written(path, content, **options):
                if self.event == f"half {self.meant(path)}":
                    write(path, content[: len(content) // 2], **options)
                    self.at(self.event)
                return write(path, content, **options)

            return written

        def replaced(path, target):
            self.at(f"written {self.meant(path)}")
            replace(path, target)
            self.at(f"replaced {target.name}")

        def synced(descriptor):
            self.at("sync")
            fsync(descriptor)

        def added(tally, *arguments):
            self.at("validation")
            add(tally, *arguments)

        Path.write_bytes, Path.write_text, Path.replace, os.fsync, evaluate.Tally.add = (
            half(write_bytes), half(write_text), replaced, synced, added,
        )  # fmt: skip


def child(job):
    from hemline import train as training
    from hemline.config import Config
    from hemline.errors import HemlineError

    os.chdir(job["folder"])
    training.SAVE_EVERY = job["save_every"]
    death = Death(*(job["die"] or ("never", 1)))
    death.lie_in_wait()
    try:
        training.train(Config.from_dict(job["recipe"]), resume=job["resume"], watcher=death)
    except HemlineError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def serve():
    import torch

    from hemline import train  # noqa: F401  # so that forks have it

    torch.set_num_threads(1)
    for line in sys.stdin:
        job = json.loads(line)
        said = Path(job["folder"]) / "said.txt"
        pid = os.fork()
        if pid == 0:
            stderr = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(stderr, 2)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(stderr, 1)
            code = 70
            try:
                code = child(job)
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        begun = time.perf_counter()
        _, status = os.waitpid(pid, 0)
        seconds = time.perf_counter() - begun
        answer = {"signal": os.WTERMSIG(status), "code": os.WEXITSTATUS(status), "said": said.read_text()}
        print(json.dumps({**answer, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    serve()
