"""Chats for tools/tokenize: a model's own chat template (Jinja, as checkpoints have it) makes one text of the messages, and says
which of it the assistant wrote: by its own {% generation %} marks, or, without those, by what a message adds to the text that
asks for it, or else by where its content comes out."""

import datetime
import json
import os


class Wrong(Exception):
    """What is wrong with the command or the data, for the user."""


# Characters that no text has stand around what {% generation %} encloses, until the text is made.
BEGIN, END = "\ue0f0", "\ue0f1"


def settings_of(tokenizer):
    """What tokenizer_config.json beside the tokenizer says, and the marks in it by their keys."""
    path = os.path.join(os.path.dirname(os.path.abspath(tokenizer)), "tokenizer_config.json")
    settings = {}
    try:
        with open(path, encoding="utf-8") as file:
            settings = json.load(file)
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise Wrong(f"{path}: {error}") from error
    marks = {key: value["content"] if isinstance(value, dict) else value for key, value in settings.items()
             if key.endswith("_token") and (isinstance(value, str) or (isinstance(value, dict) and "content" in value))}
    return settings, marks


def marks_of(tokenizer):
    """By the key of a mark the list of what the checkpoint says of it: one name, or none."""
    _, marks = settings_of(tokenizer)
    return lambda key: [marks[key]] if key in marks else []


def find_template(arguments):
    """The template's text, and the names of the marks that it may use."""
    folder = os.path.dirname(os.path.abspath(arguments.tokenizer))
    settings, marks = settings_of(arguments.tokenizer)
    path = arguments.chat_template or os.path.join(folder, "chat_template.jinja")
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(), marks
    except FileNotFoundError as error:
        if arguments.chat_template:
            raise Wrong(f"--chat-template: {path}: there is no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise Wrong(f"{path}: {error}") from error
    template = settings.get("chat_template")
    if isinstance(template, list):  # several, by name
        template = {one.get("name"): one.get("template") for one in template if isinstance(one, dict)}.get("default")
    if not isinstance(template, str):
        raise Wrong(f"the tokenizer has no chat template (chat_template.jinja, or `chat_template` in tokenizer_config.json, in {folder}): "
                    "--chat-template FILE names one, as the checkpoint's chat model has it")
    return template, marks


def environment():
    try:
        import jinja2
        from jinja2.ext import Extension
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise Wrong("the library jinja2 is missing: pip install -r tools/tokenize-requirements.txt") from error

    class Generation(Extension):
        tags = {"generation"}

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return jinja2.nodes.CallBlock(self.call_method("mark"), [], [], body).set_lineno(line)

        def mark(self, caller):
            return BEGIN + caller() + END

    def refuse(message):
        raise jinja2.exceptions.TemplateError(message)

    def to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                         extensions=[Generation, "jinja2.ext.loopcontrols"])
    made.filters["tojson"] = to_json
    made.globals["raise_exception"] = refuse
    made.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return made


def messages_of(entry, where):
    """The messages of an entry, and how many of them are the prompt, of which nothing counts."""
    roles = {"human": "user", "gpt": "assistant"}
    if "messages" in entry:
        messages, given = entry["messages"], 0
    elif "conversations" in entry:
        messages, given = entry["conversations"], 0
        if isinstance(messages, list) and all(isinstance(m, dict) and "from" in m for m in messages):
            messages = [{"role": roles.get(m["from"], m["from"]), "content": m.get("value")} for m in messages]
    else:
        messages, given = entry["prompt"] + entry["completion"], len(entry["prompt"])
    if not isinstance(messages, list) or not messages:
        raise Wrong(f'{where}: "messages" is not a list of {{"role": "..", "content": ".."}}')
    for number, m in enumerate(messages):
        if not isinstance(m, dict) or not isinstance(m.get("role"), str):
            raise Wrong(f'{where}: message {number + 1} is not an object with a "role" and a "content"')
        if not isinstance(m.get("content"), str) and not (m.get("content") is None and m.get("tool_calls")):
            raise Wrong(f'{where}: the "content" of message {number + 1} is not a text')
    if not any(m["role"] == "assistant" for m in messages[given:]):
        raise Wrong(f"{where}: no message is the assistant's, so there is nothing to learn")
    return messages, given


class Chats:
    def __init__(self, arguments, tokenizer):
        text, self.marks = find_template(arguments)
        self.all = arguments.loss == "all"
        added = tokenizer.get_added_tokens_decoder().values()
        self.special = sorted((t.content for t in added if t.special), key=len, reverse=True)
        made = environment()
        self.wrong = __import__("jinja2").exceptions.TemplateError
        self.marked = "{% generation" in text or "{%- generation" in text
        try:
            self.template = made.from_string(text)
        except self.wrong as error:
            raise Wrong(f"the chat template is no Jinja that can be read: {error}") from error

    def render(self, messages, entry, where, asks=False):
        try:
            return self.template.render(messages=messages, tools=entry.get("tools"), documents=entry.get("documents"),
                                        add_generation_prompt=asks, **self.marks)
        except (self.wrong, TypeError) as error:
            raise Wrong(f"{where}: the chat template refuses the messages: {error}") from error

    def without_end(self, text):
        """What a turn adds, without the blanks that a template puts behind its last mark."""
        bare = text.rstrip()
        return bare if any(bare.endswith(mark) for mark in self.special) else text

    def plain_bytes(self, text):
        for mark in self.special:
            text = text.replace(mark, "")
        return len(text.encode())

    def make(self, entry, where):
        """The text of a chat, and the spans of it that the assistant wrote."""
        messages, given = messages_of(entry, where)
        full = self.render(messages, entry, where)
        if self.all:
            full = full.replace(BEGIN, "").replace(END, "")
            return full, [(0, len(full))]
        if self.marked:
            return self.take_marks(full, given and self.render(messages[:given], entry, where), where)
        spans = []
        for number in range(given, len(messages)):
            if messages[number]["role"] != "assistant":
                continue
            before = self.render(messages[:number], entry, where, asks=True)
            upto = self.render(messages[:number + 1], entry, where)
            if not upto.startswith(before) or not full.startswith(upto.rstrip()):
                return full, self.find_contents(messages, given, full, entry, where, number)
            spans.append((len(before), min(len(before) + len(self.without_end(upto[len(before):])), len(full))))
        return full, spans

    def find_contents(self, messages, given, full, entry, where, number):
        """Where a template writes a turn otherwise once more follow (it drops thoughts of earlier ones): the contents stand where
        marks around them come out, if nothing else changes by those; and the mark that ends a turn may follow at once."""
        marked = [dict(m, content=BEGIN + m["content"] + END) if m["role"] == "assistant" and k >= given and m.get("content") else m
                  for k, m in enumerate(messages)]
        text = self.render(marked, entry, where)
        spans, begin, size = [], None, 0
        for piece in text.replace(END, BEGIN).split(BEGIN):
            if begin is not None:
                end = next((m for m in self.special if full.startswith(m, size + len(piece))), "")
                spans.append((size, size + len(piece) + len(end)))
            begin = 0 if begin is None else None
            size += len(piece)
        if not spans or text.replace(BEGIN, "").replace(END, "") != full:
            raise Wrong(f"{where}: the chat template writes what is before message {number + 1} otherwise once that follows, so the "
                        "assistant's part cannot be told: --chat-template FILE with {% generation %} around it, or --loss all")
        return spans

    def take_marks(self, full, prompt, where):
        """The text without the marks, and what stood between them; none of the prompt's, which come first."""
        text, spans, begin = [], [], None
        size = 0
        for piece in full.replace(END, BEGIN).split(BEGIN):
            if begin is not None:
                spans.append((size, size + len(piece)))
            begin = 0 if begin is None else None
            text.append(piece)
            size += len(piece)
        if not spans:
            raise Wrong(f"{where}: the chat template's {{% generation %}} encloses nothing of it")
        return "".join(text), spans[prompt.count(BEGIN) if prompt else 0:]
