"""A text-classification checkpoint on disk: checked, identified, loaded, asked.

Only safetensors are read, nothing is downloaded and no code of a checkpoint runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from assay_core.digest import digest_of, sha256_file
from assay_core.errors import FailedPrecondition, InvalidArgument, NotFound
from assay_scoring.batching import batches
from assay_scoring.settings import CheckpointSettings

# A progress bar in a log is noise.
transformers_logging.disable_progress_bar()

TOXIC_LABELS = ("toxicity", "toxic")
_CONTENT = re.compile(
    r"^(config\.json|.*\.safetensors(\.index\.json)?|tokenizer.*|vocab.*|merges\.txt"
    r"|special_tokens_map\.json|added_tokens\.json|.*\.model)$"
)
_LICENCE = re.compile(r"^license:\s*[\"']?([\w.+-]+)", re.MULTILINE)
_ID_HEX = 8


class Checkpoint:
    """A loaded classifier. `score` blocks and is called by one thread at a time.

    Args:
        name: The operator's name for it.
        settings: Where it lies and how it is read.
        device: Where it runs.
        batch_tokens: Most tokens of a batch, padding included.

    Attributes:
        id: Name and the beginning of the digest of its files: other weights are another scorer.
        summary: What it was trained on and what its scale means.
        licence: Licence of its weights.

    Raises:
        NotFound: If there is no checkpoint with safetensors at the path.
        InvalidArgument: If it does not say which label is toxicity.
        FailedPrecondition: If transformers cannot load it.
    """

    def __init__(
        self, name: str, settings: CheckpointSettings, device: torch.device, batch_tokens: int
    ) -> None:
        folder = Path(settings.path).expanduser()
        _require_checkpoint(name, folder)
        self.id = f"{name}-{_digest(folder).removeprefix('sha256:')[:_ID_HEX]}"
        self.licence = settings.licence or _licence(folder)
        self._device = device
        self._batch_tokens = batch_tokens
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model, loading = AutoModelForSequenceClassification.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise _not_loadable(name, type(error).__name__) from error
        if loading["missing_keys"]:
            # transformers would fill them with random numbers and only warn.
            raise _not_loadable(name, f"{len(loading['missing_keys'])} of its weights are missing")
        self._model = model.eval().to(device)
        self._label = _label(name, settings, config.id2label)
        self._sigmoid = _is_sigmoid(settings, config)
        self._max_tokens = _max_tokens(self._tokenizer, config)
        self.summary = settings.summary or (
            f"{config.model_type} text classifier, probability of label"
            f" {config.id2label[self._label]!r}, first {self._max_tokens} tokens of a text"
        )

    def score(self, texts: Sequence[str]) -> list[float | None]:
        """Probabilities of texts that are not blank, in order.

        None for a text on which the model fails alone; texts that shared its batch are unharmed.
        """
        found: list[float | None] = [None] * len(texts)
        coded = [
            self._tokenizer(text, truncation=True, max_length=self._max_tokens)["input_ids"]
            for text in texts
        ]
        for batch in batches([len(codes) for codes in coded], self._batch_tokens):
            values = self._forward([coded[position] for position in batch])
            for position, value in zip(batch, values, strict=True):
                found[position] = value
        return found

    def _forward(self, coded: Sequence[Sequence[int]]) -> list[float | None]:
        """Probabilities of a batch; one that fails is halved until the text at fault is alone."""
        try:
            padded = self._tokenizer.pad({"input_ids": list(coded)}, return_tensors="pt")
            with torch.inference_mode():
                logits = self._model(**padded.to(self._device)).logits.float()
            probabilities = logits.sigmoid() if self._sigmoid else logits.softmax(dim=-1)
            values: list[float | None] = probabilities[:, self._label].cpu().tolist()
        except (RuntimeError, IndexError, ValueError):
            # Out of memory among others: torch.OutOfMemoryError is a RuntimeError.
            if len(coded) == 1:
                return [None]
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            half = len(coded) // 2
            return [*self._forward(coded[:half]), *self._forward(coded[half:])]
        return values


def choose_device(wanted: str) -> torch.device:
    """The device a setting names; `auto` is a GPU if there is one.

    Raises:
        FailedPrecondition: If it names a GPU that is not there.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(wanted)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise FailedPrecondition(
            f"device {wanted} is not there",
            field="device",
            reason="NO_SUCH_DEVICE",
            remedy="use --device cpu, or auto",
        )
    return device


def _require_checkpoint(name: str, folder: Path) -> None:
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise NotFound(
            f"checkpoint {name} has no config.json with *.safetensors",
            field=f"checkpoints.{name}",
            reason="CHECKPOINT_NOT_FOUND",
            remedy="name a directory in Hugging Face layout; pickled weights are not read",
        )


def _not_loadable(name: str, problem: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"checkpoint {name} cannot be loaded ({problem})",
        field=f"checkpoints.{name}",
        reason="CHECKPOINT_NOT_LOADABLE",
        remedy="it must be a sequence-classification model that transformers knows",
    )


def _digest(folder: Path) -> str:
    """Digest of what decides the scores: config, tokenizer and weights."""
    files = sorted(path for path in folder.iterdir() if _CONTENT.match(path.name))
    return digest_of({path.name: sha256_file(path) for path in files})


def _licence(folder: Path) -> str:
    """The licence in the front matter of the model card; empty if there is none."""
    card = folder / "README.md"
    if not card.is_file():
        return ""
    found = _LICENCE.search(card.read_text("utf-8", "replace").split("\n---", 1)[0])
    return found[1] if found else ""


def _label(name: str, settings: CheckpointSettings, labels: Mapping[int, str]) -> int:
    """Position of the label whose probability is the score."""
    wanted = (settings.label.lower(),) if settings.label else TOXIC_LABELS
    for candidate in wanted:
        for position, label in labels.items():
            if label.lower() == candidate:
                return int(position)
    if len(labels) == 1 and not settings.label:
        return 0
    raise InvalidArgument.of(
        f"checkpoints.{name}.label",
        f"is none of the checkpoint's labels: {', '.join(labels.values())}",
        remedy="name the label that means toxic",
    )


def _is_sigmoid(settings: CheckpointSettings, config: Any) -> bool:
    """Whether labels are independent, as text-classification pipelines of transformers decide."""
    if settings.activation:
        return settings.activation == "sigmoid"
    return bool(config.problem_type == "multi_label_classification" or config.num_labels == 1)


def _max_tokens(tokenizer: Any, config: Any) -> int:
    """Longest input in tokens.

    RoBERTa keeps two positions for padding, so its tokenizer knows better than its config.
    """
    positions = getattr(config, "max_position_embeddings", None) or tokenizer.model_max_length
    return int(min(tokenizer.model_max_length, positions))
