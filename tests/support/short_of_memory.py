"""`python -m short_of_memory 100 ...`: training.fit with 100 MB more than what it has when it begins."""

import resource
import sys
from pathlib import Path

from cifar_models.command import run_command
from training import fit

if __name__ == "__main__":
    megabytes = int(sys.argv.pop(1))
    taken = int(Path("/proc/self/status").read_text().split("VmData:")[1].split()[0]) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (taken + megabytes * 1_000_000,) * 2)
    run_command(fit.main)
