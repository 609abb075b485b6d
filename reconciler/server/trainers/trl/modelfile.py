"""What Ollama makes a model of: a Modelfile for a GGUF file. Pure."""

from __future__ import annotations

from reconciler.server.trainers.trl.dialogue import Dialogue, Unsupported

_ASKED = (
    {"role": "system", "content": "One"},
    {"role": "user", "content": "Two"},
    {"role": "assistant", "content": "Three"},
    {"role": "user", "content": "Four"},
)
_CHATML_END = "<|im_end|>"


def modelfile(file: str, dialogue: Dialogue, *, begins: str | None, ends: str | None) -> str:
    """Return a Modelfile for a GGUF file. ``begins`` and ``ends`` are what begins and ends the model's texts.

    Ollama knows the chat templates of well-known families by the GGUF file. It is told of ChatML, which it might not
    know where a template writes it in words of its own, and of what ends a turn where that is not what ends a text.
    """
    lines = [f"FROM ./{file}"]
    end = next((end for end in (ends, _CHATML_END) if end and _is_chatml(dialogue, begins or "", end)), None)
    if end is not None:
        lines += [
            'TEMPLATE """{{ range .Messages }}<|im_start|>{{ .Role }}',
            "{{ .Content }}" + end,
            "{{ end }}<|im_start|>assistant",
            '"""',
        ]
        if system := _own_system(dialogue, begins or "", end):
            lines.append(f'SYSTEM """{system}"""')
        if end != ends:
            lines.append(f'PARAMETER stop "{end}"')
    return "\n".join([*lines, ""])


def _is_chatml(dialogue: Dialogue, begins: str, end: str) -> bool:
    turns = "".join(f"<|im_start|>{turn['role']}\n{turn['content']}{end}\n" for turn in _ASKED)
    whole = f"{turns}<|im_start|>assistant\n"
    try:
        return dialogue.prompt(_ASKED) in {whole, begins + whole}
    except Unsupported:
        return False


def _own_system(dialogue: Dialogue, begins: str, end: str) -> str:
    """Return the system message that the template itself puts where there is none."""
    try:
        text = dialogue.prompt(_ASKED[1:2])
    except Unsupported:
        return ""
    before, found, rest = text.partition("<|im_start|>system\n")
    own, ended, _ = rest.partition(f"{end}\n<|im_start|>user\n")
    return own if found and ended and before in {"", begins} and '"""' not in own else ""
