"""What a fresh Python loads."""

import subprocess
import sys

HEAVY = "torch", "onnx", "numpy", "matplotlib", "pandas", "tabulate", "difflib"


def imported_by(code):
    """Return which of HEAVY a fresh Python has loaded after some code."""
    probe = f"{code}\nimport sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()


def own_modules(code):
    """Return the modules of archcalc that a fresh Python has loaded after some code."""
    probe = f"{code}\nimport sys\nprint(*sorted(name for name in sys.modules if name.startswith('archcalc')))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()
