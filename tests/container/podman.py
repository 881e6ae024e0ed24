"""What the image's tests stand on: podman with a storage of its own, and sockets inside a pod's network.

Nothing of the machine's own containers is seen or touched: storage, locks and run-time files are in a temporary folder.
"""

import ctypes
import json
import os
import shutil
import subprocess
import tempfile
import threading

CLONE_NEWNET = 0x40000000
SETTINGS = """\
[containers]
# Soft equal to hard, and low: where root may not raise limits, anything else is refused.
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
"""


class Refused(Exception):
    """podman did not do it."""


class Podman:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="tg.")  # short: sockets below it have paths of 107 bytes at most
        self.env = dict(os.environ, CONTAINERS_CONF=os.path.join(self.dir, "containers.conf"))
        with open(self.env["CONTAINERS_CONF"], "w", encoding="utf-8") as f:
            f.write(SETTINGS)
        self.argv = ["podman", "--log-level", "fatal"]
        for name in ("root", "runroot", "tmpdir"):
            self.argv += ["--" + name, os.path.join(self.dir, name)]

    def run(self, *args, timeout=60):
        """(exit status, stdout, stderr)"""
        p = subprocess.run(
            self.argv + list(args),
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            timeout=timeout,
        )
        return p.returncode, p.stdout, p.stderr

    def __call__(self, *args, timeout=60):
        code, out, err = self.run(*args, timeout=timeout)
        if code != 0:
            raise Refused("podman %s: exit %d: %s" % (" ".join(args), code, (out + err)[-2000:]))
        return out.strip()

    def inspect(self, name):
        return json.loads(self("inspect", name))[0]

    def pid(self, name):
        return self.inspect(name)["State"]["Pid"]

    def exit_code(self, name):
        return self.inspect(name)["State"]["ExitCode"]

    def logs(self, name):
        code, out, err = self.run("logs", name)
        return out + err

    def close(self):
        self.run("pod", "rm", "-a", "-f", "-t", "0")
        self.run("rm", "-a", "-f", "-t", "0")
        with open("/proc/self/mountinfo", encoding="utf-8") as f:
            mounts = [line.split()[4] for line in f]
        for where in sorted((m for m in mounts if m.startswith(self.dir + "/")), reverse=True):
            subprocess.run(["umount", "-l", where], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.dir, ignore_errors=True)


def inside(pid, work):
    """work() on a thread of its own in the network of process `pid`; threads that it starts are in there too."""
    result, errors = [], []
    libc = ctypes.CDLL(None, use_errno=True)

    def body():
        try:
            fd = os.open("/proc/%d/ns/net" % pid, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if libc.setns(fd, CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            finally:
                os.close(fd)
            result.append(work())
        except BaseException as e:  # noqa: B902  (raised again below)
            errors.append(e)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return result[0]
