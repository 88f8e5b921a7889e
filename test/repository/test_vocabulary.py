# SPDX-License-Identifier: Apache-2.0
"""Words of code and documents (CONTRIBUTING.md, docs/glossary.md), and the width of Markdown lines."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import vocabulary
from vocabulary import Text, functions, separated, texts_of_code, texts_of_documents, tracked

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_WIDTH = 120
BANNED = (
    # Verbs of people: write report, return, contain, assume, request, require, receive, store, remove.
    r"tells?|told|telling|says?|said|saying|knows?|knew|knowing|believe[sd]?|believing|asks?|asked|asking",
    r"wants?|wanted|hears?|heard|remember(s|ed)?|forgets?|forgot|forgotten|complain(s|ed)?|dares?|trusts?",
    r"speaks?|spoke|whispers?|promises?|pretends?|likes to",
    r"(looks?|looked|looking)(?! (up|at)\b)|looked at",  # transforms are looked up; a virtual camera has a look-at
    # Metaphors: write the term of the field.
    r"eras?|story|stories|voices?|bench|houses?|doors?|gossip|ghosts?|seams?|twins?|sightings?",
    # Relative clauses without a noun: write the noun.
    r"what (it|they|he|is|was|were|are|has|had|comes|came|goes|went|follows|must|may|cannot)",
    r"whatever|whoever|wherever|whomever|whichever|somebody|nobody|anybody|whom|such as (is|are)",
    # Old or rare words.
    r"anew|for ever|either way|thereof|therein|thereby|once more|as it (likes|came|comes)|shares? of",
    # British spelling.
    r"\w*metres?|\w*colour\w*|\w*neighbour\w*|\w*behaviour\w*|centre[sd]?|grey|licence",
    r"(normal|optim|recogn|initial|serial|deserial|synchron|minim|maxim|summar|orthogonal)is(e[sdr]?|ing|ation)",
    r"(modell|levell|cancell|labell|travell)(ed|ing)",
)
PARTICIPLE = re.compile(
    r"[a-z]*([^e]ed|aken|iven|own|itten|awn|osen|oken|undone|seen|held|kept|left|made|sent|found|told)"
)
VERBS_LIKE_PARTICIPLES = {"embed", "shed", "down"}


def offenders(texts: Iterable[Text]) -> list[str]:
    pattern = re.compile("|".join(rf"\b(?:{words})\b" for words in BANNED), re.IGNORECASE)
    return [
        f"{text.file}:{text.line}: {match[0]}: {text.text.strip()}"
        for text in texts
        for match in pattern.finditer(text.text)
    ]


def test_python_files_contain_no_banned_words():
    own = "test/repository/test_vocabulary.py"
    assert offenders(texts_of_code([name for name in tracked("*.py") if name != own])) == []


def test_documents_contain_no_banned_words():
    assert offenders(texts_of_documents(tracked("*.md", "*.rst", "*.yaml", "*.cff"))) == []


def test_functions_are_not_named_by_a_participle():
    product = tracked(
        "ttt3r_ros/*.py", "training/*.py", "benchmarks/*.py", "launch/*.py", "examples/*.py"
    )
    names = [
        f"{file}:{node.lineno}: {node.name}"
        for file, node in functions(product)
        if PARTICIPLE.fullmatch(node.name.strip("_")) and not is_property(node)
    ]
    assert [name for name in names if name.split("_")[-1] not in VERBS_LIKE_PARTICIPLES] == []


def is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any("property" in ast.unparse(decorator) for decorator in node.decorator_list)


def test_lines_of_documents_have_at_most_120_columns():
    wide = [
        f"{text.file}:{text.line}: {len(text.text)}"
        for text in texts_of_documents(tracked("*.md"))
        if len(text.text) > MAX_WIDTH and not is_unbreakable(text.text)
    ]
    assert wide == []


def is_unbreakable(line: str) -> bool:
    """Return whether a line is one word, such as a link, after its indentation and list mark."""
    return " " not in line.strip().removeprefix("* ").removeprefix("- ")


def test_the_search_finds_words_in_names_comments_and_strings(monkeypatch, tmp_path):
    (tmp_path / "module.py").write_text('def tell_all(eraOf):\n    x = "nobody said"  # whatever\n')
    (tmp_path / "text.md").write_text("The tf2 buffer looks up a frame.\n\nWhat was sent is lost.\n")
    monkeypatch.setattr(vocabulary, "ROOT", tmp_path)
    found = offenders([*texts_of_code(["module.py"]), *texts_of_documents(["text.md"])])
    words = sorted(line.split(": ")[1].lower() for line in found)
    assert words == ["era", "nobody", "said", "tell", "what was", "whatever"]
    assert separated("_PoseOfAll") == "Pose Of All"
