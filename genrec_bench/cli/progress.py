"""Progress on stderr: a bar for every phase that lasts over half a second, with its rate and the time left.

Without a terminal there are no bars; notes are plain lines in any case. Knows nothing of what runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
from rich.table import Column
from rich.text import Text

from genrec_bench.core.printable import printable, printable_cell

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType
    from rich.progress import Task
    from rich.table import Table

    from genrec_bench.core.progress import Tick

PATIENCE = 0.5  # seconds until a phase gets a bar
NARROW = 100  # characters; a narrower screen has a short bar, and a note in place of the count


class RichProgress:
    """`core.progress.Progress` for people. Phases may follow one another or nest; a finished phase leaves no trace."""

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console or Console(stderr=True)
        self._bars = Bars(self.console, clock)
        self._open = 0
        self._told: set[str] = set()

    @contextmanager
    def phase(self, name: str, total: int | None = None, unit: str = "") -> Iterator[Tick]:
        """See `core.progress.Progress.phase`."""
        if not self.console.is_terminal or self.console.is_dumb_terminal:
            yield _silent
            return
        task = self._bars.add_task(printable_cell(name), total=total, unit=unit, note="", ticked=0.0, earlier=0)

        def tick(steps: int = 1, note: str = "", *, earlier: bool = False) -> None:
            fields = self._bars.task(task).fields
            if earlier:
                self._bars.update(task, advance=steps, earlier=fields["earlier"] + steps)
                return
            elapsed = self._bars.task(task).elapsed or 0.0
            self._bars.update(task, advance=steps, note=printable_cell(note) or fields["note"], ticked=elapsed)

        self._open += 1
        if self._open == 1:
            self._bars.start()
        try:
            yield tick
        finally:
            self._bars.remove_task(task)
            self._open -= 1
            if not self._open:
                self._bars.stop()

    def note(self, message: str) -> None:
        """See `core.progress.Progress.note`. Several runs of one command often have the same to say: it is said once."""
        if message in self._told:
            return
        self._told.add(message)
        self.console.print(printable(message), markup=False, highlight=False, emoji=False, soft_wrap=True)


def _silent(steps: int = 1, note: str = "", *, earlier: bool = False) -> None:
    pass


class Bars(Progress):
    """Rich's bars, hidden until a task is `PATIENCE` old."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        narrow = console.width < NARROW

        super().__init__(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=8 if narrow else 20),
            CountColumn(narrow, table_column=Column(no_wrap=True)),
            RateColumn(table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[note]}", markup=False, style="dim", table_column=Column(no_wrap=True, ratio=1)),
            console=console,
            expand=True,
            transient=True,
            redirect_stdout=False,
            get_time=clock,
        )

    def task(self, task_id: int) -> Task:
        """A live task."""
        return self._tasks[task_id]  # type: ignore[index]

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        """One line per task. A long note is cut first, and four columns stay free for a typed `^C`."""
        lines = super().make_tasks_table(tasks)
        lines.width = self.console.width - 4
        return lines

    def get_renderables(self) -> Iterable[RenderableType]:
        shown = [task for task in self.tasks if (task.elapsed or 0.0) > PATIENCE]
        if shown:
            yield self.make_tasks_table(shown)


class CountColumn(ProgressColumn):
    """`3/20 epochs`, or `3 epochs` if the total is unknown; nothing on a `narrow` screen where a note says more."""

    def __init__(self, narrow: bool, **looks: Any) -> None:
        super().__init__(**looks)
        self.narrow = narrow

    def render(self, task: Task) -> Text:
        """One cell."""
        if (task.total is None and not task.completed) or (self.narrow and task.fields["note"]):
            return Text("")
        total = "" if task.total is None else f"/{task.total:,.0f}"
        return Text(f"{task.completed:,.0f}{total} {task.fields['unit']}".rstrip())


class RateColumn(ProgressColumn):
    """`41.3/s, 1:02 left`, averaged over the phase so far; slow steps read `8.2 s each`."""

    max_refresh = None

    def render(self, task: Task) -> Text:
        """One cell."""
        done, elapsed, ticked = task.completed - task.fields["earlier"], task.elapsed or 0.0, task.fields["ticked"]
        if not done or not ticked:
            return Text(clock_time(elapsed), style="cyan")

        step = ticked / done  # seconds
        rate = f"{step:.1f} s each" if step >= 1 else f"{1 / step:,.1f}/s"
        if task.total is None:
            return Text(f"{rate}, {clock_time(elapsed)} so far", style="cyan")
        left = max(0.0, step * (task.total - task.completed) - (elapsed - ticked))
        return Text(f"{rate}, {clock_time(left)} left", style="cyan")


def clock_time(seconds: float) -> str:
    """`0:07`, `12:30` or `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
