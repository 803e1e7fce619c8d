"""What the benches against others share: the peers, started where the environment names none, and what is measured."""

import ctypes
import json
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = int(os.environ.get("MAB_BENCH_ROUNDS", "3"))


class Bench:
    def __init__(self, mab, folder):
        self.mab, self.folder = mab, folder
        self.store = folder / "store"
        os.environ["MAB_BENCH_FOLDER"] = str(folder)
        self.base = ROOT / ".base/busybox"
        base = os.environ.get("MAB_TEST_BASE")
        if base:
            self.base = Path(base)
        elif not self.base.is_dir():
            subprocess.run([ROOT / "scripts/base-image"], check=True)
        self.base_digest = json.loads((self.base / "index.json").read_text())["manifests"][0]["digest"]
        self.started = None
        if "MAB_TEST_BUILDKIT" not in os.environ or "MAB_TEST_REGISTRY" not in os.environ:
            self.start_services()
        self.address = os.environ["MAB_TEST_BUILDKIT"].split(",")[0]
        self.buildctl = os.environ["MAB_TEST_BUILDCTL"]
        self.registry = os.environ["MAB_TEST_REGISTRY"]
        self.daemon = self.daemon_pid()

    def start_services(self):
        self.started = self.folder / "services"
        command = [ROOT / "tests/services/start", self.started, "newest-registry", "buildkit"]
        text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        for line in text.splitlines():
            name, value = line.removeprefix("export ").split("=", 1)
            os.environ[name] = value

    def stop(self):
        if self.started:
            subprocess.run([ROOT / "tests/services/stop", self.started], check=False)

    def daemon_pid(self):
        """The process that listens on the daemon's socket, found by its command line."""
        for folder in Path("/proc").iterdir():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"buildkitd") and self.address.encode() in words:
                return int(folder.name)
        raise SystemExit(f"no buildkitd listens on {self.address}")

    def daemon_seconds(self):
        fields = Path(f"/proc/{self.daemon}/stat").read_text().rsplit(")", 1)[1].split()
        # utime, stime, and those of children that have ended.
        return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")

    def settle(self):
        """Waits until what ran before is really over: a daemon goes on with its records for seconds, with a processor
        of its own, and what was written is on its way to the disk."""
        os.sync()
        seconds = None
        while seconds != (seconds := self.daemon_seconds()):
            time.sleep(0.5)

    def timed(self, command, with_daemon, folder=None):
        self.settle()
        own = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
        before, daemon = own(), self.daemon_seconds() if with_daemon else 0
        begin = time.monotonic()
        environment = {**os.environ, "MAB_STORE": str(self.store)}
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, cwd=folder)
        wall = time.monotonic() - begin
        reap()
        if run.returncode != 0:
            raise SystemExit(f"{command}\n{run.stdout.decode()}")
        daemon = self.daemon_seconds() - daemon if with_daemon else 0
        return wall, own() - before + daemon

    def mab_in(self, folder, *words):
        return self.timed([self.mab, *words, "--progress", "quiet"], False, folder)

    def bake(self, context, *more):
        return self.timed([self.mab, "bake", "-f", context, "--progress", "quiet", *more], False)

    def build(self, context, *more):
        command = [self.buildctl, "--addr", self.address, "build", "--frontend", "dockerfile.v0", "--progress", "quiet"]
        command += ["--local", f"context={context}", "--local", f"dockerfile={context}"]
        command += ["--oci-layout", f"base={self.base}"]
        command += ["--opt", f"context:busybox=oci-layout://base:latest@{self.base_digest}"]
        return self.timed([*command, "--opt", "platform=linux/amd64", *more], True)

    def forget(self):
        """Both begin with nothing, and with a quiet disk."""
        shutil.rmtree(self.store, ignore_errors=True)
        subprocess.run([self.buildctl, "--addr", self.address, "prune", "--all"], check=True, stdout=subprocess.DEVNULL)
        os.sync()

    def context(self, name, dockerfile):
        context = self.folder / name
        context.mkdir()
        (context / "Dockerfile").write_text(dockerfile)
        layout = f'{{ busybox = "oci-layout://{self.base}" }}'
        target = f'version = 1\n[target.default]\nplatforms = ["linux/amd64"]\ncontexts = {layout}\n'
        (context / "multiarch.toml").write_text(target)
        return context


def reap():
    """Helpers that outlive their parent come to this process, and count once they are waited for."""
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        pass


def report(what, pairs, goal, peer="BuildKit"):
    """`pairs` are (mab, the peer), each of wall and processor seconds."""
    median = lambda side, place: statistics.median(pair[side][place] for pair in pairs)
    mab, other = (median(0, 0), median(0, 1)), (median(1, 0), median(1, 1))
    print(
        f"{what}: mab {mab[0]:.2f} s (cpu {mab[1]:.2f}), {peer} {other[0]:.2f} s (cpu {other[1]:.2f}), "
        f"ratio {other[0] / mab[0]:.1f} (cpu {other[1] / mab[1]:.1f}), at least {goal}",
        flush=True,
    )


def run(script, cases, words):
    """Runs the cases that `words` name, or all; the first word may be a mab."""
    mab = words.pop(0) if words and words[0] not in cases else ROOT / "target/release/mab"
    if not os.access(mab, os.X_OK):
        raise SystemExit(f"benches/{script}: build first: cargo build --release")
    with tempfile.TemporaryDirectory(prefix="mab-bench-") as folder:
        bench = Bench(Path(mab).resolve(), Path(folder))
        # After the services, which belong to nobody here.
        PR_SET_CHILD_SUBREAPER = 36
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        try:
            for name in words or cases:
                cases[name](bench)
        finally:
            bench.stop()
            shutil.rmtree(bench.store, ignore_errors=True)
