#!/usr/bin/env python3
"""Chats through tools/tokenize, on a tokenizer of bytes made here: what counts, decoded again, is what the assistant said with the
mark that ends its turn, and nothing else; with {% generation %} in the template ids and mask are those of transformers'
apply_chat_template, where that library is. Without tokenizers or jinja2: exit code 77, skipped."""
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

try:
    import jinja2  # noqa: F401
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
except ImportError as missing:
    print(f"skipped: python has no library {missing.name} (pip install -r tools/tokenize-requirements.txt)")
    sys.exit(77)
try:
    from transformers import PreTrainedTokenizerFast
except ImportError:
    PreTrainedTokenizerFast = None
    print("transformers is not installed: its masks are not compared")

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools/tokenize"
CHATML = ("{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}GENERATION{{ m.content + '<|im_end|>' }}ENDGENERATION{{ '\\n' }}"
          "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
PLAIN = CHATML.replace("ENDGENERATION", "").replace("GENERATION", "")
MARKED = ("{{ bos_token }}{%- for m in messages %}\n    {{- '<|im_start|>' + m.role + '\\n' }}\n    {%- if m.role == 'assistant' %}\n"
          "        {%- generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}\n    {%- else %}\n        {{- m.content + '<|im_end|>' }}\n"
          "    {%- endif %}\n    {{- '\\n' }}\n{%- endfor %}\n{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
MISTRAL = ("{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}{% elif m.role == "
           "'assistant' %}{{ ' ' + m.content + '<|im_end|>' }}{% else %}{{ raise_exception('roles are user and assistant') }}{% endif %}"
           "{% endfor %}")
# Writes what was before otherwise once more follows: with thoughts in the last answer alone; and so that nothing can be told.
THINKING = ("{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' and loop.last %}{{ '<think>\\n\\n</think>\\n' }}"
            "{% endif %}{{ m.content + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
TURNING = "{% for m in messages %}{{ messages|length }}{{ m.role }}{{ m.content|length }}{{ m.content }}{% endfor %}"


def turn(*texts, system=None):
    found = [{"role": "system", "content": system}] if system else []
    return found + [{"role": "assistant" if k % 2 else "user", "content": t} for k, t in enumerate(texts)]


CHATS = [
    {"messages": turn("What is said?", "What is said is this.", "And again?", " Again, with blanks \n\n", system="Be short.")},
    {"messages": turn("Grüße, 你好 🙂?", "🙂 ça va — 你好.")},
    {"messages": turn("No answer yet?", "Yes: one.", "And now?")},
    {"conversations": [{"from": "human", "value": "Old form?"}, {"from": "gpt", "value": "It is read."}]},
    {"prompt": turn("First?", "Not this.", "Second?"), "completion": [{"role": "assistant", "content": "This alone."}]},
]
SAID = [["What is said is this.", " Again, with blanks \n\n"], ["🙂 ça va — 你好."], ["Yes: one."], ["It is read."], ["This alone."]]
END = "<|im_end|>"


def make_tokenizer(folder):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    texts = [json.dumps(c, ensure_ascii=False) for c in CHATS] * 3
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=330, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                                             show_progress=False))
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in ("<s>", "<|im_start|>", END, "<pad>")])
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


def settings(folder, template):
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": {"__type": "AddedToken", "content": END}, "pad_token": "<pad>",
        "chat_template": template}))


def run(folder, entries, *options):
    data = folder / "data.jsonl"
    data.write_text("".join(json.dumps(e) + "\n" for e in entries))
    return subprocess.run([sys.executable, str(TOOL), "--tokenizer", str(folder), "--quiet", "-o",
                           str(folder / "made.safetensors"), *options, str(data)], capture_output=True, text=True)


def documents(folder):
    """(ids, mask) of each, read from the file by hand."""
    raw = (folder / "made.safetensors").read_bytes()
    size, = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8:8 + size])

    def values(name, form, width):
        begin, end = header[name]["data_offsets"]
        return struct.unpack(f"<{(end - begin) // width}{form}", raw[8 + size + begin:8 + size + end])
    ids, bounds = values("ids", "H", 2), values("documents", "q", 8)
    mask = values("loss_mask", "B", 1) if "loss_mask" in header else (0, *[1] * (len(ids) - 1))
    sizes = values("text_bytes", "i", 4) if "text_bytes" in header else None
    return [(ids[b:e], mask[b:e]) for b, e in zip(bounds, bounds[1:])], sizes


def spoken(tokenizer, ids, mask):
    """The texts of the runs of ids that count."""
    runs, run_ids = [], []
    for k, counts in zip((*ids, None), (*mask, 0)):
        if counts:
            run_ids.append(k)
        elif run_ids:
            runs.append(tokenizer.decode(run_ids, skip_special_tokens=False))
            run_ids = []
    return runs


def same(what, found, wanted):
    if found != wanted:
        sys.exit(f"check_chats: {what}: {found!r}, not {wanted!r}")


def made(folder, entries, *options):
    done = run(folder, entries, *options)
    if done.returncode:
        sys.exit(f"check_chats: {done.stderr}")
    return documents(folder)


def fails(folder, entries, message, *options):
    done = run(folder, entries, *options)
    if done.returncode == 0 or message not in done.stderr:
        sys.exit(f"check_chats: \"{message}\" is not in: {done.stderr or 'success'}")


def main():
    with tempfile.TemporaryDirectory(prefix="check_chats_") as name:
        folder = pathlib.Path(name)
        tokenizer = make_tokenizer(folder)
        for template, before in ((PLAIN, ""), (MARKED, "")):
            settings(folder, template)
            found, sizes = made(folder, CHATS)
            for (ids, mask), said in zip(found, SAID):
                same("what counts", spoken(tokenizer, ids, mask), [before + s + END for s in said])
            same("bytes", list(sizes), [sum(len(s.encode()) for s in said) for said in SAID])
        if PreTrainedTokenizerFast:
            theirs = PreTrainedTokenizerFast.from_pretrained(folder)
            for (ids, mask), chat in zip(found, CHATS[:3]):
                wanted = theirs.apply_chat_template(chat["messages"], tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
                same("transformers' ids", list(ids), list(wanted["input_ids"]))
                same("transformers' mask", list(mask), list(wanted["assistant_masks"]))
        # the file beside the tokenizer comes first; the whole counts where that is asked for, but for what nothing precedes
        (folder / "chat_template.jinja").write_text(MISTRAL)
        found, _ = made(folder, CHATS[1:4])
        for (ids, mask), said in zip(found, SAID[1:4]):
            same("what counts", spoken(tokenizer, ids, mask), [" " + s + END for s in said])
            same("begin", tokenizer.decode(ids, skip_special_tokens=False)[:10], "<s>[INST] ")
        found, _ = made(folder, CHATS[1:2], "--loss", "all")
        same("--loss all", found[0][1], (0, *[1] * (len(found[0][0]) - 1)))
        fails(folder, CHATS[:1], "data.jsonl: line 1: the chat template refuses the messages: roles are user and assistant")
        (folder / "chat_template.jinja").unlink()
        # instructions as chats; prompts with a completion, two texts
        settings(folder, PLAIN)
        entry = {"instruction": "Add.", "input": "1 {output} 2", "output": "3"}
        found, _ = made(folder, [entry], "--template", "chat")
        same("an instruction", tokenizer.decode(found[0][0], skip_special_tokens=False),
             f"<|im_start|>user\nAdd.\n\n1 {{output}} 2{END}\n<|im_start|>assistant\n3{END}\n")
        same("its answer", spoken(tokenizer, *found[0]), [f"3{END}"])
        pair = {"prompt": "One and", "completion": " two."}
        found, sizes = made(folder, [pair])  # its end is the checkpoint's
        same("a completion", (tokenizer.decode(found[0][0], skip_special_tokens=False), spoken(tokenizer, *found[0]), list(sizes)),
             (f"<s>One and two.{END}", [f" two.{END}"], [5]))
        same("another end", made(folder, [pair], "--eos", "<s>")[0][0][0][-1], tokenizer.token_to_id("<s>"))
        found, _ = made(folder, [pair], "--loss", "all")
        same("all of it", spoken(tokenizer, *found[0]), [f"One and two.{END}"])
        # what is wrong
        for wrong, message in (
                ({"messages": []}, 'line 1: "messages" is not a list of {"role": "..", "content": ".."}'),
                ({"messages": [{"role": "user"}]}, 'line 1: the "content" of message 1 is not a text'),
                ({"messages": [{"content": "x"}]}, 'line 1: message 1 is not an object with a "role"'),
                ({"messages": turn("Alone?")}, "line 1: no message is the assistant's"),
                ({"prompt": "a", "completion": []}, '"prompt" and "completion" are two texts, or two lists of messages'),
                ({"question": "a"}, 'line 1: an entry has "messages"; "prompt" and "completion"; "instruction"')):
            fails(folder, [wrong], message)
        settings(folder, THINKING)
        found, _ = made(folder, CHATS[:1])
        same("what counts", spoken(tokenizer, *found[0]), [s + END for s in SAID[0]])
        settings(folder, TURNING)
        same("--loss all", len(made(folder, CHATS[:1], "--loss", "all")[0]), 1)
        fails(folder, CHATS[:1], "writes what is before message 3 otherwise once that follows")
        settings(folder, "{% for %}")
        fails(folder, CHATS[:1], "the chat template is no Jinja that can be read: ")
        settings(folder, None)
        fails(folder, CHATS[:1], "the tokenizer has no chat template (chat_template.jinja")
        fails(folder, CHATS[:1], "--chat-template: none.jinja: there is no such file", "--chat-template", "none.jinja")
    print("tools/tokenize: of chats counts what the assistant says" + (", as transformers has it" if PreTrainedTokenizerFast else ""))


if __name__ == "__main__":
    main()
