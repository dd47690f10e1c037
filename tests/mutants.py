#!/usr/bin/env python3
"""Shows that the tests find bugs: puts one at a time into a copy of the source and has it caught.

Each mutant is a text in a file of src/ and what takes its place. It is built outside the repository
(in target/mutants) and run against the simulation, or, where the simulation by its nature cannot
tell, against the unit tests that do. Prints a table; fails if a mutant survives, does not build, or
no longer finds its text.

    tests/mutants.py [--seeds N] [--list] [name ...]
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
PLACE = TARGET / "mutants"
TREE = PLACE / "tree"

# Seconds a run may take: one that hangs is caught too.
RUN_MAX_S = 300

# Seconds a build may take, all dependencies included.
BUILD_MAX_S = 1200


@dataclass
class Mutant:
    """A bug: `old` stands in `path` exactly once, and `new` takes its place."""

    name: str
    path: str
    old: str
    new: str
    # Unit tests that have to catch it, by the beginning of their path; empty: the simulation.
    rows: str = ""
    # Why the simulation cannot.
    why: str = ""


MUTANTS = [
    Mutant(
        "a lost byte",
        "src/session/relay.rs",
        "Action::SendLeft { to, buffer, from: left.start, until: left.end }",
        "Action::SendLeft { to, buffer, from: left.start + 1, until: left.end }",
    ),
    Mutant(
        "bytes that overtake others",
        "src/worker/receiving.rs",
        "_ if !is_wanted || has_kept => self.keep",
        "_ if !is_wanted => self.keep",
    ),
    Mutant(
        "a double close",
        "src/worker.rs",
        "                self.close_socket(id, side, socket, farewell);\n                self.events",
        "                self.close_socket(id, side, socket, farewell);\n"
        "                self.close_socket(id, side, socket, farewell);\n                self.events",
    ),
    Mutant(
        "a close while something is pending",
        "src/worker/seat.rs",
        "if state.pending != 0 {",
        "if state.pending & !(1 << Kind::HangUp as u16) != 0 {",
    ),
    Mutant(
        "a missing shutdown",
        "src/session/relay/ending.rs",
        "                cx.act(Action::Shutdown(to));\n                self.look_soon(cx);\n",
        "                self.look_soon(cx);\n",
    ),
    Mutant(
        "a leaked pipe",
        "src/session/relay/splice.rs",
        "            cx.act(Action::ReturnPipe(from, PipeState::Empty));\n",
        "",
    ),
    Mutant(
        "a pipe called empty that is not",
        "src/session/relay/splice.rs",
        "let is_empty = splice.in_pipe == 0;",
        "let is_empty = true;",
    ),
    Mutant(
        "a splice of more than the pipe holds",
        "src/session/relay/splice.rs",
        "Action::SpliceOut(from, splice.in_pipe)",
        "Action::SpliceOut(from, splice.in_pipe + 1)",
    ),
    Mutant(
        "a leaked buffer",
        "src/session/relay.rs",
        "!watch.response_passes() {\n                cx.release(buffer);\n",
        "!watch.response_passes() {\n",
    ),
    Mutant(
        "a count released twice",
        "src/session/connect.rs",
        "        about.place = None;\n",
        "",
    ),
    Mutant(
        "a count never released",
        "src/session/mod.rs",
        "        connect::leave_place(&mut self.about, pools, now_us / 1000);\n",
        "",
    ),
    Mutant(
        "a session that nobody counted",
        "src/worker/accepting.rs",
        "        self.shared.counters[self.number].accept();\n",
        "",
    ),
    Mutant(
        "spliced bytes that nobody counted",
        "src/session/relay/splice.rs",
        "about.receive(from, u64::from(moved), cx);",
        "about.received[from as usize] += u64::from(moved);",
    ),
    Mutant(
        "a head that its server's count lacks",
        "src/session/connect.rs",
        "        server.receive(Side::Client, about.received[Side::Client as usize]);\n",
        "",
    ),
    Mutant(
        "a socket counted for ever",
        "src/worker/accepting.rs",
        "        self.shared.counters[self.number].close_socket();\n",
        "",
    ),
    Mutant(
        "a session left out of a list",
        "src/worker/searching.rs",
        "            search.from += 1;\n",
        "            search.from += 2;\n",
    ),
    Mutant(
        "a session that was killed and looks whole",
        "src/session/mod.rs",
        "close::reset_client(CloseReason::Killed, cx)",
        "close::close(CloseReason::Killed, cx)",
    ),
    Mutant(
        "a stale generation accepted",
        "src/slots.rs",
        "if *generation == id.generation",
        "if *generation >= id.generation",
        rows="slots::",
        why="an operation never outlives its session",
    ),
    Mutant(
        "a forgotten cancel",
        "src/worker/seat.rs",
        "Kind::Readable, Kind::Room, Kind::HangUp]",
        "Kind::Readable, Kind::Room]",
    ),
    Mutant(
        "a starved receive forgotten",
        "src/worker/receiving.rs",
        "            self.start_receiving(id, side, Patience::Try);\n            // A buffer for each.",
        "            // A buffer for each.",
    ),
    Mutant(
        "EOF before the last byte",
        "src/session/relay/ending.rs",
        "        if self.half(side).is_sending() {\n            // Behind that",
        "        if false {\n            // Behind that",
    ),
    Mutant(
        "an EOF kept behind bytes and lost",
        "src/worker/receiving.rs",
        "                        seat.kept(side).end = end;\n",
        "",
    ),
    Mutant(
        "a server's reset forwarded as FIN",
        "src/session/close.rs",
        "cx.act(Action::Close(Side::Client, Farewell::Reset));\n        Phase::Close",
        "cx.act(Action::Close(Side::Client, Farewell::Orderly));\n        Phase::Close",
    ),
    Mutant(
        "a server's reset forwarded before what came first",
        "src/session/relay/ending.rs",
        "Next::To(close::forward_reset(self.parting.unwrap_or(reason), cx))",
        "Next::To(close::reset_client(self.parting.unwrap_or(reason), cx))",
    ),
    Mutant(
        "a slow client given up behind a server's reset",
        "src/session/close.rs",
        "            Event::Unsent(_, Ok(1..)) if self.looks < UNSENT_LOOKS => {",
        "            Event::Unsent(_, Ok(1..)) if self.looks > UNSENT_LOOKS => {",
    ),
    Mutant(
        "a reset that a send saw forgotten",
        "src/session/relay/ending.rs",
        "            self.server_gone = Some(reason);\n",
        "",
    ),
    Mutant(
        "a deadline that is not removed",
        "src/session/connect.rs",
        "        cx.act(Action::NoDeadline);\n",
        "",
        rows="session::",
        why="it wakes a session that then finds nothing to do",
    ),
    Mutant(
        "accepting not resumed",
        "src/worker/accepting.rs",
        "            Accepting::Until(at_us) => at_us <= self.now_us,",
        "            Accepting::Until(_) => false,",
    ),
    Mutant(
        "a client that waits for a seat forgotten",
        "src/worker/accepting.rs",
        "} else if self.slots.is_full() {\n                self.waiting.push_back(client);\n",
        "} else if self.slots.is_full() {\n",
    ),
    Mutant(
        "an old edition kept",
        "src/worker/orders.rs",
        "                listener.edition = Rc::clone(&edition);\n",
        "",
    ),
]


def copy_tree():
    """What is built, and what its tests read; unchanged files keep their age."""
    # The unit tests read configs/ and docs/.
    for name in ["src", "tests/sim", "configs", "docs"]:
        source, target = ROOT / name, TREE / name
        wanted = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
        for old in [path for path in target.rglob("*") if path.is_file()]:
            if old.relative_to(target) not in wanted:
                old.unlink()
        for path in wanted:
            put(target / path, (source / path).read_bytes())
    put(TREE / "rust-toolchain.toml", (ROOT / "rust-toolchain.toml").read_bytes())
    # Another version: cargo tells packages apart by name and version, and would take what was built
    # of a mutant for what the work tree needs.
    version = re.compile(r'(?m)^(name = "ringway"\nversion = "[^"\n]*)"')
    put(TREE / "Cargo.lock", version.sub(r'\1-mutant"', (ROOT / "Cargo.lock").read_text()).encode())
    # The program and the benchmarks are not built.
    (TREE / "src/main.rs").unlink()
    manifest = version.sub(r'\1-mutant"', (ROOT / "Cargo.toml").read_text())
    manifest = re.sub(r"(?m)^\[\[(bin|bench)\]\]\n(?:[^\[\n].*\n)*", "", manifest)
    manifest = manifest.replace("[package]\n", "[package]\nautobins = false\nautobenches = false\n")
    put(TREE / "Cargo.toml", manifest.encode())


def put(path, content):
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def build(target, name):
    """Builds one test binary of the copy, and keeps it under a name of its own."""
    command = ["cargo", "test", "--profile", "fast", "--locked", "--no-run"]
    command += ["--message-format", "json-render-diagnostics", *target]
    # Dependencies are those of the work tree, built already.
    environment = {**os.environ, "CARGO_TARGET_DIR": str(TARGET)}
    built = subprocess.run(
        command, cwd=TREE, env=environment, timeout=BUILD_MAX_S, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    if built.returncode != 0:
        raise Broken(f"does not build:\n{built.stderr[-3000:]}")
    messages = [json.loads(line) for line in built.stdout.splitlines() if line.startswith("{")]
    made = [message["executable"] for message in messages if message.get("executable")]
    kept = PLACE / re.sub(r"\W+", "-", name)
    shutil.copy2(made[-1], kept)
    return kept


class Broken(Exception):
    """The table has to be mended."""


def run(binary, arguments, seeds):
    """What the tests say: `None` if they pass, else what failed."""
    environment = {**os.environ, "SIM_SEEDS": str(seeds)}
    try:
        ran = subprocess.run(
            [binary, *arguments], cwd=ROOT, env=environment, timeout=RUN_MAX_S, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace",
        )
    except subprocess.TimeoutExpired:
        return "hangs"
    finally:
        binary.unlink()
    if ran.returncode == 0:
        if not re.search(r"\b[1-9]\d* passed", ran.stdout):
            raise Broken(f"no test ran: {arguments}")
        return None
    return reason(ran.stdout)


def reason(output):
    """The first panic, in a line."""
    seed = re.search(r"SIM_SEED=(\d+)", output)
    panic = re.search(r"panicked at ([^\n]*):\n([^\n]*)", output)
    words = panic.group(2).strip() if panic else "fails"
    words = words if len(words) <= 70 else words[:67] + "..."
    return f"seed {seed.group(1)}: {words}" if seed else words


def caught_by(mutant, seeds, runner):
    """Builds a mutant and starts its run; the source is as before when this returns."""
    path = TREE / mutant.path
    before = path.read_text()
    found = before.count(mutant.old)
    if found != 1:
        raise Broken(f"its text is found {found} times in {mutant.path}")
    path.write_text(before.replace(mutant.old, mutant.new))
    try:
        target = ["--lib"] if mutant.rows else ["--test", "sim"]
        binary = build(target, mutant.name)
    finally:
        path.write_text(before)
    return runner.submit(run, binary, [mutant.rows] if mutant.rows else [], seeds)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, default=256, help="of the simulation, for each (256)")
    parser.add_argument("--list", action="store_true", help="only name the mutants")
    parser.add_argument("names", nargs="*", help="of mutants; none: all")
    options = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if not options.names or mutant.name in options.names]
    unknown = set(options.names) - {mutant.name for mutant in chosen}
    if unknown:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    if options.list:
        for mutant in chosen:
            print(f"{mutant.name:50} {mutant.path}")
        return 0

    started = time.monotonic()
    copy_tree()
    # One builds while the one before runs.
    with ThreadPoolExecutor(max_workers=1) as runner:
        sound = runner.submit(run, build(["--test", "sim"], "no mutant"), [], options.seeds)
        runs = []
        for mutant in chosen:
            try:
                runs.append((mutant, caught_by(mutant, options.seeds, runner)))
            except Broken as broken:
                runs.append((mutant, broken))
            print(f"built {len(runs)} of {len(chosen)}", end="\r", file=sys.stderr, flush=True)
        if (failure := sound.result()) is not None:
            print(f"the simulation fails without any mutant: {failure}", file=sys.stderr)
            return 2
        verdicts = [(mutant, verdict(ran)) for mutant, ran in runs]
    for mutant, (word, detail) in verdicts:
        by = f"{mutant.rows}*, since {mutant.why}" if mutant.rows else "sim"
        print(f"{word:9} {mutant.name:50} {by}: {detail}")
    alive = [mutant.name for mutant, (word, _) in verdicts if word != "caught"]
    took_s = time.monotonic() - started
    print(f"{len(verdicts) - len(alive)} of {len(verdicts)} caught in {took_s:.0f} s")
    return 1 if alive else 0


def verdict(ran):
    try:
        failure = ran.result() if not isinstance(ran, Broken) else None
    except Broken as broken:
        ran = broken
    if isinstance(ran, Broken):
        return "broken", str(ran)
    return ("caught", failure) if failure else ("SURVIVES", "mend the proof")


if __name__ == "__main__":
    sys.exit(main())
