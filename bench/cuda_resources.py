"""Compiles every CUDA kernel for sm_80 and sm_90 and checks what ptxas reports: no spills, no local memory, no more
registers than cuda_resources.csv allows (the larger of what CUDA 13.0 and 13.5 report, rounded up to the 8 that a warp
is given).

    python bench/cuda_resources.py            # fails where a kernel needs more, or is not in the table
    python bench/cuda_resources.py --update   # writes the table anew

Needs nvcc (PATH, or NVCC), not cuBLAS.
"""

import csv
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

PROJECT = pathlib.Path(__file__).resolve().parents[1]
TABLE = pathlib.Path(__file__).with_suffix(".csv")
ARCHITECTURES = ("sm_80", "sm_90")
FLAGS = ["-std=c++20", "--expt-relaxed-constexpr", "-O3", "-DNDEBUG", "-diag-suppress", "554", "-Werror",
         "all-warnings",
         "-Xptxas", "-v", "-DEIGENCONTEXT_CUDA", f"-I{PROJECT / 'csrc'}"]  # fmt: skip

ENTRY = re.compile(
    r"Compiling entry function '(?P<name>\w+)' for '(?P<arch>\w+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.S,
)


def nvcc() -> str:
    found = os.environ.get("NVCC") or shutil.which("nvcc")
    if not found:
        sys.exit("no nvcc: set NVCC")
    return found


def reports():
    """(architecture, kernel, registers, static shared bytes, local bytes) of every kernel."""
    with tempfile.TemporaryDirectory() as folder:
        for source in sorted((PROJECT / "csrc" / "backend" / "cuda").glob("*.cu")):
            own = ["-fmad=false"] if source.stem == "random" else []
            for arch in ARCHITECTURES:
                command = [nvcc(), *FLAGS, *own, f"-arch={arch}", "-cubin", str(source), "-o", f"{folder}/x.cubin"]
                run = subprocess.run(command, capture_output=True, text=True)
                if run.returncode:
                    sys.exit(run.stderr)
                for entry in ENTRY.finditer(run.stderr + run.stdout):
                    shared = re.search(r"(\d+) bytes smem", entry["rest"])
                    local = sum(int(entry[key]) for key in ("stack", "stores", "loads"))
                    yield (entry["arch"], readable(entry["name"]), int(entry["registers"]),
                           int(shared[1]) if shared else 0, local)  # fmt: skip


def readable(name: str) -> str:
    text = subprocess.run(["c++filt", name], capture_output=True, text=True, check=True).stdout.strip()
    text = re.sub(r"\(anonymous namespace\)::|_NV_ANON_NAMESPACE::|eigencontext::cuda::|^void ", "", text)
    return text.partition("(")[0]


def main() -> None:
    rows = list(reports())
    if "--update" in sys.argv:
        with open(TABLE, "w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["architecture", "kernel", "registers", "shared"])
            writer.writerows(sorted((arch, name, -(-used // 8) * 8, shared) for arch, name, used, shared, _ in rows))
    with open(TABLE, newline="") as file:
        allowed = {(row["architecture"], row["kernel"]): row for row in csv.DictReader(file)}
    failures = []
    for arch, name, used, shared, local in rows:
        limit = allowed.get((arch, name))
        if limit is None:
            failures.append(f"{arch} {name}: not in {TABLE.name}")
        elif used > int(limit["registers"]) or shared > int(limit["shared"]):
            failures.append(f"{arch} {name}: {used} registers, {shared} bytes shared; allowed: {limit}")
        if local:
            failures.append(f"{arch} {name}: {local} bytes of local memory")
    print("\n".join(sorted(failures)) or f"{len(rows)} kernels: no spills, no local memory, registers as allowed")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
