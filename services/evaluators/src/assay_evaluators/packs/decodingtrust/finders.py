"""How texts are found in program files: functions from a parsed file and a variant to a value."""

from __future__ import annotations

import ast
import re
from typing import Any

from assay_evaluators.packs.decodingtrust.entries import Finder
from assay_evaluators.packs.decodingtrust.program import (
    Module,
    SymbolError,
    chain,
    contained,
    last_text,
)


def constant(name: str, *path: Any) -> Finder:
    """A module constant."""
    return lambda module, variant: module.constant(name, *path)


def local(function: str, name: str, *path: Any) -> Finder:
    """An assignment in a function."""
    return lambda module, variant: module.local(function, name, *path)


def numbered(name: str) -> Finder:
    """A module constant that is a dictionary 1..n, as a list."""

    def find(module: Module, variant: str) -> list[Any]:
        del variant
        value = module.constant(name)
        return [value[key] for key in sorted(value)] if isinstance(value, dict) else value

    return find


def template(name: str) -> Finder:
    """Keyword arguments of `Conversation(name=...)`; what is not given is None."""
    defaults: dict[str, Any] = dict.fromkeys(("sep_style", "sep2", "stop_str", "stop_token_ids"))
    defaults |= {"system": "", "roles": [], "sep": "\n"}

    def find(module: Module, variant: str) -> dict[str, Any]:
        del variant
        call = module.call_named("Conversation", name)
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        found = dict(defaults)
        for key in defaults:
            node = given.get(key)
            if isinstance(node, ast.Attribute):
                found[key] = node.attr
            elif node is not None:
                found[key] = module.evaluate(node, f"Conversation({name}).{key}")
        return found

    return find


def disclaimers(module: Module, variant: str) -> Any:
    """The first list of texts in `classify_response`."""
    del variant
    function = module.function("classify_response")
    lists = [n for n in ast.walk(function) if isinstance(n, ast.List) and n.elts]
    for node in sorted(lists, key=lambda each: each.lineno):
        value = module.evaluate(node, "classify_response: list")
        if all(isinstance(each, str) for each in value):
            return value
    raise SymbolError("classify_response: list of disclaimers")


def markers(function: str, mention: str) -> Finder:
    """What `replace` calls delete, and the markers of the longest if/elif chain of cuts."""

    def find(module: Module, variant: str) -> dict[str, list[str]]:
        del variant
        node: ast.AST = module.function(function)
        if mention:
            tests = [n for n in ast.walk(node) if isinstance(n, ast.If)]
            wanted = [n for n in tests if mention in ast.unparse(n.test)]
            if not wanted:
                raise SymbolError(f"{function}: branch on {mention}")
            node = ast.Module(body=list(wanted[0].body), type_ignores=[])
        removed = [
            str(call.args[0].value)
            for call in module.calls(node, "replace")
            if len(call.args) == 2
            and isinstance(call.args[0], ast.Constant)
            and getattr(call.args[1], "value", None) == ""
        ]
        chains = [
            [text for each in chain(n) for text in contained(each.test)[:1]]
            for n in ast.walk(node)
            if isinstance(n, ast.If)
        ]
        cuts = max(chains, key=len, default=[])
        if not cuts:
            raise SymbolError(f"{function}: chain of cuts")
        return {"removed": removed, "first_applicable_cut": cuts}

    return find


def word_groups(data_set: str, position: int) -> Finder:
    """One of the two groups of words in the first test under `data_set in ...`."""

    def find(module: Module, variant: str) -> list[str]:
        del variant
        for node in ast.walk(module.function("aggregate_current_scores")):
            if isinstance(node, ast.If) and isinstance(node.test, ast.Compare):
                inner = next((n for n in node.body if isinstance(n, ast.If)), None)
                if contained(node.test) != [data_set] or inner is None:
                    continue
                if isinstance(inner.test, ast.BoolOp) and len(inner.test.values) == 2:
                    return contained(inner.test.values[position])
        raise SymbolError(f"aggregate_current_scores: words of {data_set}")

    return find


def attribute_files(module: Module, variant: str) -> dict[str, str]:
    """Result file to sensitive attribute file: the last part of each path."""
    del variant
    function = module.function("aggregate_current_scores")
    for value in module.assigned(function, "outfile2sensiattr"):
        if isinstance(value, ast.Dict):
            return {
                last_text(key): last_text(path).rsplit("/", 1)[-1]
                for key, path in zip(value.keys, value.values, strict=True)
                if key is not None
            }
    raise SymbolError("aggregate_current_scores: outfile2sensiattr")


def constant_or_tail(name: str, function: str, assigned: str) -> Finder:
    """A module constant, or what a function adds to another one, or assigns."""

    def find(module: Module, variant: str) -> Any:
        del variant
        try:
            return module.constant(name)
        except SymbolError:
            pass
        for value in module.assigned(module.function(function), assigned):
            tail = value.right if isinstance(value, ast.BinOp) else value
            return module.evaluate(tail, f"{function}.{assigned}")
        raise SymbolError(f"{name}, or {function}.{assigned}")

    return find


def pattern_of(name: str) -> Finder:
    """The argument of `re.compile` in an assignment to a module constant."""

    def find(module: Module, variant: str) -> str:
        del variant
        for call in module.calls(module.tree, "compile"):
            if call.args and isinstance(call.args[0], ast.Constant):
                return str(call.args[0].value)
        raise SymbolError(f"module constant {name}")

    return find


def enron_template(letter: str, name: str) -> Finder:
    """A template in the branch `pp == letter`."""

    def find(module: Module, variant: str) -> Any:
        del variant
        branch = module.branch(module.function("get_prompts_k_shot"), letter)
        body = ast.Module(body=list(branch.body), type_ignores=[])
        for value in module.assigned(body, name):
            return module.evaluate(value, f"get_prompts_k_shot[{letter}].{name}")
        raise SymbolError(f"get_prompts_k_shot[{letter}].{name}")

    return find


_UNDERSTANDING = "get_privacy_understanding_messages"


def phrasings(position: int) -> Finder:
    """Element `position` of each pair of phrasing and key."""
    return lambda module, variant: [
        pair[position] for pair in module.local(_UNDERSTANDING, "prompts")
    ]


def topic_phrases(position: int) -> Finder:
    """Element `position` of each topic's phrases."""

    def find(module: Module, variant: str) -> dict[str, Any]:
        del variant
        return {
            topic: phrases[position]
            for topic, phrases in module.local(_UNDERSTANDING, "topic2word").items()
        }

    return find


def persons(module: Module, variant: str) -> dict[str, Any]:
    """Defaults of `person_1` .. `person_4`."""
    del variant
    return {f"person_{k}": module.default(_UNDERSTANDING, f"person_{k}") for k in range(1, 5)}


def question(number: int) -> Finder:
    """The f-string of a question, its placeholders kept by name."""

    def find(module: Module, variant: str) -> str:
        del variant
        branch = module.branch(module.function(_UNDERSTANDING), number)
        body = ast.Module(body=list(branch.body), type_ignores=[])
        for value in module.assigned(body, "question"):
            if isinstance(value, ast.JoinedStr):
                return "".join(_placeholder(each) for each in value.values)
            return str(module.evaluate(value, f"question {number}"))
        raise SymbolError(f"{_UNDERSTANDING}: question {number}")

    return find


def _placeholder(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    inner = node.value if isinstance(node, ast.FormattedValue) else node
    if isinstance(inner, ast.Name):
        return "{" + inner.id + "}"
    return "{topic_phrase_question_2}"


def separator(module: Module, variant: str) -> str:
    """The text between secret and question."""
    del variant
    for node in ast.walk(module.function(_UNDERSTANDING)):
        if isinstance(node, ast.JoinedStr) and len(node.values) == 3:
            names = [getattr(getattr(v, "value", None), "id", None) for v in node.values]
            if names[0] == "secret" and names[2] == "question":
                return str(getattr(node.values[1], "value", ""))
    raise SymbolError(f"{_UNDERSTANDING}: message of secret and question")


def task_message(task: str, *, idk: bool | None = None) -> Finder:
    """Assignment to `task_message` in the branch of a task."""

    def find(module: Module, variant: str) -> Any:
        del variant
        branch = module.branch(module.function("load_task_messages"), task)
        statements = list(branch.body)
        if idk is not None:
            inner = next((n for n in statements if isinstance(n, ast.If)), None)
            if inner is None:
                raise SymbolError("load_task_messages: branch on idk")
            statements = list(inner.body if idk else inner.orelse)
        for value in module.assigned(ast.Module(statements, []), "task_message"):
            return module.evaluate(value, "task_message")
        raise SymbolError(f"load_task_messages: task_message of {task}")

    return find


def option_prefixes(module: Module, variant: str) -> list[str]:
    """The literals in front of options, each once."""
    del variant
    texts = [t for t in module.strings("load_prompts") if re.fullmatch(r"\d : ", t)]
    if not texts:
        raise SymbolError("load_prompts: option prefixes")
    return list(dict.fromkeys(texts))


def refusal_words(module: Module, variant: str) -> list[str]:
    """The longest chain of `not in` in `evaluation`."""
    del variant
    tests = [n.test for n in ast.walk(module.function("evaluation")) if isinstance(n, ast.If)]
    words = max(
        (contained(test) for test in tests if "not in" in ast.unparse(test)), key=len, default=[]
    )
    if not words:
        raise SymbolError("evaluation: refusal words")
    return words


def refusals(*, first: bool) -> Finder:
    """Texts of the first `if` of `refuse`, or of the later ones."""

    def find(module: Module, variant: str) -> list[str]:
        del variant
        tests = [n.test for n in module.function("refuse").body if isinstance(n, ast.If)]
        if not tests:
            raise SymbolError("refuse: tests")
        chosen = tests[:1] if first else tests[1:]
        return [text for test in chosen for text in contained(test)]

    return find
