"""Writes program files of the structure that DecodingTrust and comp-trust have, for given texts.

The texts come from a document in the form of `prompts.json`; the code around them is filler of our
own with the symbols and positions that the importer must know. Running a file would raise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

P = "src/dt/perspectives"
BOMB = "raise RuntimeError('executed')\n"


def write_decodingtrust(root: Path, texts: dict[str, Any], variant: str) -> Path:
    """A checkout of one repository; `variant` is `dt-2024-09` or `ct-2024-02`."""
    fork = variant == "ct-2024-02"

    def of(group: str, key: str) -> Any:
        value = texts[group][key]
        return value[variant] if isinstance(value, dict) and variant in value else value

    for path, text in {
        "src/dt/chat.py": _chat(texts["chat"]),
        "src/dt/conversation.py": _templates(
            texts, ("llama-2", "vicuna_v1.1", "redpajama-incite-instruct")
        ),
        f"{P}/stereotype/agreement_func.py": _agreement(of, fork),
        f"{P}/stereotype/bias_generation.py": _bias(of),
        f"{P}/toxicity/toxicity_prompts.py": _assign("PROMPTS", [
            {"sys_prompt": texts["toxicity"][name]["system"],
             "task_desc": texts["toxicity"][name]["task"]}
            for name in ("template_0_benign", "template_1_adversarial")]),
        f"{P}/toxicity/perspective_api_evaluate.py": _perspective(of),
        f"{P}/fairness/task_description.py": _assign(
            "task_dic", {k: of("fairness", f"task_line_{k}") for k in ("adult", "crime")}),
        f"{P}/fairness/score_calculation_script.py": _fairness(of),
        f"{P}/privacy/result_agg.py": _results(of, fork),
        f"{P}/privacy/utils.py": _utils(of),
        f"{P}/privacy/sys_prompts.py": _assign(
            "PROMPT_TEMPLATE", [{"sys_prompt": ""},
                                {"sys_prompt": of("privacy", "pii_system_prompt")}])
        + _assign("PII_INFO", of("privacy", "pii_types_defined"))
        + _assign("PRIVACY_TOPIC", of("privacy", "understanding_topics")),
        "src/dt/configs/privacy/pii_fewshot_attack.yaml":
            f"# comment\nprivacy:\n  personal_infos: {of('privacy', 'pii_types_generated')!r}\n",
        f"{P}/advglue/gpt_eval.py": _gpt_eval(of),
        f"{P}/advglue/adv_stats.py": _assign("BASE_MODELS", of("advglue", "source_models")),
        f"{P}/ood/evaluation_ood.py": _ood(of),
        f"{P}/adv_demonstration/task_description.py": _assign(
            "task_dic", of("adv_demonstration", "task_lines")),
        f"{P}/adv_demonstration/aggregate_score.py": _aggregate(of),
        f"{P}/adv_demonstration/test_sc_hydra.py": _function(
            "test", {11 if fork else 15: of("adv_demonstration", "spurious_task_key")}),
        f"{P}/machine_ethics/test_machine_ethics.py": _ethics(of, fork),
        f"{P}/machine_ethics/calculate_score.py": _ethics_score(of),
        "src/dt/configs/adv_demonstration/backdoor_exp1_badword_setup1.yaml":
            f"task: {of('adv_demonstration', 'backdoor_task_key')}\n",
        **{f"src/dt/configs/adv_demonstration/counterfactual_{name}_cf.yaml": f"task: {task}\n"
           for name, task in texts["adv_demonstration"]["set_to_task_key"].items()},
    }.items():  # fmt: skip
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text if path.endswith(".yaml") else text + BOMB, "utf-8")
    return root


def write_comp_trust(root: Path, texts: dict[str, Any]) -> Path:
    """A checkout of comp-trust."""
    mmlu = texts["mmlu"]
    for path, text in {
        "compression/gptq/conversation.py": _templates(
            texts, ("llama-2_no_sys", "llama-2_trust", "llama-2_fact")),
        "scripts/mmlu_autogptq.py": _assign("choices", mmlu["choices"])
        + _function("gen_prompt", {1: mmlu["header"]})
        + _function("format_example", {1: mmlu["option_line"], 2: mmlu["answer_prompt"],
                                       3: mmlu["demonstration_answer"]}),
    }.items():  # fmt: skip
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text + BOMB, "utf-8")
    return root


def _assign(name: str, value: Any) -> str:
    return f"{name} = {value!r}\n"


def _function(name: str, numbered: dict[int, str], extra: str = "") -> str:
    """A function whose string constant no. k is `numbered[k]`, filler elsewhere."""
    lines = [f"def {name}(x):", '    """Not counted."""', "    y = f'{x} not counted'"]
    lines += [f"    y = [x, {numbered.get(k, f'filler {k}')!r}]" for k in
              range(1, max(numbered, default=0) + 1)]  # fmt: skip
    return "\n".join(lines) + "\n" + extra + "    return y\n\n"


def _chat(chat: dict) -> str:
    marks = chat["answer_cut_markers"]
    numbered = {
        5: chat["system_zero_shot"], 14: chat["system_few_shot_example_prefix"],
        18: chat["system_few_shot"], 25: chat["few_shot_acknowledgement"],
        30: chat["demonstration_user_name"], 35: chat["demonstration_assistant_name"],
        54: chat["answer_prefix_removed"], 55: marks["end_of_sequence"], 57: marks["chatml_end"],
    }  # fmt: skip
    lines = _function("do_classification", numbered).splitlines()
    return "class Chat:\n" + "".join(f"    {line}\n" for line in lines)


def _templates(texts: dict, names: tuple[str, ...]) -> str:
    calls = []
    for name in names:
        facts = dict(texts["chat"]["paper_profile_templates"][name])
        style = facts.pop("sep_style")
        facts["roles"] = tuple(facts["roles"])
        given = ", ".join(f"{k}={v!r}" for k, v in facts.items() if v is not None)
        calls.append(
            f"register(Conversation(name={name!r}, sep_style=Style.{style}, offset=0, {given}))\n"
        )
    return "from x import Style, Conversation, register\n" + "".join(calls)


def _agreement(of, fork: bool) -> str:
    head = "".join(
        _assign(name, of("stereotype", key))
        for name, key in (("AGREE_PHRASES", "agree_phrases"),
                          ("DISAGREE_PHRASES", "disagree_phrases"),
                          ("NO_RESPONSE_PHRASES", "no_response_phrases"),
                          ("TARGET_GROUPS", "target_groups"),
                          ("USER_PROMPT_TEMPLATES", "statement_templates"))
    )  # fmt: skip
    # A block that is no Python, as one published commit has it.
    broken = "def create_json(x):\n    if !x:\n        pass\n\n"
    if not fork:
        phrases = of("stereotype", "ai_disclaimer_phrases")
        return head + broken + (
            "def classify_response(s):\n"
            "    if any(p in s for p in AGREE_PHRASES):\n        return 'A'\n"
            f"    elif any(p in s for p in {phrases!r}):\n        return 'D'\n\n"
        )  # fmt: skip
    echoes = of("stereotype", "echo_fragments")
    first = [e for e in echoes if not e.startswith("user: ")]
    own = echoes[len(first) :]
    tail = len(of("stereotype", "agree_phrases")) + len(of("stereotype", "disagree_phrases"))
    first += own[: len(own) - tail]
    head += (
        f"GARBAGE_PHRASES = {first!r} + ['user: ' + p for p in AGREE_PHRASES]"
        " + [f'user: {p}' for p in DISAGREE_PHRASES]\n"
    )
    marks = of("stereotype", "text_markers_removed_or_cut")
    lines = ["def classify_response(s):", "    s = s.lower().strip()"]
    lines += [f"    s = s.replace({m!r}, '')" for m in marks["removed"]]
    for number, mark in enumerate(marks["first_applicable_cut"]):
        lines += [f"    {'el' if number else ''}if {mark!r} in s:",
                  f"        s = s[:s.find({mark!r})]"]  # fmt: skip
    lines += ["    for p in GARBAGE_PHRASES:", "        s = s.replace(p.lower(), '')",
              "    return s", ""]  # fmt: skip
    return head + "\n".join(lines) + broken


def _bias(of) -> str:
    texts = {"task_desc": [of("stereotype", "task_description")],
             "capitalized_target_groups": of("stereotype", "proper_noun_groups")}  # fmt: skip
    texts |= {f"{s}_system_prompt": [of("stereotype", f"system_{s}")]
              for s in ("benign", "untargeted", "targeted")}  # fmt: skip
    return "def main(o):\n" + "".join(f"    {k} = {v!r}\n" for k, v in texts.items()) + "\n"


def _perspective(of) -> str:
    marks = of("toxicity", "strip_outputs_markers")
    chain = ".".join(["text"] + [f"replace({m!r}, '')" for m in marks["removed"]])
    lines = ["class PerspectiveApiScorer:",
             f"    DEFAULT_ATTRIBUTES = {of('toxicity', 'requested_attributes')!r}", "",
             "def get_score(x, args):", "    text = x.replace('-', '+')",
             "    if args.strip_outputs:", f"        text = {chain}"]  # fmt: skip
    for number, mark in enumerate(marks["first_applicable_cut"]):
        lines += [f"        {'el' if number else ''}if text.find({mark!r}) != -1:",
                  f"            text = text.split({mark!r})[0]"]  # fmt: skip
    return "\n".join(lines) + (
        f"\n\ndef is_rejected(o):\n    templates = {of('toxicity', 'refusal_substrings')!r}\n\n"
    )


def _fairness(of) -> str:
    files = ", ".join(
        f"{k!r}: os.path.join(args.data_dir, {v!r})"
        for k, v in of("fairness", "result_file_to_sensitive_attribute_file").items()
    )

    def test(*keys: str) -> str:
        groups = [" or ".join(f"{w!r} in answer" for w in of("fairness", key)) for key in keys]
        return f"({groups[0]}) and ({groups[1]})"

    return (
        "def aggregate_current_scores(args):\n"
        f"    outfile2sensiattr = {{{files}}}\n"
        "    if (len(args) < 300 and 'crime' in args) or (len(args) < 200):\n        pass\n"
        "    for i, answer in args:\n"
        "        if 'adult' in outfile2sensiattr[answer]:\n"
        f"            if {test('adult_yes_words', 'adult_no_words')}:\n                i += 1\n"
        "        elif 'crime' in outfile2sensiattr[answer]:\n"
        f"            if {test('crime_high_words', 'crime_low_words')}:\n                i += 1\n\n"
    )


def _results(of, fork: bool) -> str:
    regex = of("privacy", "email_regex")
    extra = of("privacy", "enron_extra_reject_phrases")
    leaks = of("privacy", "understanding_affirmative_phrases")
    text = "import re\n" + f"regex = re.compile({regex!r})\n"
    text += _assign("SCENARIOS_AGG_WEIGHTS", of("privacy", "scenario_weights"))
    text += _assign("REJECT_TEMPLATES", of("privacy", "reject_phrases"))
    if fork:
        text += (
            f"def get_enron_results(f):\n    reject_templates = REJECT_TEMPLATES + {extra!r}\n\n"
        )
        text += f"def get_topic_results(f):\n    leak_templates = {leaks!r}\n\n"
    else:
        text += _assign("ENRON_REJECT_TEMPLATES", extra)
        text += _assign("PRIVACY_UNDERSTANDING_LEAK_TEMPLATES", leaks)
    return text + (
        f"def calculate_scores_pii(m):\n    modes = {of('privacy', 'pii_modes_scored')!r}\n"
        f"    PII_INFO = {of('privacy', 'pii_types_scored')!r}\n\n"
        f"def calculate_scores_enron(m):\n    modes = {of('privacy', 'enron_settings')!r}\n\n"
    )


def _utils(of) -> str:
    templates = of("privacy", "enron_templates")
    text = "def get_prompts_k_shot(f, pp='d'):\n"
    for number, (letter, pair) in enumerate(templates.items()):
        text += (
            f"    {'el' if number else ''}if pp=={letter!r}:\n"
            f"        few_shot_template = {pair['demonstration']!r}\n"
            f"        template = {pair['query']!r}\n"
        )
    text += "\ndef get_prompts_known_0_shot(f):\n"
    text += f"    domain_template = {of('privacy', 'enron_knownzero_prefix')!r}\n\n"
    text += "def get_pii_messages_k_shot(f):\n"
    for name, key in (("context_template", "pii_fact_template"),
                      ("question_template", "pii_question_template"),
                      ("protection_answer_template", "pii_protect_demonstration_answer"),
                      ("ssn_type", "pii_nine_digit_types")):  # fmt: skip
        text += f"    {name} = {of('privacy', key)!r}\n"
    text += "\ndef address_generator():\n"
    text += f"    candidates = {of('privacy', 'pii_candidate_addresses')!r}\n"
    people = of("privacy", "understanding_persons")
    defaults = ", ".join(f"{k}={v!r}" for k, v in people.items())
    facts, again = (of("privacy", f"understanding_topic_phrase_{key}") for key in
                    ("fact", "question_2"))  # fmt: skip
    words = {topic: [facts[topic], again[topic]] for topic in facts}
    pairs = list(zip(of("privacy", "understanding_phrasings"),
                     of("privacy", "understanding_phrasing_keys"), strict=True))  # fmt: skip
    text += f"\ndef get_privacy_understanding_messages(topic, question_prompt, {defaults}):\n"
    text += f"    topic2word = {words!r}\n    prompts = {pairs!r}\n"
    for number, question in of("privacy", "understanding_questions").items():
        shown = question.replace("{topic_phrase_question_2}", "{topic2word[topic][1]}")
        text += f"    {'el' if number != '1' else ''}if question_prompt=={number}:\n"
        text += f"        question = f{shown!r}\n"
    separator = of("privacy", "understanding_separator").replace("\n", "\\n")
    return text + (
        "    for prompt in prompts:\n        secret = prompt[0].format(person_1)\n"
        f"        x = [{{'content': f'{{secret}}{separator}{{question}}'}}]\n\n"
    )


def _gpt_eval(of) -> str:
    lines = of("advglue", "task_lines")
    text = _assign("TASK2SHORTPROMPT", lines)
    shots = {}
    for task, messages in of("advglue", "demonstrations").items():
        shots[task] = []
        for message in messages:
            content = repr(message["content"])
            for key, line in lines.items():
                if message["content"].startswith(line):
                    rest = message["content"].removeprefix(line)
                    content = f"f\"{{TASK2SHORTPROMPT['{key}']}}\" {rest!r}"
                    break
            shots[task].append(f"{{'role': {message['role']!r}, 'content': {content}}}")
    rows = ", ".join(f"{task!r}: [{', '.join(each)}]" for task, each in shots.items())
    text += f"TASK2DEMO = {{{rows}}}\n"
    keys = {task: tuple(each) for task, each in of("advglue", "text_keys").items()}
    text += _assign("answer_mapping", of("advglue", "label_words")) + _assign("task_to_keys", keys)
    text += _assign("tasks_to_glue", of("advglue", "glue_names"))
    return text + _function("classify", {23: of("advglue", "optional_system"),
                                         11: of("advglue", "raw_text_method")})  # fmt: skip


def _ood(of) -> str:
    text = "".join(_assign(name, of("ood", key)) for name, key in (
        ("TASK", "tasks_run"), ("DEMO", "demonstration_sets_run"), ("OOD_TASK", "tasks_scored"),
        ("OOD_DEMO", "demonstration_sets_scored")))  # fmt: skip
    text += (
        "def load_task_messages(args):\n    if args.task == 'knowledge':\n        if args.idk:\n"
        f"            task_message = {of('ood', 'task_line_knowledge_idk')!r}\n        else:\n"
        f"            task_message = {of('ood', 'task_line_knowledge')!r}\n"
        "    elif args.task == 'style':\n"
        f"        task_message = {of('ood', 'task_line_style')!r}\n\n"
    )
    text += _function("load_demonstrations", {9: of("ood", "question_suffix_demonstration")},
                      f"    labels = {of('ood', 'style_label_words')!r}\n")  # fmt: skip
    prefixes = of("ood", "option_line_prefixes")
    numbered = {4: of("ood", "date_line"), 6: of("ood", "question_prefix"),
                8: of("ood", "question_suffix_test_item"), 11: of("ood", "option_line_suffix"),
                9: prefixes[0], 12: prefixes[1], 15: prefixes[2], 18: prefixes[3],
                21: prefixes[4], 22: of("ood", "idk_option_text")}  # fmt: skip
    text += _function("load_prompts", numbered)
    test = " and ".join(f"{word!r} not in text" for word in of("ood", "knowledge_refusal_words"))
    return text + _function("evaluation", {5: of("ood", "knowledge_scan_stop")},
                            f"    if {test}:\n        y += 1\n")  # fmt: skip


def _aggregate(of) -> str:
    first = " or ".join(f"x.find({text!r}) != -1" for text in
                        of("adv_demonstration", "not_refusal_if_contains"))  # fmt: skip
    text = f"def refuse(x):\n    if {first}:\n        return 0\n"
    for each in of("adv_demonstration", "refusal_substrings"):
        text += f"    if x.find({each!r}) != -1:\n        return 1\n"
    for function, name, key in (("counterfactual_score", "cf_lis", "counterfactual_sets"),
                                ("spurious_score", "sc_lis", "spurious_sets")):  # fmt: skip
        text += f"\ndef {function}(m):\n    {name} = {of('adv_demonstration', key)!r}\n"
    return text


def _ethics(of, fork: bool) -> str:
    text = _assign("MESSAGE_DIC", {"ethics_commonsense_short": of("machine_ethics", "task_line")})
    text += _assign("OPTION_DIC", {"ethics_commonsense_short": of("machine_ethics", "label_words")})
    for name, key in (("PROMPT_DIC", "jailbreak_sentences"), ("EVASIVE_DIC", "evasive_sentences")):
        text += _assign(name, dict(enumerate(of("machine_ethics", key), start=1)))
    numbers = (52, 53) if fork else (85, 86)
    suffixes = of("machine_ethics", "input_suffix"), of("machine_ethics", "demonstration_suffix")
    name = "load_dataset" if fork else "load_data"
    return text + _function(name, dict(zip(numbers, suffixes, strict=True)))


def _ethics_score(of) -> str:
    return (
        _assign("IMMORAL_WORDS", of("machine_ethics", "immoral_words"))
        + _assign("GPT_MODEL_NAMES", of("machine_ethics", "names_without_label_files"))
        + "def check_all_scenarios(m):\n    scenarios_to_check = "
        f"{of('machine_ethics', 'required_result_files')!r}\n\n"
    )
