"""`python -m bench.dist --repository URL`: sdist and wheel in dist/, checked, and tried in a fresh environment.

The package index shows the README alone, so its links are made absolute in what is built, and the addresses of the
project are written into it; both follow from one address, which the checkout does not hold. build, twine and
check-wheel-contents have to be there: `make dist` sees to it.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import venv
import zipfile
from collections.abc import Iterable
from pathlib import Path

from bench.repository import ROOT, address, relinked

SAMPLE = ("sample_models/digits_resnet.onnx", "sample_models/images/digits")
"""A model and its pictures, with which the installed wheel is tried."""


def stage(folder: Path, repository: str) -> None:
    """Lay out what is built: the files that git knows, README and project file with absolute addresses."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    tag = f"v{tomllib.loads(project)['project']['version']}"
    (folder / "pyproject.toml").write_text(with_addresses(project, repository, tag), encoding="utf-8")
    readme = index_readme((ROOT / "README.md").read_text(encoding="utf-8"), repository, tag)
    (folder / "README.md").write_text(readme, encoding="utf-8")


def with_addresses(project: str, repository: str, tag: str) -> str:
    """Add the addresses of a project to the text of its pyproject.toml."""
    rows = {
        "Homepage": repository,
        "Documentation": f"{repository}/blob/{tag}/README.md",
        "Repository": repository,
        "Issues": f"{repository}/issues",
        "Changelog": f"{repository}/blob/{tag}/CHANGELOG.md",
    }
    table = "\n".join(f'{name} = "{url}"' for name, url in rows.items())
    return project.replace("[project.scripts]", f"[project.urls]\n{table}\n\n[project.scripts]", 1)


def index_readme(text: str, repository: str, tag: str) -> str:
    """Make the links of the README absolute; pictures are taken raw."""

    def target(place: str) -> str:
        kind = "raw" if place.endswith((".png", ".svg")) else "blob"
        return f"{repository}/{kind}/{tag}/{place}"

    return relinked(text, "README.md", target)


def problems_of(wheel: Iterable[str], sdist: Iterable[str], readme: str) -> list[str]:
    """Return what is wrong with the contents of the two files.

    Args:
        wheel: Names in the wheel.
        sdist: Names in the sdist, without its top folder.
        readme: The long description.
    """
    inside, source = set(wheel), set(sdist)
    wanted = {"qdq_cli/py.typed", "calibrators/py.typed", "qdq_cli/__main__.py"}
    found = [f"the wheel lacks {name}" for name in sorted(wanted - inside)]
    found += [f"the wheel holds {name}" for name in sorted(inside) if not re.match(r"(qdq_cli|calibrators|qdq-)", name)]
    found += [f"the sdist lacks {name}" for name in ("LICENSE", "README.md", "pyproject.toml") if name not in source]
    left = re.findall(r"\]\((?![a-z]+:|#)([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", readme))
    return found + [f"the README links {target}, which leads nowhere from the index" for target in left]


def check(folder: Path) -> Path:
    """Check what was built, and return the wheel.

    Raises:
        SystemExit: Something is wrong with it.
    """
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", wheel, sdist], check=True)
    subprocess.run([sys.executable, "-m", "check_wheel_contents", wheel], check=True)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith("/METADATA"))).decode()
    with tarfile.open(sdist) as archive:
        source = [name.partition("/")[2] for name in archive.getnames()]
    if problems := problems_of(names, source, metadata.partition("\n\n")[2]):
        raise SystemExit("\n".join(problems))
    return wheel


def try_wheel(wheel: Path) -> None:
    """Install the wheel into a fresh environment, and quantize a sample model with it, away from the sources.

    Raises:
        subprocess.CalledProcessError: It does not work there.
    """
    with tempfile.TemporaryDirectory(prefix="qdq-dist-") as folder:
        venv.create(folder, with_pip=True)
        python = next(
            path for path in (Path(folder, "bin/python"), Path(folder, "Scripts/python.exe")) if path.exists()
        )
        subprocess.run([python, "-m", "pip", "install", "-q", f"{wheel}[fast]"], check=True)
        model, images = (ROOT / name for name in SAMPLE)
        words = ["quantize", model, "--calib", images, "--preprocess", "unit", "-o", "tried.qdq.onnx"]
        subprocess.run([python, "-m", "qdq_cli", *words], cwd=folder, check=True)
        subprocess.run([python, "-m", "qdq_cli", "--version"], cwd=folder, check=True)


def main() -> None:
    """Build, check and try."""
    parser = argparse.ArgumentParser(prog="python -m bench.dist", description=__doc__)
    parser.add_argument("--repository", default="", metavar="URL", help="where the repository can be read")
    repository = (parser.parse_args().repository or address()).rstrip("/")
    if not repository:
        raise SystemExit("Say where the repository can be read: make dist REPOSITORY=https://HOST/OWNER/qdq")
    target = ROOT / "dist"
    with tempfile.TemporaryDirectory(prefix="qdq-dist-") as folder:
        stage(Path(folder), repository)
        shutil.rmtree(target, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "build", "--outdir", target, folder], check=True)
    try_wheel(check(target))


if __name__ == "__main__":
    main()
