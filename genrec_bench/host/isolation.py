"""Processes whose view of the file system lacks some files and folders, for code that must not read them.

Linux only, by `unshare` and `mount` of util-linux: in a mount namespace of its own, an empty file or folder lies over each
path. A second user namespace takes the right to uncover them away again, and the right to look through other processes.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection, Sequence

from genrec_bench.errors import NeedsMissing

# Its arguments: the number of hidden paths, the paths, then the command. Files and folders are covered by empty ones: by
# files of their own, because /dev/null is opened by many, and the watch on held-out files would take it for one of them.
COVER = """
set -e
count=$1; shift
while [ "$count" -gt 0 ]; do
  if [ -d "$1" ]; then
    mount -t tmpfs -o ro none "$1"
  else
    empty=$(mktemp); mount --bind -o ro "$empty" "$1"; rm "$empty"
  fi
  shift; count=$((count - 1))
done
exec unshare --user --map-user={user} --map-group={group} -- "$@"
"""


def hiding(paths: Collection[str], command: Sequence[str]) -> list[str]:
    """The command that runs `command`, and all that it starts, without these files and folders.

    Paths that do not exist are left out: nothing can be mounted there. What lies below a hidden folder goes with it.
    """
    folders = tuple(os.path.join(path, "") for path in paths if os.path.isdir(path))
    files = (path for path in paths if os.path.isfile(path) and not path.startswith(folders))
    hidden = [*sorted(folders), *sorted(files)]
    script = COVER.format(user=os.getuid(), group=os.getgid())
    namespaces = ["unshare", "--user", "--map-root-user", "--mount", "--"]
    return [*namespaces, "sh", "-c", script, "genrec", str(len(hidden)), *hidden, *command]


def require_isolation() -> None:
    """NeedsMissing if this machine lets nobody hide files from a process."""
    try:
        both = [os.__file__, os.path.dirname(__file__)]  # a file and a folder
        tried = subprocess.run(hiding(both, ["true"]), capture_output=True, text=True, errors="replace", timeout=60)
        why = "" if tried.returncode == 0 else tried.stderr.strip() or f"unshare ended with code {tried.returncode}"
    except (OSError, AttributeError, subprocess.TimeoutExpired) as error:
        why = str(error)

    if why:
        raise NeedsMissing(
            f"--isolate needs Linux, util-linux (unshare, mount) and user namespaces, and this machine refuses them: "
            f"{why.splitlines()[-1]}; without --isolate, components are watched in their own process",
            needs="isolation",
        )
