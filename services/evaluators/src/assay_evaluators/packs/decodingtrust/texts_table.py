"""The table of all texts that `extract_texts` reads from a checkout, in `prompts.json` order."""

from __future__ import annotations

from assay_evaluators.packs.decodingtrust import entries as e
from assay_evaluators.packs.decodingtrust import finders as f
from assay_evaluators.packs.decodingtrust.entries import CT, DT, Entry, Key, Nth

_TEMPLATES = ("chat", "paper_profile_templates")
_CLASSIFY = "do_classification"
_COUNTERFACTUAL = ("snli_premise", "snli_hypothesis", "control_raising", "irregular_form",
                   "main_verb", "syntactic_category")  # fmt: skip


def _chat(*path: str, number: int) -> Entry:
    return Entry(("chat", *path), e.CHAT, Nth(_CLASSIFY, number))


CHAT = (
    _chat("system_zero_shot", number=5),
    _chat("system_few_shot", number=18),
    _chat("system_few_shot_example_prefix", number=14),
    _chat("few_shot_acknowledgement", number=25),
    _chat("demonstration_user_name", number=30),
    _chat("demonstration_assistant_name", number=35),
    _chat("answer_prefix_removed", number=54),
    _chat("answer_cut_markers", "end_of_sequence", number=55),
    _chat("answer_cut_markers", "chatml_end", number=57),
    *(
        Entry((*_TEMPLATES, name), e.CONVERSATION, f.template(name))
        for name in ("llama-2", "vicuna_v1.1", "redpajama-incite-instruct")
    ),
)
STEREOTYPE = (
    *(
        Entry(("stereotype", f"{kind}_phrases"), e.AGREEMENT, f.constant(name), differs=True)
        for kind, name in (
            ("agree", "AGREE_PHRASES"),
            ("disagree", "DISAGREE_PHRASES"),
            ("no_response", "NO_RESPONSE_PHRASES"),
        )
    ),
    Entry(("stereotype", "ai_disclaimer_phrases"), e.AGREEMENT, f.disclaimers, only=DT),
    Entry(("stereotype", "echo_fragments"), e.AGREEMENT, f.constant("GARBAGE_PHRASES"), only=CT),
    Entry(
        ("stereotype", "text_markers_removed_or_cut"),
        e.AGREEMENT,
        f.markers("classify_response", ""),
        only=CT,
    ),
    Entry(("stereotype", "target_groups"), e.AGREEMENT, f.constant("TARGET_GROUPS")),
    Entry(("stereotype", "statement_templates"), e.AGREEMENT, f.constant("USER_PROMPT_TEMPLATES")),
    Entry(
        ("stereotype", "proper_noun_groups"), e.BIAS, f.local("main", "capitalized_target_groups")
    ),
    Entry(("stereotype", "task_description"), e.BIAS, f.local("main", "task_desc", 0)),
    *(
        Entry(("stereotype", f"system_{s}"), e.BIAS, f.local("main", f"{s}_system_prompt", 0))
        for s in ("benign", "untargeted", "targeted")
    ),
)
TOXICITY = (
    *(
        Entry(
            ("toxicity", name, key),
            f"{e.P}/toxicity/toxicity_prompts.py",
            f.constant("PROMPTS", number, source),
        )
        for number, name in enumerate(("template_0_benign", "template_1_adversarial"))
        for key, source in (("system", "sys_prompt"), ("task", "task_desc"))
    ),
    Entry(("toxicity", "refusal_substrings"), e.PERSPECTIVE, f.local("is_rejected", "templates")),
    Entry(
        ("toxicity", "requested_attributes"),
        e.PERSPECTIVE,
        lambda module, variant: module.attribute("PerspectiveApiScorer", "DEFAULT_ATTRIBUTES"),
    ),
    Entry(
        ("toxicity", "strip_outputs_markers"),
        e.PERSPECTIVE,
        f.markers("get_score", "strip_outputs"),
    ),
)
FAIRNESS = (
    *(
        Entry(
            ("fairness", f"task_line_{name}"),
            f"{e.P}/fairness/task_description.py",
            f.constant("task_dic", name),
        )
        for name in ("adult", "crime")
    ),
    *(
        Entry(("fairness", f"{name}_words"), e.FAIRNESS, f.word_groups(data_set, position))
        for name, data_set, position in (
            ("adult_yes", "adult", 0),
            ("adult_no", "adult", 1),
            ("crime_high", "crime", 0),
            ("crime_low", "crime", 1),
        )
    ),
    Entry(("fairness", "result_file_to_sensitive_attribute_file"), e.FAIRNESS, f.attribute_files),
)
_PII = "get_pii_messages_k_shot"
PRIVACY = (
    Entry(("privacy", "reject_phrases"), e.RESULTS, f.constant("REJECT_TEMPLATES")),
    Entry(
        ("privacy", "enron_extra_reject_phrases"),
        e.RESULTS,
        f.constant_or_tail("ENRON_REJECT_TEMPLATES", "get_enron_results", "reject_templates"),
    ),
    Entry(
        ("privacy", "understanding_affirmative_phrases"),
        e.RESULTS,
        f.constant_or_tail(
            "PRIVACY_UNDERSTANDING_LEAK_TEMPLATES", "get_topic_results", "leak_templates"
        ),
    ),
    Entry(("privacy", "email_regex"), e.RESULTS, f.pattern_of("regex")),
    Entry(
        ("privacy", "scenario_weights"),
        e.RESULTS,
        f.constant("SCENARIOS_AGG_WEIGHTS"),
        differs=True,
    ),
    *(
        Entry(("privacy", "enron_templates", letter, key), e.UTILS, f.enron_template(letter, name))
        for letter in "abcd"
        for key, name in (("query", "template"), ("demonstration", "few_shot_template"))
    ),
    Entry(
        ("privacy", "enron_knownzero_prefix"),
        e.UTILS,
        f.local("get_prompts_known_0_shot", "domain_template"),
    ),
    Entry(("privacy", "enron_settings"), e.RESULTS, f.local("calculate_scores_enron", "modes")),
    Entry(
        ("privacy", "pii_system_prompt"),
        e.SECRETS,
        f.constant("PROMPT_TEMPLATE", 1, "sys_prompt"),
    ),
    Entry(("privacy", "pii_types_scored"), e.RESULTS, f.local("calculate_scores_pii", "PII_INFO")),
    Entry(("privacy", "pii_types_generated"), e.PII_CONFIG, Key("personal_infos")),
    Entry(("privacy", "pii_types_defined"), e.SECRETS, f.constant("PII_INFO")),
    Entry(("privacy", "pii_modes_scored"), e.RESULTS, f.local("calculate_scores_pii", "modes")),
    *(
        Entry(("privacy", key), e.UTILS, f.local(_PII, name))
        for key, name in (
            ("pii_nine_digit_types", "ssn_type"),
            ("pii_fact_template", "context_template"),
            ("pii_question_template", "question_template"),
            ("pii_protect_demonstration_answer", "protection_answer_template"),
        )
    ),
    Entry(
        ("privacy", "pii_candidate_addresses"), e.UTILS, f.local("address_generator", "candidates")
    ),
    Entry(("privacy", "understanding_phrasings"), e.UTILS, f.phrasings(0)),
    Entry(("privacy", "understanding_phrasing_keys"), e.UTILS, f.phrasings(1)),
    Entry(("privacy", "understanding_topics"), e.SECRETS, f.constant("PRIVACY_TOPIC")),
    Entry(("privacy", "understanding_topic_phrase_fact"), e.UTILS, f.topic_phrases(0)),
    Entry(("privacy", "understanding_topic_phrase_question_2"), e.UTILS, f.topic_phrases(1)),
    Entry(("privacy", "understanding_persons"), e.UTILS, f.persons),
    *(
        Entry(("privacy", "understanding_questions", str(k)), e.UTILS, f.question(k))
        for k in (1, 2, 3)
    ),
    Entry(("privacy", "understanding_separator"), e.UTILS, f.separator),
)
ADVGLUE = (
    *(
        Entry(("advglue", key), e.GPT_EVAL, f.constant(name))
        for key, name in (
            ("task_lines", "TASK2SHORTPROMPT"),
            ("demonstrations", "TASK2DEMO"),
            ("label_words", "answer_mapping"),
            ("text_keys", "task_to_keys"),
            ("glue_names", "tasks_to_glue"),
        )
    ),
    Entry(("advglue", "source_models"), f"{e.P}/advglue/adv_stats.py", f.constant("BASE_MODELS")),
    Entry(("advglue", "optional_system"), e.GPT_EVAL, Nth("classify", 23)),
    Entry(("advglue", "raw_text_method"), e.GPT_EVAL, Nth("classify", 11)),
)
OOD = (
    Entry(("ood", "task_line_style"), e.OOD, f.task_message("style"), differs=True),
    Entry(("ood", "task_line_knowledge"), e.OOD, f.task_message("knowledge", idk=False)),
    Entry(("ood", "task_line_knowledge_idk"), e.OOD, f.task_message("knowledge", idk=True)),
    Entry(("ood", "style_label_words"), e.OOD, f.local("load_demonstrations", "labels")),
    *(
        Entry(("ood", key), e.OOD, Nth(function, number))
        for key, function, number in (
            ("idk_option_text", "load_prompts", 22),
            ("date_line", "load_prompts", 4),
            ("question_prefix", "load_prompts", 6),
            ("question_suffix_test_item", "load_prompts", 8),
            ("question_suffix_demonstration", "load_demonstrations", 9),
        )
    ),
    Entry(("ood", "option_line_prefixes"), e.OOD, f.option_prefixes),
    Entry(("ood", "option_line_suffix"), e.OOD, Nth("load_prompts", 11)),
    Entry(("ood", "knowledge_scan_stop"), e.OOD, Nth("evaluation", 5)),
    Entry(("ood", "knowledge_refusal_words"), e.OOD, f.refusal_words),
    *(
        Entry(("ood", key), e.OOD, f.constant(name))
        for key, name in (
            ("tasks_run", "TASK"),
            ("demonstration_sets_run", "DEMO"),
            ("tasks_scored", "OOD_TASK"),
            ("demonstration_sets_scored", "OOD_DEMO"),
        )
    ),
)
ADV_DEMONSTRATION = (
    Entry(
        ("adv_demonstration", "task_lines"),
        f"{e.P}/adv_demonstration/task_description.py",
        f.constant("task_dic"),
    ),
    *(
        Entry(
            ("adv_demonstration", "set_to_task_key", name),
            f"{e.ADV_CONFIGS}/counterfactual_{name}_cf.yaml",
            Key("task"),
        )
        for name in _COUNTERFACTUAL
    ),
    Entry(
        ("adv_demonstration", "backdoor_task_key"),
        f"{e.ADV_CONFIGS}/backdoor_exp1_badword_setup1.yaml",
        Key("task"),
    ),
    Entry(
        ("adv_demonstration", "spurious_task_key"),
        f"{e.P}/adv_demonstration/test_sc_hydra.py",
        Nth("test", 15, 11),
    ),
    Entry(("adv_demonstration", "not_refusal_if_contains"), e.AGGREGATE, f.refusals(first=True)),
    Entry(("adv_demonstration", "refusal_substrings"), e.AGGREGATE, f.refusals(first=False)),
    Entry(
        ("adv_demonstration", "counterfactual_sets"),
        e.AGGREGATE,
        f.local("counterfactual_score", "cf_lis"),
    ),
    Entry(("adv_demonstration", "spurious_sets"), e.AGGREGATE, f.local("spurious_score", "sc_lis")),
)
_SHORT = "ethics_commonsense_short"


def _suffix(dt: int, ct: int) -> Nth:
    return Nth("load_data", dt, ct, "load_dataset")


ETHICS = (
    Entry(("machine_ethics", "task_line"), e.ETHICS, f.constant("MESSAGE_DIC", _SHORT)),
    Entry(("machine_ethics", "label_words"), e.ETHICS, f.constant("OPTION_DIC", _SHORT)),
    Entry(("machine_ethics", "jailbreak_sentences"), e.ETHICS, f.numbered("PROMPT_DIC")),
    Entry(("machine_ethics", "evasive_sentences"), e.ETHICS, f.numbered("EVASIVE_DIC")),
    Entry(("machine_ethics", "input_suffix"), e.ETHICS, _suffix(85, 52)),
    Entry(
        ("machine_ethics", "demonstration_suffix"),
        e.ETHICS,
        _suffix(86, 53),
    ),
    Entry(("machine_ethics", "immoral_words"), e.ETHICS_SCORE, f.constant("IMMORAL_WORDS")),
    Entry(
        ("machine_ethics", "required_result_files"),
        e.ETHICS_SCORE,
        f.local("check_all_scenarios", "scenarios_to_check"),
    ),
    Entry(
        ("machine_ethics", "names_without_label_files"),
        e.ETHICS_SCORE,
        f.constant("GPT_MODEL_NAMES"),
    ),
)
DIMENSIONS = {
    "stereotype": STEREOTYPE,
    "toxicity": TOXICITY,
    "fairness": FAIRNESS,
    "privacy": PRIVACY,
    "advglue": ADVGLUE,
    "ood": OOD,
    "adv_demonstration": ADV_DEMONSTRATION,
    "ethics": ETHICS,
}
"""Texts of a DecodingTrust checkout by dimension; `CHAT` belongs to all."""

COMP_TRUST = (
    *(
        Entry((*_TEMPLATES, name), e.CT_CONVERSATION, f.template(name))
        for name in ("llama-2_no_sys", "llama-2_trust", "llama-2_fact")
    ),
    Entry(("mmlu", "header"), e.CT_MMLU, Nth("gen_prompt", 1)),
    Entry(("mmlu", "option_line"), e.CT_MMLU, Nth("format_example", 1)),
    Entry(("mmlu", "answer_prompt"), e.CT_MMLU, Nth("format_example", 2)),
    Entry(("mmlu", "demonstration_answer"), e.CT_MMLU, Nth("format_example", 3)),
    Entry(("mmlu", "choices"), e.CT_MMLU, f.constant("choices")),
)
"""Texts of a checkout of comp-trust."""
