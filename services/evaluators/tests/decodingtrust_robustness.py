"""AdvGLUE++, out-of-distribution and adversarial demonstrations, as DecodingTrust writes them."""

from __future__ import annotations

from pathlib import Path

from decodingtrust_writer import response, write_json

# -- AdvGLUE++ -------------------------------------------------------------------------------------
ADVGLUE_SIZES = {"sst2": 8, "qqp": 4, "mnli": 6, "rte": 2}


def write_advglue_run(root: Path, model: str, answer, *, demo="-demo", stored=None):
    """`answer(source, task, position, label)`; labels count up."""
    folder = root / "results/adv-glue-plus-plus" / model
    for source in ("alpaca", "vicuna", "stable-vicuna"):
        document = {}
        for task, size in ADVGLUE_SIZES.items():
            labels = [k % (3 if task == "mnli" else 2) for k in range(size)]
            texts = [answer(source, task, k, label) for k, label in enumerate(labels)]
            document[task] = {
                "requests": [{"model": model, "messages": [], "temperature": 0}] * size,
                "responses": [response(text) for text in texts],
                "labels": labels,
                "predictions": stored or labels,
                "score": {"accuracy": 1.0},
            }
        write_json(folder / f"{source}{demo}.json", document)
    return folder


# -- out-of-distribution ---------------------------------------------------------------------------
STYLES = ("shake_w", "augment", "shake_p0", "shake_p0.6", "bible_p0", "bible_p0.6", "romantic_p0",
          "romantic_p0.6", "tweet_p0", "tweet_p0.6")  # fmt: skip
STRONG = ("shake_p0.6", "bible_p0.6", "romantic_p0.6", "tweet_p0.6")
DOMAINS = ("global_facts", "machine_learning", "moral_scenarios", "us_foreign_policy")
OOD_TASKS = (
    *STYLES, "qa_2023", "qa_2023_idk",
    *(f"{style}_base_{run}" for style in STRONG for run in range(3)),
    *(f"qa_2020_{domain}_{run}" for domain in DOMAINS for run in range(3)),
)  # fmt: skip


def sentence(style: str, k: int) -> str:
    return f"The {style} film number {k}."


def question(task: str, k: int) -> dict:
    return {"question_id": f"{task}-{k}", "question_date": "2023/01/02", "answer": [str(k % 4)],
            "question_sentence": f"What of {task} number {k}?",
            "choices": [f"{word} thing" for word in ("red", "green", "blue", "grey")]}  # fmt: skip


def write_ood_data(root: Path) -> None:
    styles = {
        style: [{"sentence": sentence(style, k), "label": str(k % 2), "id": k} for k in range(872)]
        for style in ("base", *STYLES)
    }
    shots = {f"{style}_{run}": [{"sentence": f"Shot {k}.", "label": "1"} for k in range(8)]
             for style in ("base", *STRONG) for run in range(3)}  # fmt: skip
    write_json(root / "data/ood/style.json", {"dev": styles, "train_demo": shots})
    tests = {f"qa_{year}": [question(f"qa_{year}", k) for k in range(size)]
             for year, size in ((2020, 855), (2023, 263))}  # fmt: skip
    demos = {f"{domain}_{run}": [question(domain, k) for k in range(5)]
             for domain in (*DOMAINS, "2021_qa") for run in range(3)}  # fmt: skip
    write_json(root / "data/ood/knowledge.json", {"test": tests, "demo": demos})


def ood_pairs(task: str, answer):
    """`answer(task, position, gold, gold_text)`; few-shot prompts end with the input alone."""
    shots = task[-2:] in ("_0", "_1", "_2")
    if task.startswith("qa_"):
        name, line = task[:7], "Which option, 4 for none?" if "idk" in task else "Which option?"
        for k in range(855 if name == "qa_2020" else 263):
            item = question(name, k)
            text = f"It is 2023/01/02. \nQ: {item['question_sentence']}\n 0 : ..."
            content = text if shots else f"{line}\n{text}"
            yield [[{"role": "user", "content": content}],
                   response(answer(task, k, str(k % 4), item["choices"][k % 4]))]  # fmt: skip
        return
    style = task.removesuffix("_base" + task[-2:]) if shots else task
    for k in range(872):
        text = sentence(style, k)
        gold = ("negative", "positive")[k % 2]
        content = text if shots else f"Which mood?\n{text}"
        yield [[{"role": "user", "content": content}], response(answer(task, k, gold, gold))]


def write_ood_run(root: Path, model: str, answer, tasks=OOD_TASKS):
    folder = root / "results/ood/results" / model
    files: dict[str, dict] = {}
    for task in tasks:
        shots = task[-2:] in ("_0", "_1", "_2")
        if task.startswith("qa_"):
            idk = task.endswith("_idk")
            kind = "2020_5shot" if shots else "idk" if idk else "standard"
            name, key = f"knowledge_{kind}", task.removesuffix("_idk")
        else:
            name, key = "style_8shot" if shots else "style", task
        files.setdefault(name, {})[key] = {
            "outputs": list(ood_pairs(task, answer)), "cost": 0, "score": {"acc": 1},
        }  # fmt: skip
    for name, document in files.items():
        write_json(folder / f"{name}.json", document)
    return folder


def write_ood_archive(root: Path, answer, tasks=OOD_TASKS):
    """GPT-4, whose zero-shot files write its name short."""
    folder = root / "data/ood/generations"
    aliases = {"augment": "aug", "shake_w": "shake_pert"}
    for task in tasks:
        run = task[-1]
        if task in STYLES:
            name = f"styles/{aliases.get(task, task)}_gpt4_standard_0-shot"
        elif task.startswith("qa_2023"):
            kind = "idk" if task.endswith("idk") else "standard"
            name = f"knowledge/qa2023_gpt4_{kind}_0-shot"
        elif task.startswith("qa_2020"):
            name = f"knowledge/{task[8:-2]}_qa2020_gpt-4-0314_5-shot_{run}"
        else:
            name = f"styles/{task.removesuffix('_base_' + run)}_gpt-4-0314_ood_8-shot_{run}"
        write_json(folder / f"{name}.jsonl", list(ood_pairs(task, answer)))
    return folder


# -- adversarial demonstrations --------------------------------------------------------------------
CF_SETS = ("snli_premise", "snli_hypothesis", "control_raising", "irregular_form", "main_verb",
           "syntactic_category")  # fmt: skip
HEURISTICS = ("PP", "adverb", "embedded_under_verb", "l_relative_clause", "passive",
              "s_relative_clause")  # fmt: skip
ADV_SETS = {
    **{f"counterfactual/{name}_cf": ((42, 2333, 10007), 400 if "snli" in name else 1000)
       for name in CF_SETS},
    **{f"spurious/{name}/{bias}": ((0, 42, 2333, 10007, 12306), 2000)
       for name in HEURISTICS for bias in ("entail-bias", "non-entail-bias")},
    **{f"backdoor/experiment1/sst-2_setup{n}_{attack}_{kind}": ((42, 2333, 10007), size)
       for n in (1, 2, 3) for attack in ("badword", "addsent", "synbkd", "stylebkd")
       for kind, size in (("asr", 428), ("cacc", 872))},
}  # fmt: skip


def adv_labels(path: str, size: int) -> list[str]:
    """Labels in the order of the answers; spurious: yes-items first."""
    if path.startswith("spurious"):
        return ["yes"] * (size // 2) + ["no"] * (size // 2)
    if path.startswith("backdoor"):
        return ["positive" if path.endswith("asr") or k % 2 else "negative" for k in range(size)]
    return [("yes", "no")[k % 2] for k in range(size)]


def write_adv_run(root: Path, model: str, answer, sets=tuple(ADV_SETS)):
    """`answer(path, position, label)`; requests are empty, labels are stored."""
    folder = root / "results/adv_demonstration"
    for path in sets:
        seeds, size = ADV_SETS[path]
        labels = adv_labels(path, size)
        replies = [{"choices": [{"index": 0, "message": {"content": answer(path, k, label)}}]}
                   for k, label in enumerate(labels)]  # fmt: skip
        for seed in seeds:
            write_json(folder / path / f"{model.replace('/', '_')}_{seed}.jsonl", {
                "requests": [[]] * size, "responses": replies, "labels": labels,
                "scores": {"acc": 0.5},
            })  # fmt: skip
    return folder


def write_adv_archive(root: Path, model: str, path: str, seed: int, texts):
    choices = [[{"index": 0, "message": {"content": text}, "finish_reason": "stop"}]
               for text in texts]  # fmt: skip
    folder = root / "data/adv_demonstration/generations"
    return write_json(folder / path / f"{model}_{seed}.jsonl", choices)
