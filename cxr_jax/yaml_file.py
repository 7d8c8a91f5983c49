"""YAML files of labels: a mapping, safely read, in which no key is there twice."""

import reprlib
from pathlib import Path
from typing import Any

import yaml

from cxr_jax.errors import InputError


def read_mapping(file: Path | str, what: str, example: str) -> dict[Any, Any]:
    """The mapping that a YAML file holds, or that a text is which begins with "{": as one writes it in a command.

    Args:
      what: it is of, for messages: "labels and their sentences".
      example: a line of it, for messages.

    Raises:
      InputError: it cannot be read, is not YAML, has a key twice, or holds no mapping: an empty one stands in a command
        alone.
    """
    inline = str(file).lstrip().startswith("{")
    try:
        content = yaml.load(str(file) if inline else Path(file).expanduser().read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({error}); give a file of {what}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or error
        where = f"line {mark.line + 1}: " if mark else ""
        raise InputError(f"{file}: {where}not YAML of {what} ({problem}); mend it there") from error
    if not isinstance(content, dict) or not (content or inline):
        raise InputError(f"{file}: holds no mapping of {what}; write lines such as {example}")
    return content


def label_of(key: Any, source: str) -> str:
    """A key of such a file as a label.

    Raises:
      InputError: it is no text, or blank.
    """
    if not isinstance(key, str) or not key.strip():
        raise InputError(f"{source}: label {reprlib.repr(key)} is no text; put it in quotes")
    return key.strip()


def texts_of(value: Any, where: str) -> tuple[str, ...]:
    """A list of one or more texts, single blanks within.

    Raises:
      InputError: it is none, or a text is there twice.
    """
    if not isinstance(value, list) or not value:
        raise InputError(f'{where}: holds {reprlib.repr(value)}; write a list of one or more texts, such as ["…"]')
    for text in value:
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"{where}: {reprlib.repr(text)} is no text; write it in quotes, or take it out")
    texts = tuple(" ".join(text.split()) for text in value)
    twice = {text for text in texts if [t.casefold() for t in texts].count(text.casefold()) > 1}
    if twice:
        raise InputError(f"{where}: {min(twice)!r} is there twice; write it once")
    return texts


class _Loader(yaml.SafeLoader):
    """yaml.safe_load's, which takes the last of two equal keys without a word: this one refuses them."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                name = key.value.strip().casefold()
                if name in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value} is there twice", key.start_mark)
                seen.add(name)
        return super().construct_mapping(node, deep)
