"""As much of kustomize as the manifests use, for machines that have none.

Resources, components, strategic merges, ``configMapGenerator`` of files, ``images`` and
``namespace``. What it doesn't know raises, so that nothing is passed over in silence.
"""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]

KNOWN = {
    "apiVersion", "kind", "namespace", "resources", "components", "patches",
    "configMapGenerator", "images",
}  # fmt: skip
MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
    "topologySpreadConstraints": "topologyKey",
}
"""The lists that a strategic merge joins, and by what (Kubernetes' OpenAPI, patchMergeKey)."""


def render(folder: Path) -> list[Manifest]:
    """What ``kustomize build folder`` would give."""
    return _apply(folder, [])


def documents(path: Path) -> list[Manifest]:
    """The manifests in a file; a key given twice is an error."""
    with path.open() as file:
        return [one for one in yaml.load_all(file, _Strict) if one is not None]


def _apply(folder: Path, found: list[Manifest]) -> list[Manifest]:
    (kustomization,) = documents(folder / "kustomization.yaml")
    unknown = set(kustomization) - KNOWN
    assert not unknown, f"{folder}: this renderer doesn't know {unknown}"
    for name in kustomization.get("resources", []):
        path = folder / name
        found = found + (_apply(path, []) if path.is_dir() else documents(path))
    for generator in kustomization.get("configMapGenerator", []):
        found = _with_config_map(found, folder, generator)
    for name in kustomization.get("components", []):
        found = _apply(folder / name, found)
    for patch in kustomization.get("patches", []):
        assert set(patch) == {"path"}, patch
        for document in documents(folder / patch["path"]):
            found = _patched(found, document)
    for image in kustomization.get("images", []):
        found = [_with_image(one, image) for one in found]
    namespace = kustomization.get("namespace")
    if namespace:
        for one in found:
            if one["kind"] != "Namespace":
                one["metadata"]["namespace"] = namespace
    names = [identity(one) for one in found]
    assert len(names) == len(set(names)), f"{folder}: {names} twice"
    return found


def identity(manifest: Manifest) -> tuple[str, str]:
    """Kind and name."""
    return manifest["kind"], manifest["metadata"]["name"]


def _patched(found: list[Manifest], patch: Manifest) -> list[Manifest]:
    targets = [one for one in found if identity(one) == identity(patch)]
    assert len(targets) == 1, f"a patch for {identity(patch)} has {len(targets)} targets"
    assert targets[0]["apiVersion"] == patch["apiVersion"]
    return [merged(one, patch) if one is targets[0] else one for one in found]


def merged(under: Any, over: Any, field: str = "") -> Any:
    """A strategic merge."""
    if isinstance(under, dict) and isinstance(over, dict):
        assert "$patch" not in over
        result = {**under}
        for key, value in over.items():
            result[key] = merged(under[key], value, key) if key in under else copy.deepcopy(value)
        return result
    if isinstance(under, list) and isinstance(over, list) and field in MERGE_KEYS:
        key = MERGE_KEYS[field]
        result_list = list(under)
        for item in over:
            at = next((i for i, one in enumerate(result_list) if one[key] == item[key]), None)
            if at is None:
                result_list.append(copy.deepcopy(item))
            else:
                result_list[at] = merged(result_list[at], item)
        return result_list
    return copy.deepcopy(over)


def _with_config_map(
    found: list[Manifest], folder: Path, generator: dict[str, Any]
) -> list[Manifest]:
    assert set(generator) == {"name", "files"}, generator
    data = {name: (folder / name).read_text() for name in generator["files"]}
    digest = hashlib.sha256(repr(sorted(data.items())).encode()).hexdigest()[:10]
    name = generator["name"]
    made = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{name}-{digest}"},
        "data": data,
    }
    return [*(_renamed(one, name, made["metadata"]["name"]) for one in found), made]  # type: ignore[index]


def _renamed(value: Any, old: str, new: str) -> Any:
    """``value`` with the references to the config map turned."""
    if isinstance(value, dict):
        turned = {key: _renamed(one, old, new) for key, one in value.items()}
        if isinstance(turned.get("configMap"), dict) and turned["configMap"].get("name") == old:
            turned["configMap"] = {**turned["configMap"], "name": new}
        return turned
    return [_renamed(one, old, new) for one in value] if isinstance(value, list) else value


def _with_image(value: Any, image: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            key: (
                f"{image['newName']}:{image['newTag']}"
                if key == "image" and one == image["name"]
                else _with_image(one, image)
            )
            for key, one in value.items()
        }
    return [_with_image(one, image) for one in value] if isinstance(value, list) else value


class _Strict(yaml.SafeLoader):
    """YAML as Kubernetes reads it: no key twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"{node.start_mark}: a key is there twice"
        return super().construct_mapping(node, deep=deep)
