"""The schemas in docs/schema are what the records say, and the documents of every command keep to them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from bench.schema import DOCUMENTS, FOLDER, pages
from qdq_cli.process.documents import SCHEMA_VERSION
from tests.building.fake import use_fake_compiler, write_engine
from tests.workspace import Workspace, make_workspace, qdq

PAGES = pages()
SCHEMAS: dict[str, Any] = {name: json.loads(text) for name, text in PAGES.items()}
PAGE = (FOLDER.parent / "json.md").read_text(encoding="utf-8")


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object inside a schema that describes a record."""
    yield schema
    yield from schema.get("$defs", {}).values()


def closed(schema: Any) -> Any:
    """The same schema, by which a record holds no other keys."""
    copy = deepcopy(schema)
    for part in parts(copy):
        part["additionalProperties"] = False
    return copy


REGISTRY: Registry[Any] = Registry().with_resources(
    [(name, Resource.from_contents(closed(schema))) for name, schema in SCHEMAS.items()]
)


def faults(document: Any, name: str) -> list[str]:
    """What of a document is not as a schema says."""
    validator = Draft202012Validator(closed(SCHEMAS[f"{name}.json"]), registry=REGISTRY)
    return [f"{list(error.absolute_path)}: {error.message[:200]}" for error in validator.iter_errors(document)]


def test_the_files_are_those_of_the_records(request: pytest.FixtureRequest):
    for name, text in PAGES.items():
        if request.config.getoption("--update-golden"):
            FOLDER.mkdir(exist_ok=True)
            (FOLDER / name).write_text(text, encoding="utf-8", newline="\n")
        assert (FOLDER / name).read_text(encoding="utf-8") == text, f"docs/schema/{name}: `make schema` rewrites it"
    assert {path.name for path in FOLDER.iterdir()} == set(PAGES)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one_and_says_what_every_key_is(name: str):
    Draft202012Validator.check_schema(SCHEMAS[name])
    for part in parts(SCHEMAS[name]):
        assert part["description"].endswith(".")
        assert part["required"] == list(part["properties"])
        for key, value in part["properties"].items():
            assert value["description"].strip(), key
            assert "int8" not in key


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A model, its quantized form, and two calibration caches of it."""
    made = make_workspace(tmp_path_factory.mktemp("schema"))
    assert made.quantize("--cache", made.folder / "a.qcal").code == 0
    assert qdq("calibrate", made.model, "--calib", made.arrays, "-o", made.folder / "b.qcal").code == 0
    return made


COMMANDS = {
    "quantize": "quantize {model} --calib {arrays} --recover-step bias --exclude middle --method percentile -o r.onnx",
    "quantize of a model already quantized": "quantize {output} --calib {arrays} -o again.onnx",
    "inspect of a float model": "inspect {model}",
    "inspect of a quantized model": "inspect {output}",
    "inspect of a dry run": "quantize {model} --dry-run",
    "inspect-engine": "inspect {output} --layer-info layers.json --profile times.json",
    "inspect-cpu": "inspect {model} --target onnxruntime",
    "inspect-cpu of a quantized model": "inspect {output} --target onnxruntime",
    "build of a float model": "build {model}",
    "build of a quantized model": "build {output} --against {model}",
    "tune": "tune {model} --calib {arrays} --min-sqnr 30 --no-recover -o tuned.onnx",
    "sensitivity": "sensitivity {model} --calib {arrays} --exact",
    "compare": "compare {model} {output} --data {arrays} --layers",
    "convert": "convert {model} --calib {arrays} -o half.onnx",
    "fix": "fix {output} -o fixed.onnx",
    "migrate": "migrate {output} --calib {arrays}",
    "calibrate": "calibrate {model} --calib {arrays} --shard 1/2 -o share.qcal",
    "cache-show": "cache show a.qcal",
    "cache-show of merged shares": "cache merge share-1.qcal share-2.qcal -o merged.qcal",
    "cache-diff": "cache diff a.qcal b.qcal",
    "cache-ranges": "cache export a.qcal --format tensorrt -o t.cache",
    "migrate of a calibration table": "migrate {model} --cache t.cache -o m.onnx",
    "cache-ranges of another tool": "cache import t.cache -o t.json",
    "cache-check": "cache check {model} a.qcal",
    "init": "init {model} -o new.toml",
    "explain": "explain",
    "error": "quantize {model}",
    "error of a limit": "quantize {model} --calib {arrays} --min-sqnr 190 -o none.onnx",
    "error of a limit of a build": "build {model} --min-int8-macs 100",
    "error of a limit of a plan": "quantize {model} --dry-run --exclude middle --min-int8-macs 100",
    "error of a limit of an inspection": "inspect {model} --exclude middle --min-int8-macs 100",
    "error of a limit of a conversion": "convert {model} --calib {arrays} --min-sqnr 190 -o none.onnx",
    "error of a limit of a comparison": "compare {model} {output} --data {arrays} --min-sqnr 190",
    "error of a limit of a cache": "cache diff a.qcal small.qcal --max-drift 0",
    "error of a cache that does not fit": "cache check {model} a.qcal --all-tensors",
}
"""Schema, and which document of it -> a command."""


def test_the_documents_of_every_command_keep_to_their_schemas(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(space.folder)
    use_fake_compiler(monkeypatch)
    write_engine(space.folder)
    for number in (1, 2):
        share = ("--shard", f"{number}/2", "-o", f"share-{number}.qcal")
        assert qdq("calibrate", space.model, "--calib", space.arrays, *share).code == 0
    assert qdq("calibrate", space.model, "--calib", space.arrays, "--samples", "2", "-o", "small.qcal").code == 0
    seen = set()
    for title, line in COMMANDS.items():
        words = [word.format(model=space.model, arrays=space.arrays, output=space.output) for word in line.split()]
        done = qdq(*words, "--json")
        name = title.partition(" ")[0]
        assert (done.code != 0) == (name == "error"), f"{title}: {done.err}"
        assert faults(done.document, name) == [], title
        assert done.document["schema_version"] == SCHEMA_VERSION
        assert name != "error" or (done.document["report"] is None) == (title == "error")
        seen.add(name)
    assert seen == set(DOCUMENTS)


# the page


def test_the_page_links_every_schema():
    assert set(re.findall(r"\(schema/([\w-]+\.json)\)", PAGE)) == set(SCHEMAS)


def test_the_document_on_the_page_is_one():
    (shown,) = re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)
    assert faults(json.loads(shown), "error") == []


def records_at(place: str) -> Iterator[dict[str, Any]]:
    """The descriptions of the records that a cell such as "`inspect`: `layer_costs`, `standalone_costs`" names."""
    name, *keys = re.findall(r"`([\w-]+)`", place)
    schema = SCHEMAS[f"{name}.json"]
    for key in keys or [""]:
        refers = re.findall(r"#/\$defs/(\w+)", json.dumps(schema["properties"].get(key, {})))
        yield from (schema["$defs"][found] for found in refers) if refers else iter([schema])


def test_the_keys_that_changed_their_names_are_gone_and_the_new_ones_are_there():
    rows = re.findall(r"^\| (`.*?) \| `(\w+)` \| `(\w+)`.* \|$", PAGE, flags=re.MULTILINE)
    assert len(rows) == 20
    for place, old, new in rows:
        for record in records_at(place):
            assert new in record["properties"], (place, new)
            assert old not in record["properties"] or (place, old) == ("`tune`", "target"), (place, old)
