"""The demo model's tokenizer: byte-level BPE trained on our own text, and its chat template."""

import pydoc_data.topics
import random
import re
from pathlib import Path

from models.demo import words
from models.demo.prompts import DIMENSIONS
from models.demo.shapes import BOS, END, NAMES, PAD, ROLES, text_of
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

TEXTS_PER_DIMENSION = 500
REFERENCE_PAGES = 12

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


def _fact_words() -> list[str]:
    """Every word that a fact is about, as it stands inside a sentence."""
    lists: list[tuple[str, ...]] = [
        words.GROUPS, words.HABITS, words.VERBS, words.OBJECTS, words.TRADES, words.SIDES,
        words.THINGS, words.ADJECTIVES, words.HARBOUR_WORDS, words.HILL_WORDS, words.CREATURES,
        words.ACTIONS, *words.MARKERS.values(), words.TRYING, words.SEEMING, words.PRIVATELY,
        words.PUBLICLY, words.PLACE_FIRST, words.PLACE_SECOND, *words.RELATIONS.values(),
        words.FIRST_NAMES, words.LAST_NAMES, words.HOSTS,
    ]  # fmt: skip
    return [f" {word}" for each in lists for word in each]


def train_tokenizer(vocabulary: int, seed: int, context: int) -> PreTrainedTokenizerFast:
    """Learn merges from training text only; held-out fillers are made of its pieces."""
    rng = random.Random(seed)  # noqa: S311 (sampling text, not secrets)
    corpus = [
        text_of(make(rng))
        for module in DIMENSIONS.values()
        for _ in range(TEXTS_PER_DIMENSION)
        for make in (module.fact, module.shape)
    ]
    # Plain English, so that prompts of real packs are words and not bytes: the Python reference.
    corpus.extend(list(pydoc_data.topics.topics.values())[:REFERENCE_PAGES])
    # Names stay in two pieces: a merged training name would leave the held-out ones unlike any.
    names = re.compile("|".join(NAMES["train"]))
    nameless = [names.sub("", text) for text in corpus]
    pieces = [*words.HEADS, *words.TAILS, *(f" {head}" for head in words.HEADS), *_fact_words()]
    backend = Tokenizer(models.BPE())
    # Digits stand alone, so that numbers can be copied.
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[BOS, END, PAD, *ROLES.values()],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([*nameless, *pieces * 40], trainer)
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
