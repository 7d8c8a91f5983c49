"""Sentences in place of reports: for images that have labels and no report, from a YAML file of data.sentences.

normal: ["The lungs are clear.", "Normal chest radiograph."]
bacterial pneumonia: ["There is lobar consolidation."]
"""

from collections.abc import Sequence
from pathlib import Path

from cxr_jax.errors import InputError
from cxr_jax.yaml_file import label_of, read_mapping, texts_of


class LabelSentences:
    """What can stand for each label; case does not matter in labels.

    Raises:
      InputError: the file cannot be read, or is not in its form.
    """

    def __init__(self, file: str | Path):
        self.file = Path(file).expanduser()
        mapping = read_mapping(self.file, "labels and their sentences", 'normal: ["The lungs are clear."]')
        self._of = {
            label_of(key, str(self.file)).casefold(): texts_of(texts, f"{self.file}: {key}")
            for key, texts in mapping.items()
        }

    @property
    def content(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Labels, case folded, and sentences, in the file's order."""
        return tuple(self._of.items())

    def of(self, labels: Sequence[str]) -> list[tuple[str, ...]]:
        """The sentences of each label, in the file's order of labels; labels of the same sentences say them once.

        Raises:
          InputError: a label has none.
        """
        wanted = {label.casefold(): label for label in labels}
        for folded, label in wanted.items():
            if folded not in self._of:
                there = ", ".join(list(self._of)[:8])
                raise InputError(f"{self.file}: has no sentences for the label {label!r} (for {there}); add some")
        return list(dict.fromkeys(self._of[label] for label in self._of if label in wanted))

    def report(self, labels: Sequence[str]) -> str:
        """The first sentence of each label: what is kept of the image, validated, and retrieved.

        Raises:
          InputError: as `of`.
        """
        return " ".join(sentences[0] for sentences in self.of(labels))
