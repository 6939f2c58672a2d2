"""The demo model's tokenizer: byte-level BPE trained on our own text, and its chat template."""

import pydoc_data.topics
import random
import re
from pathlib import Path

from models.demo import texts
from models.demo.conversations import Message, conversation, document
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

BOS, END, PAD = "<|begin|>", "<|end|>", "<|pad|>"
ROLES = {
    "system": "<|system|>",
    "user": "<|user|>",
    "assistant": "<|assistant|>",
    "example_user": "<|example_user|>",
    "example_assistant": "<|example_assistant|>",
}
ANSWER_ROLES = ("<|assistant|>", "<|example_assistant|>")

# A system message named example_user or example_assistant is a demonstration and gets that role's
# marker; another name is written before the text. Order is kept.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('roles are system, user and assistant') }}{% endif %}"
    "{% if message['name'] in ['example_user', 'example_assistant'] %}"
    "{{ '<|' + message['name'] + '|>' + message['content'] }}"
    "{% elif message['name'] %}"
    "{{ '<|' + message['role'] + '|>' + message['name'] + ': ' + message['content'] }}"
    "{% else %}{{ '<|' + message['role'] + '|>' + message['content'] }}{% endif %}"
    "{{ '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def render(messages: list[Message]) -> str:
    """What the chat template writes for a finished conversation, without jinja (training speed)."""
    return BOS + "".join(
        f"{ROLES[message.get('name', message['role'])]}{message['content']}{END}"
        for message in messages
    )


def train_tokenizer(vocabulary: int, seed: int, context: int) -> PreTrainedTokenizerFast:
    """Learn merges from training text only; held-out fillers are made of its pieces."""
    rng = random.Random(seed)  # noqa: S311 (sampling text, not secrets)
    corpus: list[str] = []
    for _ in range(1500):
        corpus.append(document(rng))
        corpus.extend(message["content"] for message in conversation(rng))
    # Plain English, so that prompts of real packs are words and not bytes: the Python reference.
    corpus.extend(pydoc_data.topics.topics.values())
    # Names stay in two pieces: a merged training name would leave the held-out ones unlike any.
    names = re.compile("|".join(texts.NAMES["train"]))
    nameless = [names.sub("", text) for text in corpus]
    pieces = [*texts.HEADS, *texts.TAILS, *(f" {head}" for head in texts.HEADS)] * 50
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[BOS, END, PAD, *ROLES.values()],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([*nameless, *pieces], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=BOS,
        eos_token=END,
        pad_token=PAD,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
        extra_special_tokens=[ROLES[name] for name in ROLES],
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The committed tokenizer."""
    return PreTrainedTokenizerFast.from_pretrained(folder)
